package broker_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/varvemq/varve/broker"
	"github.com/varvemq/varve/broker/brokertest"
	"github.com/varvemq/varve/client"
)

// outageRun is a broker under load on an external etcd.
type outageRun struct {
	t        *testing.T
	etcd     *brokertest.Etcd
	cfg      broker.Config
	b        *brokertest.Broker
	logs     *logBuffer
	load     *load
	consumed counter
	stop     func() // the consumer
}

func newOutageRun(t *testing.T, ttl time.Duration) *outageRun {
	t.Helper()
	o := &outageRun{t: t, etcd: brokertest.StartEtcd(t), logs: &logBuffer{}}
	o.cfg = broker.Config{DataDir: t.TempDir(), Etcd: []string{o.etcd.URL}, LeaseTTL: ttl, Logger: o.logs.logger()}
	o.b = brokertest.Start(t, o.cfg)
	createTopic(t, o.b.Addrs, "orders", 4)
	o.stop = consume(t, o.b.Addrs, "group", "orders", o.consumed.handle, client.WithCommitInterval(100*time.Millisecond))
	o.load = startLoad(t, o.b.Addrs, "orders", 4)
	o.moves(30 * time.Second)
	return o
}

// moves waits until messages are acknowledged and consumed that were not before.
func (o *outageRun) moves(d time.Duration) {
	o.t.Helper()
	acked, consumed := o.load.acked.size(), o.consumed.size()
	eventually(o.t, d, "sends and pulls go on", func() bool { return o.load.acked.size() >= acked+20 && o.consumed.size() >= consumed+20 })
}

// finish ends the run, and finds every acknowledged message consumed and stored, and the committed offsets in etcd after a restart.
func (o *outageRun) finish() {
	o.t.Helper()
	o.load.stop()
	eventually(o.t, 30*time.Second, "everything that was acknowledged is consumed", func() bool { return len(o.consumed.missing(&o.load.acked)) == 0 })
	o.stop()
	if err := o.b.Stop(); err != nil {
		o.t.Errorf("stop: %v", err)
	}
	o.b = brokertest.Start(o.t, o.cfg)
	stored := readAll(o.t, o.b.Addrs, "orders")
	for body, n := range stored {
		if n != 1 {
			o.t.Errorf("message %s is stored %d times", body, n)
		}
	}
	for _, body := range o.consumed.missing(&o.load.acked) {
		o.t.Errorf("message %s was acknowledged and never consumed", body)
	}
	lost := 0
	o.load.acked.mu.Lock()
	for body := range o.load.acked.m {
		if stored[body] == 0 {
			lost++
		}
	}
	o.load.acked.mu.Unlock()
	if lost > 0 {
		o.t.Errorf("%d acknowledged messages are lost", lost)
	}
	g, err := newAdmin(o.t, o.b.Addrs).DescribeGroup(o.t.Context(), "group")
	must(o.t, err)
	for _, p := range g.Progress {
		if p.Topic == "orders" && p.Committed != p.Max {
			o.t.Errorf("queue %d: %d is committed of %d", p.ID, p.Committed, p.Max)
		}
	}
	o.t.Logf("%d acknowledged, %d unknown, refusals: %v", len(o.load.acked.m), len(o.load.unknown.m), o.load.refused.m)
}

// committed waits until the group has committed something of what was sent lately, in the broker's memory at least.
func (o *outageRun) committed() int64 {
	o.t.Helper()
	sum := int64(0)
	for i := range 4 {
		n, err := newAdmin(o.t, o.b.Addrs).CommittedOffset(o.t.Context(), "group", "orders", client.Queue{ID: i})
		if err == nil {
			sum += n
		}
	}
	return sum
}

// TestOutageWithinLease: etcd is away for less than the lease. Nobody notices but the log. With VARVE_LONG the 20 s of a lease of 30 s.
func TestOutageWithinLease(t *testing.T) {
	t.Parallel()
	ttl, away := 20*time.Second, 5*time.Second // a busy machine takes seconds to start etcd again
	if long() {
		ttl, away = 30*time.Second, 20*time.Second
	}
	o := newOutageRun(t, ttl)
	eventually(t, 10*time.Second, "progress is committed", func() bool { return o.committed() > 0 })
	o.etcd.Stop()
	before := o.committed()
	for end := time.Now().Add(away); time.Now().Before(end); {
		o.moves(3 * time.Second)
		if code, body := get(t, o.b.Addrs, "/readyz"); code != 200 {
			t.Errorf("readyz: %d %s", code, body)
		}
	}
	eventually(t, time.Second, "offsets are committed without etcd", func() bool { return o.committed() > before })
	eventually(t, 20*time.Second, "the outage is logged", func() bool { return len(o.logs.lines("etcd does not answer")) == 1 })
	o.etcd.Start()
	o.moves(5 * time.Second)
	eventually(t, 20*time.Second, "the recovery is logged", func() bool { return len(o.logs.lines("etcd answers again")) == 1 })
	if refused, unknown := o.load.refused.size(), o.load.unknown.size(); refused > 0 || unknown > 0 {
		t.Errorf("sends failed: %d kinds of refusals, %d of unknown outcome", refused, unknown)
	}
	if n := len(o.logs.lines("level=WARN")) + len(o.logs.lines("level=ERROR")); n != 1 {
		t.Errorf("%d warnings, want one: %s", n, strings.Join(append(o.logs.lines("level=WARN"), o.logs.lines("level=ERROR")...), "\n"))
	}
	o.finish()
}

// TestOutageBeyondLease: etcd is away for longer than the lease. Nothing is acknowledged once it has run out, the refusals say why, and everything goes
// on by itself afterwards. (Guarantee 5.) With VARVE_LONG a lease of 30 s.
func TestOutageBeyondLease(t *testing.T) {
	t.Parallel()
	ttl, away := 2*time.Second, 3*time.Second
	if long() {
		ttl, away = 30*time.Second, 45*time.Second
	}
	o := newOutageRun(t, ttl)
	o.etcd.Stop()
	down := time.Now()
	eventually(t, ttl+time.Second, "readyz says no", func() bool {
		code, body := get(t, o.b.Addrs, "/readyz")
		return code == 503 && strings.Contains(body, "lease") && strings.Contains(body, "etcd")
	})
	if since := time.Since(down); since > ttl {
		t.Errorf("the lease of %v was thought to hold for %v", ttl, since)
	}
	time.Sleep(50 * time.Millisecond) // what was decided before is on its way
	acked := o.load.acked.size()
	p := newProducer(t, o.b.Addrs, client.WithRetries(0))
	_, err := p.Send(t.Context(), &client.Message{Topic: "orders", Body: []byte("fenced")})
	if err == nil || !strings.Contains(err.Error(), "lease") || client.OutcomeUnknown(err) || !client.Retriable(err) {
		t.Errorf("a send without the lease: %v", err)
	}
	var refusal *client.Error
	if !errors.As(err, &refusal) || refusal.Code != client.CodeSystemBusy {
		t.Errorf("not SYSTEM_BUSY: %v", err)
	}
	if code, _ := get(t, o.b.Addrs, "/healthz"); code != 200 {
		t.Errorf("healthz: %d", code)
	}
	time.Sleep(time.Until(down.Add(away)))
	if n := o.load.acked.size(); n != acked {
		t.Errorf("%d messages were acknowledged without the lease", n-acked)
	}
	o.etcd.Start()
	eventually(t, 20*time.Second, "readyz says yes", func() bool {
		code, _ := get(t, o.b.Addrs, "/readyz")
		return code == 200
	})
	o.moves(10 * time.Second)
	eventually(t, 20*time.Second, "the recovery is logged", func() bool { return len(o.logs.lines("etcd answers again")) == 1 })
	if n := len(o.logs.lines("etcd does not answer")); n != 1 {
		t.Errorf("%d lines of the outage", n)
	}
	o.finish()
}

// TestTakeover: a shard has one owner. A second broker with another disk is refused while the first lives; once its lease has ended, because the tail
// would be lost; and when that is accepted, the first, which was cut off all the time, has acknowledged nothing since. (Guarantees 5 and 10.)
func TestTakeover(t *testing.T) {
	t.Parallel()
	const ttl = 2 * time.Second
	etcd := brokertest.StartEtcd(t)
	link := newLink(t, etcd.URL)
	bucket := t.TempDir()
	var logs logBuffer
	first := brokertest.Start(t, broker.Config{Etcd: []string{link.url}, ObjectStore: bucket, LeaseTTL: ttl, Logger: logs.logger()})
	createTopic(t, first.Addrs, "orders", 2)
	second := broker.Config{DataDir: t.TempDir(), Etcd: []string{etcd.URL}, ObjectStore: bucket, LeaseTTL: ttl}
	_ = refused(t, second, "varve-a", "alive")

	admin := newAdmin(t, first.Addrs)
	must(t, admin.CreateGroup(t.Context(), "group", 16))
	l := startLoad(t, first.Addrs, "orders", 4)
	eventually(t, 20*time.Second, "sends are acknowledged", func() bool { return l.acked.size() > 20 })
	link.cut()
	eventually(t, 20*time.Second, "the lease has ended", func() bool {
		err := refused(t, second)
		return !strings.Contains(err.Error(), "alive")
	})
	before := l.acked.size()
	err := refused(t, second, "--accept-tail-loss=varve-a", "messages that are only there would be lost")
	t.Log(err)
	second.AcceptTailLoss = "varve-a"
	b := brokertest.Start(t, second)
	createTopicOrHave(t, b.Addrs, "orders", 2)
	sent, err := newProducer(t, b.Addrs).Send(t.Context(), &client.Message{Topic: "orders", Body: []byte("new owner")})
	if err != nil || sent.Offset != 1<<30 { // no offset is used twice
		t.Errorf("the new owner: offset %d, %v", sent.Offset, err)
	}
	if err := admin.CommitOffset(t.Context(), "group", "orders", client.Queue{ID: 0}, 1); err != nil {
		t.Logf("the stale owner refuses a commit: %v", err) // or keeps it in memory: etcd shall not have it
	}
	link.heal()
	select {
	case <-first.Ended():
	case <-time.After(30 * time.Second):
		t.Fatal("the stale broker goes on")
	}
	if err := first.Stop(); err == nil || !strings.Contains(err.Error(), "another owner") {
		t.Errorf("the stale broker ended with: %v", err)
	}
	l.stop()
	if n := l.acked.size(); n != before {
		t.Errorf("the stale broker acknowledged %d messages", n-before)
	}
	if off, err := newAdmin(t, b.Addrs).CommittedOffset(t.Context(), "group", "orders", client.Queue{ID: 0}); err == nil && off > 0 {
		t.Errorf("the stale broker's commit of %d is there", off)
	}
	if n := oldestOf(t, b.Addrs, "orders"); n != "new owner" { // read from the beginning, through the hole
		t.Errorf("the reader found %q", n)
	}
	must(t, b.Stop())
	b = brokertest.Start(t, second) // the holes are as they were
	sent, err = newProducer(t, b.Addrs).Send(t.Context(), &client.Message{Topic: "orders", Queue: &client.Queue{ID: sent.Queue.ID}, Body: []byte("next")})
	if err != nil || sent.Offset != 1<<30+1 {
		t.Errorf("after a restart: offset %d, %v", sent.Offset, err)
	}
	must(t, b.Stop())
	_ = refused(t, broker.Config{DataDir: first.Dir, Etcd: []string{etcd.URL}, ObjectStore: bucket}, "move it away") // its tail was given up
}

func createTopicOrHave(t *testing.T, a broker.Addrs, name string, queues int) {
	t.Helper()
	err := newAdmin(t, a).CreateTopic(t.Context(), client.TopicConfig{Name: name, ReadQueues: queues, WriteQueues: queues})
	if err != nil && !strings.Contains(fmt.Sprint(err), "exists") {
		t.Fatal(err)
	}
}

// TestTakeBack: the same disk takes its shard back at once, whatever is left of the lease, and loses nothing.
func TestTakeBack(t *testing.T) {
	t.Parallel()
	etcd := brokertest.StartEtcd(t)
	link := newLink(t, etcd.URL)
	cfg := broker.Config{DataDir: t.TempDir(), Etcd: []string{link.url}, LeaseTTL: time.Minute}
	b := brokertest.Start(t, cfg)
	createTopic(t, b.Addrs, "orders", 1)
	p := newProducer(t, b.Addrs)
	for i := range 10 {
		_, err := p.Send(t.Context(), &client.Message{Topic: "orders", Body: fmt.Append(nil, i)})
		must(t, err)
	}
	link.cut() // so that it cannot release its shard
	if err := b.Stop(); err == nil {
		t.Error("a broker that could not release its shard says nothing")
	}
	link.heal()
	began := time.Now()
	b = brokertest.Start(t, cfg)
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("the start took %v", took)
	}
	if n := len(readAll(t, b.Addrs, "orders")); n != 10 {
		t.Errorf("%d messages, want 10", n)
	}
}

// oldestOf reads the first message that a topic still has.
func oldestOf(t *testing.T, a broker.Addrs, topic string) string {
	t.Helper()
	r, err := client.NewReader(at(a))
	must(t, err)
	defer r.Close()
	s, err := r.Open(t.Context(), topic, client.First())
	must(t, err)
	defer s.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	m, err := s.Next(ctx)
	must(t, err)
	return string(m.Body)
}
