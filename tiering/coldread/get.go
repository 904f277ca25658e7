package coldread

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"golang.org/x/sync/semaphore"

	"github.com/varvemq/varve/tiering/segment"
)

// tokens bound what runs at once.
type tokens chan struct{}

func (t tokens) take(ctx context.Context) error {
	select {
	case t <- struct{}{}:
		return nil
	default:
	}
	select {
	case t <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (t tokens) tryTake() bool {
	select {
	case t <- struct{}{}:
		return true
	default:
		return false
	}
}

func (t tokens) give() { <-t }

// budget bounds bytes in memory. A single demand that is larger than the bound takes all of it.
type budget struct {
	limit int64
	sem   *semaphore.Weighted
	used  atomic.Int64 // for the metrics
}

func newBudget(limit int64) *budget {
	return &budget{limit: limit, sem: semaphore.NewWeighted(limit)}
}

func (b *budget) take(ctx context.Context, n int64) error {
	err := b.sem.Acquire(ctx, min(n, b.limit))
	if err == nil {
		b.used.Add(n)
	}
	return err
}

func (b *budget) tryTake(n int64) bool {
	ok := b.sem.TryAcquire(min(n, b.limit))
	if ok {
		b.used.Add(n)
	}
	return ok
}

func (b *budget) give(n int64) {
	b.used.Add(-n)
	b.sem.Release(min(n, b.limit))
}

// ranged is a ranged GET. Its bytes are reserved in a budget by the caller, who gives them back.
type ranged struct {
	src    segment.Source
	pos    int64
	n      int
	budget *budget
	minor  bool // nobody waits for it alone: it leaves room for those that somebody waits for
}

// acquire waits until a GET may be made.
func (r *Reader) acquire(ctx context.Context, minor bool) error {
	if minor {
		if err := r.minorGets.take(ctx); err != nil {
			return err
		}
	}
	if err := r.gets.take(ctx); err != nil {
		if minor {
			r.minorGets.give()
		}
		return err
	}
	return nil
}

func (r *Reader) release(minor bool) {
	r.gets.give()
	if minor {
		r.minorGets.give()
	}
}

// getOnce makes one GET. The caller drops the buffer.
func (r *Reader) getOnce(ctx context.Context, g *ranged) (*buffer, error) {
	r.m.gets.Inc()
	var buf *buffer
	var n int
	var err error
	if into, ok := g.src.(intoSource); ok {
		buf = r.buffers.get(g.n)
		n, err = into.GetInto(ctx, g.pos, buf.b)
	} else {
		var b []byte
		b, err = g.src.Get(ctx, g.pos, g.n)
		buf, n = newBuffer(b), len(b)
	}
	if err == nil && n < g.n {
		err = fmt.Errorf("%w: %d of %d bytes at %d", segment.ErrTruncated, n, g.n, g.pos)
	}
	if err != nil {
		buf.drop()
		return nil, err
	}
	r.m.fromStore.Add(float64(g.n))
	buf.b = buf.b[:g.n]
	return buf, nil
}

// patience is how long a GET of n bytes may take before it is hedged.
func (r *Reader) patience(n int) time.Duration {
	return r.cfg.HedgeAfter + time.Duration(n)*16*time.Nanosecond // 60 MiB/s
}

// get makes a GET when there is room for one, and a second one if the first is slow. It must be called in a goroutine that Close waits for.
func (r *Reader) get(ctx context.Context, g *ranged) (*buffer, error) {
	if err := r.acquire(ctx, g.minor); err != nil {
		return nil, err
	}
	if r.cfg.HedgeAfter == 0 {
		defer r.release(g.minor)
		return r.getOnce(ctx, g)
	}
	return r.hedged(ctx, g)
}

type answer struct {
	b      *buffer
	err    error
	second bool
}

// hedged makes the GET for which get has found room. What loses is cancelled, and holds its room and its bytes until it has ended.
func (r *Reader) hedged(ctx context.Context, g *ranged) (*buffer, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	answers := make(chan answer, 2)
	under := 0
	launch := func(minor bool) {
		under++
		second := under > 1
		r.wg.Go(func() {
			b, err := r.getOnce(ctx, g)
			r.release(minor)
			answers <- answer{b, err, second}
		})
	}
	launch(g.minor)
	timer := time.NewTimer(r.patience(g.n))
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
			if !g.budget.tryTake(int64(g.n)) {
				continue
			}
			if !r.gets.tryTake() {
				g.budget.give(int64(g.n))
				continue
			}
			r.m.hedges.Inc()
			launch(false)
		case a := <-answers:
			under--
			if a.err != nil && under > 0 {
				g.budget.give(int64(g.n)) // the other one may do
				continue
			}
			if a.err == nil && a.second {
				r.m.hedgesWon.Inc()
			}
			if under > 0 {
				r.wg.Go(func() {
					lost := <-answers
					lost.b.drop()
					g.budget.give(int64(g.n))
				})
			}
			return a.b, a.err
		}
	}
}
