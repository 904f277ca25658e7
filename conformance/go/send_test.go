package conformance

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/apache/rocketmq-client-go/v2/primitive"
)

func TestSendSync(t *testing.T) {
	t.Parallel()
	c := newClients(t)
	p := c.producer()
	topic := c.createTopic(p)
	result := sendOK(t, p, message(topic, "t", "hello").WithKeys([]string{"a", "b"}))
	if result.MsgID == "" || result.OffsetMsgID == "" || result.MessageQueue.Topic != topic {
		t.Fatalf("incomplete result %v", result)
	}
	_, got := c.push(c.group(), topic, "*")
	awaitExactly(t, []string{"hello"}, got)
	m := got.all()[0]
	if m.MsgId != result.MsgID || m.QueueOffset != result.QueueOffset || m.GetKeys() != "a b" || m.GetTags() != "t" {
		t.Fatalf("sent %v, received %v", result, m)
	}
}

func TestSendAsync(t *testing.T) {
	t.Parallel()
	c := newClients(t)
	p := c.producer()
	topic := c.createTopic(p)
	var (
		done sync.WaitGroup
		mu   sync.Mutex
		bad  []string
		want []string
	)
	for i := range 50 {
		body := fmt.Sprintf("async-%d", i)
		want = append(want, body)
		done.Add(1)
		err := p.SendAsync(t.Context(), func(_ context.Context, result *primitive.SendResult, err error) {
			defer done.Done()
			if err != nil || result.Status != primitive.SendOK {
				mu.Lock()
				defer mu.Unlock()
				bad = append(bad, fmt.Sprintf("%s: %v %v", body, result, err))
			}
		}, message(topic, "t", body))
		if err != nil {
			t.Fatal(err)
		}
	}
	done.Wait()
	if len(bad) > 0 {
		t.Fatal(strings.Join(bad, "\n"))
	}
	_, got := c.push(c.group(), topic, "*")
	awaitExactly(t, want, got)
}

func TestSendOneWay(t *testing.T) {
	t.Parallel()
	c := newClients(t)
	p := c.producer()
	topic := c.createTopic(p)
	var want []string
	for i := range 20 {
		body := fmt.Sprintf("oneway-%d", i)
		want = append(want, body)
		if err := p.SendOneWay(t.Context(), message(topic, "t", body)); err != nil {
			t.Fatal(err)
		}
	}
	_, got := c.push(c.group(), topic, "*")
	awaitExactly(t, want, got)
}

func TestSendBatch(t *testing.T) {
	t.Parallel()
	c := newClients(t)
	p := c.producer()
	topic := c.createTopic(p)
	var (
		messages []*primitive.Message
		want     []string
	)
	for i := range 20 {
		body := fmt.Sprintf("batch-%d", i)
		want = append(want, body)
		messages = append(messages, message(topic, fmt.Sprintf("t%d", i%2), body))
	}
	sendOK(t, p, messages...)
	_, got := c.push(c.group(), topic, "*")
	awaitExactly(t, want, got)
	queue := got.all()[0].Queue.QueueId
	for _, m := range got.all() {
		var i int
		if _, err := fmt.Sscanf(string(m.Body), "batch-%d", &i); err != nil {
			t.Fatal(err)
		}
		if m.Queue.QueueId != queue || m.GetTags() != fmt.Sprintf("t%d", i%2) || m.MsgId == "" {
			t.Errorf("item %d: %v", i, m)
		}
	}
}

func TestSendCompressed(t *testing.T) {
	t.Parallel()
	c := newClients(t)
	p := c.producer()
	topic := c.createTopic(p)
	body := strings.Repeat("varve ", 20_000)
	sendOK(t, p, message(topic, "t", body))
	_, got := c.push(c.group(), topic, "*")
	eventually(t, "the message", func() bool { return len(got.all()) == 1 })
	m := got.all()[0]
	if !bytes.Equal(m.Body, []byte(body)) {
		t.Errorf("the body differs, %d bytes", len(m.Body))
	}
	if m.StoreSize >= 4096 {
		t.Errorf("stored size %d", m.StoreSize)
	}
}
