package tiertest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/varvemq/varve/broker/brokertest"
	"github.com/varvemq/varve/client"
)

// TestObjectClass: what a topic of class object has acknowledged survives the machine, whatever the moment of its end; and nothing is shown that might not.
func TestObjectClass(t *testing.T) {
	t.Parallel()
	etcd, bucket := startEtcd(t), newStore(t)
	args := []string{"--etcd", etcd.URL, "--object-store", bucket.url, "--lease-ttl", "3s", "--seal-age", "1h", "--accept-tail-loss", "all"}
	l := newLedger(seed(t))
	h := brokertest.NewHost(t, varve(t), args...)
	at := place(h.Start().Namesrv)
	at.createTopic(t, "safe", 2, map[string]string{"durability": "object"})
	at.createTopic(t, "local", 1, nil)
	for q := range 2 {
		l.queue("safe", q, 0)
	}
	var seen [2]atomic.Int64 // by readers at the ends
	shift := [2]int64{}      // where the part after the last loss begins
	for round := range 2 {
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		var flows atomic.Int64
		for w := range 8 {
			p := at.producer(t)
			wg.Go(func() {
				for ctx.Err() == nil {
					first, bodies := l.begin(w%2, 1, false)
					r, err := p.Send(ctx, &client.Message{Topic: "safe", Queue: &client.Queue{ID: w % 2}, Body: bodies[0]})
					if l.end(first, []client.SendResult{r}, err) != acked {
						return
					}
					flows.Add(1)
				}
			})
		}
		r := at.reader(t)
		for q := range 2 {
			wg.Go(func() {
				s, err := r.Open(ctx, "safe", client.AtOffset(shift[q]), client.OnQueue(client.Queue{ID: q}))
				if err != nil {
					return
				}
				defer func() { _ = s.Close() }()
				for due := shift[q]; ; {
					m, err := s.Next(ctx)
					if err != nil {
						return
					}
					due = l.observe(q, due, m)
					seen[q].Store(due)
				}
			})
		}
		_ = at.send(t, "local", 0, fmt.Sprint("round ", round)) // it does not wait
		eventually(t, stepTimeout, "messages are acknowledged", func() bool { return flows.Load() > 20 })
		time.Sleep(300 * time.Millisecond)
		h.Kill()
		must(t, os.RemoveAll(h.Data())) // right after the last acknowledgement
		cancel()
		wg.Wait()
		_ = r.Close()
		t.Logf("round %d: %d messages acknowledged, seen to %d and %d", round, flows.Load(), seen[0].Load(), seen[1].Load())

		at = place(h.Start().Namesrv)
		firsts := make([]int64, 2)
		for q := range 2 {
			next := int64(0)
			must(t, readQueue(t.Context(), at.reader(t), "safe", q, 0, func(m *client.MessageExt) error {
				if m.Offset == shift[q] && next < shift[q] {
					next = shift[q] // the hole
				}
				next = l.observe(q, next, m)
				return nil
			}))
			if next < seen[q].Load() {
				t.Errorf("queue %d: offset %d was seen; the queue has messages to %d", q, seen[q].Load()-1, next)
			}
			var end int64
			firsts[q], end = at.bounds(t, "safe", q)
			if end != next+lossStep {
				t.Errorf("queue %d: goes on at offset %d, messages end at %d", q, end, next)
			}
			shift[q] = end
			l.queues[q].end = end
		}
		l.check(0, firsts)
		l.report(t, fmt.Sprint("round ", round))
	}
	h.Stop()
}

// TestObjectDelayed: a delayed message to a topic of class object survives the machine from its acknowledgement on, before and after it was due, and is delivered
// once.
func TestObjectDelayed(t *testing.T) {
	t.Parallel()
	etcd, bucket := startEtcd(t), newStore(t)
	l := newLedger(seed(t))
	rng := rand.New(rand.NewPCG(l.seed, 2))
	h := brokertest.NewHost(t, varve(t), "--etcd", etcd.URL, "--object-store", bucket.url, "--lease-ttl", "2s", "--seal-age", "1h", "--accept-tail-loss", "all")
	at := place(h.Start().Namesrv)
	at.createTopic(t, "safe", 1, map[string]string{"durability": "object"})
	l.queue("safe", 0, time.Hour) // there are holes
	for range 3 {
		var wg sync.WaitGroup
		for range 6 {
			p := at.producer(t)
			wg.Go(func() {
				first, bodies := l.begin(0, 1, true)
				r, err := p.Send(t.Context(), &client.Message{Topic: "safe", Queue: &client.Queue{}, Body: bodies[0], DelayLevel: delayLevel})
				l.end(first, []client.SendResult{r}, err)
			})
		}
		wg.Wait()
		time.Sleep(time.Duration(rng.IntN(1600)) * time.Millisecond) // some are delivered, some are about to be
		h.Kill()
		must(t, os.RemoveAll(h.Data()))
		at = place(h.Start().Namesrv)
	}
	read := func() {
		due := int64(0)
		must(t, readQueue(t.Context(), at.reader(t), "safe", 0, 0, func(m *client.MessageExt) error {
			due = l.observe(0, due, m)
			return nil
		}))
	}
	eventually(t, 20*time.Second, "all delayed messages have arrived", func() bool {
		read()
		n, _ := l.missingDelayed()
		return n == 0
	})
	time.Sleep(time.Second)
	read()
	if all, ok := l.sent(); ok < all/2 {
		t.Errorf("only %d of %d were acknowledged", ok, all)
	}
	l.report(t, "the end")
	h.Stop()
}
