package objstore

import (
	"context"
	"errors"
	"fmt"
	"io"
)

// reader is the body of a Get.
type reader struct {
	s   *remote
	ctx context.Context //nolint:containedctx // io.Reader has no context of its own, and reading may need another request
	key string

	body  io.ReadCloser
	tag   string // of the object, once known
	off   int64  // of the next byte
	left  int64  // bytes to come, negative if not known
	tries int    // requests left
}

// open asks for what is left.
func (r *reader) open() error {
	r.tries--
	return r.s.request(kindGet, func() error {
		a, err := r.s.d.get(r.ctx, r.s.prefix+r.key, r.off, r.left, r.tag)
		if err != nil {
			return err
		}
		if r.left < 0 || r.tag == "" { // the first answer says what there is
			r.left = a.length
		}
		r.body, r.tag = a.ReadCloser, a.tag
		return nil
	})
}

// Read implements io.Reader.
func (r *reader) Read(p []byte) (int, error) {
	for attempt := 1; ; attempt++ {
		if len(p) == 0 {
			return 0, nil
		}
		n, err := r.body.Read(p)
		r.off += int64(n)
		if r.left >= 0 {
			r.left -= int64(n)
		}
		r.s.metrics.read(n)
		switch {
		case n > 0:
			return n, nil // an error comes again
		case err == nil:
			continue
		case errors.Is(err, io.EOF) && r.left <= 0:
			return 0, io.EOF
		case errors.Is(err, io.EOF):
			err = fmt.Errorf("%w: the body ends %d bytes early: %w", ErrTransient, r.left, io.ErrUnexpectedEOF)
		}
		err = r.s.classed(err)
		for err != nil {
			if !Retriable(err) || r.tries <= 0 || !r.s.retry.pause(r.ctx, attempt, err) {
				return 0, r.s.fault("read", r.key, err)
			}
			_ = r.body.Close() // it is broken
			if err = r.open(); errors.Is(err, ErrPrecondition) {
				err = fmt.Errorf("%w: the object has changed while it was read", ErrTransient)
				r.tries = 0
			}
		}
	}
}

// Close implements io.Closer.
func (r *reader) Close() error { return r.body.Close() }
