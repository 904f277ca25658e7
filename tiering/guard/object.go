package guard

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/varvemq/varve/tiering/objstore"
)

// Object is an object of a bucket as a segment.Source, for those who read a few and keep nothing.
type Object struct {
	Bucket objstore.Store
	Key    string
}

// Get returns the n bytes from offset off on, fewer only if the object ends there.
func (o *Object) Get(ctx context.Context, off int64, n int) ([]byte, error) {
	r, err := o.Bucket.Get(ctx, o.Key, off, int64(n))
	if err != nil {
		return nil, err
	}
	b := make([]byte, n)
	got, err := io.ReadFull(r, b)
	if (errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)) && !errors.Is(err, objstore.ErrTransient) {
		err = nil // the object ends; that the body ended early is an error of the class transient
	}
	if err = errors.Join(err, r.Close()); err != nil {
		return nil, fmt.Errorf("read %s: %w", o.Key, err)
	}
	return b[:got], nil
}
