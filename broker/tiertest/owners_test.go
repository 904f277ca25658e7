package tiertest

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/varvemq/varve/broker/brokertest"
	"github.com/varvemq/varve/client"
	"github.com/varvemq/varve/metadata"
)

// TestPausedOwner: a broker is paused beyond its lease, while it seals; another takes its shard. When the first goes on it acknowledges nothing, commits nothing,
// and ends; what the second has is untouched.
func TestPausedOwner(t *testing.T) {
	t.Parallel()
	etcd, bucket := startEtcd(t), newStore(t)
	args := []string{"--etcd", etcd.URL, "--object-store", bucket.url, "--lease-ttl", "3s", "--seal-bytes", "64KiB", "--seal-age", "100ms"}
	l := newLedger(seed(t))
	a := brokertest.NewHost(t, varve(t), args...)
	pa := a.Start()
	at := place(pa.Namesrv)
	at.createTopic(t, "orders", 2, nil)
	for q := range 2 {
		l.queue("orders", q, 0)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var wg sync.WaitGroup
	var ok atomic.Int64
	for w := range 8 {
		p := at.producer(t)
		wg.Go(func() {
			for ctx.Err() == nil {
				first, bodies := l.begin(w%2, 1, false)
				r, err := p.Send(ctx, &client.Message{Topic: "orders", Queue: &client.Queue{ID: w % 2}, Body: bodies[0]})
				if l.end(first, []client.SendResult{r}, err) == acked {
					ok.Add(1)
				} else {
					time.Sleep(5 * time.Millisecond)
				}
			}
		})
	}
	eventually(t, stepTimeout, "messages are acknowledged and sealed", func() bool { return ok.Load() > 1000 && bucket.segments(t) > 3 })
	a.Signal(pa, syscall.SIGSTOP)
	stopped := time.Now()

	b := brokertest.NewHost(t, varve(t), append(args, "--accept-tail-loss", "varve-a")...)
	pb := b.Start() // it waits for the end of the lease
	t.Logf("the other took over %v after the pause began", time.Since(stopped).Round(time.Millisecond))
	theirs := segmentsOf(t, etcd, 1)
	atB := place(pb.Namesrv)
	var ends [2]int64
	read := func(when string) {
		for q := range 2 {
			next := int64(0)
			must(t, readQueue(t.Context(), atB.reader(t), "orders", q, 0, func(m *client.MessageExt) error {
				if strings.HasPrefix(string(m.Body), "b ") {
					return nil
				}
				next = l.observe(q, next, m)
				return nil
			}))
			if ends[q] != 0 && next != ends[q] {
				t.Errorf("%s: queue %d has messages of the first owner to %d, was to %d", when, q, next, ends[q])
			}
			ends[q] = next
		}
	}
	read("after the take-over")
	for i := range 20 {
		if r := atB.send(t, "orders", i%2, fmt.Sprint("b ", i)); r.Offset != ends[i%2]+lossStep+int64(i/2) {
			t.Errorf("message %d of the new owner has offset %d; the segments end at %d", i, r.Offset, ends[i%2])
		}
	}
	acked := ok.Load()
	a.Signal(pa, syscall.SIGCONT)
	if err := a.Forget(); err == nil {
		t.Error("the stale broker ended without an error")
	}
	says(t, "the stale broker's log", a.LogTail(), "another owner")
	cancel()
	wg.Wait()
	if n := ok.Load(); n != acked {
		t.Errorf("the stale broker acknowledged %d messages", n-acked)
	}
	atB.cli(t, "seal")
	if now := segmentsOf(t, etcd, 1); len(now) > len(theirs) {
		t.Errorf("the stale broker committed: it had %d segments, now %d", len(theirs), len(now))
	}
	read("in the end")
	atB.cli(t, "fsck", "--deep")
	b.Stop()
	pb = b.Start()
	atB = place(pb.Namesrv)
	read("after a restart")
	for q := range 2 {
		if _, next := atB.bounds(t, "orders", q); next != ends[q]+lossStep+10 {
			t.Errorf("queue %d ends at %d; the segments ended at %d", q, next, ends[q])
		}
	}
	l.report(t, "the end")
	b.Stop()
}

// TestRivals: two brokers want the shard of one that is gone, at the same moment. One gets it.
func TestRivals(t *testing.T) {
	t.Parallel()
	etcd, bucket := startEtcd(t), newStore(t)
	args := []string{"--etcd", etcd.URL, "--object-store", bucket.url, "--lease-ttl", "2s"}
	c := newCorpus(seed(t), 300, 2, "orders")
	h := brokertest.NewHost(t, varve(t), args...)
	at := place(h.Start().Namesrv)
	at.createTopic(t, "orders", 2, nil)
	c.produce(t, at, 64<<10)
	at.cli(t, "seal")
	h.Kill()
	sealed := c.ends()
	var rivals [2]*brokertest.Host
	var processes [2]*brokertest.Process
	var ready [2]<-chan struct{}
	for i := range rivals {
		rivals[i] = brokertest.NewHost(t, varve(t), append(slices.Clip(args), "--accept-tail-loss", "all")...)
		processes[i], ready[i] = rivals[i].Launch()
	}
	winner := 0
	select {
	case <-ready[0]:
	case <-ready[1]:
		winner = 1
	case <-time.After(stepTimeout):
		t.Fatal("nobody is ready")
	}
	if err := rivals[1-winner].Forget(); err == nil {
		t.Error("the other ended without an error")
	}
	select {
	case <-ready[1-winner]:
		t.Error("both were ready")
	default:
	}
	at = place(processes[winner].Namesrv)
	c.verify(t, at, sealed)
	if r := at.send(t, "orders", 0, "one"); r.Offset != sealed[0][0]+lossStep {
		t.Errorf("the next message has offset %d; the segments end at %d", r.Offset, sealed[0][0])
	}
	rivals[winner].Stop()
}

// segmentsOf returns the keys of the segments of an epoch that etcd lists.
func segmentsOf(t *testing.T, etcd *etcdServer, epoch uint64) map[string]bool {
	t.Helper()
	out := map[string]bool{}
	for key, value := range etcd.keys(metadata.KeyRoot) {
		if !strings.Contains(key, "/segments/") {
			continue
		}
		var s metadata.Segment
		must(t, json.Unmarshal([]byte(value), &s))
		if s.Epoch == epoch {
			out[key] = true
		}
	}
	return out
}
