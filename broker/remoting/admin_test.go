package remoting

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	wire "github.com/varvemq/varve/internal/remoting"
	"github.com/varvemq/varve/metadata"
)

// topicUpdate is what mqadmin's updateTopic sends; more overrides and adds fields.
func topicUpdate(topic string, more ...string) *wire.Command {
	cmd := request(wire.ReqUpdateAndCreateTopic, "topic", topic, "defaultTopic", "TBW102", "readQueueNums", "4", "writeQueueNums", "4", "perm", "6",
		"topicFilterType", "SINGLE_TAG", "topicSysFlag", "0", "order", "false")
	for i := 0; i < len(more); i += 2 {
		cmd.Ext.Set(more[i], more[i+1])
	}
	return cmd
}

func TestUpdateTopic(t *testing.T) {
	t.Parallel()
	b := startBroker(t)
	c := b.dial()
	c.want(wire.RespSuccess, topicUpdate("t", "attributes", "+message.type=FIFO,+varve.flush=async"))
	got, ok := b.deps.Metadata.Topic("t")
	if !ok || got.ReadQueues != 4 || got.Perm != 6 || got.Flush != metadata.FlushAsync || got.Attributes["message.type"] != "FIFO" {
		t.Fatalf("topic %+v, %v", got, ok)
	}
	c.produce("t", 3, "x")
	c.want(wire.RespSuccess, topicUpdate("t", "readQueueNums", "8", "writeQueueNums", "2", "perm", "4", "order", "true", "attributes", "-varve.flush"))
	got, _ = b.deps.Metadata.Topic("t")
	if got.ReadQueues != 8 || got.WriteQueues != 2 || got.Perm != 4 || !got.Order || got.Flush != "" || got.Queues() != 8 {
		t.Errorf("topic %+v after the change", got)
	}
	if n := extInt(t, c.want(wire.RespSuccess, request(wire.ReqGetMaxOffset, "topic", "t", "queueId", "3")), "offset"); n != 1 {
		t.Errorf("queue 3 has %d messages after the change, want 1", n)
	}
	for name, more := range map[string][]string{
		"illegal name":       {"topic", "a b"},
		"no name":            {"topic", ""},
		"too long":           {"topic", strings.Repeat("x", 128)},
		"system topic":       {"topic", "TBW102"},
		"queues no number":   {"readQueueNums", "many"},
		"negative queues":    {"writeQueueNums", "-1"},
		"too many queues":    {"writeQueueNums", "100000"},
		"perm":               {"perm", "77"},
		"filter type":        {"topicFilterType", "NO_TAG"},
		"attribute":          {"attributes", "+no.such=1"},
		"attribute value":    {"attributes", "+message.type=ODD"},
		"attribute form":     {"attributes", "message.type=FIFO"},
		"attribute twice":    {"attributes", "+message.type=FIFO,+message.type=DELAY"},
		"delete of none":     {"attributes", "-message.type"},
		"compaction":         {"attributes", "+cleanup.policy=COMPACTION"},
		"attribute is empty": {"attributes", "+"},
	} {
		if resp := c.call(topicUpdate("new", more...)); resp.Code != wire.RespInvalidParameter {
			t.Errorf("%s: answered with %d (%s)", name, resp.Code, resp.Remark)
		}
	}
	c.want(wire.RespInvalidParameter, request(wire.ReqUpdateAndCreateTopic))
	if _, ok := b.deps.Metadata.Topic("new"); ok {
		t.Error("a refused topic was made")
	}
}

func TestDeleteTopic(t *testing.T) {
	t.Parallel()
	b := startBroker(t)
	topic := b.addTopic("t", 3)
	b.addGroup("g")
	c := b.dial()
	c.produce("t", 0, "x")
	c.want(wire.RespSuccess, resetTo("g", "t", 0, 0))
	c.want(wire.RespSuccess, request(wire.ReqDeleteTopicInBroker, "topic", "t"))
	c.want(wire.RespSuccess, request(wire.ReqDeleteTopicInNamesrv, "topic", "t"))
	c.want(wire.RespSuccess, request(wire.ReqDeleteKVConfig, "namespace", orderNamespace, "key", "t"))
	if diff := cmp.Diff(topic.Ordinals, b.dropped); diff != "" {
		t.Errorf("dropped queues (-want +got):\n%s", diff)
	}
	if b.resets.count.Load() != 0 {
		t.Error("a reset of the deleted topic is pending")
	}
	c.want(wire.RespTopicNotExist, request(wire.ReqGetRouteInfoByTopic, "topic", "t"))
	c.want(wire.RespSuccess, request(wire.ReqDeleteTopicInBroker, "topic", "t")) // again
	c.want(wire.RespInvalidParameter, request(wire.ReqDeleteTopicInBroker, "topic", " "))
	c.want(wire.RespInvalidParameter, request(wire.ReqDeleteTopicInBroker, "topic", "SCHEDULE_TOPIC_XXXX"))
	c.want(wire.RespInvalidParameter, request(wire.ReqDeleteTopicInBroker))
	c.want(wire.RespInvalidParameter, request(wire.ReqDeleteTopicInNamesrv))
}

func TestTopicInformation(t *testing.T) {
	t.Parallel()
	b := startBroker(t)
	b.addTopic("t", 2)
	c := b.dial()
	c.produce("t", 1, "x")
	stats := decode[wire.TopicStatsTable](t, c.want(wire.RespSuccess, request(wire.ReqGetTopicStatsInfo, "topic", "t")))
	extent, _ := stats.OffsetTable.Get(wire.MessageQueue{BrokerName: testShard, Topic: "t", QueueID: 1})
	if len(stats.OffsetTable) != 2 || extent.MaxOffset != 1 || extent.LastUpdateTimestamp == 0 {
		t.Errorf("stats %+v", stats)
	}
	table := decode[wire.TopicConfigTable](t, c.want(wire.RespSuccess, request(wire.ReqGetAllTopicConfig)))
	if table.TopicConfigTable["t"].WriteQueueNums != 2 || table.TopicConfigTable["TBW102"].Perm != 7 {
		t.Errorf("table %+v", table)
	}
	if cfg := decode[wire.TopicConfig](t, c.want(wire.RespSuccess, request(wire.ReqGetTopicConfig, "topic", "t"))); cfg.TopicName != "t" || cfg.ReadQueueNums != 2 {
		t.Errorf("config %+v", cfg)
	}
	c.beat(heartbeatOf("c", "live", "t", "*"))
	b.addGroup("old")
	c.want(wire.RespSuccess, commit("old", 0))
	if groups := decode[wire.GroupList](t, c.want(wire.RespSuccess, request(wire.ReqQueryTopicConsumeByWho, "topic", "t"))).GroupList; !slices.Equal(groups, []string{"live", "old"}) {
		t.Errorf("groups %v", groups)
	}
	for _, code := range []int32{wire.ReqGetTopicStatsInfo, wire.ReqGetTopicConfig} {
		c.want(wire.RespTopicNotExist, request(code, "topic", "nope"))
		c.want(wire.RespInvalidParameter, request(code))
	}
	c.want(wire.RespInvalidParameter, request(wire.ReqQueryTopicConsumeByWho))
}

func TestGroups(t *testing.T) {
	t.Parallel()
	b := startBroker(t)
	topic := b.addTopic("t", 1)
	c := b.dial()
	cfg := wire.DefaultSubscriptionGroup("g")
	cfg.RetryMaxTimes, cfg.ConsumeEnable, cfg.Attributes = 3, false, map[string]string{"+a": "b", "-c": ""}
	c.want(wire.RespSuccess, withBody(t, wire.ReqUpdateAndCreateSubscriptionGroup, cfg))
	got := decode[wire.SubscriptionGroupConfig](t, c.want(wire.RespSuccess, request(wire.ReqGetSubscriptionGroupConfig, "group", "g")))
	cfg.Attributes = map[string]string{"a": "b"}
	if diff := cmp.Diff(cfg, got); diff != "" {
		t.Errorf("config (-want +got):\n%s", diff)
	}
	c.want(wire.RespSuccess, withBody(t, wire.ReqUpdateAndCreateSubscriptionGroupList, `{"groupConfigList":[{"groupName":"h"},{"groupName":"g"}]}`))
	table := decode[wire.SubscriptionGroupTable](t, c.want(wire.RespSuccess, request(wire.ReqGetAllSubscriptionGroupConfig))).SubscriptionGroupTable
	if len(table) != 2 || table["h"].RetryMaxTimes != 16 || !table["g"].ConsumeEnable {
		t.Errorf("table %+v", table)
	}

	c.produce("t", 0, "x")
	c.want(wire.RespSuccess, commit("g", 1))
	c.want(wire.RespSuccess, commit("h", 1))
	c.want(wire.RespSuccess, withBody(t, wire.ReqLockBatchMQ, &wire.LockBatchBody{ConsumerGroup: "g", ClientID: "a", MQSet: []wire.MessageQueue{{BrokerName: testShard, Topic: "t"}}}))
	c.want(wire.RespSuccess, request(wire.ReqDeleteSubscriptionGroup, "groupName", "g", "cleanOffset", "true"))
	c.want(wire.RespSuccess, request(wire.ReqDeleteSubscriptionGroup, "groupName", "h", "cleanOffset", "false"))
	c.want(wire.RespSuccess, request(wire.ReqDeleteSubscriptionGroup, "groupName", "g", "cleanOffset", "true")) // again
	if _, ok := b.deps.Offsets.Offset("g", topic.Ordinals[0].First); ok {
		t.Error("the offsets of a group deleted with them are there")
	}
	if _, ok := b.deps.Offsets.Offset("h", topic.Ordinals[0].First); !ok {
		t.Error("the offsets of a group deleted without them are gone")
	}
	again := decode[wire.LockBatchResponseBody](t, c.want(wire.RespSuccess,
		withBody(t, wire.ReqLockBatchMQ, &wire.LockBatchBody{ConsumerGroup: "g", ClientID: "b", MQSet: []wire.MessageQueue{{BrokerName: testShard, Topic: "t"}}})))
	if len(again.LockOKMQSet) != 1 {
		t.Error("the locks of a deleted group are there")
	}
	c.want(wire.RespSubscriptionGroupNotExist, request(wire.ReqGetSubscriptionGroupConfig, "group", "g"))
	for _, req := range []*wire.Command{
		withBody(t, wire.ReqUpdateAndCreateSubscriptionGroup, `{`), withBody(t, wire.ReqUpdateAndCreateSubscriptionGroup, `{"groupName":"no good"}`),
		withBody(t, wire.ReqUpdateAndCreateSubscriptionGroup, ``), withBody(t, wire.ReqUpdateAndCreateSubscriptionGroupList, `[]`),
		withBody(t, wire.ReqUpdateAndCreateSubscriptionGroupList, `{"groupConfigList":[{"groupName":"x"},{}]}`),
		request(wire.ReqGetSubscriptionGroupConfig), request(wire.ReqDeleteSubscriptionGroup),
	} {
		c.want(wire.RespInvalidParameter, req)
	}
}

func TestConnections(t *testing.T) {
	t.Parallel()
	b := startBroker(t)
	c := b.dial()
	c.want(wire.RespConsumerNotOnline, request(wire.ReqGetConsumerConnectionList, "consumerGroup", "g"))
	c.want(wire.RespSystemError, request(wire.ReqGetProducerConnectionList, "producerGroup", "p"))
	c.beat(heartbeatOf("c1", "g", "t", "A || B"))
	live := decode[wire.ConsumerConnection](t, c.want(wire.RespSuccess, request(wire.ReqGetConsumerConnectionList, "consumerGroup", "g")))
	want := wire.Connection{ClientAddr: c.nc.LocalAddr().String(), ClientID: "c1", Language: "JAVA", Version: 477}
	if diff := cmp.Diff([]wire.Connection{want}, live.ConnectionSet); diff != "" {
		t.Errorf("connections (-want +got):\n%s", diff)
	}
	sub := live.SubscriptionTable["t"]
	slices.Sort(sub.TagsSet)
	if !slices.Equal(sub.TagsSet, []string{"A", "B"}) || !slices.Equal(sub.CodeSet, []int32{65, 66}) || live.MessageModel != wire.Clustering {
		t.Errorf("subscription %+v of %+v", sub, live)
	}
	producers := decode[wire.ProducerConnection](t, c.want(wire.RespSuccess, request(wire.ReqGetProducerConnectionList, "producerGroup", "p")))
	if diff := cmp.Diff([]wire.Connection{want}, producers.ConnectionSet); diff != "" {
		t.Errorf("producers (-want +got):\n%s", diff)
	}
	c.want(wire.RespInvalidParameter, request(wire.ReqGetConsumerConnectionList))
	c.want(wire.RespInvalidParameter, request(wire.ReqGetProducerConnectionList))
}

func TestConsumeStats(t *testing.T) {
	t.Parallel()
	b := startBroker(t)
	b.addTopic("t", 2)
	b.addTopic("u", 1)
	b.addGroup("g")
	c := b.dial()
	for range 3 {
		c.produce("t", 0, "x")
	}
	c.produce("u", 0, "x")
	c.want(wire.RespSuccess, commit("g", 2))
	stats := func(ext ...string) wire.ConsumeStats {
		t.Helper()
		return decode[wire.ConsumeStats](t, c.want(wire.RespSuccess, request(wire.ReqGetConsumeStats, append([]string{"consumerGroup", "g"}, ext...)...)))
	}
	table := stats().OffsetTable
	w, _ := table.Get(wire.MessageQueue{BrokerName: testShard, Topic: "t"})
	if len(table) != 2 || w.BrokerOffset != 3 || w.ConsumerOffset != 2 || w.LastTimestamp == 0 {
		t.Errorf("stats %+v", table)
	}
	if table := stats("topic", "u").OffsetTable; len(table) != 1 {
		t.Errorf("stats of u: %+v", table)
	}
	if table := stats("topicList", "u;t;nope").OffsetTable; len(table) != 3 {
		t.Errorf("stats of a list: %+v", table)
	}
	c.beat(heartbeatOf("c", "g", "u", "*"))
	if table := stats().OffsetTable; len(table) != 0 {
		t.Errorf("stats of a topic that the live group is not subscribed to: %+v", table)
	}
	c.want(wire.RespInvalidParameter, request(wire.ReqGetConsumeStats))
}

func TestBrokerInformation(t *testing.T) {
	t.Parallel()
	b := startBroker(t)
	b.addTopic("t", 1)
	c := b.dial()
	c.produce("t", 0, "x")
	table := decode[wire.KVTable](t, c.want(wire.RespSuccess, request(wire.ReqGetBrokerRuntimeInfo))).Table
	if table["msgPutTotalTodayNow"] != "1" || table["brokerActive"] != "true" || len(strings.Fields(table["putTps"])) != 3 || len(strings.Fields(table["getTransferredTps"])) != 3 {
		t.Errorf("runtime information %v", table)
	}
	if _, ok := table["brokerInactiveReason"]; ok || table["shardEpoch"] != fmt.Sprint(b.deps.Metadata.Own.Epoch()) {
		t.Errorf("runtime information %v", table)
	}
	b.mu.Lock()
	b.notOK = errors.New("no lease")
	b.mu.Unlock()
	table = decode[wire.KVTable](t, c.want(wire.RespSuccess, request(wire.ReqGetBrokerRuntimeInfo))).Table
	if table["brokerActive"] != "false" || table["brokerInactiveReason"] != "no lease" {
		t.Errorf("runtime information of a broker that is not ready %v", table)
	}
	cfg := string(c.want(wire.RespSuccess, request(wire.ReqGetBrokerConfig)).Body)
	if !strings.Contains(cfg, "brokerName="+testShard+"\n") || !strings.Contains(cfg, "flushDiskType=SYNC_FLUSH\n") {
		t.Errorf("configuration %s", cfg)
	}
	for _, code := range []int32{wire.ReqUpdateBrokerConfig, wire.ReqPopMessage, wire.ReqEndTransaction, 4242} {
		if resp := c.want(wire.RespRequestCodeNotSupported, request(code)); resp.Remark != fmt.Sprintf(" request type %d not supported", code) {
			t.Errorf("remark %q", resp.Remark)
		}
	}
}
