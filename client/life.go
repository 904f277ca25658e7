package client

import (
	"context"
	"sync"
	"time"
)

// life is the span between a constructor and Close: a context that ends at
// Close, and the goroutines that Close waits for.
type life struct {
	spawn  func(func(context.Context))
	cancel context.CancelFunc
	done   <-chan struct{}
	wg     sync.WaitGroup
	mu     sync.Mutex
	closed bool // guarded by mu
}

func newLife() *life {
	ctx, cancel := context.WithCancel(context.Background()) //nolint:forbidigo // the root of what outlives the caller's calls; Close cancels it
	l := &life{cancel: cancel, done: ctx.Done()}
	l.spawn = func(f func(context.Context)) {
		defer l.wg.Done()
		f(ctx)
	}
	return l
}

// run starts f, which has to return soon after its context ends. It reports
// false, and starts nothing, after close.
func (l *life) run(f func(context.Context)) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return false
	}
	l.wg.Add(1)
	go l.spawn(f)
	return true
}

// every calls f at each interval, until close.
func (l *life) every(interval time.Duration, f func(context.Context)) {
	l.run(func(ctx context.Context) {
		t := time.NewTicker(interval)
		defer t.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-t.C:
				f(ctx)
			}
		}
	})
}

// close ends the context and waits for the goroutines.
func (l *life) close() {
	l.mu.Lock()
	l.closed = true
	l.mu.Unlock()
	l.cancel()
	l.wg.Wait()
}

// sleep waits for d, and reports false if ctx ended before.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}
