package objstore

import (
	"context"
	"errors"
	"fmt"
	"io"
)

// Object is an object of a store, read by ranged GETs. Its errors name the key, and wrap ErrNotFound if the object is gone.
type Object struct {
	Store Store
	Key   string
}

// Get returns the n bytes from offset off on, fewer only if the object ends there.
func (o *Object) Get(ctx context.Context, off int64, n int) ([]byte, error) {
	b := make([]byte, n)
	got, err := o.GetInto(ctx, off, b)
	if err != nil {
		return nil, err
	}
	return b[:got], nil
}

// GetInto is Get into memory of the caller's, and returns how many bytes there are: fewer than b has room for only if the object ends there. Readers in bulk spare by it that
// memory is made and cleared for every GET.
func (o *Object) GetInto(ctx context.Context, off int64, b []byte) (int, error) {
	r, err := o.Store.Get(ctx, o.Key, off, int64(len(b)))
	if err != nil {
		return 0, err
	}
	n, err := io.ReadFull(r, b)
	if (errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)) && !errors.Is(err, ErrTransient) {
		err = nil // the object ends; that the body ended early is an error of the class transient
	}
	if err = errors.Join(err, r.Close()); err != nil {
		return 0, fmt.Errorf("read %s: %w", o.Key, err)
	}
	return n, nil
}
