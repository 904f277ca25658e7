package queue

import (
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/varvemq/varve/internal/message"
	"github.com/varvemq/varve/internal/vfs"
)

func TestWaiter(t *testing.T) {
	t.Parallel()
	l := openLog(t, testConfig(vfs.NewCrash(nil)))
	q := l.Queue(1)
	reasons := make(chan WakeReason, 10)
	waiter := func(off uint64, f Filter, d time.Duration) *Waiter {
		w := &Waiter{Offset: off, Filter: f, Wake: func(_ *Waiter, r WakeReason) { reasons <- r }}
		if d != 0 {
			w.Deadline = time.Now().Add(d)
		}
		return w
	}
	put(t, l, q, true, msg("T", 0, 8))
	if l.Wait(q, waiter(0, nil, 0)) {
		t.Fatal("there is a message at 0")
	}
	w := waiter(1, tagFilter{"b": true}, 0)
	if !l.Wait(q, w) {
		t.Fatal("no wait")
	}
	put(t, l, q, true, msg("T", 1, 8, message.PropertyTags, "a"), msg("T", 1, 8))
	if q.waiting.Load() != 1 {
		t.Fatal("woken by what does not match")
	}
	put(t, l, q, true, msg("T", 1, 8), msg("T", 1, 8, message.PropertyTags, "b"))
	if r := <-reasons; r != WakeArrived || l.Cancel(w) {
		t.Fatal(r)
	}
	w = waiter(q.Max(), nil, 0)
	if !l.Wait(q, w) || !l.Cancel(w) || l.Cancel(w) || q.waiting.Load() != 0 {
		t.Fatal("cancel")
	}
	begin := time.Now()
	if !l.Wait(q, waiter(q.Max(), nil, time.Hour)) || !l.Wait(q, waiter(q.Max(), nil, 20*time.Millisecond)) {
		t.Fatal("no wait")
	}
	if r := <-reasons; r != WakeDeadline || time.Since(begin) < 20*time.Millisecond {
		t.Fatal(r, time.Since(begin))
	}
	late := &Op{AckWritten: true, Batches: []Batch{{Queue: q, Messages: msg("T", 0, 8), Count: 1}}}
	if err := l.AppendWait(t.Context(), late); err != nil {
		t.Fatal(err)
	}
	if r := <-reasons; r != WakeArrived {
		t.Fatal(r)
	}
	if !l.Wait(q, waiter(100, nil, time.Hour)) {
		t.Fatal("no wait")
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if r := <-reasons; r != WakeClosed {
		t.Fatal(r)
	}
	if l.Wait(q, waiter(100, nil, time.Hour)) {
		t.Fatal("waiting for a closed log")
	}
}

// pull is a waiting pull as a front end has it: the waiter is embedded and used again and again.
type pull struct {
	Waiter
	registered atomic.Int64
	woken      atomic.Int64
	cancelled  atomic.Int64
}

// Test10000Waiters: waiters on few queues, with and without filters, that are woken, expire and are cancelled at the same
// time: each ends exactly once.
func Test10000Waiters(t *testing.T) {
	t.Parallel()
	const waiters, queues = 10_000, 50
	l := openLog(t, testConfig(vfs.NewCrash(nil)))
	pulls := make([]*pull, waiters)
	var wg sync.WaitGroup
	var reasons [5]atomic.Int64
	for i := range pulls {
		p := &pull{}
		p.Wake = func(_ *Waiter, r WakeReason) {
			reasons[r].Add(1)
			p.woken.Add(1)
		}
		pulls[i] = p
	}
	begin := time.Now()
	for g := range 4 {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(g), 3))
			for round := range 3 {
				for i := g; i < waiters; i += 4 {
					p, q := pulls[i], l.Queue(uint32(1+i%queues))
					for p.registered.Load() != p.woken.Load()+p.cancelled.Load() {
						time.Sleep(10 * time.Microsecond) // it still belongs to the log
					}
					p.Offset, p.Filter, p.Deadline = q.Max(), nil, time.Now().Add(time.Duration(rng.IntN(300))*time.Millisecond)
					if i%3 == 0 {
						p.Filter = tagFilter{"b": true}
					}
					p.registered.Add(1)
					if !l.Wait(q, &p.Waiter) {
						p.cancelled.Add(1)
					}
				}
				for i := g; i < waiters; i += 4 {
					if p := pulls[i]; rng.IntN(4) == 0 && round < 2 && l.Cancel(&p.Waiter) {
						p.cancelled.Add(1)
					}
				}
			}
		})
	}
	for i := range 400 {
		tag := "a"
		if i%4 == 0 {
			tag = "b"
		}
		put(t, l, l.Queue(uint32(1+i%queues)), i%2 == 0, msg("T", 0, 8, message.PropertyTags, tag))
	}
	wg.Wait()
	eventually(t, "all waiters end", func() bool {
		for _, p := range pulls {
			if p.registered.Load() != p.woken.Load()+p.cancelled.Load() {
				return false
			}
		}
		return true
	})
	if n := l.stats.waiters.Load(); n != 0 || len(l.timers.heap) != 0 {
		t.Fatal(n, len(l.timers.heap))
	}
	t.Logf("arrived %d, deadline %d, in %v", reasons[WakeArrived].Load(), reasons[WakeDeadline].Load(), time.Since(begin))
}

func BenchmarkWake10000(b *testing.B) {
	l := benchLog(b)
	q := l.Queue(1)
	m := msg("T", 0, 100, message.PropertyTags, "a")
	var woken atomic.Int64
	ws := make([]Waiter, 10_000)
	for i := range ws {
		ws[i].Wake = func(*Waiter, WakeReason) { woken.Add(1) }
		if i%2 == 0 {
			ws[i].Filter = tagFilter{"a": true}
		}
	}
	b.ReportAllocs()
	for b.Loop() {
		woken.Store(0)
		for i := range ws {
			ws[i].Offset, ws[i].Deadline = q.Max(), time.Now().Add(time.Minute)
			if !l.Wait(q, &ws[i]) {
				b.Fatal("no wait")
			}
		}
		put(b, l, q, false, m)
		for woken.Load() < int64(len(ws)) {
			time.Sleep(time.Microsecond)
		}
	}
}
