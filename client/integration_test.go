package client_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/varvemq/varve/broker"
	"github.com/varvemq/varve/broker/brokertest"
	"github.com/varvemq/varve/client"
)

// TestIntegration runs against a Varve broker in this process, or, if
// VARVE_TEST_NAMESRV holds the address of a name server such as 127.0.0.1:9876,
// against that one: Varve or Apache RocketMQ (conformance/reference/run.sh
// --hold starts it).
func TestIntegration(t *testing.T) {
	t.Parallel()
	addr := os.Getenv("VARVE_TEST_NAMESRV")
	if addr == "" {
		if testing.Short() {
			t.Skip("starts a broker")
		}
		addr = brokertest.Start(t, broker.Config{}).Addrs.Namesrv
	}
	for _, tt := range []struct {
		name string
		test func(*env)
	}{
		{"Send", integrationSend},
		{"AutoCreate", integrationAutoCreate},
		{"Compression", integrationCompression},
		{"Async", integrationAsync},
		{"Push", integrationPush},
		{"Rebalance", integrationRebalance},
		{"ConsumeFrom", integrationConsumeFrom},
		{"LateTopic", integrationLateTopic},
		{"Orderly", integrationOrderly},
		{"DeadLetter", integrationDeadLetter},
		{"Broadcast", integrationBroadcast},
		{"Reader", integrationReader},
		{"Admin", integrationAdmin},
		{"Reset", integrationReset},
		{"Delay", integrationDelay},
		{"Wire", integrationWire},
		{"SQL", integrationSQL},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			tt.test(newEnv(t, addr))
		})
	}
}

type env struct {
	t     *testing.T
	addr  string
	opts  []client.Option
	admin *client.Admin
	topic string
}

func newEnv(t *testing.T, addr string) *env {
	t.Helper()
	e := &env{t: t, addr: addr, opts: []client.Option{client.WithNameServers(addr)}, topic: name("T")}
	if testing.Verbose() {
		e.opts = append(e.opts, client.WithLogger(slog.New(slog.NewTextHandler(t.Output(), nil))))
	}
	var err error
	if e.admin, err = client.NewAdmin(e.opts...); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = e.admin.Close() })
	return e
}

// create creates the topic.
func (e *env) create(queues int) {
	e.t.Helper()
	if err := e.admin.CreateTopic(e.t.Context(), client.TopicConfig{Name: e.topic, ReadQueues: queues, WriteQueues: queues}); err != nil {
		e.t.Fatal(err)
	}
	e.awaitTopic()
}

var counter atomic.Int64

func name(prefix string) string {
	return fmt.Sprintf("%s-%d-%d", prefix, time.Now().UnixNano(), counter.Add(1))
}

func (e *env) awaitTopic() {
	e.t.Helper()
	e.eventually(10*time.Second, "topic is known", func() bool {
		_, err := e.admin.DescribeTopic(e.t.Context(), e.topic)
		return err == nil
	})
}

func (e *env) eventually(d time.Duration, what string, f func() bool) {
	e.t.Helper()
	for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if f() {
			return
		}
	}
	e.t.Fatalf("not within %v: %s", d, what)
}

func (e *env) producer(opts ...client.Option) *client.Producer {
	e.t.Helper()
	p, err := client.NewProducer(append(slices.Clone(e.opts), opts...)...)
	if err != nil {
		e.t.Fatal(err)
	}
	e.t.Cleanup(func() { _ = p.Close() })
	return p
}

// consume runs a consumer until the returned function is called, or the test ends.
func (e *env) consume(group string, h client.Handler, opts ...client.Option) (*client.PushConsumer, func()) {
	e.t.Helper()
	c, err := client.NewPushConsumer(group, h, append(slices.Clone(e.opts), opts...)...)
	if err != nil {
		e.t.Fatal(err)
	}
	if err := c.Subscribe(e.topic, "*"); err != nil {
		e.t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- c.Run(e.t.Context()) }()
	var once sync.Once
	stop := func() {
		once.Do(func() {
			if err := c.Close(); err != nil {
				e.t.Error(err)
			}
			if err := <-done; err != nil {
				e.t.Error(err)
			}
		})
	}
	e.t.Cleanup(stop)
	return c, stop
}

// readAll returns what the topic holds.
func (e *env) readAll(opts ...client.ReadOption) []*client.MessageExt {
	e.t.Helper()
	r, err := client.NewReader(e.opts...)
	if err != nil {
		e.t.Fatal(err)
	}
	defer r.Close()
	s, err := r.Open(e.t.Context(), e.topic, client.First(), append(opts, client.UntilEnd())...)
	if err != nil {
		e.t.Fatal(err)
	}
	defer s.Close()
	var out []*client.MessageExt
	for m, err := range s.All(e.t.Context()) {
		if err != nil {
			e.t.Fatal(err)
		}
		out = append(out, m)
	}
	return out
}

// awaitVisible waits until the topic shows that many messages. Varve's does so before it answers a send, RocketMQ's a moment later.
func (e *env) awaitVisible(n int64) {
	e.t.Helper()
	if os.Getenv("VARVE_TEST_NAMESRV") == "" {
		return
	}
	e.eventually(30*time.Second, fmt.Sprintf("%d messages", n), func() bool {
		info, err := e.admin.DescribeTopic(e.t.Context(), e.topic)
		if err != nil {
			e.t.Fatal(err)
		}
		sum := int64(0)
		for _, q := range info.Queues {
			sum += q.Messages()
		}
		return sum >= n
	})
}

func integrationSend(e *env) {
	t := e.t
	e.create(2)
	p := e.producer()
	res, err := p.Send(t.Context(), &client.Message{
		Topic: e.topic, Tag: "a", Keys: []string{"k1", "k2"}, Body: []byte("one"),
		Properties: map[string]string{"colour": "red"}, Queue: &client.Queue{ID: 1},
	})
	if err != nil {
		t.Fatal(err)
	}
	if res.Offset != 0 || res.Queue.ID != 1 || res.MsgID == "" || res.OffsetMsgID == "" || res.Status != client.SendOK {
		t.Errorf("result %+v", res)
	}
	if err := p.SendOneway(t.Context(), &client.Message{Topic: e.topic, Body: []byte("two"), Queue: &client.Queue{ID: 1}}); err != nil {
		t.Fatal(err)
	}
	e.eventually(5*time.Second, "one-way message", func() bool {
		n, err := e.admin.MaxOffset(t.Context(), e.topic, client.Queue{ID: 1})
		return err == nil && n == 2
	})
	batch, err := p.SendBatch(t.Context(), []*client.Message{
		{Topic: e.topic, Body: []byte("three"), Queue: &client.Queue{ID: 1}}, {Topic: e.topic, Body: []byte("four")},
	})
	if err != nil {
		t.Fatal(err)
	}
	if batch[0].Offset != 2 || batch[1].Offset != 3 || batch[0].OffsetMsgID == batch[1].OffsetMsgID {
		t.Errorf("results %+v", batch)
	}
	ms := e.readAll(client.OnQueue(client.Queue{ID: 1}))
	if len(ms) != 4 {
		t.Fatalf("%d messages", len(ms))
	}
	m := ms[0]
	if string(m.Body) != "one" || m.Tag != "a" || !slices.Equal(m.Keys, []string{"k1", "k2"}) || m.Properties["colour"] != "red" ||
		m.MsgID != res.MsgID || m.OffsetMsgID != res.OffsetMsgID || m.Attempt != 1 {
		t.Errorf("message %+v", m)
	}
	if string(ms[3].Body) != "four" || ms[3].MsgID != batch[1].MsgID {
		t.Errorf("message %+v", ms[3])
	}
}

func integrationAutoCreate(e *env) {
	t := e.t
	p := e.producer()
	for range 3 {
		if _, err := p.Send(t.Context(), &client.Message{Topic: e.topic, Body: []byte("x")}); err != nil {
			t.Fatal(err)
		}
	}
	e.awaitTopic()
	e.awaitVisible(3)
	if ms := e.readAll(); len(ms) != 3 {
		t.Errorf("%d messages", len(ms))
	}
}

func integrationCompression(e *env) {
	t := e.t
	e.create(1)
	p := e.producer(client.WithCompression(1000))
	body := make([]byte, 50000)
	if _, err := p.Send(t.Context(), &client.Message{Topic: e.topic, Body: body}); err != nil {
		t.Fatal(err)
	}
	e.awaitVisible(1)
	if ms := e.readAll(); len(ms) != 1 || !slices.Equal(ms[0].Body, body) {
		t.Errorf("%d messages", len(ms))
	}
}

func integrationAsync(e *env) {
	t := e.t
	e.create(4)
	var batches atomic.Int64
	p := e.producer(client.WithHooks(client.Hooks{
		BatchSent: func(string, int, int, time.Duration, error) { batches.Add(1) },
	}))
	const n = 20000
	keys := []string{"", "a", "b", "c"}
	var bad, good atomic.Int64
	start := time.Now()
	for i := range n {
		err := p.SendAsync(t.Context(), &client.Message{
			Topic: e.topic, Body: fmt.Appendf(nil, "%06d", i), ShardingKey: keys[i%len(keys)],
		}, func(_ client.SendResult, err error) {
			if err != nil {
				bad.Add(1)
				return
			}
			good.Add(1)
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := p.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d messages in %d batches, %v", n, batches.Load(), time.Since(start))
	if bad.Load() != 0 || good.Load() != n {
		t.Fatalf("%d good, %d bad", good.Load(), bad.Load())
	}
	e.awaitVisible(n)
	ms := e.readAll()
	if len(ms) != n {
		t.Fatalf("%d messages", len(ms))
	}
	type place struct {
		q client.Queue
		k string
	}
	last := make(map[place]string)
	queueOf := make(map[string]client.Queue)
	for _, m := range ms {
		k := m.Properties["__SHARDINGKEY"]
		if k == "" {
			continue
		}
		if q, ok := queueOf[k]; ok && q != m.Queue {
			t.Fatalf("key %s in two queues", k)
		}
		queueOf[k] = m.Queue
		if b := string(m.Body); b <= last[place{m.Queue, k}] {
			t.Fatalf("key %s: %s after %s", k, b, last[place{m.Queue, k}])
		}
		last[place{m.Queue, k}] = string(m.Body)
	}
}

func integrationPush(e *env) {
	t := e.t
	e.create(4)
	group := name("G")
	var mu sync.Mutex
	seen := make(map[string]int)
	h := func(_ context.Context, m *client.MessageExt) error {
		mu.Lock()
		defer mu.Unlock()
		seen[string(m.Body)]++
		if string(m.Body) == "7" && m.Attempt == 1 {
			return client.RetryLater(1)
		}
		return nil
	}
	_, stop := e.consume(group, h, client.WithConsumeFrom(client.First()))
	p := e.producer()
	const n = 100
	for i := range n {
		if _, err := p.Send(t.Context(), &client.Message{Topic: e.topic, Body: fmt.Append(nil, i)}); err != nil {
			t.Fatal(err)
		}
	}
	e.eventually(60*time.Second, "all messages, and one twice", func() bool {
		mu.Lock()
		defer mu.Unlock()
		return len(seen) == n && seen["7"] == 2
	})
	stop()
	g, err := e.admin.DescribeGroup(t.Context(), group)
	if err != nil {
		t.Fatal(err)
	}
	var total int64
	for _, q := range g.Progress {
		if q.Topic == e.topic {
			total += q.Committed
		}
	}
	if total != n || g.Online {
		t.Errorf("committed %d, online %v: %+v", total, g.Online, g)
	}
}

func integrationRebalance(e *env) {
	t := e.t
	e.create(6)
	group := name("G")
	var count atomic.Int64
	h := func(context.Context, *client.MessageExt) error { count.Add(1); return nil }
	a, _ := e.consume(group, h, client.WithConsumeFrom(client.First()))
	e.eventually(30*time.Second, "a has all", func() bool { return len(a.Assigned()[e.topic]) == 6 })
	b, stopB := e.consume(group, h, client.WithConsumeFrom(client.First()))
	e.eventually(30*time.Second, "a and b share", func() bool {
		return len(a.Assigned()[e.topic]) == 3 && len(b.Assigned()[e.topic]) == 3
	})
	p := e.producer()
	for range 60 {
		if _, err := p.Send(t.Context(), &client.Message{Topic: e.topic, Body: []byte("x")}); err != nil {
			t.Fatal(err)
		}
	}
	e.eventually(30*time.Second, "all messages", func() bool { return count.Load() >= 60 })
	stopB()
	e.eventually(30*time.Second, "a has all again", func() bool { return len(a.Assigned()[e.topic]) == 6 })
	time.Sleep(time.Second)
	if n := count.Load(); n != 60 {
		t.Errorf("%d deliveries of 60 messages", n)
	}
	g, err := e.admin.DescribeGroup(t.Context(), group)
	if err != nil || !g.Online || len(g.Members) != 1 || g.Subscriptions[e.topic] != "*" {
		t.Errorf("group %+v, %v", g, err)
	}
}

func integrationOrderly(e *env) {
	t := e.t
	e.create(4)
	p := e.producer()
	const keys, each = 5, 40
	for i := range each {
		for k := range keys {
			if _, err := p.Send(t.Context(), &client.Message{
				Topic: e.topic, Body: fmt.Append(nil, i), ShardingKey: fmt.Sprint("key", k),
			}); err != nil {
				t.Fatal(err)
			}
		}
	}
	var mu sync.Mutex
	next := make(map[string]int)
	failed := false
	var faults []string
	total := 0
	h := func(_ context.Context, m *client.MessageExt) error {
		mu.Lock()
		defer mu.Unlock()
		k := m.Properties["__SHARDINGKEY"]
		if fmt.Sprint(next[k]) != string(m.Body) {
			faults = append(faults, fmt.Sprintf("%s: %s instead of %d", k, m.Body, next[k]))
		}
		if k == "key2" && next[k] == 10 && !failed {
			failed = true
			return errors.New("once")
		}
		next[k]++
		total++
		return nil
	}
	e.consume(name("G"), h, client.WithOrderly(), client.WithConsumeFrom(client.First()), client.WithRetryPause(50*time.Millisecond))
	e.eventually(60*time.Second, "all in order", func() bool {
		mu.Lock()
		defer mu.Unlock()
		return total == keys*each
	})
	if len(faults) > 0 {
		t.Error(faults)
	}
}

func integrationDeadLetter(e *env) {
	t := e.t
	for _, orderly := range []bool{false, true} {
		t.Run(fmt.Sprintf("orderly=%v", orderly), func(t *testing.T) {
			t.Parallel()
			e := newEnv(t, e.addr)
			e.create(1)
			group := name("G")
			opts := []client.Option{client.WithConsumeFrom(client.First())}
			if orderly {
				opts = append(opts, client.WithOrderly())
			}
			e.consume(group, func(context.Context, *client.MessageExt) error { return client.DeadLetter() }, opts...)
			p := e.producer()
			if _, err := p.Send(t.Context(), &client.Message{Topic: e.topic, Body: []byte("bad")}); err != nil {
				t.Fatal(err)
			}
			e.topic = "%DLQ%" + group
			e.eventually(40*time.Second, "dead letter", func() bool {
				n, err := e.admin.MaxOffset(t.Context(), e.topic, client.Queue{})
				return err == nil && n == 1
			})
			if ms := e.readAll(); len(ms) != 1 || string(ms[0].Body) != "bad" {
				t.Errorf("%+v", ms)
			}
		})
	}
}

func integrationBroadcast(e *env) {
	t := e.t
	e.create(2)
	group, file := name("G"), t.TempDir()+"/offsets.json"
	var a, b atomic.Int64
	_, stop := e.consume(group, func(context.Context, *client.MessageExt) error { a.Add(1); return nil },
		client.WithBroadcasting(file), client.WithConsumeFrom(client.First()))
	e.consume(group, func(context.Context, *client.MessageExt) error { b.Add(1); return nil },
		client.WithBroadcasting(""), client.WithConsumeFrom(client.First()))
	p := e.producer()
	for range 10 {
		if _, err := p.Send(t.Context(), &client.Message{Topic: e.topic, Body: []byte("x")}); err != nil {
			t.Fatal(err)
		}
	}
	e.eventually(30*time.Second, "both have all", func() bool { return a.Load() == 10 && b.Load() == 10 })
	stop()
	if _, err := p.Send(t.Context(), &client.Message{Topic: e.topic, Body: []byte("x")}); err != nil {
		t.Fatal(err)
	}
	e.consume(group, func(context.Context, *client.MessageExt) error { a.Add(1); return nil },
		client.WithBroadcasting(file), client.WithConsumeFrom(client.First()))
	e.eventually(30*time.Second, "goes on where it was", func() bool { return b.Load() == 11 && a.Load() == 11 })
}

func integrationReader(e *env) {
	t := e.t
	e.create(1)
	p := e.producer()
	send := func(tag string) {
		t.Helper()
		if _, err := p.Send(t.Context(), &client.Message{Topic: e.topic, Tag: tag, Body: []byte(tag)}); err != nil {
			t.Fatal(err)
		}
	}
	for range 5 {
		send("old")
	}
	time.Sleep(20 * time.Millisecond)
	middle := time.Now()
	time.Sleep(20 * time.Millisecond)
	for range 5 {
		send("new")
	}
	r, err := client.NewReader(e.opts...)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for _, tt := range []struct {
		name string
		from client.Position
		opts []client.ReadOption
		want []int64
	}{
		{"first", client.First(), nil, []int64{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}},
		{"offset", client.AtOffset(8), nil, []int64{8, 9}},
		{"time", client.AtTime(middle), nil, []int64{5, 6, 7, 8, 9}},
		{"last", client.Last(), nil, nil},
		{"beyond", client.AtOffset(1000), nil, nil},
		{"tag", client.First(), []client.ReadOption{client.WithTags("new || other")}, []int64{5, 6, 7, 8, 9}},
	} {
		s, err := r.Open(t.Context(), e.topic, tt.from, append(tt.opts, client.UntilEnd())...)
		if err != nil {
			t.Fatal(tt.name, err)
		}
		var got []int64
		for m, err := range s.All(t.Context()) {
			if err != nil {
				t.Fatal(tt.name, err)
			}
			got = append(got, m.Offset)
		}
		_ = s.Close()
		if !slices.Equal(got, tt.want) {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
	s, err := r.Open(t.Context(), e.topic, client.Last())
	if err != nil {
		t.Fatal(err)
	}
	time.AfterFunc(300*time.Millisecond, func() { _, _ = p.Send(t.Context(), &client.Message{Topic: e.topic, Body: []byte("live")}) })
	m, err := s.Next(t.Context())
	if err != nil || string(m.Body) != "live" || m.Offset != 10 {
		t.Errorf("%+v, %v", m, err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := s.Next(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("next with nothing there: %v", err)
	}
	_ = s.Close()
	if _, err := s.Next(t.Context()); !errors.Is(err, client.ErrClosed) || errors.Is(err, io.EOF) {
		t.Errorf("next after close: %v", err)
	}
}

func integrationAdmin(e *env) {
	t := e.t
	e.create(2)
	ctx := t.Context()
	if err := e.admin.CreateTopic(ctx, client.TopicConfig{Name: e.topic}); !errors.Is(err, client.ErrExists) {
		t.Errorf("create again: %v", err)
	}
	topics, err := e.admin.ListTopics(ctx)
	if err != nil || !slices.Contains(topics, e.topic) {
		t.Errorf("topics %v, %v", topics, err)
	}
	p := e.producer()
	q := client.Queue{ID: 0}
	var ids []client.SendResult
	for i := range 10 {
		res, err := p.Send(ctx, &client.Message{Topic: e.topic, Queue: &q, Keys: []string{fmt.Sprint("key", i%2)}, Body: fmt.Append(nil, i)})
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, res)
	}
	info, err := e.admin.DescribeTopic(ctx, e.topic)
	if err != nil || info.ReadQueues != 2 || len(info.Queues) != 2 || info.Queues[0].Messages() != 10 || info.Queues[0].LastUpdate.IsZero() {
		t.Errorf("topic %+v, %v", info, err)
	}
	brokers, err := e.admin.Brokers(ctx)
	if err != nil || len(brokers) == 0 {
		t.Fatal(brokers, err)
	}
	status, err := e.admin.BrokerStatus(ctx, brokers[0].Addr)
	if err != nil || len(status) == 0 {
		t.Errorf("status %v, %v", status, err)
	}

	group := name("G")
	if _, err := e.admin.DescribeGroup(ctx, group); !errors.Is(err, client.ErrNotFound) {
		t.Errorf("no such group: %v", err)
	}
	if err := e.admin.CreateGroup(ctx, group, 3); err != nil {
		t.Error(err)
	}
	groups, err := e.admin.ListGroups(ctx)
	if err != nil || !slices.Contains(groups, group) {
		t.Errorf("groups %v, %v", groups, err)
	}
	if _, err := e.admin.CommittedOffset(ctx, group, e.topic, q); !errors.Is(err, client.ErrNotFound) {
		t.Errorf("nothing committed: %v", err)
	}
	if err := e.admin.CommitOffset(ctx, group, e.topic, q, 4); err != nil {
		t.Error(err)
	}
	if n, err := e.admin.CommittedOffset(ctx, group, e.topic, q); n != 4 || err != nil {
		t.Errorf("committed %d, %v", n, err)
	}
	g, err := e.admin.DescribeGroup(ctx, group)
	if err != nil || g.Online || g.Lag() < 6 {
		t.Errorf("group %+v, %v", g, err)
	}
	for _, to := range []client.Position{client.First(), client.Last(), client.AtOffset(7)} {
		if _, err := e.admin.ResetOffset(ctx, group, e.topic, to); err != nil {
			t.Errorf("reset to %+v: %v", to, err)
		}
	}
	if n, err := e.admin.OffsetAt(ctx, e.topic, q, time.Now().Add(-time.Hour)); n != 0 || err != nil {
		t.Errorf("offset an hour ago %d, %v", n, err)
	}
	e.eventually(10*time.Second, "messages are indexed", func() bool {
		ms, err := e.admin.QueryByKey(ctx, e.topic, "key1", client.KeyQuery{})
		return err == nil && len(ms) == 5
	})
	for _, id := range []string{ids[3].MsgID, ids[3].OffsetMsgID} {
		m, err := e.admin.ViewMessage(ctx, e.topic, id)
		if err != nil || m.Offset != 3 || string(m.Body) != "3" {
			t.Errorf("view %s: %+v, %v", id, m, err)
		}
	}
	if _, err := e.admin.ViewMessage(ctx, e.topic, "0A0000010000000000000000000000FF"); !errors.Is(err, client.ErrNotFound) {
		t.Errorf("no such message: %v", err)
	}
	if err := e.admin.DeleteGroup(ctx, group); err != nil {
		t.Error(err)
	}
	if err := e.admin.DeleteTopic(ctx, e.topic); err != nil {
		t.Error(err)
	}
	e.eventually(10*time.Second, "topic is gone", func() bool {
		_, err := e.admin.DescribeTopic(ctx, e.topic)
		return errors.Is(err, client.ErrNoRoute)
	})
	if err := e.admin.DeleteTopic(ctx, e.topic); !errors.Is(err, client.ErrNotFound) {
		t.Errorf("delete again: %v", err)
	}
}

func integrationReset(e *env) {
	t := e.t
	e.create(1)
	group := name("G")
	var count atomic.Int64
	e.consume(group, func(context.Context, *client.MessageExt) error { count.Add(1); return nil }, client.WithConsumeFrom(client.First()))
	p := e.producer()
	for range 10 {
		if _, err := p.Send(t.Context(), &client.Message{Topic: e.topic, Body: []byte("x")}); err != nil {
			t.Fatal(err)
		}
	}
	e.eventually(30*time.Second, "all messages", func() bool { return count.Load() == 10 })
	if _, err := e.admin.ResetOffset(t.Context(), group, e.topic, client.AtOffset(4)); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Send(t.Context(), &client.Message{Topic: e.topic, Body: []byte("x")}); err != nil {
		t.Fatal(err)
	}
	e.eventually(40*time.Second, "the last seven again", func() bool { return count.Load() >= 17 })
}

func integrationDelay(e *env) {
	t := e.t
	e.create(1)
	p := e.producer()
	got := make(chan *client.MessageExt, 10)
	e.consume(name("G"), func(_ context.Context, m *client.MessageExt) error { got <- m; return nil }, client.WithConsumeFrom(client.First()))
	start := time.Now()
	errs := make(chan error, 1)
	if err := p.SendAsync(t.Context(), &client.Message{Topic: e.topic, Body: []byte("later"), DelayLevel: 2},
		func(_ client.SendResult, err error) { errs <- err }); err != nil {
		t.Fatal(err)
	}
	if err := <-errs; err != nil {
		t.Fatal(err)
	}
	select {
	case m := <-got:
		if d := time.Since(start); d < 4500*time.Millisecond || string(m.Body) != "later" {
			t.Errorf("%s after %v", m.Body, d)
		}
	case <-time.After(40 * time.Second):
		t.Error("not delivered")
	}
}
