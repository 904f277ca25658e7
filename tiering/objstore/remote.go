package objstore

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"
	"strings"
)

// remote is the [Store] on a server that speaks S3's protocol. It repeats requests, splits large objects, goes on with reads that broke off, and finds out whether an
// object that stands in the way of a repeated creation is its own.
type remote struct {
	place
	d        driver
	retry    retrier
	metrics  *metrics
	checksum bool
	// Objects of more than threshold bytes are uploaded in parts of partSize.
	threshold, partSize int64
}

func newRemote(p place, d driver, opts Options, checksum bool) *remote {
	return &remote{
		place: p, d: d, retry: newRetrier(opts.MaxAttempts), metrics: opts.metrics, checksum: checksum, threshold: opts.MultipartThreshold, partSize: opts.PartSize,
	}
}

// classed gives an error a class.
func (s *remote) classed(err error) error {
	if err == nil || Class(err) != nil {
		return err
	}
	return fmt.Errorf("%w: %w", s.d.classify(err), err)
}

// fault names the operation and gives the error a class.
func (s *remote) fault(op, key string, err error) error {
	if err == nil {
		return nil
	}
	return opError(op, s.url, key, s.classed(err))
}

// request makes one request and counts it.
func (s *remote) request(k kind, f func() error) error {
	done := s.metrics.begin(k)
	err := s.classed(f())
	done(err)
	return err
}

// requests makes a request until it succeeds or the retrier gives up.
func (s *remote) requests(ctx context.Context, k kind, f func() error) error {
	return s.retry.do(ctx, func() error { return s.request(k, f) })
}

// Put implements [Store].
func (s *remote) Put(ctx context.Context, key string, r io.ReadSeeker, size int64, opts PutOptions) error {
	err := checkPut(key, r, size)
	if err == nil {
		h := putHeader{ifNoneMatch: opts.IfNoneMatch, checksum: s.checksum, writer: rand.Text()}
		if size > s.threshold {
			err = s.upload(ctx, s.prefix+key, r, size, h)
		} else {
			err = s.putWhole(ctx, s.prefix+key, r, size, h)
		}
	}
	return s.fault("put", key, err)
}

// putWhole writes an object with one request, repeated if need be.
func (s *remote) putWhole(ctx context.Context, key string, r io.ReadSeeker, size int64, h putHeader) error {
	b := newBody(r, 0, size)
	if s.checksum {
		if err := b.checksum(); err != nil {
			return err
		}
	}
	mayBeOurs := false // an attempt that failed may have been applied
	err := s.requests(ctx, kindPut, func() error {
		b := b.again()
		defer b.end()
		err := s.classed(b.outcome(s.d.put(ctx, key, b, h)))
		mayBeOurs = mayBeOurs || Retriable(err)
		return err
	})
	if errors.Is(err, ErrPrecondition) && mayBeOurs {
		err = s.resolve(ctx, key, h, err)
	}
	if err == nil {
		s.metrics.wrote(size)
	}
	return err
}

// resolve decides about a creation that failed because there is an object, when an earlier attempt may have written it: nil if it did.
func (s *remote) resolve(ctx context.Context, key string, h putHeader, failed error) error {
	got, err := s.stat(ctx, key)
	switch {
	case err == nil && got.writer == h.writer:
		return nil
	case Retriable(err):
		return fmt.Errorf("whose object it is, is not known: %w", err)
	default:
		return failed
	}
}

func (s *remote) stat(ctx context.Context, key string) (h objectHead, err error) {
	err = s.requests(ctx, kindHead, func() (err error) {
		h, err = s.d.head(ctx, key)
		return err
	})
	return h, err
}

// Get implements [Store]. A read that breaks off goes on where it was, if the object is still the same.
func (s *remote) Get(ctx context.Context, key string, off, n int64) (io.ReadCloser, error) {
	if err := checkGet(key, off); err != nil {
		return nil, s.fault("get", key, err)
	}
	if n == 0 { // no HTTP range is empty
		_, err := s.Head(ctx, key)
		return io.NopCloser(bytes.NewReader(nil)), err
	}
	r := &reader{s: s, ctx: ctx, key: key, off: off, left: n, tries: s.retry.attempts}
	if err := s.retry.do(ctx, r.open); err != nil {
		return nil, s.fault("get", key, err)
	}
	return r, nil
}

// Head implements [Store].
func (s *remote) Head(ctx context.Context, key string) (Info, error) {
	err := checkGet(key, 0)
	var h objectHead
	if err == nil {
		h, err = s.stat(ctx, s.prefix+key)
	}
	if err != nil {
		return Info{}, s.fault("head", key, err)
	}
	h.Key = key
	return h.Info, nil
}

// List implements [Store].
func (s *remote) List(ctx context.Context, prefix string) iter.Seq2[Info, error] {
	return func(yield func(Info, error) bool) {
		for after, more := "", true; more; {
			var page []Info
			err := s.requests(ctx, kindList, func() (err error) {
				page, more, err = s.d.list(ctx, s.prefix+prefix, after)
				return err
			})
			for i := 0; err == nil && i < len(page); i++ {
				info := page[i]
				if info.Key <= after || !strings.HasPrefix(info.Key, s.prefix+prefix) {
					err = fmt.Errorf("%w: the server lists %q after %q", ErrFatal, info.Key, after)
					break
				}
				after = info.Key
				info.Key = strings.TrimPrefix(info.Key, s.prefix)
				if !yield(info, nil) {
					return
				}
			}
			if err != nil {
				yield(Info{}, s.fault("list", prefix, err))
				return
			}
			more = more && len(page) > 0
		}
	}
}

// Delete implements [Store].
func (s *remote) Delete(ctx context.Context, keys ...string) error {
	whole := make([]string, len(keys))
	for i, key := range keys {
		if err := ValidateKey(key); err != nil {
			return s.fault("delete", key, err)
		}
		whole[i] = s.prefix + key
	}
	for batch := range slices.Chunk(whole, maxDelete) {
		if err := s.requests(ctx, kindDelete, func() error { return s.d.remove(ctx, batch) }); err != nil {
			return s.fault("delete", strings.TrimPrefix(batch[0], s.prefix), err)
		}
	}
	return nil
}

// Check implements [Store].
func (s *remote) Check(ctx context.Context) error { return CheckStore(ctx, s) }

// URL implements [Store].
func (s *remote) URL() string { return s.url }

// Close implements [Store].
func (s *remote) Close() error {
	s.d.close()
	return nil
}
