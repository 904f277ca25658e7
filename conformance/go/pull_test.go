package conformance

import (
	"errors"
	"testing"
	"time"

	rocketmq "github.com/apache/rocketmq-client-go/v2"
	"github.com/apache/rocketmq-client-go/v2/consumer"
	"github.com/apache/rocketmq-client-go/v2/primitive"
)

func (c *clients) pull(topic string) rocketmq.PullConsumer {
	c.t.Helper()
	pc, err := rocketmq.NewPullConsumer(
		consumer.WithNameServer(c.namesrv),
		consumer.WithGroupName(c.group()),
		consumer.WithInstance(c.instance()),
		consumer.WithConsumeFromWhere(consumer.ConsumeFromFirstOffset),
	)
	if err != nil {
		c.t.Fatalf("new pull consumer: %v", err)
	}
	if err := pc.Subscribe(topic, consumer.MessageSelector{Type: consumer.TAG, Expression: "*"}); err != nil {
		c.t.Fatalf("subscribe: %v", err)
	}
	if err := pc.Start(); err != nil {
		c.t.Fatalf("start pull consumer: %v", err)
	}
	c.t.Cleanup(func() { _ = pc.Shutdown() })
	return pc
}

// TestPullFrom reads one queue from an offset of the caller's choice and gets what is there, in order.
func TestPullFrom(t *testing.T) {
	t.Parallel()
	c := newClients(t)
	p := c.producer()
	topic := c.createTopic(p)
	var batch []*primitive.Message
	for range 10 {
		batch = append(batch, message(topic, "t", "body"))
	}
	queue := sendOK(t, p, batch...).MessageQueue
	pc := c.pull(topic)
	probe, err := pc.PullFrom(t.Context(), queue, 0, 1)
	if err != nil || probe.Status != primitive.PullFound {
		t.Fatalf("pull at 0: %v, %v", probe, err)
	}
	top := probe.MaxOffset
	result, err := pc.PullFrom(t.Context(), queue, top-7, 5)
	if err != nil || result.Status != primitive.PullFound {
		t.Fatalf("pull at %d: %v, %v", top-7, result, err)
	}
	messages := result.GetMessageExts()
	if len(messages) != 5 || result.NextBeginOffset != top-2 || result.MinOffset != 0 {
		t.Fatalf("%d messages: %v", len(messages), result)
	}
	for i, m := range messages {
		if m.QueueOffset != top-7+int64(i) {
			t.Errorf("message %d has offset %d", i, m.QueueOffset)
		}
	}
}

// TestPullPoll consumes with assignment by the group, acknowledges, and finds nothing again after a restart.
func TestPullPoll(t *testing.T) {
	t.Parallel()
	c := newClients(t)
	p := c.producer()
	topic := c.createTopic(p)
	want := send(t, p, topic, "first", 40)
	pc := c.pull(topic)
	got := &received{}
	poll(t, pc, got, want)
	if err := pc.PersistOffset(t.Context(), topic); err != nil {
		t.Fatal(err)
	}
	if err := pc.Shutdown(); err != nil {
		t.Fatal(err)
	}
	awaitExactly(t, want, got)

	more := send(t, p, topic, "second", 10)
	rest := &received{}
	poll(t, c.pull(topic), rest, more)
	awaitExactly(t, more, rest)
}

func poll(t *testing.T, pc rocketmq.PullConsumer, into *received, want []string) {
	t.Helper()
	eventually(t, "polled messages", func() bool {
		request, err := pc.Poll(t.Context(), 500*time.Millisecond)
		if err == nil {
			into.add(request.GetMsgList()...)
			pc.ACK(t.Context(), request, consumer.ConsumeSuccess)
		} else if !errors.Is(err, consumer.ErrNoNewMsg) {
			t.Fatalf("poll: %v", err)
		}
		return len(into.bodies()) >= len(want)
	})
}
