package client

import (
	"errors"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/varvemq/varve/internal/remoting"
)

// join makes s's name server tell of both brokers, "b" here and "d" at the other.
func (s *fakeServer) join(other string) {
	s.on(remoting.ReqGetRouteInfoByTopic, func(c *fakeConn, cmd *remoting.Command) bool {
		c.reply(cmd, 0, "", remoting.TopicRouteData{
			BrokerDatas: []remoting.BrokerData{
				{BrokerName: "b", BrokerAddrs: map[int64]string{0: s.addr()}},
				{BrokerName: "d", BrokerAddrs: map[int64]string{0: other}},
			},
			QueueDatas: []remoting.QueueData{
				{BrokerName: "b", Perm: 6, ReadQueueNums: s.queues, WriteQueueNums: s.queues},
				{BrokerName: "d", Perm: 6, ReadQueueNums: s.queues, WriteQueueNums: s.queues},
			},
		})
		return true
	})
}

func deadAddr(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().String()
}

func TestBrokerFailover(t *testing.T) {
	t.Parallel()
	s := newFake(t, 2)
	s.join(deadAddr(t))
	p := s.producer()
	start := time.Now()
	for range 20 {
		res, err := p.Send(t.Context(), &Message{Topic: "t"})
		if err != nil || res.Queue.Broker != "b" {
			t.Fatal(res, err)
		}
	}
	if d := time.Since(start); d > 2*time.Second {
		t.Errorf("20 sends with one of two brokers away took %v", d)
	}
	var ok atomic.Int64
	for range 20 {
		if err := p.SendAsync(t.Context(), &Message{Topic: "t"}, func(_ SendResult, err error) {
			if err == nil {
				ok.Add(1)
			}
		}); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.Flush(t.Context()); err != nil || ok.Load() != 20 {
		t.Errorf("%d of 20, %v", ok.Load(), err)
	}
}

func TestRefusalFailsOver(t *testing.T) {
	t.Parallel()
	s, other := newFake(t, 1), newFake(t, 1)
	s.join(other.addr())
	s.on(remoting.ReqSendMessageV2, func(c *fakeConn, cmd *remoting.Command) bool {
		c.reply(cmd, remoting.RespServiceNotAvailable, "stopping", nil)
		return true
	})
	p := s.producer()
	for range 10 {
		if res, err := p.Send(t.Context(), &Message{Topic: "t"}); err != nil || res.Queue.Broker != "d" {
			t.Fatal(res, err)
		}
	}
	_, err := p.Send(t.Context(), &Message{Topic: "t", Queue: &Queue{Broker: "b"}})
	if codeOf(err) != CodeServiceNotAvailable {
		t.Errorf("explicit queue: %v", err)
	}
}

func TestNameServerFailover(t *testing.T) {
	t.Parallel()
	s := newFake(t, 1)
	for range 5 { // the first one asked is random
		p, err := NewProducer(WithNameServers(deadAddr(t), s.addr()))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := p.Send(t.Context(), &Message{Topic: "t"}); err != nil {
			t.Error(err)
		}
		_ = p.Close()
	}
}

func TestSilentServer(t *testing.T) {
	t.Parallel()
	s := newFake(t, 1)
	var n atomic.Int64
	s.on(remoting.ReqSendMessageV2, func(*fakeConn, *remoting.Command) bool { return n.Add(1) == 1 })
	gone := make(chan error, 10)
	p := s.producer(WithHooks(Hooks{Disconnected: func(_ string, err error) { gone <- err }}))
	if _, err := p.Send(t.Context(), &Message{Topic: "t"}); !OutcomeUnknown(err) {
		t.Fatal(err)
	}
	if err := <-gone; !errors.Is(err, errSilent) {
		t.Error(err)
	}
	if _, err := p.Send(t.Context(), &Message{Topic: "t"}); err != nil {
		t.Error(err)
	}
}
