package client

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/varvemq/varve/internal/message"
	"github.com/varvemq/varve/internal/remoting"
)

func TestSendRetries(t *testing.T) {
	t.Parallel()
	answer := func(code int32) func(*fakeConn, *remoting.Command) bool {
		return func(c *fakeConn, cmd *remoting.Command) bool {
			c.reply(cmd, code, "scripted", nil)
			return true
		}
	}
	silence := func(*fakeConn, *remoting.Command) bool { return true }
	hangUp := func(c *fakeConn, _ *remoting.Command) bool { _ = c.nc.Close(); return true }
	garbage := func(c *fakeConn, _ *remoting.Command) bool {
		c.raw([]byte{0, 0, 0, 8, 9, 0, 0, 0, 1, 2, 3, 4})
		return true
	}
	huge := func(c *fakeConn, _ *remoting.Command) bool { c.raw([]byte{0x7f, 0xff, 0xff, 0xff}); return true }
	noIDs := func(c *fakeConn, cmd *remoting.Command) bool { c.reply(cmd, 0, "", nil); return true }
	dup := []Option{WithDuplicatesAllowed()}
	for _, tt := range []struct {
		name               string
		answer             func(*fakeConn, *remoting.Command) bool
		opts               []Option
		tries              int
		retriable, unknown bool
		code               Code
		is                 error
	}{
		{"busy", answer(2), nil, 3, true, false, CodeSystemBusy, nil},
		{"busy, no retries", answer(2), []Option{WithRetries(0)}, 1, true, false, CodeSystemBusy, nil},
		{"stopping", answer(14), nil, 3, true, false, CodeServiceNotAvailable, nil},
		{"no permission", answer(16), nil, 1, false, false, CodeNoPermission, nil},
		{"illegal", answer(13), nil, 1, false, false, CodeMessageIllegal, nil},
		{"illegal, duplicates", answer(13), dup, 1, false, false, CodeMessageIllegal, nil},
		{"system error", answer(1), nil, 1, true, true, CodeSystemError, nil},
		{"system error, duplicates", answer(1), dup, 3, true, true, CodeSystemError, nil},
		{"no topic", answer(17), nil, 3, true, false, CodeTopicNotExist, ErrNotFound},
		{"silence", silence, nil, 1, true, true, CodeNone, context.DeadlineExceeded},
		{"silence, duplicates", silence, dup, 3, true, true, CodeNone, context.DeadlineExceeded},
		{"hang-up", hangUp, nil, 1, true, true, CodeNone, nil},
		{"hang-up, duplicates", hangUp, dup, 3, true, true, CodeNone, nil},
		{"garbage", garbage, nil, 1, true, true, CodeNone, ErrMalformed},
		{"huge frame", huge, nil, 1, true, true, CodeNone, ErrMalformed},
		{"answer without fields", noIDs, nil, 1, true, true, CodeNone, ErrMalformed},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := newFake(t, 2)
			s.on(remoting.ReqSendMessageV2, tt.answer)
			p := s.producer(append(tt.opts, WithSendTimeout(150*time.Millisecond))...)
			_, err := p.Send(t.Context(), &Message{Topic: "t", Body: []byte("x")})
			var e *Error
			if !errors.As(err, &e) || e.Code != tt.code || e.Op != "send" {
				t.Fatalf("error %v", err)
			}
			if Retriable(err) != tt.retriable || OutcomeUnknown(err) != tt.unknown {
				t.Errorf("retriable %v, unknown %v: %v", Retriable(err), OutcomeUnknown(err), err)
			}
			if tt.is != nil && !errors.Is(err, tt.is) {
				t.Errorf("%v is not %v", err, tt.is)
			}
			if n := len(s.sends()); n != tt.tries {
				t.Errorf("%d tries, want %d", n, tt.tries)
			}
		})
	}
}

func TestSendAfterFailures(t *testing.T) {
	t.Parallel()
	s := newFake(t, 1)
	var n atomic.Int64
	s.on(remoting.ReqSendMessageV2, func(c *fakeConn, cmd *remoting.Command) bool {
		if n.Add(1) > 2 {
			return false
		}
		c.reply(cmd, remoting.RespSystemBusy, "flow control", nil)
		return true
	})
	if _, err := s.producer().Send(t.Context(), &Message{Topic: "t"}); err != nil {
		t.Error(err)
	}
}

func TestReconnect(t *testing.T) {
	t.Parallel()
	s := newFake(t, 1)
	gone := make(chan struct{}, 10)
	p := s.producer(WithHooks(Hooks{Disconnected: func(string, error) { gone <- struct{}{} }}))
	for range 5 {
		if _, err := p.Send(t.Context(), &Message{Topic: "t"}); err != nil {
			t.Fatal(err)
		}
		s.dropAll()
		<-gone
	}
	if n := s.connections(); n < 5 {
		t.Errorf("%d connections", n)
	}
}

func TestServerComesBack(t *testing.T) {
	t.Parallel()
	s := newFake(t, 1)
	gone := make(chan struct{}, 10)
	p := s.producer(WithHooks(Hooks{Disconnected: func(string, error) { gone <- struct{}{} }}))
	if _, err := p.Send(t.Context(), &Message{Topic: "t"}); err != nil {
		t.Fatal(err)
	}
	addr := s.addr()
	s.close()
	<-gone // before, the outcome of a send would be unknown
	errs := make(chan error, 1)
	go func() {
		_, err := p.Send(t.Context(), &Message{Topic: "t"})
		errs <- err
	}()
	time.Sleep(300 * time.Millisecond)
	s2 := startFake(t, 1, addr)
	if err := <-errs; err != nil {
		t.Errorf("send while the server restarts: %v", err)
	}
	if n := len(s2.sends()); n != 1 {
		t.Errorf("%d sends", n)
	}
}

func TestServerAway(t *testing.T) {
	t.Parallel()
	s := newFake(t, 1)
	gone := make(chan struct{}, 10)
	p := s.producer(WithSendTimeout(200*time.Millisecond), WithHooks(Hooks{Disconnected: func(string, error) { gone <- struct{}{} }}))
	if _, err := p.Send(t.Context(), &Message{Topic: "t"}); err != nil {
		t.Fatal(err)
	}
	s.close()
	<-gone
	_, err := p.Send(t.Context(), &Message{Topic: "t"})
	if err == nil || !Retriable(err) || OutcomeUnknown(err) {
		t.Errorf("retriable %v, unknown %v: %v", Retriable(err), OutcomeUnknown(err), err)
	}
}

func TestGoAway(t *testing.T) {
	t.Parallel()
	s := newFake(t, 1)
	var first atomic.Pointer[fakeConn]
	s.on(remoting.ReqSendMessageV2, func(c *fakeConn, cmd *remoting.Command) bool {
		first.CompareAndSwap(nil, c)
		if first.Load() != c {
			return false
		}
		c.reply(cmd, remoting.RespGoAway, "draining", nil)
		return true
	})
	p := s.producer(WithRetries(0))
	if _, err := p.Send(t.Context(), &Message{Topic: "t"}); err != nil {
		t.Error(err)
	}
}

func TestOutOfOrderResponses(t *testing.T) {
	t.Parallel()
	s := newFake(t, 1)
	var mu sync.Mutex
	var held []*remoting.Command
	const n = 20
	s.on(remoting.ReqSendMessageV2, func(c *fakeConn, cmd *remoting.Command) bool {
		mu.Lock()
		defer mu.Unlock()
		if held = append(held, cmd); len(held) == n {
			for _, h := range slices.Backward(held) {
				c.reply(h, 0, "", nil, "msgId", string(h.Body), "queueId", "0", "queueOffset", "7")
			}
		}
		return true
	})
	p := s.producer()
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			body := fmt.Sprintf("id%d", i)
			res, err := p.Send(t.Context(), &Message{Topic: "t", Body: []byte(body)})
			if err != nil || res.OffsetMsgID != body || res.Offset != 7 {
				t.Errorf("%+v, %v", res, err)
			}
		})
	}
	wg.Wait()
	if n := s.connections(); n != 1 {
		t.Errorf("%d connections", n)
	}
}

func TestBatching(t *testing.T) {
	t.Parallel()
	s := newFake(t, 4)
	release := make(chan struct{})
	s.on(remoting.ReqSendMessageV2, func(c *fakeConn, cmd *remoting.Command) bool {
		go func() {
			<-release
			c.serve(cmd)
		}()
		return true
	})
	p := s.producer(WithBatching(1<<20, 100))
	key := []string{"", "k"}
	type res struct {
		i int
		r SendResult
	}
	got := make(chan res, 1000)
	const n = 500
	for i := range n {
		if err := p.SendAsync(t.Context(), &Message{Topic: "t", Body: fmt.Append(nil, i), ShardingKey: key[i%2]}, func(r SendResult, err error) {
			if err != nil {
				t.Error(err)
			}
			got <- res{i, r}
		}); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "idle queues send at once", func() bool { return len(s.sends()) == 5 })
	time.Sleep(50 * time.Millisecond)
	if k := len(s.sends()); k != 5 { // 4 without a key, 1 with
		t.Errorf("%d requests in flight", k)
	}
	close(release)
	if err := p.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	close(got)
	if k := len(s.sends()); k > 5+3+4 {
		t.Errorf("%d requests for %d messages", k, n)
	}
	seen := make(map[int]bool)
	lastKeyed := -1
	for r := range got {
		seen[r.i] = true
		v, err := message.Parse(s.stored[int32(r.r.Queue.ID)][r.r.Offset])
		if err != nil || string(v.Body()) != fmt.Sprint(r.i) || message.PropertyString(v.Properties(), message.PropertyUniqKey) != r.r.MsgID ||
			message.OffsetID(v.StoreHost(), v.PhysicalOffset()) != r.r.OffsetMsgID {
			t.Fatalf("message %d: result %+v, stored %s", r.i, r.r, v.Body())
		}
		if r.i%2 == 1 {
			if r.i < lastKeyed {
				t.Fatalf("keyed message %d after %d", r.i, lastKeyed)
			}
			lastKeyed = r.i
		}
	}
	if len(seen) != n {
		t.Errorf("%d results", len(seen))
	}
}

func TestBackPressure(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		opt  Option
	}{{"messages", WithMaxInFlightMessages(10)}, {"bytes", WithMaxInFlightBytes(12000)}} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := newFake(t, 1)
			release := make(chan struct{})
			hold := func(c *fakeConn, cmd *remoting.Command) bool {
				go func() {
					<-release
					c.serve(cmd)
				}()
				return true
			}
			s.on(remoting.ReqSendMessageV2, hold)
			s.on(remoting.ReqSendBatchMessage, hold)
			p, q := s.producer(tt.opt), s.producer(tt.opt, WithNonBlocking())
			m := &Message{Topic: "t", Body: make([]byte, 1000)}
			var done atomic.Int64
			count := func(SendResult, error) { done.Add(1) }
			taken := 0
			for ; ; taken++ {
				ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
				err := p.SendAsync(ctx, m, count)
				cancel()
				if err != nil {
					if !errors.Is(err, context.DeadlineExceeded) {
						t.Fatal(err)
					}
					break
				}
			}
			full := 0
			for ; ; full++ {
				if err := q.SendAsync(t.Context(), m, count); err != nil {
					if !errors.Is(err, ErrBufferFull) || !Retriable(err) {
						t.Fatal(err)
					}
					break
				}
			}
			if taken < 9 || taken > 11 || full != taken {
				t.Errorf("%d and %d taken", taken, full)
			}
			errs := make(chan error, 1)
			go func() { errs <- p.SendAsync(t.Context(), m, count) }()
			close(release)
			if err := <-errs; err != nil {
				t.Error(err)
			}
			if err := errors.Join(p.Close(), q.Close()); err != nil {
				t.Error(err)
			}
			if n := done.Load(); n != int64(taken+full+1) {
				t.Errorf("%d functions called, %d taken", n, taken+full+1)
			}
			if err := p.SendAsync(t.Context(), m, nil); !errors.Is(err, ErrClosed) {
				t.Error(err)
			}
			if _, err := p.Send(t.Context(), m); !errors.Is(err, ErrClosed) {
				t.Error(err)
			}
		})
	}
}

func TestAsyncFailure(t *testing.T) {
	t.Parallel()
	s := newFake(t, 1)
	refuse := func(c *fakeConn, cmd *remoting.Command) bool {
		c.reply(cmd, remoting.RespMessageIllegal, "no", nil)
		return true
	}
	s.on(remoting.ReqSendMessageV2, refuse)
	s.on(remoting.ReqSendBatchMessage, refuse)
	p := s.producer()
	var failed atomic.Int64
	for range 50 {
		if err := p.SendAsync(t.Context(), &Message{Topic: "t"}, func(r SendResult, err error) {
			if codeOf(err) == CodeMessageIllegal && r.MsgID != "" {
				failed.Add(1)
			}
		}); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.Flush(t.Context()); err != nil || failed.Load() != 50 {
		t.Errorf("%d failed, %v", failed.Load(), err)
	}
}

func TestInvalidMessages(t *testing.T) {
	t.Parallel()
	s := newFake(t, 1)
	p := s.producer()
	for _, m := range []*Message{
		nil,
		{},
		{Topic: "white space"},
		{Topic: "t", Keys: []string{"a b"}},
		{Topic: "t", Tag: "a\x01b"},
		{Topic: "t", DelayLevel: -1},
		{Topic: "t", DelayLevel: 1, DeliverAt: time.Now()},
		{Topic: "t", Properties: map[string]string{"KEYS": "x"}},
		{Topic: "t", Properties: map[string]string{"a": ""}},
		{Topic: "t", Properties: map[string]string{"a": string(make([]byte, 40000))}},
	} {
		if _, err := p.Send(t.Context(), m); !errors.Is(err, ErrInvalid) || Retriable(err) {
			t.Errorf("%+v: %v", m, err)
		}
		if err := p.SendAsync(t.Context(), m, nil); !errors.Is(err, ErrInvalid) {
			t.Errorf("%+v: %v", m, err)
		}
	}
	if err := p.Flush(t.Context()); err != nil {
		t.Error(err)
	}
	if len(s.sends()) != 0 {
		t.Error("something was sent")
	}
	_, err := p.Send(t.Context(), &Message{Topic: "t", Queue: &Queue{ID: 9}})
	if !errors.Is(err, ErrNoRoute) {
		t.Errorf("queue that is not there: %v", err)
	}
}

func TestOptions(t *testing.T) {
	t.Parallel()
	_, err := NewProducer(WithNameServers("nonsense"), WithRetries(-1), WithOrderly(), WithSendTimeout(0), WithBatching(1, 1<<20))
	for _, part := range []string{"WithNameServers", "WithRetries", "WithOrderly", "WithSendTimeout", "WithBatching"} {
		if err == nil || !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), part) {
			t.Errorf("%s is missing in %v", part, err)
		}
	}
	if _, err := NewPushConsumer("a b", nil, WithOrderly(), WithBroadcasting("")); !errors.Is(err, ErrInvalid) {
		t.Error(err)
	}
	if _, err := NewReader(WithReadAhead(0, 0)); !errors.Is(err, ErrInvalid) {
		t.Error(err)
	}
	c, err := newConfig(roleAdmin, []Option{WithNameServers("a:1;b:2,c:3", "d:4")})
	if err != nil || !slices.Equal(c.nameServers, []string{"a:1", "b:2", "c:3", "d:4"}) {
		t.Errorf("%v, %v", c.nameServers, err)
	}
}

func BenchmarkSendAsync(b *testing.B) {
	s := newBenchSink(b)
	for _, ids := range []bool{true, false} {
		b.Run(fmt.Sprintf("ids=%v", ids), func(b *testing.B) {
			opts := []Option{WithNameServers(s.addr())}
			if !ids {
				opts = append(opts, WithoutBatchIDs())
			}
			p, err := NewProducer(opts...)
			if err != nil {
				b.Fatal(err)
			}
			defer p.Close()
			m := &Message{Topic: "t", Body: make([]byte, 100)}
			b.ReportAllocs()
			b.SetBytes(100)
			var n atomic.Int64
			for b.Loop() {
				if err := p.SendAsync(b.Context(), m, func(SendResult, error) { n.Add(1) }); err != nil {
					b.Fatal(err)
				}
			}
			if err := p.Flush(b.Context()); err != nil {
				b.Fatal(err)
			}
		})
	}
}
