package tiertest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"testing"
	"time"

	"github.com/varvemq/varve/client"
)

// stepTimeout bounds each step that waits for a broker.
const stepTimeout = 60 * time.Second

// place is where clients reach a broker: the address of its name server.
type place string

func (at place) option() client.Option { return client.WithNameServers(string(at)) }

func (at place) admin(t testing.TB) *client.Admin {
	t.Helper()
	c, err := client.NewAdmin(at.option(), client.WithRequestTimeout(20*time.Second))
	must(t, err)
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// producer returns one that tries once, so that the outcome of each attempt is known.
func (at place) producer(t testing.TB) *client.Producer {
	t.Helper()
	c, err := client.NewProducer(at.option(), client.WithRetries(0), client.WithSendTimeout(30*time.Second))
	must(t, err)
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func (at place) reader(t testing.TB) *client.Reader {
	t.Helper()
	c, err := client.NewReader(at.option())
	must(t, err)
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func (at place) createTopic(t testing.TB, name string, queues int, attributes map[string]string) {
	t.Helper()
	must(t, at.admin(t).CreateTopic(t.Context(), client.TopicConfig{Name: name, ReadQueues: queues, WriteQueues: queues, Attributes: attributes}))
}

func (at place) send(t testing.TB, topic string, queue int, body string) client.SendResult {
	t.Helper()
	r, err := at.producer(t).Send(t.Context(), &client.Message{Topic: topic, Queue: &client.Queue{ID: queue}, Body: []byte(body)})
	if err != nil {
		t.Fatalf("send to queue %d of %s: %v", queue, topic, err)
	}
	return r
}

// bounds returns the first and the next offset of a queue.
func (at place) bounds(t testing.TB, topic string, queue int) (first, next int64) {
	t.Helper()
	a := at.admin(t)
	first, err := a.MinOffset(t.Context(), topic, client.Queue{ID: queue})
	must(t, err)
	next, err = a.MaxOffset(t.Context(), topic, client.Queue{ID: queue})
	must(t, err)
	return first, next
}

// readQueue reads a queue from an offset to its present end.
func readQueue(ctx context.Context, r *client.Reader, topic string, queue int, from int64, take func(*client.MessageExt) error, opts ...client.ReadOption) error {
	ctx, cancel := context.WithTimeout(ctx, 30*stepTimeout)
	defer cancel()
	s, err := r.Open(ctx, topic, client.AtOffset(from), append(opts, client.OnQueue(client.Queue{ID: queue}), client.UntilEnd())...)
	if err != nil {
		return fmt.Errorf("open queue %d of %s: %w", queue, topic, err)
	}
	defer func() { _ = s.Close() }()
	for {
		m, err := s.Next(ctx)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err == nil {
			err = take(m)
		}
		if err != nil {
			return fmt.Errorf("queue %d of %s: %w", queue, topic, err)
		}
	}
}

// bodies reads a whole queue.
func (at place) bodies(t testing.TB, topic string, queue int) (bodies []string) {
	t.Helper()
	must(t, readQueue(t.Context(), at.reader(t), topic, queue, 0, func(m *client.MessageExt) error {
		bodies = append(bodies, string(m.Body))
		return nil
	}))
	return bodies
}

// tryCLI runs a command of varve against the broker.
func (at place) tryCLI(t testing.TB, args ...string) (out string, err error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 10*stepTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, varve(t), append(args, "--server", string(at), "--timeout", "60s")...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return stdout.String(), fmt.Errorf("varve %v: %w: %s", args, err, stderr.String())
	}
	return stdout.String(), nil
}

func (at place) cli(t testing.TB, args ...string) string {
	t.Helper()
	out, err := at.tryCLI(t, args...)
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return out
}
