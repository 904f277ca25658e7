package remoting

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const javaHeartbeat = `{"clientID":"10.0.0.2@123#456","consumerDataSet":[{"consumeFromWhere":"CONSUME_FROM_LAST_OFFSET",` +
	`"consumeType":"CONSUME_PASSIVELY","groupName":"G","messageModel":"CLUSTERING","subscriptionDataSet":[` +
	`{"classFilterMode":false,"codeSet":[2598919],"expressionType":"TAG","subString":"TagA","subVersion":1700000000000,` +
	`"tagsSet":["TagA"],"topic":"T"}],"unitMode":false}],"heartbeatFingerprint":0,"producerDataSet":[{"groupName":"P"}],"withoutSub":false}`

const goHeartbeat = `{"clientID":"10.0.0.2@123#456","producerDataSet":[{"groupName":"P"}],"consumerDataSet":[{"groupName":"G",` +
	`"consumeType":"CONSUME_PASSIVELY","messageModel":"CLUSTERING","consumeFromWhere":"CONSUME_FROM_LAST_OFFSET",` +
	`"subscriptionDataSet":[{"topic":"T","subString":"TagA","classFilterMode":"false","tagsSet":["TagA"],"codeSet":["2598919"],` +
	`"subVersion":"1700000000000","expressionType":"TAG"}],"unitMode":false}]}`

func TestHeartbeat(t *testing.T) {
	t.Parallel()
	want := HeartbeatData{
		ClientID: "10.0.0.2@123#456", ProducerDataSet: []ProducerData{{GroupName: "P"}},
		ConsumerDataSet: []ConsumerData{{
			GroupName: "G", ConsumeType: ConsumePassively, MessageModel: Clustering, ConsumeFromWhere: ConsumeFromLastOffset,
			SubscriptionDataSet: []SubscriptionData{{
				Topic: "T", SubString: "TagA", TagsSet: []string{"TagA"}, CodeSet: []int32{2598919},
				SubVersion: 1700000000000, ExpressionType: ExpressionTag,
			}},
		}},
	}
	for name, body := range map[string]string{"java": javaHeartbeat, "go": goHeartbeat} {
		var got HeartbeatData
		if err := DecodeBody([]byte(body), &got); err != nil {
			t.Fatal(name, err)
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Error(name, d)
		}
	}
	b, err := EncodeBody(want)
	if err != nil {
		t.Fatal(err)
	}
	if string(b) != javaHeartbeat {
		t.Errorf("got  %s\nwant %s", b, javaHeartbeat)
	}
}

func TestRoute(t *testing.T) {
	t.Parallel()
	want := `{"brokerDatas":[{"brokerAddrs":{"0":"10.0.0.1:10911"},"brokerName":"varve-a","cluster":"DefaultCluster","enableActingMaster":false}],` +
		`"filterServerTable":{},"queueDatas":[{"brokerName":"varve-a","perm":6,"readQueueNums":4,"topicSysFlag":0,"writeQueueNums":4}]}`
	route := TopicRouteData{
		BrokerDatas: []BrokerData{{BrokerAddrs: map[int64]string{MasterID: "10.0.0.1:10911"}, BrokerName: "varve-a", Cluster: "DefaultCluster"}},
		QueueDatas:  []QueueData{{BrokerName: "varve-a", Perm: 6, ReadQueueNums: 4, WriteQueueNums: 4}},
	}
	b, err := EncodeBody(route)
	if err != nil {
		t.Fatal(err)
	}
	if string(b) != want {
		t.Errorf("got  %s\nwant %s", b, want)
	}
	// As RocketMQ writes it to old clients.
	var got TopicRouteData
	if err := DecodeBody([]byte(strings.Replace(want, `"0":`, `0:`, 1)), &got); err != nil {
		t.Fatal(err)
	}
	route.FilterServerTable = map[string][]string{}
	if d := cmp.Diff(route, got); d != "" {
		t.Error(d)
	}
}

func TestQueueMap(t *testing.T) {
	t.Parallel()
	q := []MessageQueue{{BrokerName: "b", QueueID: 0, Topic: "t"}, {BrokerName: "b", QueueID: 1, Topic: "t"}}
	want := ResetOffsetBody{OffsetTable: QueueMap[int64]{{Queue: q[0], Value: 5}, {Queue: q[1], Value: 7}}}
	fast := `{"offsetTable":{{"brokerName":"b","queueId":0,"topic":"t"}:5,{"brokerName":"b","queueId":1,"topic":"t"}:7}}`
	forC := `{"offsetTable":[{"brokerName":"b","queueId":0,"topic":"t","offset":5},{"brokerName":"b","queueId":1,"topic":"t","offset":7}]}`
	for name, body := range map[string]string{
		"fastjson": fast, "c++": forC,
		"spaces":      `{ "offsetTable" : { {"topic":"t","brokerName":"b","queueId":0} : 5 , {"brokerName":"b","queueId":1,"topic":"t"}:7 } }`,
		"go list":     `{"offsetTable":[[{"brokerName":"b","queueId":0,"topic":"t"},5],[{"brokerName":"b","queueId":1,"topic":"t"},7]]}`,
		"string keys": `{"offsetTable":{"{\"brokerName\":\"b\",\"queueId\":1,\"topic\":\"t\"}":7,"{\"brokerName\":\"b\",\"queueId\":0,\"topic\":\"t\"}":5}}`,
	} {
		var got ResetOffsetBody
		if err := DecodeBody([]byte(body), &got); err != nil {
			t.Error(name, err)
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Error(name, d)
		}
	}
	if b, err := EncodeBody(want); err != nil || string(b) != fast {
		t.Errorf("%s %v", b, err)
	}
	if b, err := EncodeBody(&want); err != nil || string(b) != fast {
		t.Errorf("%s %v", b, err)
	}
	if b, err := EncodeResetOffsetForC(&want); err != nil || string(b) != strings.ReplaceAll(forC, `"topic":"t","offset"`, `"topic":"t","offset"`) {
		t.Errorf("%s %v", b, err)
	}
	if v, ok := want.OffsetTable.Get(q[1]); !ok || v != 7 {
		t.Error(v, ok)
	}
	stats := TopicStatsTable{OffsetTable: QueueMap[TopicOffset]{{Queue: q[0], Value: TopicOffset{MaxOffset: 3}}}, TopicPutTPS: 1.5}
	b, err := EncodeBody(stats)
	wantStats := `{"offsetTable":{{"brokerName":"b","queueId":0,"topic":"t"}:{"lastUpdateTimestamp":0,"maxOffset":3,"minOffset":0}},"topicPutTps":1.5}`
	if err != nil || string(b) != wantStats {
		t.Errorf("%s %v", b, err)
	}
	var again TopicStatsTable
	if err := DecodeBody(b, &again); err != nil || cmp.Diff(stats, again) != "" {
		t.Errorf("%+v %v", again, err)
	}
	for _, v := range []any{ConsumeStats{}, ConsumerStatusBody{}, TopicStatsTable{}} {
		if b, err := EncodeBody(v); err != nil || !strings.Contains(string(b), `able":{}`) {
			t.Errorf("%T: %s %v", v, b, err)
		}
	}
}

func TestBodyDefaults(t *testing.T) {
	t.Parallel()
	var g SubscriptionGroupConfig
	if err := DecodeBody([]byte(`{"groupName":"g","retryMaxTimes":3,"groupRetryPolicy":{"type":"CUSTOMIZED"}}`), &g); err != nil {
		t.Fatal(err)
	}
	want := DefaultSubscriptionGroup("g")
	want.RetryMaxTimes = 3
	if d := cmp.Diff(want, g); d != "" {
		t.Error(d)
	}
	var c TopicConfig
	if err := DecodeBody([]byte(`{"topicName":"t","perm":4}`), &c); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(TopicConfig{TopicName: "t", Perm: 4, ReadQueueNums: 16, WriteQueueNums: 16, TopicFilterType: SingleTag}, c); d != "" {
		t.Error(d)
	}
	var l LockBatchBody
	if err := DecodeBody([]byte(`{"clientId":"c","consumerGroup":"g","mqSet":[{"brokerName":"b","queueId":1,"topic":"t"}],"onlyThisBroker":false}`), &l); err != nil || len(l.MQSet) != 1 {
		t.Error(l, err)
	}
}

func TestMalformedBodies(t *testing.T) {
	t.Parallel()
	for name, body := range map[string]string{
		"empty": ``, "cut": `{"offsetTable":{{"brokerName":"b"`, "deep": strings.Repeat(`{"a":`, 100) + "1" + strings.Repeat("}", 100),
		"key depth": `{"offsetTable":` + strings.Repeat(`{{`, 50), "no value": `{"offsetTable":{{"queueId":1}}}`, "text": `hello`,
		"value": `{"offsetTable":{{"queueId":1}:"x"}}`, "pair": `{"offsetTable":[[1]]}`, "key": `{"offsetTable":{"x":1}}`,
	} {
		var got ResetOffsetBody
		if err := DecodeBody([]byte(body), &got); !errors.Is(err, ErrMalformedBody) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
