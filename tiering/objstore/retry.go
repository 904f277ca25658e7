package objstore

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"
)

// retrier repeats single requests that may succeed later. Nothing else in this package does, and the SDKs' own repetitions are off: so the attempts of a request are
// bounded by one number and not by a product of several.
type retrier struct {
	attempts int
	// The first pauses, after a transient fault and after throttling. Each one after is twice as long, up to limit. Half of a pause is random.
	base, throttled, limit time.Duration
}

func newRetrier(attempts int) retrier {
	return retrier{attempts: attempts, base: 100 * time.Millisecond, throttled: 500 * time.Millisecond, limit: 10 * time.Second}
}

// do calls f until it succeeds, fails for good, has been called often enough, or ctx ends during a pause.
func (r retrier) do(ctx context.Context, f func() error) error {
	for attempt := 1; ; attempt++ {
		err := f()
		if err == nil || !Retriable(err) || attempt >= r.attempts || !r.pause(ctx, attempt, err) {
			return err
		}
	}
}

// pause waits before the next attempt, and reports false when ctx ends.
func (r retrier) pause(ctx context.Context, attempt int, err error) bool {
	d := r.base
	if errors.Is(err, ErrThrottled) {
		d = r.throttled
	}
	for range attempt - 1 {
		d = min(2*d, r.limit)
	}
	d = d/2 + rand.N(d/2+1) //nolint:gosec // jitter needs no secrecy
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return ctx.Err() == nil
	}
}
