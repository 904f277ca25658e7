package remoting

import (
	"fmt"
	"testing"
	"time"

	"github.com/varvemq/varve/internal/message"
	wire "github.com/varvemq/varve/internal/remoting"
)

// queryOffset asks for the offset of group g.
func queryOffset(topic string, queueID int32) *wire.Command {
	return request(wire.ReqQueryConsumerOffset, "consumerGroup", "g", "topic", topic, "queueId", fmt.Sprint(queueID))
}

// commit sets a group's offset in queue 0 of topic t.
func commit(g string, offset int64) *wire.Command {
	return request(wire.ReqUpdateConsumerOffset, "consumerGroup", g, "topic", "t", "queueId", "0", "commitOffset", fmt.Sprint(offset))
}

func TestOffsetsOfAQueue(t *testing.T) {
	t.Parallel()
	b := startBroker(t)
	b.addTopic("t", 2)
	c := b.dial()
	c.want(wire.RespSuccess, request(wire.ReqGetMaxOffset, "topic", "t", "queueId", "1"))
	before := time.Now().UnixMilli()
	if got := extInt(t, c.want(wire.RespSuccess, request(wire.ReqGetEarliestMsgStoreTime, "topic", "t", "queueId", "1")), "timestamp"); got != -1 {
		t.Errorf("earliest store time %d of an empty queue", got)
	}
	for range 3 {
		c.produce("t", 1, "x")
		time.Sleep(5 * time.Millisecond)
	}
	for _, tt := range []struct {
		code int32
		want int64
		ext  []string
	}{
		{wire.ReqGetMaxOffset, 3, nil},
		{wire.ReqGetMinOffset, 0, nil},
		{wire.ReqSearchOffsetByTimestamp, 0, []string{"timestamp", fmt.Sprint(before)}},
		{wire.ReqSearchOffsetByTimestamp, 0, []string{"timestamp", "0", "boundaryType", "LOWER"}},
		{wire.ReqSearchOffsetByTimestamp, 3, []string{"timestamp", fmt.Sprint(time.Now().UnixMilli() + 1000)}},
	} {
		resp := c.want(wire.RespSuccess, request(tt.code, append([]string{"topic", "t", "queueId", "1"}, tt.ext...)...))
		if got := extInt(t, resp, "offset"); got != tt.want {
			t.Errorf("code %d %v: offset %d, want %d", tt.code, tt.ext, got, tt.want)
		}
	}
	first := extInt(t, c.want(wire.RespSuccess, request(wire.ReqGetEarliestMsgStoreTime, "topic", "t", "queueId", "1")), "timestamp")
	if first < before || first > time.Now().UnixMilli() {
		t.Errorf("earliest store time %d, sent at %d", first, before)
	}
}

func TestMalformedOffsetRequests(t *testing.T) {
	t.Parallel()
	b := startBroker(t)
	b.addTopic("t", 2)
	b.addGroup("g")
	c := b.dial()
	for _, code := range []int32{
		wire.ReqGetMaxOffset, wire.ReqGetMinOffset, wire.ReqGetEarliestMsgStoreTime, wire.ReqSearchOffsetByTimestamp, wire.ReqQueryConsumerOffset, wire.ReqUpdateConsumerOffset,
	} {
		good := []string{"timestamp", "1", "consumerGroup", "g", "commitOffset", "0"}
		c.want(wire.RespInvalidParameter, request(code))
		c.want(wire.RespInvalidParameter, request(code, append(good, "topic", "t")...))
		c.want(wire.RespInvalidParameter, request(code, append(good, "topic", "t", "queueId", "one")...))
		c.want(wire.RespInvalidParameter, request(code, append(good, "topic", "t", "queueId", "99999999999")...))
		c.want(wire.RespInvalidParameter, request(code, append(good, "topic", "t", "queueId", "2")...))
		c.want(wire.RespInvalidParameter, request(code, append(good, "topic", "t", "queueId", "-1")...))
		missing := wire.RespTopicNotExist
		if code == wire.ReqQueryConsumerOffset {
			missing = wire.RespQueryNotFound
		}
		c.want(missing, request(code, append(good, "topic", "nope", "queueId", "0")...))
		c.want(wire.RespSuccess, request(code, append(good, "topic", "t", "queueId", "0")...))
	}
	c.want(wire.RespInvalidParameter, request(wire.ReqSearchOffsetByTimestamp, "topic", "t", "queueId", "0"))
}

func TestConsumerOffsets(t *testing.T) {
	t.Parallel()
	b := startBroker(t)
	topic := b.addTopic("t", 1)
	b.addGroup("g")
	c := b.dial()
	for range 5 {
		c.produce("t", 0, "x")
	}
	// Nothing stored: a young topic is consumed from the beginning, unless the client wants to know exactly.
	if got := extInt(t, c.want(wire.RespSuccess, queryOffset("t", 0)), "offset"); got != 0 {
		t.Errorf("offset %d of a new group", got)
	}
	exact := queryOffset("t", 0)
	exact.Ext.Add("setZeroIfNotFound", "false")
	c.want(wire.RespQueryNotFound, exact)

	c.want(wire.RespSuccess, commit("g", 4))
	if got := extInt(t, c.want(wire.RespSuccess, queryOffset("t", 0)), "offset"); got != 4 {
		t.Errorf("offset %d, want 4", got)
	}
	c.want(wire.RespSuccess, commit("g", 2)) // a client may go back
	if got, _ := b.deps.Offsets.Offset("g", topic.Ordinals[0].First); got != 2 {
		t.Errorf("offset %d, want 2", got)
	}
	c.want(wire.RespInvalidParameter, commit("g", 6)) // beyond the end
	c.want(wire.RespInvalidParameter, commit("g", -1))
	c.want(wire.RespSubscriptionGroupNotExist, commit("nope", 1))
	if got := extInt(t, c.want(wire.RespSuccess, queryOffset("t", 0)), "offset"); got != 2 {
		t.Errorf("offset %d after refused commits, want 2", got)
	}

	// One-way, as clients commit: no answer, in order with what follows.
	oneway := commit("g", 5)
	oneway.Flag = wire.FlagOneway
	c.send(oneway)
	if got := extInt(t, c.want(wire.RespSuccess, queryOffset("t", 0)), "offset"); got != 5 {
		t.Errorf("offset %d after a one-way commit, want 5", got)
	}
}

// TestOldTopicIsNotReplayed: a new group that asks for the end of a topic with much history is not sent through all of it.
func TestOldTopicIsNotReplayed(t *testing.T) {
	t.Parallel()
	b := startBroker(t)
	old := *b.addTopic("young", 1)
	old.Name, old.CreatedMs, old.Ordinals, old.Incarnation = "old", time.Now().Add(-2*youngTopic).UnixMilli(), nil, 0
	_, err := b.deps.Metadata.CreateTopic(t.Context(), old)
	must(t, err)
	c := b.dial()
	c.want(wire.RespSuccess, queryOffset("old", 0)) // empty: nothing to be replayed
	c.produce("old", 0, "x")
	c.want(wire.RespQueryNotFound, queryOffset("old", 0))
	c.produce("young", 0, "x")
	c.want(wire.RespSuccess, queryOffset("young", 0))
}

// resetTo asks for a reset by offset.
func resetTo(g, topic string, queueID int32, offset int64) *wire.Command {
	return request(wire.ReqInvokeBrokerToResetOffset, "group", g, "topic", topic, "queueId", fmt.Sprint(queueID), "offset", fmt.Sprint(offset), "timestamp", "0")
}

func TestResetReachesLiveConsumers(t *testing.T) {
	t.Parallel()
	b := startBroker(t)
	b.addTopic("t", 2)
	c := b.dial()
	c.beat(heartbeatOf("c", "g", "t", "*"))
	for range 10 {
		c.produce("t", 0, "x")
	}
	c.want(wire.RespSuccess, commit("g", 8))
	table := decode[wire.ResetOffsetBody](t, c.want(wire.RespSuccess, resetTo("g", "t", 0, 3))).OffsetTable
	if off, ok := table.Get(wire.MessageQueue{BrokerName: testShard, QueueID: 0, Topic: "t"}); !ok || off != 3 || len(table) != 1 {
		t.Errorf("table %+v", table)
	}
	// What is still reported of before the reset counts no more.
	if resp := c.want(wire.RespSuccess, commit("g", 9)); resp.Remark == "" {
		t.Error("a commit of before the reset was taken in")
	}
	resp := c.pull(8)
	if resp.Code != wire.RespPullOffsetMoved || extInt(t, resp, "nextBeginOffset") != 3 {
		t.Errorf("pull was answered with %d, %v", resp.Code, resp.Ext.String("nextBeginOffset"))
	}
	c.want(wire.RespSuccess, commit("g", 9)) // still in flight
	c.want(wire.RespSuccess, commit("g", 3)) // the client has understood
	c.want(wire.RespSuccess, commit("g", 5))
	if got := extInt(t, c.want(wire.RespSuccess, queryOffset("t", 0)), "offset"); got != 5 {
		t.Errorf("offset %d after the reset, want 5", got)
	}
	if resp := c.pull(5); resp.Code != wire.RespSuccess {
		t.Errorf("pull after the reset was answered with %d", resp.Code)
	}
}

func TestResetByTime(t *testing.T) {
	t.Parallel()
	b := startBroker(t)
	b.addTopic("t", 2)
	b.addGroup("g")
	c := b.dial()
	for q := range int32(2) {
		for range 4 {
			c.produce("t", q, "x")
		}
	}
	byTime := func(ts int64, force bool) []wire.QueueEntry[int64] {
		t.Helper()
		req := request(wire.ReqInvokeBrokerToResetOffset, "group", "g", "topic", "t", "timestamp", fmt.Sprint(ts), "isForce", fmt.Sprint(force))
		return decode[wire.ResetOffsetBody](t, c.want(wire.RespSuccess, req)).OffsetTable
	}
	check := func(what string, got []wire.QueueEntry[int64], want int64) {
		t.Helper()
		if len(got) != 2 || got[0].Value != want || got[1].Value != want {
			t.Errorf("%s: %+v, want %d for both queues", what, got, want)
		}
		for q := range int32(2) {
			if off := extInt(t, c.want(wire.RespSuccess, queryOffset("t", q)), "offset"); off != want {
				t.Errorf("%s: stored %d, want %d", what, off, want)
			}
		}
	}
	check("to the end", byTime(-1, true), 4)
	check("to the beginning", byTime(0, true), 0)
	check("forward without force", byTime(-1, false), 0)
	check("to the future", byTime(time.Now().Add(time.Hour).UnixMilli(), true), 4)

	c.want(wire.RespTopicNotExist, resetTo("g", "nope", 0, 1))
	c.want(wire.RespSubscriptionGroupNotExist, resetTo("nope", "t", 0, 1))
	c.want(wire.RespSystemError, resetTo("g", "t", 0, 5))
	c.want(wire.RespInvalidParameter, resetTo("g", "t", 7, 0))
	c.want(wire.RespInvalidParameter, request(wire.ReqInvokeBrokerToResetOffset, "group", "g", "topic", "t"))
	c.want(wire.RespInvalidParameter, request(wire.ReqInvokeBrokerToResetOffset, "group", "g", "topic", "t", "timestamp", "x"))
}

func TestLocks(t *testing.T) {
	t.Parallel()
	b := startBroker(t)
	b.addTopic("t", 2)
	c := b.dial()
	q := func(broker, topic string, id int32) wire.MessageQueue {
		return wire.MessageQueue{BrokerName: broker, Topic: topic, QueueID: id}
	}
	lock := func(code int32, client string, queues ...wire.MessageQueue) *wire.Command {
		return c.want(wire.RespSuccess, withBody(t, code, &wire.LockBatchBody{ConsumerGroup: "g", ClientID: client, MQSet: queues}))
	}
	held := func(resp *wire.Command) int {
		t.Helper()
		return len(decode[wire.LockBatchResponseBody](t, resp).LockOKMQSet)
	}
	if n := held(lock(wire.ReqLockBatchMQ, "a", q(testShard, "t", 0), q(testShard, "t", 1), q("other", "t", 0), q(testShard, "nope", 0), q(testShard, "t", 9))); n != 2 {
		t.Errorf("a holds %d queues, want 2", n)
	}
	if n := held(lock(wire.ReqLockBatchMQ, "b", q(testShard, "t", 0))); n != 0 {
		t.Errorf("b holds %d queues of a's", n)
	}
	lock(wire.ReqUnlockBatchMQ, "a", q(testShard, "t", 0))
	if n := held(lock(wire.ReqLockBatchMQ, "b", q(testShard, "t", 0), q(testShard, "t", 1))); n != 1 {
		t.Errorf("b holds %d queues after the hand-over, want 1", n)
	}
	for _, code := range []int32{wire.ReqLockBatchMQ, wire.ReqUnlockBatchMQ} {
		c.want(wire.RespInvalidParameter, request(code))
		c.want(wire.RespInvalidParameter, withBody(t, code, `{"mqSet":[]}`))
		c.want(wire.RespInvalidParameter, withBody(t, code, `{"consumerGroup":"g","clientId":"a","mqSet":[{"queueId":"x"}]}`))
	}
}

func TestSendBack(t *testing.T) {
	t.Parallel()
	b := startBroker(t)
	b.addTopic("t", 1)
	c := b.dial()
	c.beat(heartbeatOf("c", "g", "t", "*"))
	sent := c.produce("t", 0, "body", message.PropertyKeys, "k", message.PropertyTags, "A", message.PropertyUniqKey, "U1", message.PropertyWait, "false")
	var msg message.View
	eventually(t, "the message is visible", func() bool {
		resp := c.pull(0)
		if resp.Code == wire.RespSuccess {
			msg = messages(t, resp.Body)[0]
		}
		return msg != nil
	})
	sendBack := func(level, maxTimes string) *wire.Command {
		return request(wire.ReqConsumerSendMsgBack, "offset", fmt.Sprint(msg.PhysicalOffset()), "group", "g", "delayLevel", level, "originTopic", "t",
			"originMsgId", sent.Ext.String("msgId"), "maxReconsumeTimes", maxTimes)
	}
	read := func(topic string, queueID int32) message.View {
		t.Helper()
		info, ok := b.topics.lookup([]byte(topic))
		if !ok {
			t.Fatalf("no topic %s", topic)
		}
		body, err := b.deps.Log.ByPhysical(t.Context(), int64(b.queue(info, queueID).Ordinal())<<35, nil)
		must(t, err)
		return messages(t, body)[0]
	}

	c.want(wire.RespSuccess, sendBack("0", "16"))
	retry := read(message.TopicSchedule, 2) // level 3: 10 s
	for name, want := range map[string]string{
		message.PropertyRealTopic: "%RETRY%g", message.PropertyRealQueueID: "0", message.PropertyDelay: "3", message.PropertyRetryTopic: "t",
		message.PropertyOriginMessageID: sent.Ext.String("msgId"), message.PropertyUniqKey: "U1", message.PropertyKeys: "k", message.PropertyTags: "A", message.PropertyWait: "",
	} {
		if got := message.PropertyString(retry.Properties(), name); got != want {
			t.Errorf("property %s of the retry is %q, want %q", name, got, want)
		}
	}
	if retry.ReconsumeTimes() != 1 || string(retry.Body()) != "body" || retry.BornTimestamp() != msg.BornTimestamp() {
		t.Errorf("retry %d times, body %q", retry.ReconsumeTimes(), retry.Body())
	}

	c.want(wire.RespSuccess, sendBack("0", "0")) // no attempt is left
	dead := read("%DLQ%g", 0)
	if got := message.PropertyString(dead.Properties(), message.PropertyDLQOriginTopic); got != "t" || string(dead.Topic()) != "%DLQ%g" {
		t.Errorf("dead letter of %q in %q", got, dead.Topic())
	}
	c.want(wire.RespSuccess, sendBack("-1", "16")) // the client gives up
	if info, _ := b.topics.lookup([]byte("%DLQ%g")); b.queue(info, 0).Max() != 2 {
		t.Errorf("%d dead letters, want 2", b.queue(info, 0).Max())
	}
	c.want(wire.RespSuccess, sendBack("99", "16")) // beyond the last level: two hours
	read(message.TopicSchedule, 17)

	for name, tt := range map[string]struct {
		code int32
		req  *wire.Command
	}{
		"no fields":     {wire.RespInvalidParameter, request(wire.ReqConsumerSendMsgBack)},
		"no such group": {wire.RespSubscriptionGroupNotExist, request(wire.ReqConsumerSendMsgBack, "offset", "0", "group", "nope", "delayLevel", "0")},
		"no message":    {wire.RespSystemError, request(wire.ReqConsumerSendMsgBack, "offset", fmt.Sprint(int64(1)<<60), "group", "g", "delayLevel", "0")},
		"negative":      {wire.RespSystemError, request(wire.ReqConsumerSendMsgBack, "offset", "-1", "group", "g", "delayLevel", "0")},
		"bad level":     {wire.RespInvalidParameter, request(wire.ReqConsumerSendMsgBack, "offset", "0", "group", "g", "delayLevel", "x")},
	} {
		if resp := c.call(tt.req); resp.Code != tt.code {
			t.Errorf("%s: answered with %d (%s), want %d", name, resp.Code, resp.Remark, tt.code)
		}
	}
}
