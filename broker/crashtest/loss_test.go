package crashtest

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/varvemq/varve/broker/brokertest"
	"github.com/varvemq/varve/client"
)

// TestTailLoss kills a broker with the embedded etcd and takes its log away, several times: it starts only when the loss is accepted, and then no offset is
// used twice, and a group goes on with the next message. (Guarantees 2, 6 and 10.)
func TestTailLoss(t *testing.T) {
	t.Parallel()
	h := newHost(t, "varve")
	plain := h.Args
	p := h.Start()
	createTopic(t, p, mainTopic, 1)
	for i := range 5 {
		if sent := sendOne(t, p, fmt.Sprint("first ", i)); sent.Offset != int64(i) {
			t.Fatalf("message %d has offset %d", i, sent.Offset)
		}
	}
	a := adminOf(t, p)
	if err := a.CreateGroup(t.Context(), group, 0); err != nil {
		t.Fatal(err)
	}
	if err := a.CommitOffset(t.Context(), group, mainTopic, client.Queue{}, 5); err != nil {
		t.Fatal(err)
	}
	_ = a.Close()
	time.Sleep(commitLag)
	for loss := int64(1); loss <= 2; loss++ {
		h.Kill()
		if err := os.RemoveAll(filepath.Join(h.Data(), "wal")); err != nil {
			t.Fatal(err)
		}
		h.Args = plain
		if tail := h.Refuse(); !strings.Contains(tail, "--accept-tail-loss") {
			t.Fatalf("loss %d: the broker ended otherwise\n%s", loss, tail)
		}
		h.Args = append(slices.Clip(plain), "--accept-tail-loss", "all")
		p = h.Start()
		body := fmt.Sprint("after loss ", loss)
		if sent := sendOne(t, p, body); sent.Offset != loss<<30 {
			t.Errorf("loss %d: the next message has offset %d", loss, sent.Offset)
		}
		h.Kill()
		p = h.Start() // once more: the log is there, and nothing is lost
		if sent := sendOne(t, p, body+" again"); sent.Offset != loss<<30+1 {
			t.Errorf("loss %d, restarted: the next message has offset %d", loss, sent.Offset)
		}
		receive(t, p, body, body+" again")
		createTopic(t, p, fmt.Sprint("new-", loss), 1)
	}
}

func sendOne(t *testing.T, p *brokertest.Process, body string) client.SendResult {
	t.Helper()
	c := producerOf(t, p)
	defer func() { _ = c.Close() }()
	sent, err := c.Send(t.Context(), &client.Message{Topic: mainTopic, Body: []byte(body)})
	if err != nil {
		t.Fatal(err)
	}
	return sent
}

// receive expects the group's next messages, whose bodies are sorted.
func receive(t *testing.T, p *brokertest.Process, bodies ...string) {
	t.Helper()
	var mu sync.Mutex
	var got []string
	all := make(chan struct{})
	c, err := client.NewPushConsumer(group, func(_ context.Context, m *client.MessageExt) error {
		mu.Lock()
		defer mu.Unlock()
		if got = append(got, string(m.Body)); len(got) == len(bodies) {
			close(all)
		}
		return nil
	}, optionOf(p), client.WithConsumeFrom(client.First()))
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Subscribe(mainTopic, "*"); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- c.Run(t.Context()) }()
	select {
	case <-all:
	case <-time.After(stepTimeout):
		t.Error("the group gets nothing")
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	<-done
	mu.Lock()
	defer mu.Unlock()
	slices.Sort(got) // handlers run side by side
	if !slices.Equal(got, bodies) {
		t.Errorf("the group got %q, not %q", got, bodies)
	}
}
