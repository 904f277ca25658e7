package broker_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/varvemq/varve/broker"
	"github.com/varvemq/varve/broker/brokertest"
	"github.com/varvemq/varve/client"
)

// TestShutdown: five times over, a broker is shut down in order under load. It ends soon and without an error although clients are connected, and what was
// acknowledged, committed or delayed is there afterwards; offsets stay dense. (Guarantees 1, 2 and 6.)
func TestShutdown(t *testing.T) {
	t.Parallel()
	cfg := broker.Config{DataDir: t.TempDir()}
	b := brokertest.Start(t, cfg)
	createTopic(t, b.Addrs, "orders", 2)
	createTopic(t, b.Addrs, "later", 1)
	must(t, newAdmin(t, b.Addrs).CreateGroup(t.Context(), "committed", 16))
	cfg.NamesrvListen, cfg.BrokerListen = b.Addrs.Namesrv, b.Addrs.Broker // where the clients are that stay
	acked, delayed := &counter{}, &counter{}
	for life := range 5 {
		if life > 0 {
			b = brokertest.Start(t, cfg)
		}
		var consumed counter
		group := fmt.Sprintf("group-%d", life)
		stop := consume(t, b.Addrs, group, "orders", consumed.handle, client.WithCommitInterval(50*time.Millisecond))
		l := startLoad(t, b.Addrs, "orders", 8)
		eventually(t, 30*time.Second, "messages flow", func() bool { return l.acked.size() > 50 && consumed.size() > 50 })
		admin := newAdmin(t, b.Addrs)
		must(t, admin.CommitOffset(t.Context(), "committed", "orders", client.Queue{ID: 0}, int64(life+7))) // just before the end
		body := fmt.Sprintf("delayed-%d", life)
		_, err := newProducer(t, b.Addrs).Send(t.Context(), &client.Message{Topic: "later", Body: []byte(body), DelayLevel: 1 + life%2})
		must(t, err)
		delayed.add(body)
		began := time.Now()
		if err := b.Stop(); err != nil {
			t.Errorf("life %d: %v", life, err)
		}
		if took := time.Since(began); took > 5*time.Second {
			t.Errorf("life %d: the shutdown took %v", life, took)
		}
		l.stop()
		defer stop()
		for body := range l.acked.m {
			acked.add(fmt.Sprintf("%d:%s", life, body))
		}
	}
	b = brokertest.Start(t, cfg)
	stored := readAll(t, b.Addrs, "orders")
	for body := range acked.m {
		var life int
		var rest string
		_, err := fmt.Sscanf(body, "%d:%s", &life, &rest)
		must(t, err)
		if stored[rest] == 0 {
			t.Errorf("message %s is lost", body)
		}
	}
	off, err := newAdmin(t, b.Addrs).CommittedOffset(t.Context(), "committed", "orders", client.Queue{ID: 0})
	if err != nil || off != 11 {
		t.Errorf("committed %d, want 11: %v", off, err)
	}
	var late counter
	_ = consume(t, b.Addrs, "late", "later", late.handle)
	eventually(t, 30*time.Second, "delayed messages are delivered", func() bool { return len(late.missing(delayed)) == 0 })
	time.Sleep(200 * time.Millisecond)
	for body, n := range readAll(t, b.Addrs, "later") {
		if n != 1 {
			t.Errorf("%s was delivered %d times", body, n)
		}
	}
	t.Logf("%d acknowledged in five lives", acked.size())
}

// TestDelay: retries end in the dead-letter topic after the group's maximum, and what is due for a topic that was deleted is dropped with a log line.
func TestDelay(t *testing.T) {
	t.Parallel()
	var logs logBuffer
	b := brokertest.Start(t, broker.Config{Logger: logs.logger()})
	createTopic(t, b.Addrs, "orders", 1)
	createTopic(t, b.Addrs, "gone", 1)
	admin := newAdmin(t, b.Addrs)
	must(t, admin.CreateGroup(t.Context(), "group", 2))
	p := newProducer(t, b.Addrs)
	var attempts counter
	_ = consume(t, b.Addrs, "group", "orders", func(_ context.Context, m *client.MessageExt) error {
		attempts.add(fmt.Sprint(m.Attempt))
		if m.Attempt > 1 && m.Topic != "orders" && m.Topic != "%RETRY%group" {
			t.Errorf("attempt %d came by topic %s", m.Attempt, m.Topic)
		}
		return client.RetryLater(1)
	})
	_, err := p.Send(t.Context(), &client.Message{Topic: "orders", Body: []byte("poison"), Keys: []string{"k"}, Tag: "tag"})
	must(t, err)
	sent := time.Now()
	for range 3 {
		_, err = p.Send(t.Context(), &client.Message{Topic: "gone", Body: []byte("for nobody"), DelayLevel: 1})
		must(t, err)
	}
	must(t, admin.DeleteTopic(t.Context(), "gone"))
	eventually(t, 30*time.Second, "the poison is a dead letter", func() bool {
		d, err := admin.DescribeTopic(t.Context(), "%DLQ%group")
		return err == nil && len(d.Queues) == 1 && d.Queues[0].Max == 1
	})
	if took := time.Since(sent); took < 2*time.Second {
		t.Errorf("two retries of a second each took %v", took)
	}
	for attempt, want := range map[string]int{"1": 1, "2": 1, "3": 1, "4": 0} {
		if n := attempts.has(attempt); n != want {
			t.Errorf("%d attempts number %s, want %d", n, attempt, want)
		}
	}
	if n := readAll(t, b.Addrs, "%DLQ%group")["poison"]; n != 1 {
		t.Errorf("%d dead letters", n)
	}
	eventually(t, 10*time.Second, "the messages for nobody are dropped", func() bool { return len(logs.lines("its topic is gone")) == 3 })
}
