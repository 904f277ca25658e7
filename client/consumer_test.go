package client

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/varvemq/varve/internal/message"
	"github.com/varvemq/varve/internal/remoting"
)

func TestAllocate(t *testing.T) {
	t.Parallel()
	queues := appendQueues(nil, "b", 8)
	for _, tt := range []struct {
		members []string
		want    [][]int
	}{
		{[]string{"a"}, [][]int{{0, 1, 2, 3, 4, 5, 6, 7}}},
		{[]string{"a", "b"}, [][]int{{0, 1, 2, 3}, {4, 5, 6, 7}}},
		{[]string{"a", "b", "c"}, [][]int{{0, 1, 2}, {3, 4, 5}, {6, 7}}},
		{[]string{"a", "b", "c", "d", "e", "f", "g", "h", "i"}, [][]int{{0}, {1}, {2}, {3}, {4}, {5}, {6}, {7}, nil}},
	} {
		for i, self := range tt.members {
			got, err := allocate(queues, tt.members, self)
			var ids []int
			for _, q := range got {
				ids = append(ids, q.ID)
			}
			if err != nil || !slices.Equal(ids, tt.want[i]) {
				t.Errorf("%s of %v: %v, %v", self, tt.members, ids, err)
			}
		}
	}
	if _, err := allocate(queues, []string{"a"}, "x"); err == nil {
		t.Error("a stranger got queues")
	}
}

func (s *fakeServer) consumer(h Handler, opts ...Option) *PushConsumer {
	s.t.Helper()
	opts = append([]Option{WithNameServers(s.addr()), WithClientID("m1"), WithConsumeFrom(First())}, opts...)
	c, err := NewPushConsumer("g", h, opts...)
	if err != nil {
		s.t.Fatal(err)
	}
	if err := c.Subscribe("t", "*"); err != nil {
		s.t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- c.Run(s.t.Context()) }()
	s.t.Cleanup(func() {
		if err := c.Close(); err != nil {
			s.t.Error(err)
		}
		if err := <-done; err != nil {
			s.t.Error(err)
		}
	})
	return c
}

func (s *fakeServer) committed() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n, ok := s.offsets["t@0"]; ok {
		return n
	}
	return -1
}

func TestRebalanceOnChange(t *testing.T) {
	t.Parallel()
	s := newFake(t, 8)
	s.setMembers("m1")
	c := s.consumer(func(context.Context, *MessageExt) error { return nil })
	has := func(n int) func() bool { return func() bool { return len(c.Assigned()["t"]) == n } }
	eventually(t, "alone", has(8))
	for _, tt := range []struct {
		members []string
		queues  int
	}{
		{[]string{"m1", "m2"}, 4},
		{[]string{"m0", "m1", "m2"}, 3},
		{[]string{"m1"}, 8},
		{[]string{"a", "b", "c", "d", "e", "f", "g", "h", "m1"}, 0},
		{[]string{"m1", "m9"}, 4},
	} {
		s.setMembers(tt.members...)
		note := &remoting.Command{Code: remoting.ReqNotifyConsumerIDsChanged, Flag: remoting.FlagOneway}
		note.Ext.Add("consumerGroup", "g")
		s.broadcast(note)
		eventually(t, fmt.Sprintf("%d queues of %v", tt.queues, tt.members), has(tt.queues))
	}
}

func TestGracefulRelease(t *testing.T) {
	t.Parallel()
	s := newFake(t, 1)
	s.setMembers("m1")
	p := s.producer()
	for i := range 10 {
		if _, err := p.Send(t.Context(), &Message{Topic: "t", Body: fmt.Append(nil, i)}); err != nil {
			t.Fatal(err)
		}
	}
	started, finish := make(chan struct{}, 10), make(chan struct{})
	var handled atomic.Int64
	c := s.consumer(func(context.Context, *MessageExt) error {
		started <- struct{}{}
		<-finish
		handled.Add(1)
		return nil
	}, WithConcurrency(3))
	for range 3 {
		<-started
	}
	closed := make(chan struct{})
	go func() {
		_ = c.Close()
		close(closed)
	}()
	time.Sleep(50 * time.Millisecond)
	select {
	case <-closed:
		t.Fatal("closed while handlers run")
	default:
	}
	close(finish)
	<-closed
	if n := handled.Load(); n != 3 || s.committed() != 3 {
		t.Errorf("%d handled, %d committed", n, s.committed())
	}
	if s.count(remoting.ReqUnregisterClient) == 0 {
		t.Error("no goodbye")
	}
}

func TestCommitStopsAtTheFirstUnhandled(t *testing.T) {
	t.Parallel()
	s := newFake(t, 1)
	s.setMembers("m1")
	p := s.producer()
	for i := range 10 {
		if _, err := p.Send(t.Context(), &Message{Topic: "t", Body: fmt.Append(nil, i)}); err != nil {
			t.Fatal(err)
		}
	}
	stuck := make(chan struct{})
	var handled atomic.Int64
	c := s.consumer(func(_ context.Context, m *MessageExt) error {
		if string(m.Body) == "4" {
			<-stuck
		}
		handled.Add(1)
		return nil
	}, WithConcurrency(2), WithCommitInterval(10*time.Millisecond))
	eventually(t, "all others", func() bool { return handled.Load() == 9 })
	eventually(t, "commit", func() bool { return s.committed() == 4 })
	close(stuck)
	eventually(t, "commit all", func() bool { return s.committed() == 10 })
	_ = c
}

func TestSendBack(t *testing.T) {
	t.Parallel()
	for _, refused := range []bool{false, true} {
		t.Run(fmt.Sprintf("refused=%v", refused), func(t *testing.T) {
			t.Parallel()
			s := newFake(t, 1)
			s.setMembers("m1")
			var mu sync.Mutex
			var back []remoting.SendBackHeader
			s.on(remoting.ReqConsumerSendMsgBack, func(c *fakeConn, cmd *remoting.Command) bool {
				var h remoting.SendBackHeader
				if err := h.Decode(cmd); err != nil {
					t.Error(err)
				}
				mu.Lock()
				defer mu.Unlock()
				back = append(back, h)
				if refused {
					c.reply(cmd, remoting.RespSystemError, "no", nil)
				}
				return refused
			})
			p := s.producer()
			for _, b := range []string{"error", "later", "dead", "panic"} {
				if _, err := p.Send(t.Context(), &Message{Topic: "t", Body: []byte(b), Tag: "x"}); err != nil {
					t.Fatal(err)
				}
			}
			s.consumer(func(_ context.Context, m *MessageExt) error {
				switch string(m.Body) {
				case "error":
					return errors.New("no")
				case "later":
					return fmt.Errorf("wrapped: %w", RetryLater(5))
				case "panic":
					panic("help")
				default:
					return DeadLetter()
				}
			}, WithConcurrency(1), WithCommitInterval(10*time.Millisecond), WithMaxAttempts(7))
			eventually(t, "commit", func() bool { return s.committed() >= 4 })
			mu.Lock()
			defer mu.Unlock()
			for i, level := range []int32{0, 5, -1, 0} {
				if h := back[i]; h.DelayLevel != level || h.Offset != int64(i) || h.Group != "g" || h.MaxReconsumeTimes != 7 || h.OriginTopic != "t" {
					t.Errorf("%d: %+v", i, h)
				}
			}
			if !refused {
				return
			}
			sent := s.sends()[4:]
			for i, delay := range []string{"3", "5", "3", "3"} {
				var h remoting.SendMessageHeader
				if err := h.Decode(sent[i]); err != nil {
					t.Fatal(err)
				}
				want := int32(1)
				if i == 2 {
					want = 8 // beyond the limit
				}
				if string(h.Topic) != message.RetryTopic("g") || message.PropertyString(h.Properties, message.PropertyDelay) != delay ||
					h.ReconsumeTimes != want || h.MaxReconsumeTimes != 7 || message.PropertyString(h.Properties, message.PropertyRetryTopic) != "t" ||
					message.PropertyString(h.Properties, message.PropertyTags) != "x" {
					t.Errorf("%d: %+v %q", i, h, h.Properties)
				}
			}
		})
	}
}

func TestOffsetMoved(t *testing.T) {
	t.Parallel()
	s := newFake(t, 1)
	s.setMembers("m1")
	s.offsets["t@0"] = 500
	s.on(remoting.ReqPullMessage, func(c *fakeConn, cmd *remoting.Command) bool {
		off, _ := cmd.Ext.Int64("queueOffset", 0)
		if off < 100 {
			return false
		}
		c.reply(cmd, remoting.RespPullOffsetMoved, "OFFSET_OVERFLOW_BADLY", nil,
			"suggestWhichBrokerId", "0", "nextBeginOffset", "1", "minOffset", "1", "maxOffset", "2")
		return true
	})
	p := s.producer()
	for range 2 {
		if _, err := p.Send(t.Context(), &Message{Topic: "t"}); err != nil {
			t.Fatal(err)
		}
	}
	got := make(chan int64, 10)
	s.consumer(func(_ context.Context, m *MessageExt) error { got <- m.Offset; return nil }, WithCommitInterval(10*time.Millisecond))
	if n := <-got; n != 1 {
		t.Errorf("offset %d", n)
	}
	eventually(t, "commit", func() bool { return s.committed() == 2 })
	reset := &remoting.Command{Code: remoting.ReqResetConsumerClientOffset, Flag: remoting.FlagOneway}
	reset.Ext.Add("group", "g")
	reset.Ext.Add("topic", "t")
	body, err := remoting.EncodeBody(remoting.ResetOffsetBody{OffsetTable: remoting.QueueMap[int64]{
		{Queue: remoting.MessageQueue{Topic: "t", BrokerName: "b", QueueID: 0}, Value: 0},
	}})
	if err != nil {
		t.Fatal(err)
	}
	reset.Body = body
	s.broadcast(reset)
	if a, b := <-got, <-got; a+b != 1 {
		t.Errorf("offsets %d and %d", a, b)
	}
}

func TestServerRequests(t *testing.T) {
	t.Parallel()
	s := newFake(t, 1)
	answers := make(chan *remoting.Command, 1)
	s.mu.Lock()
	s.script = func(_ *fakeConn, cmd *remoting.Command) bool {
		if cmd.IsResponse() {
			answers <- cmd
		}
		return cmd.IsResponse()
	}
	s.mu.Unlock()
	p := s.producer()
	if _, err := p.Send(t.Context(), &Message{Topic: "t"}); err != nil {
		t.Fatal(err)
	}
	s.broadcast(&remoting.Command{Code: remoting.ReqGetConsumerRunningInfo, Opaque: 99, Codec: remoting.CodecJSON})
	a := <-answers
	if a.Code != remoting.RespRequestCodeNotSupported || a.Opaque != 99 || a.Codec != remoting.CodecJSON {
		t.Errorf("%+v", a)
	}
}

func TestStreamErrors(t *testing.T) {
	t.Parallel()
	s := newFake(t, 1)
	var n atomic.Int64
	s.on(remoting.ReqPullMessage, func(c *fakeConn, cmd *remoting.Command) bool {
		switch n.Add(1) {
		case 1:
			c.reply(cmd, remoting.RespSystemBusy, "wait", nil)
		case 2:
			_ = c.nc.Close()
		case 4:
			c.reply(cmd, remoting.RespNoPermission, "no", nil)
		default:
			return false
		}
		return true
	})
	p := s.producer()
	if _, err := p.Send(t.Context(), &Message{Topic: "t"}); err != nil {
		t.Fatal(err)
	}
	r, err := NewReader(WithNameServers(s.addr()))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	st, err := r.Open(t.Context(), "t", First())
	if err != nil {
		t.Fatal(err)
	}
	if m, err := st.Next(t.Context()); err != nil || m.Offset != 0 {
		t.Fatal(m, err)
	}
	if _, err := st.Next(t.Context()); codeOf(err) != CodeNoPermission {
		t.Error(err)
	}
}
