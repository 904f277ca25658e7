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
