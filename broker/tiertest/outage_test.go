package tiertest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/varvemq/varve/broker/brokertest"
	"github.com/varvemq/varve/client"
)

// TestStoreOutage: the object store is away under load. Sends go on until the log is full, then they are refused with the reason; reads of what is hot go on; the
// broker says what it suffers from; and when the store is back, everything is, by itself.
func TestStoreOutage(t *testing.T) {
	t.Parallel()
	away := time.Duration(number(t, envOutage, shortOutage)) * time.Second
	limit := int64(16 << 20)
	if away > time.Minute {
		limit = 256 << 20
	}
	s := newProxied(t, 0, nil)
	h := brokertest.NewHost(t, varve(t), "--object-store", s.url, "--wal-limit", fmt.Sprint(limit), "--max-message-size", "1MiB", "--wal-hot", "2MiB", "--seal-bytes", "256KiB",
		"--seal-age", "500ms")
	p := h.Start()
	at := place(p.Namesrv)
	at.createTopic(t, "orders", 1, nil)
	at.createTopic(t, "safe", 1, map[string]string{"durability": "object"})
	o := &outage{ledger: newLedger(seed(t)), at: at, rate: 2 * limit / int64(away.Seconds())}
	o.queue("orders", 0, 0)
	stop := o.start(t)
	eventually(t, stepTimeout, "messages are acknowledged, read and sealed", func() bool { return o.acked.Load() > 50 && o.read.Load() > 50 && s.segments(t) > 2 })

	s.proxy.SetDown(true)
	down := time.Now()
	before := o.bytes.Load()
	waits := make(chan error, 1)
	patient := at.producer(t)
	go func() {
		_, err := patient.Send(t.Context(), &client.Message{Topic: "safe", Body: []byte("it waits for the store")})
		waits <- err
	}()
	said := false
	for o.refused.Load() == 0 && time.Since(down) < away {
		acked, read := o.acked.Load(), o.read.Load()
		eventually(t, 10*time.Second, "sends and reads go on, or the log is full", func() bool {
			return o.refused.Load() > 0 || o.acked.Load() > acked+10 && o.read.Load() > read+10
		})
		if !said && time.Since(down) > away/4 {
			said = true
			o.complains(t, p)
		}
	}
	if o.refused.Load() == 0 {
		t.Errorf("nothing was refused in %v, with %d bytes sent into a log of %d", away, o.bytes.Load()-before, limit)
	}
	full := o.bytes.Load() - before
	if full < limit/3 || full > limit {
		t.Errorf("the first refusal came after %d bytes; the log may have %d", full, limit)
	}
	says(t, "the refusal", fmt.Sprint(o.refusal.Load()), "--wal-limit")
	time.Sleep(time.Until(down.Add(objectStall)))
	_, err := at.producer(t).Send(t.Context(), &client.Message{Topic: "safe", Body: []byte("it does not wait")})
	var refusal *client.Error
	if !errors.As(err, &refusal) || refusal.Code != client.CodeSystemBusy || !strings.Contains(refusal.Remark, "OBJECT_STORE") {
		t.Errorf("a send to a topic of class object: %v", err)
	}
	tail := int64(0) // what is hot can be read from its beginning on
	must(t, readQueue(t.Context(), at.reader(t), "orders", 0, max(0, o.read.Load()-100), func(*client.MessageExt) error { tail++; return nil }))
	if tail < 100 {
		t.Errorf("%d messages at the end, want 100", tail)
	}
	if code, body := p.Get(t, "/healthz"); code != 200 {
		t.Errorf("healthz: %d %s", code, body)
	}
	time.Sleep(time.Until(down.Add(away)))

	s.proxy.SetDown(false)
	up, acked := time.Now(), o.acked.Load()
	eventually(t, 45*time.Second, "sends are acknowledged again", func() bool { return o.acked.Load() > acked+50 })
	t.Logf("%v away; full after %d bytes; %d refusals; sends went on %v after it was back", away, full, o.refused.Load(), time.Since(up).Round(time.Millisecond))
	stop()
	at.cli(t, "seal")
	if err := <-waits; err != nil && !client.OutcomeUnknown(err) { // in a long outage it has given up
		t.Errorf("the send that waited for the store: %v", err)
	}
	if got := at.bodies(t, "safe", 0); len(got) != 1 {
		t.Errorf("the topic of class object has %q", got)
	}
	if code, body := p.Get(t, "/readyz"); code != 200 || strings.Contains(body, "fail") {
		t.Errorf("readyz in the end: %d %s", code, body)
	}
	next := int64(0)
	must(t, readQueue(t.Context(), at.reader(t), "orders", 0, 0, func(m *client.MessageExt) error {
		next = o.observe(0, next, m)
		return nil
	}))
	o.check(0, []int64{0})
	o.report(t, "the end")
	at.cli(t, "fsck", "--deep")
	h.Stop()
}

// TestStopWithoutStore: a broker is stopped in order while the object store is away. It ends soon, its log keeps what was not sealed, and another machine would lose
// that; a start says what is not there.
func TestStopWithoutStore(t *testing.T) {
	t.Parallel()
	etcd, s := startEtcd(t), newProxied(t, 0, nil)
	args := []string{"--etcd", etcd.URL, "--object-store", s.url, "--lease-ttl", "2s", "--seal-age", "1h"}
	c := newCorpus(seed(t), 300, 2, "orders")
	h := brokertest.NewHost(t, varve(t), args...)
	at := place(h.Start().Namesrv)
	at.createTopic(t, "orders", 2, nil)
	c.produce(t, at, 64<<10)
	at.cli(t, "seal")
	s.proxy.SetDown(true)
	c.produce(t, at, 64<<10)
	began := time.Now()
	h.Stop()
	if took := time.Since(began); took > 20*time.Second {
		t.Errorf("the end took %v", took)
	}
	says(t, "the refusal", h.Refuse(), "object store")
	s.proxy.SetDown(false)
	says(t, "another machine", refusedDead(t, brokertest.NewHost(t, varve(t), args...)), "--accept-tail-loss")
	at = place(h.Start().Namesrv)
	c.verify(t, at, c.ends())
	h.Stop()
	loseDisk(t, h)
	at = place(h.Start().Namesrv)
	c.verify(t, at, c.ends())
	h.Stop()
}

// outage is a load at a steady rate.
type outage struct {
	*ledger

	at      place
	rate    int64 // bytes a second
	acked   atomic.Int64
	bytes   atomic.Int64 // acknowledged
	read    atomic.Int64 // next offset of the reader
	refused atomic.Int64
	refusal atomic.Value // a remark
}

const (
	outageBody  = 16 << 10
	objectStall = 10500 * time.Millisecond // after which sends of class object are refused
)

func (o *outage) start(t *testing.T) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	p := o.at.producer(t)
	const senders = 8
	for range senders {
		wg.Go(func() {
			tick := time.NewTicker(time.Second * outageBody * senders / time.Duration(o.rate))
			defer tick.Stop()
			for ctx.Err() == nil {
				<-tick.C
				first, bodies := o.begin(0, 1, false)
				m := &client.Message{Topic: "orders", Queue: &client.Queue{}, Body: bodies[0], Properties: map[string]string{}}
				if n := outageBody - len(bodies[0]); n > 0 {
					m.Properties["pad"] = strings.Repeat("x", n)
				}
				r, err := p.Send(ctx, m)
				switch o.end(first, []client.SendResult{r}, err) {
				case acked:
					o.acked.Add(1)
					o.bytes.Add(outageBody)
				case refused:
					var e *client.Error
					if !errors.As(err, &e) || e.Code != client.CodeSystemBusy {
						o.add("a refusal that is not SYSTEM_BUSY: %v", err)
						return
					}
					o.refused.Add(1)
					o.refusal.CompareAndSwap(nil, e.Remark)
				default:
					if ctx.Err() == nil {
						o.add("a send with an unknown outcome: %v", err)
					}
				}
			}
		})
	}
	r := o.at.reader(t)
	wg.Go(func() {
		s, err := r.Open(ctx, "orders", client.First())
		if err != nil {
			o.add("open: %v", err)
			return
		}
		defer func() { _ = s.Close() }()
		for due := int64(0); ; {
			m, err := s.Next(ctx)
			if err != nil {
				if ctx.Err() == nil {
					o.add("the reader at offset %d: %v", due, err)
				}
				return
			}
			due = o.observe(0, due, m)
			o.read.Store(due)
		}
	})
	stop = sync.OnceFunc(func() {
		cancel()
		wg.Wait()
	})
	t.Cleanup(stop)
	return stop
}

// complains checks that whoever asks is told.
func (o *outage) complains(t *testing.T, p *brokertest.Process) {
	t.Helper()
	if n := p.Metric(t, "varve_seal_failures_total", ""); n == 0 {
		t.Error("no failures of sealing are counted")
	}
	if n := p.Metric(t, "varve_seal_backlog_bytes", ""); n < outageBody {
		t.Errorf("%v bytes of backlog", n)
	}
	code, body := p.Get(t, "/readyz")
	if code != 200 {
		t.Errorf("readyz: %d", code)
	}
	says(t, "readyz", body, "ready", "sealing into object storage has failed")
	says(t, "status", o.at.cli(t, "status"), "sealing", "has failed for")
}
