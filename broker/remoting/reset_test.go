package remoting

import (
	"testing"
	"time"

	wire "github.com/varvemq/varve/internal/remoting"
)

// TestResetWakesHeldPulls: a consumer that has read everything hears of a reset at once.
func TestResetWakesHeldPulls(t *testing.T) {
	t.Parallel()
	b := startBroker(t)
	b.addTopic("t", 2)
	c, admin := b.dial(), b.dial()
	c.beat(heartbeatOf("c", "g", "t", "*"))
	c.produce("t", 0, "x")
	start := time.Now()
	for q := range int32(2) {
		h := wire.PullMessageHeader{
			ConsumerGroup: []byte("g"), Topic: []byte("t"), QueueID: q, QueueOffset: int64(1 - q), MaxMsgNums: 32, MaxMsgBytes: wire.Absent,
			SysFlag: wire.PullFlagSuspend, SuspendTimeoutMillis: 60_000,
		}
		cmd := &wire.Command{Code: wire.ReqPullMessage}
		h.AppendExt(cmd)
		c.send(cmd)
	}
	time.Sleep(100 * time.Millisecond) // until both wait, most likely; the test holds either way
	admin.want(wire.RespSuccess, resetTo("g", "t", 0, 0))
	select {
	case resp := <-c.answers:
		if resp.Code != wire.RespPullOffsetMoved || extInt(t, resp, "nextBeginOffset") != 0 || resp.Opaque != c.opaque-1 {
			t.Errorf("a held pull was answered with %d, next %s", resp.Code, resp.Ext.String("nextBeginOffset"))
		}
	case <-time.After(20 * time.Second):
		t.Error("a held pull was not answered")
	}
	if waited := time.Since(start); waited > 10*time.Second {
		t.Errorf("told of the reset after %v", waited)
	}
	select {
	case resp := <-c.answers:
		t.Errorf("the pull of a queue that was not reset was answered with %d", resp.Code)
	case <-time.After(50 * time.Millisecond):
	}
}

// TestProgressAfterOfflineReset: a group without members has nobody who could report progress of before a reset.
func TestProgressAfterOfflineReset(t *testing.T) {
	t.Parallel()
	b := startBroker(t)
	b.addTopic("t", 2)
	b.addGroup("g")
	c := b.dial()
	for range 10 {
		c.produce("t", 0, "x")
	}
	c.want(wire.RespSuccess, commit("g", 8))
	c.want(wire.RespSuccess, resetTo("g", "t", 0, 0))
	if n := b.resets.count.Load(); n != 0 {
		t.Errorf("%d resets wait for consumers that do not exist", n)
	}
	c.beat(heartbeatOf("c", "g", "t", "*"))
	if got := extInt(t, c.want(wire.RespSuccess, queryOffset("t", 0)), "offset"); got != 0 {
		t.Errorf("offset %d after the reset, want 0", got)
	}
	if resp := c.pull(0); resp.Code != wire.RespSuccess {
		t.Errorf("the pull was answered with %d (%s)", resp.Code, resp.Remark)
	}
	wantCommitted(t, c, 4)
}

// wantCommitted commits an offset that must be taken in.
func wantCommitted(t *testing.T, c *testClient, offset int64) {
	t.Helper()
	if resp := c.want(wire.RespSuccess, commit("g", offset)); resp.Remark != "" {
		t.Errorf("the commit of %d was passed over: %s", offset, resp.Remark)
	}
	if got := extInt(t, c.want(wire.RespSuccess, queryOffset("t", 0)), "offset"); got != offset {
		t.Errorf("offset %d, want %d", got, offset)
	}
}

// TestProgressAfterTakeover: a member that read the new offset reports what is after the reset, while the one that had the queue may still not know of it.
func TestProgressAfterTakeover(t *testing.T) {
	t.Parallel()
	b := startBroker(t)
	b.addTopic("t", 1)
	before, after, admin := b.dial(), b.dial(), b.dial()
	before.beat(heartbeatOf("before", "g", "t", "*"))
	for range 10 {
		admin.produce("t", 0, "x")
	}
	wantCommitted(t, before, 8)
	admin.want(wire.RespSuccess, resetTo("g", "t", 0, 3))
	after.beat(heartbeatOf("after", "g", "t", "*"))
	if got := extInt(t, after.want(wire.RespSuccess, queryOffset("t", 0)), "offset"); got != 3 {
		t.Errorf("offset %d after the reset, want 3", got)
	}
	if resp := after.pull(3); resp.Code != wire.RespSuccess {
		t.Errorf("the pull of one that knows was answered with %d (%s)", resp.Code, resp.Remark)
	}
	wantCommitted(t, after, 5)
	if resp := before.want(wire.RespSuccess, commit("g", 9)); resp.Remark == "" {
		t.Error("a commit of before the reset was taken in")
	}
	wantCommitted(t, after, 6)
}

// TestStrangerHearsOfReset: a tool that looks at the offset does not do so for the consumer.
func TestStrangerHearsOfReset(t *testing.T) {
	t.Parallel()
	b := startBroker(t)
	b.addTopic("t", 1)
	c, admin := b.dial(), b.dial()
	c.beat(heartbeatOf("c", "g", "t", "*"))
	for range 10 {
		c.produce("t", 0, "x")
	}
	admin.want(wire.RespSuccess, resetTo("g", "t", 0, 3))
	admin.want(wire.RespSuccess, queryOffset("t", 0))
	if resp := c.pull(8); resp.Code != wire.RespPullOffsetMoved || extInt(t, resp, "nextBeginOffset") != 3 {
		t.Errorf("pull was answered with %d, %v", resp.Code, resp.Ext.String("nextBeginOffset"))
	}
}
