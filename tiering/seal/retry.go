package seal

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/varvemq/varve/metadata"
	"github.com/varvemq/varve/tiering/objstore"
)

// class is a kind of fault that is waited out.
type class string

// The classes, as the metric has them.
const (
	classThrottled class = "throttled" // the bucket wants fewer requests
	classTransient class = "transient" // the bucket does not answer
	classRefused   class = "refused"   // the bucket refuses: somebody has to do something
	classMetadata  class = "metadata"  // etcd does not answer
	classDisk      class = "disk"      // the spool's disk, or the data directory's
)

// pauses are the first and the longest pause after a fault of each class.
func (c class) pauses() (first, limit time.Duration) {
	switch c {
	case classThrottled:
		return time.Second, time.Minute
	case classRefused:
		return 2 * time.Second, 30 * time.Second
	case classMetadata:
		return 100 * time.Millisecond, 5 * time.Second
	case classDisk:
		return time.Second, 30 * time.Second
	default: // those who wait for a segment are refused meanwhile
		return 100 * time.Millisecond, 10 * time.Second
	}
}

// classify returns the class of a fault, or "" if the error ends sealing.
func classify(err error) class {
	switch {
	case errors.Is(err, metadata.ErrFenced), errors.Is(err, metadata.ErrConflict), errors.Is(err, ErrForeign), errors.Is(err, errSpoolLost):
		return ""
	case errors.Is(err, metadata.ErrUnavailable):
		return classMetadata
	case errors.Is(err, objstore.ErrThrottled):
		return classThrottled
	case errors.Is(err, objstore.ErrTransient):
		return classTransient
	case objstore.Class(err) != nil:
		return classRefused
	}
	if _, ok := errors.AsType[*diskError](err); ok {
		return classDisk
	}
	return ""
}

// pause returns the pause after the n-th fault in a row, at least half of which is not random.
func (c class) pause(n int) time.Duration {
	first, limit := c.pauses()
	d := limit
	if n < 20 {
		d = min(first<<n, limit)
	}
	return d/2 + time.Duration(rand.Int64N(int64(d/2)+1)) //nolint:gosec // jitter
}

// step is a part of the work, as metrics and log lines have it.
type step string

// The steps.
const (
	stepCut      step = "cut"
	stepReserve  step = "reserve"
	stepBuild    step = "build"
	stepUpload   step = "upload"
	stepCommit   step = "commit"
	stepRemember step = "remember"
	stepTrim     step = "trim"
)

// persist does a step until it succeeds, ctx ends, the shard is lost, or an error ends sealing.
func (s *Sealer) persist(ctx context.Context, what step, do func(context.Context) error) error {
	began := time.Now()
	for n := 0; ; n++ {
		if err := s.lost(); err != nil {
			return err
		}
		err := do(ctx)
		if err == nil {
			s.succeeded(what)
			s.metrics.took(what, time.Since(began))
			return nil
		}
		c := classify(err)
		if ctx.Err() != nil && (c != "" || errors.Is(err, ctx.Err())) {
			return fmt.Errorf("%s: %w", what, ctx.Err())
		}
		if c == "" {
			return fmt.Errorf("%s: %w", what, err)
		}
		s.failed(what, c, err)
		if err := s.sleep(ctx, c.pause(n)); err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
	}
}

// sleep waits for d, or less if ctx ends or the shard is lost.
func (s *Sealer) sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-s.cfg.Own.Lost():
		return s.lost()
	}
}

// lost reports that the shard has another owner.
func (s *Sealer) lost() error {
	select {
	case <-s.cfg.Own.Lost():
		return fmt.Errorf("epoch %d: %w", s.cfg.Own.Epoch(), metadata.ErrFenced)
	default:
		return nil
	}
}
