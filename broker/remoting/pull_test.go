package remoting

import (
	"context"
	"net"
	"runtime"
	"strconv"
	"testing"
	"time"

	"github.com/varvemq/varve/internal/message"
	wire "github.com/varvemq/varve/internal/remoting"
)

// pullRequest is a pull of group g, with the expression in the request.
func pullRequest(topic string, queueID int32, offset int64, maxMessages int32, expr string, suspend time.Duration) *wire.Command {
	h := wire.PullMessageHeader{
		ConsumerGroup: []byte("g"), Topic: []byte(topic), QueueID: queueID, QueueOffset: offset, MaxMsgNums: maxMessages,
		SysFlag: wire.PullFlagSubscription, Subscription: []byte(expr), ExpressionType: []byte("TAG"), MaxMsgBytes: wire.Absent,
	}
	if suspend > 0 {
		h.SysFlag |= wire.PullFlagSuspend
		h.SuspendTimeoutMillis = suspend.Milliseconds()
	}
	cmd := &wire.Command{Code: wire.ReqPullMessage}
	h.AppendExt(cmd)
	return cmd
}

func TestPullStatuses(t *testing.T) {
	t.Parallel()
	b := startBroker(t)
	b.addTopic("orders", 2)
	c := b.dial()
	for i := range 5 {
		c.produce("orders", 0, strconv.Itoa(i), message.PropertyTags, "a")
	}
	for _, test := range []struct {
		name             string
		queue            int32
		offset           int64
		expr             string
		code             int32
		next, low, limit int64
	}{
		{"found", 0, 1, "a", wire.RespSuccess, 5, 0, 5},
		{"at the end", 0, 5, "*", wire.RespPullNotFound, 5, 0, 5},
		{"nothing matches", 0, 0, "b || c", wire.RespPullRetryImmediately, 5, 0, 5},
		{"beyond the end", 0, 9, "*", wire.RespPullOffsetMoved, 5, 0, 5},
		{"empty queue", 1, 0, "*", wire.RespPullNotFound, 0, 0, 0},
		{"beyond an empty queue", 1, 3, "*", wire.RespPullOffsetMoved, 0, 0, 0},
	} {
		resp := c.call(pullRequest("orders", test.queue, test.offset, 32, test.expr, 0))
		if resp.Code != test.code {
			t.Errorf("%s: code %d (%s), want %d", test.name, resp.Code, resp.Remark, test.code)
			continue
		}
		if n, lo, hi := extInt(t, resp, "nextBeginOffset"), extInt(t, resp, "minOffset"), extInt(t, resp, "maxOffset"); n != test.next || lo != test.low || hi != test.limit {
			t.Errorf("%s: next %d, min %d, max %d", test.name, n, lo, hi)
		}
	}
	c.want(wire.RespSubscriptionParseFailed, pullRequest("orders", 0, 0, 32, "||", 0))
	c.want(wire.RespTopicNotExist, pullRequest("nowhere", 0, 0, 32, "*", 0))
	c.want(wire.RespInvalidParameter, pullRequest("orders", 7, 0, 32, "*", 0))
	c.want(wire.RespInvalidParameter, pullRequest("orders", 0, -1, 32, "*", 0))
}

func TestPullIsHeldAndWokenByItsTag(t *testing.T) {
	t.Parallel()
	b := startBroker(t)
	b.addTopic("orders", 1)
	c, p := b.dial(), b.dial()
	b.addGroup("g")
	began := time.Now()
	c.send(pullRequest("orders", 0, 0, 32, "wanted", 20*time.Second))
	time.Sleep(20 * time.Millisecond)
	p.produce("orders", 0, "no", message.PropertyTags, "other")
	select {
	case resp := <-c.answers:
		t.Fatalf("woken by a tag that it does not want: %d", resp.Code)
	case <-time.After(50 * time.Millisecond):
	}
	p.produce("orders", 0, "yes", message.PropertyTags, "wanted")
	resp := <-c.answers
	v, err := message.Parse(resp.Body)
	if err != nil || string(v.Body()) != "yes" || extInt(t, resp, "nextBeginOffset") != 2 {
		t.Errorf("code %d (%s), %v", resp.Code, resp.Remark, err)
	}
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("woken after %s", took)
	}
	resp = c.call(pullRequest("orders", 0, 2, 32, "*", 50*time.Millisecond))
	if resp.Code != wire.RespPullNotFound {
		t.Errorf("at the deadline: code %d (%s)", resp.Code, resp.Remark)
	}
}

// TestTenThousandWaitingPulls: they hold no goroutines, end with their connections, and one message wakes only those of its queue.
func TestTenThousandWaitingPulls(t *testing.T) {
	t.Parallel()
	const queues, each = 100, 100
	b := startBroker(t)
	b.addTopic("wide", queues)
	b.addGroup("g")
	before := runtime.NumGoroutine()
	conns := make([]*testClient, 10)
	for i := range conns {
		conns[i] = b.dial()
		for n := range queues * each / len(conns) {
			conns[i].send(pullRequest("wide", int32(n%queues), 0, 32, "*", time.Minute))
		}
	}
	waiting := func() (n int) {
		for c := range b.connections() {
			c.pulls.mu.Lock()
			n += c.pulls.n
			c.pulls.mu.Unlock()
		}
		return n
	}
	eventually(t, "all pulls wait", func() bool { return waiting() == queues*each })
	if grown := runtime.NumGoroutine() - before; grown > 1000 {
		t.Errorf("%d goroutines more", grown)
	}
	if resp := b.dial().produce("wide", 7, "x"); resp.Code != wire.RespSuccess {
		t.Fatal(resp.Remark)
	}
	eventually(t, "the pulls of queue 7 are answered", func() bool { return waiting() == (queues-1)*each })
	for _, c := range conns {
		_ = c.nc.Close()
	}
	eventually(t, "closed connections hold no pulls", func() bool { return waiting() == 0 })
}

func (s *Server) connections() map[*conn]struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make(map[*conn]struct{}, len(s.conns))
	for c := range s.conns {
		all[c] = struct{}{}
	}
	return all
}

// TestPullsOfDroppedQueueEnd: pulls that were accepted before their topic was deleted are answered at once, and keep no worker busy.
func TestPullsOfDroppedQueueEnd(t *testing.T) {
	t.Parallel()
	b := startBroker(t)
	topic := b.addTopic("orders", 1)
	b.addGroup("g")
	info, ok := b.topics.lookup([]byte("orders"))
	if !ok {
		t.Fatal("no topic")
	}
	ordinal, _ := topic.Ordinal(0)
	b.queue(info, 0)
	b.deps.Log.Drop([]uint32{ordinal})
	c := b.dial()
	began := time.Now()
	for range 8 {
		c.send(pullRequest("orders", 0, 0, 32, "*", 30*time.Second))
	}
	for range 8 {
		<-c.answers
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("answered after %s", took)
	}
}

// TestPullOfMissingTopicMakesNoGroup: a mistyped topic leaves nothing in etcd.
func TestPullOfMissingTopicMakesNoGroup(t *testing.T) {
	t.Parallel()
	b := startBroker(t)
	b.dial().want(wire.RespTopicNotExist, pullRequest("nowhere", 0, 0, 32, "*", 0))
	if _, ok := b.deps.Metadata.Group("g"); ok {
		t.Error("the group was made")
	}
}

// TestPullAheadOfItsHeartbeat: a consumer whose pull names a newer version of its subscription than its last heartbeat is served everything, since it
// may not send another heartbeat for 30 s.
func TestPullAheadOfItsHeartbeat(t *testing.T) {
	t.Parallel()
	b := startBroker(t)
	b.addTopic("orders", 1)
	c := b.dial()
	c.beat(heartbeatOf("client", "g", "orders", "a")) // version 1
	c.produce("orders", 0, "x", message.PropertyTags, "a")
	c.produce("orders", 0, "y", message.PropertyTags, "b")
	for version, want := range map[int64]int{1: 1, 2: 2} {
		h := wire.PullMessageHeader{
			ConsumerGroup: []byte("g"), Topic: []byte("orders"), MaxMsgNums: 32, SubVersion: version, MaxMsgBytes: wire.Absent,
		}
		cmd := &wire.Command{Code: wire.ReqPullMessage}
		h.AppendExt(cmd)
		if got := messages(t, c.want(wire.RespSuccess, cmd).Body); len(got) != want {
			t.Errorf("version %d: %d messages, want %d", version, len(got), want)
		}
	}
}

// TestShutdownWithPeerThatDoesNotRead: what it does not take is given up after a moment.
func TestShutdownWithPeerThatDoesNotRead(t *testing.T) {
	t.Parallel()
	b := startBroker(t)
	b.addTopic("orders", 1)
	b.addGroup("g")
	good := b.dial()
	big := string(make([]byte, 1<<20))
	for range 4 {
		good.produce("orders", 0, big)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	ctx, stop := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- b.accept(ctx, l) }()
	nc, err := net.Dial("tcp", l.Addr().String())
	must(t, err)
	t.Cleanup(func() { _ = nc.Close() })
	req := wire.AppendFrame(nil, pullRequest("orders", 0, 0, 4, "*", 0))
	for range 40 {
		_, err := nc.Write(req)
		must(t, err)
	}
	time.Sleep(300 * time.Millisecond)
	stop()
	_ = l.Close()
	select {
	case err := <-served:
		must(t, err)
	case <-time.After(3 * drainGrace):
		t.Fatal("the shutdown waits for a peer that does not read")
	}
}
