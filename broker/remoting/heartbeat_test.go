package remoting

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	wire "github.com/varvemq/varve/internal/remoting"
)

func TestHeartbeatMakesGroupAndRetryTopic(t *testing.T) {
	t.Parallel()
	b := startBroker(t)
	for _, codec := range []wire.Codec{wire.CodecJSON, wire.CodecBinary} {
		c := b.dial()
		c.codec = codec
		name := fmt.Sprintf("g%d", codec)
		c.beat(heartbeatOf("c1", name, "t", "TagA || TagB"))
		if g, ok := b.deps.Metadata.Group(name); !ok || g.RetryMaxTimes != 16 || !g.ConsumeEnable {
			t.Errorf("group %+v, %v", g, ok)
		}
		if topic, ok := b.deps.Metadata.Topic("%RETRY%" + name); !ok || topic.ReadQueues != 1 || topic.Perm != 6 {
			t.Errorf("retry topic %+v, %v", topic, ok)
		}
		sub, _ := b.deps.Groups.Subscription(name, "t")
		if sub == nil || !sub.Tags.MatchString("TagB") || sub.Tags.MatchString("TagC") {
			t.Errorf("subscription %+v", sub)
		}
	}
}

func TestHeartbeatOfAGoClient(t *testing.T) {
	t.Parallel()
	b := startBroker(t)
	c := b.dial()
	// rocketmq-client-go writes hashes and tags as strings.
	c.want(wire.RespSuccess, withBody(t, wire.ReqHeartbeat, `{"clientID":"c1","producerDataSet":[{"groupName":"CLIENT_INNER_PRODUCER"}],`+
		`"consumerDataSet":[{"groupName":"g","consumeType":"CONSUME_PASSIVELY","messageModel":"CLUSTERING","consumeFromWhere":"CONSUME_FROM_FIRST_OFFSET",`+
		`"subscriptionDataSet":[{"classFilterMode":false,"topic":"t","subString":"A","tagsSet":["A"],"codeSet":["65"],"subVersion":17,"expressionType":"TAG"}],"unitMode":false}]}`))
	if sub, _ := b.deps.Groups.Subscription("g", "t"); sub == nil || sub.Version != 17 {
		t.Errorf("subscription %+v", sub)
	}
}

func TestMembersAreListedAndTold(t *testing.T) {
	t.Parallel()
	b := startBroker(t)
	first, second := b.dial(), b.dial()
	first.want(wire.RespSystemError, request(wire.ReqGetConsumerListByGroup, "consumerGroup", "g"))
	first.beat(heartbeatOf("c2", "g", "t", "*"))
	second.beat(heartbeatOf("c1", "g", "t", "*"))
	list := decode[wire.ConsumerListBody](t, first.want(wire.RespSuccess, request(wire.ReqGetConsumerListByGroup, "consumerGroup", "g")))
	if !slices.Equal(list.ConsumerIDList, []string{"c1", "c2"}) {
		t.Errorf("members %v", list.ConsumerIDList)
	}
	told := func(c *testClient) {
		t.Helper()
		select {
		case cmd := <-c.pushed:
			if cmd.Code != wire.ReqNotifyConsumerIDsChanged || cmd.Ext.String("consumerGroup") != "g" || !cmd.IsOneway() {
				t.Errorf("the broker sent %+v", cmd)
			}
		case <-time.After(5 * time.Second):
			t.Error("a member was not told of a change")
		}
	}
	told(first) // of itself
	told(first) // of the second
	told(second)
	second.want(wire.RespSuccess, request(wire.ReqUnregisterClient, "clientID", "c1", "consumerGroup", "g"))
	told(first)
	second.beat(heartbeatOf("c1", "g", "t", "*"))
	told(first)
	_ = second.nc.Close() // as a Go client leaves
	told(first)
	list = decode[wire.ConsumerListBody](t, first.want(wire.RespSuccess, request(wire.ReqGetConsumerListByGroup, "consumerGroup", "g")))
	if !slices.Equal(list.ConsumerIDList, []string{"c2"}) {
		t.Errorf("members %v after a connection was closed", list.ConsumerIDList)
	}
}

func TestMalformedHeartbeats(t *testing.T) {
	t.Parallel()
	b := startBroker(t)
	c := b.dial()
	many := heartbeatOf("c", "g")
	for i := range maxHeartbeatGroups {
		many.ProducerDataSet = append(many.ProducerDataSet, wire.ProducerData{GroupName: fmt.Sprint("p", i)})
	}
	for name, body := range map[string]any{
		"no json":         `{"clientID":`,
		"not an object":   `[1,2]`,
		"empty":           ``,
		"no client id":    `{"consumerDataSet":[]}`,
		"nested too deep": strings.Repeat("[", 1000),
		"too many groups": &many,
	} {
		if resp := c.call(withBody(t, wire.ReqHeartbeat, body)); resp.Code != wire.RespInvalidParameter {
			t.Errorf("%s: answered with %d (%s)", name, resp.Code, resp.Remark)
		}
	}
	bad := heartbeatOf("c", "no good name!", "t", "*")
	c.beat(bad)
	if _, ok := b.deps.Metadata.Group("no good name!"); ok {
		t.Error("a group with an illegal name was made")
	}
	c.want(wire.RespInvalidParameter, request(wire.ReqUnregisterClient))
	c.want(wire.RespInvalidParameter, request(wire.ReqGetConsumerListByGroup))
}

func TestCheckClientConfig(t *testing.T) {
	t.Parallel()
	b := startBroker(t)
	c := b.dial()
	c.want(wire.RespSuccess, request(wire.ReqCheckClientConfig))
	c.want(wire.RespSuccess, withBody(t, wire.ReqCheckClientConfig, `{"clientId":"c","group":"g","subscriptionData":{"topic":"t","subString":"A||B","expressionType":"TAG"}}`))
	c.want(wire.RespSystemError, withBody(t, wire.ReqCheckClientConfig, `{"clientId":"c","group":"g","subscriptionData":{"topic":"t","subString":"a > 1","expressionType":"SQL92"}}`))
	c.want(wire.RespSubscriptionParseFailed, withBody(t, wire.ReqCheckClientConfig, `{"subscriptionData":{"topic":"t","subString":"||","expressionType":"TAG"}}`))
	c.want(wire.RespInvalidParameter, withBody(t, wire.ReqCheckClientConfig, `{`))
}
