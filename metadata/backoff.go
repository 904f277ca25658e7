package metadata

import (
	"context"
	"math/rand/v2"
	"time"
)

// retryPause is an exponential pause between attempts, with a quarter of jitter.
type retryPause struct{ first, next, limit time.Duration }

func newBackoff(first, limit time.Duration) *retryPause {
	return &retryPause{first: first, next: first, limit: limit}
}

func (b *retryPause) reset() { b.next = b.first }

// step returns the next pause.
func (b *retryPause) step() time.Duration {
	d := b.next
	b.next = min(2*d, b.limit)
	return d - time.Duration(rand.Int64N(int64(d)/4+1)) //nolint:gosec // jitter
}

// wait pauses, or returns ctx's error when it ends first.
func (b *retryPause) wait(ctx context.Context) error {
	t := time.NewTimer(b.step())
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
