package remoting

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/varvemq/varve/internal/message"
	wire "github.com/varvemq/varve/internal/remoting"
	"github.com/varvemq/varve/metadata"
)

func TestSendAnswersWithPlaceAndID(t *testing.T) {
	t.Parallel()
	b := startBroker(t)
	b.addTopic("orders", 2)
	for _, codec := range []wire.Codec{wire.CodecJSON, wire.CodecBinary} {
		c := b.dial()
		c.codec = codec
		resp := c.produce("orders", 1, "body", message.PropertyUniqKey, fmt.Sprintf("KEY%d", codec))
		if resp.Codec != codec {
			t.Fatalf("answer in codec %d", resp.Codec)
		}
		if q, off := extInt(t, resp, "queueId"), extInt(t, resp, "queueOffset"); q != 1 || off != int64(codec) {
			t.Errorf("stored at queue %d offset %d", q, off)
		}
		if id := resp.Ext.String("transactionId"); id != fmt.Sprintf("KEY%d", codec) {
			t.Errorf("transactionId %q", id)
		}
		if region, trace := resp.Ext.String("MSG_REGION"), resp.Ext.String("TRACE_ON"); region != "DefaultRegion" || trace != "true" {
			t.Errorf("MSG_REGION %q, TRACE_ON %q", region, trace)
		}
		if host, phys, err := message.ParseOffsetID(resp.Ext.String("msgId")); err != nil || host != b.cfg.Advertise || phys < 0 {
			t.Errorf("msgId %s: %v, %d, %v", resp.Ext.String("msgId"), host, phys, err)
		}
	}
}

func TestSendRefusals(t *testing.T) {
	t.Parallel()
	b := startBroker(t)
	b.addTopic("orders", 2)
	b.addTopic("readonly", 1)
	_, err := b.deps.Metadata.UpdateTopic(t.Context(), "readonly", func(t *metadata.Topic) error { t.Perm = permRead; return nil })
	must(t, err)
	c := b.dial()
	for _, test := range []struct {
		name, topic string
		queue       int32
		body        string
		props       []string
		code        int32
	}{
		{"queue beyond the topic", "orders", 2, "x", nil, wire.RespInvalidParameter},
		{"no write permission", "readonly", 0, "x", nil, wire.RespNoPermission},
		{"forbidden topic", message.TopicSchedule, 0, "x", nil, wire.RespNoPermission},
		{"illegal topic name", "a b", 0, "x", nil, wire.RespInvalidParameter},
		{"body over the limit", "orders", 0, strings.Repeat("x", 4<<20+1), nil, wire.RespMessageIllegal},
		{"timer", "orders", 0, "x", []string{message.PropertyTimerDelaySec, "10"}, wire.RespMessageIllegal},
		{"transaction", "orders", 0, "x", []string{message.PropertyTransactionPrepared, "true"}, wire.RespNoPermission},
		{"delay is no number", "orders", 0, "x", []string{message.PropertyDelay, "soon"}, wire.RespMessageIllegal},
		{"properties over the limit", "orders", 0, "x", []string{"long", strings.Repeat("v", message.MaxProperties)}, wire.RespMessageIllegal},
	} {
		resp := c.call(sendRequest(test.topic, test.queue, test.body, test.props...))
		if resp.Code != test.code {
			t.Errorf("%s: code %d (%s), want %d", test.name, resp.Code, resp.Remark, test.code)
		}
		if resp.Ext.String("MSG_REGION") == "" {
			t.Errorf("%s: no MSG_REGION, which Java clients read without a check", test.name)
		}
	}
	c.produce("orders", 0, "still works")
}

func TestSendMakesTopic(t *testing.T) {
	t.Parallel()
	b := startBroker(t)
	c := b.dial()
	c.produce("fresh", 3, "x")
	topic, ok := b.deps.Metadata.Topic("fresh")
	if !ok || topic.WriteQueues != 4 {
		t.Errorf("topic %+v", topic)
	}
}

func TestSendWhileNotReady(t *testing.T) {
	t.Parallel()
	b := startBroker(t)
	b.addTopic("orders", 1)
	b.mu.Lock()
	b.notOK = status(wire.RespSystemBusy, "[FENCED] why")
	b.mu.Unlock()
	if resp := b.dial().call(sendRequest("orders", 0, "x")); resp.Code != wire.RespSystemBusy || !strings.Contains(resp.Remark, "why") {
		t.Errorf("code %d (%s)", resp.Code, resp.Remark)
	}
}

func TestSendBatch(t *testing.T) {
	t.Parallel()
	b := startBroker(t)
	b.addTopic("orders", 1)
	c := b.dial()
	var body []byte
	for i := range 3 {
		body = message.AppendBatchItem(body, &message.BatchItem{Body: fmt.Appendf(nil, "m%d", i)})
	}
	h := wire.SendMessageHeader{
		ProducerGroup: []byte("p"), Topic: []byte("orders"), DefaultTopic: []byte(message.TopicAutoCreate), DefaultTopicQueueNums: 4,
		BornTimestamp: time.Now().UnixMilli(), Batch: true,
	}
	for range 2 {
		cmd := &wire.Command{Code: wire.ReqSendBatchMessage, Body: body}
		h.AppendExt(cmd)
		resp := c.want(wire.RespSuccess, cmd)
		if got := strings.Split(resp.Ext.String("msgId"), ","); len(got) != 3 {
			t.Errorf("%d ids, want 3", len(got))
		}
	}
	cmd := &wire.Command{Code: wire.ReqSendBatchMessage, Body: body[:len(body)-1]}
	h.AppendExt(cmd)
	c.want(wire.RespMessageIllegal, cmd)
	resp := c.want(wire.RespSuccess, pullRequest("orders", 0, 0, 32, "*", 0))
	if got := messages(t, resp.Body); len(got) != 6 || string(got[5].Body()) != "m2" || got[5].QueueOffset() != 5 {
		t.Errorf("pulled %d messages", len(got))
	}
}
