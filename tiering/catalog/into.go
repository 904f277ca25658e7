package catalog

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/varvemq/varve/tiering/objstore"
)

// GetInto is Get into memory of the caller's, and returns how many bytes there are: fewer than b has room for only if the object ends there. Readers in bulk spare by it that
// memory is made and cleared for every GET.
func (s *source) GetInto(ctx context.Context, off int64, b []byte) (int, error) {
	r, err := s.bucket.Get(ctx, s.key, off, int64(len(b)))
	if err != nil {
		return 0, err
	}
	n, err := io.ReadFull(r, b)
	if (errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)) && !errors.Is(err, objstore.ErrTransient) {
		err = nil // the object ends; that the body ended early is an error of the class transient
	}
	if err = errors.Join(err, r.Close()); err != nil {
		return 0, fmt.Errorf("read %s: %w", s.key, err)
	}
	return n, nil
}
