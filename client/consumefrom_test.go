package client_test

import (
	"bytes"
	"context"
	"log/slog"
	"slices"
	"time"

	"github.com/varvemq/varve/client"
)

// starter is a new group and what it is to receive first.
type starter struct {
	name string
	from client.Position
	want string
	got  chan string
}

func (s *starter) handle(_ context.Context, m *client.MessageExt) error {
	select {
	case s.got <- string(m.Body):
	default: // the first ones matter
	}
	return nil
}

// integrationConsumeFrom: a new group begins where it says, also in a topic that was made a moment ago.
func integrationConsumeFrom(e *env) {
	t := e.t
	e.create(1)
	p := e.producer()
	send := func(body string) {
		t.Helper()
		if _, err := p.Send(t.Context(), &client.Message{Topic: e.topic, Body: []byte(body)}); err != nil {
			t.Fatal(err)
		}
	}
	send("old")
	time.Sleep(20 * time.Millisecond)
	middle := time.Now()
	time.Sleep(20 * time.Millisecond)
	send("newer")
	starters := []*starter{
		{name: "last", from: client.Last(), want: "newest"},
		{name: "time", from: client.AtTime(middle), want: "newer"},
		{name: "future", from: client.AtTime(time.Now().Add(time.Hour)), want: "newest"},
		{name: "first", from: client.First(), want: "old"},
	}
	for _, s := range starters {
		s.got = make(chan string, 1)
		e.consume(name("G"), s.handle, client.WithConsumeFrom(s.from), client.WithConcurrency(1))
	}
	sendUntil := time.Now().Add(60 * time.Second)
	for _, s := range starters {
		e.expectFirst(s, sendUntil, func() { send("newest") })
	}
}

// expectFirst sends until the group receives something: it begins when it is ready.
func (e *env) expectFirst(s *starter, until time.Time, send func()) {
	e.t.Helper()
	for time.Now().Before(until) {
		select {
		case body := <-s.got:
			if body != s.want {
				e.t.Errorf("%s: the first message is %q, want %q", s.name, body, s.want)
			}
			return
		case <-time.After(100 * time.Millisecond):
			send()
		}
	}
	e.t.Errorf("%s: no message", s.name)
}

// integrationLateTopic: a group that waits for a topic misses nothing of it once it is there.
func integrationLateTopic(e *env) {
	s := &starter{name: "late topic", want: "first", got: make(chan string, 1)}
	seen := make(warning, 1)
	logged := *e
	logged.opts = append(slices.Clone(e.opts), client.WithLogger(slog.New(slog.NewTextHandler(seen, nil))))
	c, _ := logged.consume(name("G"), s.handle, client.WithConcurrency(1))
	<-seen // that there is no such topic
	e.create(1)
	p := e.producer()
	for _, body := range []string{"first", "second"} {
		if _, err := p.Send(e.t.Context(), &client.Message{Topic: e.topic, Body: []byte(body)}); err != nil {
			e.t.Fatal(err)
		}
	}
	e.expectFirst(s, time.Now().Add(60*time.Second), func() {})
	e.eventually(30*time.Second, "queue taken", func() bool { return len(c.Assigned()[e.topic]) == 1 })
}

// warning has an element once a topic without a route was logged.
type warning chan struct{}

func (w warning) Write(p []byte) (int, error) {
	if bytes.Contains(p, []byte("topic has no route")) {
		select {
		case w <- struct{}{}:
		default:
		}
	}
	return len(p), nil
}
