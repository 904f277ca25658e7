package objstore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"golang.org/x/sync/errgroup"
)

const (
	// maxPutSize is S3's bound for one request.
	maxPutSize = 5 << 30
	// minPartSize is S3's bound for all parts but the last.
	minPartSize = 5 << 20
	// maxParts is S3's bound.
	maxParts = 10_000
	// partsAtOnce is how many parts of an object are under way, if its reader can be read at several places.
	partsAtOnce = 4
	// abortTimeout bounds the clearing away of an upload that has failed, which is done also after the caller's context has ended.
	abortTimeout = 30 * time.Second
)

// upload writes an object in parts. When it fails, the parts are given up; those of a process that died are cleared away by the bucket's lifecycle rule.
func (s *remote) upload(ctx context.Context, key string, r io.ReadSeeker, size int64, h putHeader) error {
	if h.ifNoneMatch { // spares the upload, and protects an old object on servers that know no conditions at completion
		switch _, err := s.stat(ctx, key); {
		case err == nil:
			return ErrPrecondition
		case !errors.Is(err, ErrNotFound):
			return err
		}
	}
	var id string
	err := s.requests(ctx, kindCreateUpload, func() (err error) {
		id, err = s.d.createUpload(ctx, key, h)
		return err
	})
	if err != nil {
		return fmt.Errorf("begin the upload: %w", err)
	}
	parts, err := s.uploadParts(ctx, key, id, r, size)
	if err == nil {
		err = s.requests(ctx, kindCompleteUpload, func() error { return s.d.completeUpload(ctx, key, id, parts, h) })
		if err != nil && ctx.Err() == nil {
			err = s.resolve(ctx, key, h, fmt.Errorf("complete the upload: %w", err)) // an attempt may have been applied although its answer was lost
		}
	}
	if err == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), abortTimeout)
	defer cancel()
	aerr := s.requests(ctx, kindAbortUpload, func() error { return s.d.abortUpload(ctx, key, id) })
	if aerr != nil && !errors.Is(aerr, ErrNotFound) {
		return fmt.Errorf("%w (and the upload was not given up: %s)", err, aerr) //nolint:errorlint // the class is that of the first
	}
	return err
}

// uploadParts uploads all parts of an object, several at once if r can be read so.
func (s *remote) uploadParts(ctx context.Context, key, id string, r io.ReadSeeker, size int64) ([]part, error) {
	partSize := max(s.partSize, (size+maxParts-1)/maxParts)
	parts := make([]part, (size+partSize-1)/partSize)
	group, ctx := errgroup.WithContext(ctx)
	at, parallel := r.(io.ReaderAt)
	group.SetLimit(1)
	if parallel {
		group.SetLimit(partsAtOnce)
	}
	for i := range parts {
		off := int64(i) * partSize
		n := min(partSize, size-off)
		group.Go(func() (err error) {
			if err := alive(ctx); err != nil {
				return err
			}
			b := newBody(r, off, n)
			if parallel {
				b = newBody(io.NewSectionReader(at, off, n), 0, n)
			}
			if parts[i], err = s.uploadPart(ctx, key, id, i+1, b); err != nil {
				return fmt.Errorf("upload part %d of %d: %w", i+1, len(parts), err)
			}
			s.metrics.wrote(n)
			return nil
		})
	}
	return parts, group.Wait()
}

func (s *remote) uploadPart(ctx context.Context, key, id string, number int, b *body) (p part, err error) {
	if s.checksum {
		if err := b.checksum(); err != nil {
			return p, err
		}
	}
	err = s.requests(ctx, kindPart, func() (err error) {
		b := b.again()
		defer b.end()
		p, err = s.d.uploadPart(ctx, key, id, number, b)
		return b.outcome(err)
	})
	p.number, p.crc = number, b.crc
	return p, err
}
