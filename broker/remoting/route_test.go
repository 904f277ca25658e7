package remoting

import (
	"bytes"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/varvemq/varve/internal/message"
	wire "github.com/varvemq/varve/internal/remoting"
)

func TestRoutes(t *testing.T) {
	t.Parallel()
	b := startBroker(t)
	b.addTopic("t", 3)
	c := b.dial()
	route := decode[wire.TopicRouteData](t, c.want(wire.RespSuccess, request(wire.ReqGetRouteInfoByTopic, "topic", "t")))
	want := wire.TopicRouteData{
		BrokerDatas:       []wire.BrokerData{{BrokerAddrs: map[int64]string{0: b.addr}, BrokerName: testShard, Cluster: testCluster}},
		FilterServerTable: map[string][]string{},
		QueueDatas:        []wire.QueueData{{BrokerName: testShard, Perm: 6, ReadQueueNums: 3, WriteQueueNums: 3}},
	}
	if diff := cmp.Diff(want, route); diff != "" {
		t.Errorf("route (-want +got):\n%s", diff)
	}
	template := decode[wire.TopicRouteData](t, c.want(wire.RespSuccess, request(wire.ReqGetRouteInfoByTopic, "topic", "TBW102")))
	if q := template.QueueDatas[0]; q.Perm != 7 || q.ReadQueueNums != 8 {
		t.Errorf("template's route %+v", q)
	}
	c.want(wire.RespTopicNotExist, request(wire.ReqGetRouteInfoByTopic, "topic", "nope"))
	c.want(wire.RespInvalidParameter, request(wire.ReqGetRouteInfoByTopic))

	c.want(wire.RespSuccess, topicUpdate("ordered", "order", "true", "writeQueueNums", "5"))
	ordered := decode[wire.TopicRouteData](t, c.want(wire.RespSuccess, request(wire.ReqGetRouteInfoByTopic, "topic", "ordered")))
	if ordered.OrderTopicConf != testShard+":5" {
		t.Errorf("order configuration %q", ordered.OrderTopicConf)
	}
	kv := []string{"namespace", orderNamespace, "key", "ordered"}
	c.want(wire.RespSuccess, request(wire.ReqPutKVConfig, append(kv, "value", "x:1")...))
	if got := c.want(wire.RespSuccess, request(wire.ReqGetKVConfig, kv...)).Ext.String("value"); got != testShard+":5" {
		t.Errorf("order configuration %q", got)
	}
	c.want(wire.RespQueryNotFound, request(wire.ReqGetKVConfig, "namespace", orderNamespace, "key", "t"))
	c.want(wire.RespRequestCodeNotSupported, request(wire.ReqGetKVConfig, "namespace", "OTHER", "key", "t"))
	c.want(wire.RespInvalidParameter, request(wire.ReqPutKVConfig, "namespace", orderNamespace))
	c.want(wire.RespInvalidParameter, request(wire.ReqDeleteKVConfig))
}

func TestClusterAndTopicLists(t *testing.T) {
	t.Parallel()
	b := startBroker(t)
	b.addTopic("t", 1)
	c := b.dial()
	info := decode[wire.ClusterInfo](t, c.want(wire.RespSuccess, request(wire.ReqGetBrokerClusterInfo)))
	if info.BrokerAddrTable[testShard].BrokerAddrs[0] != b.addr || !slices.Equal(info.ClusterAddrTable[testCluster], []string{testShard}) {
		t.Errorf("cluster %+v", info)
	}
	all := []string{message.TopicSchedule, message.TopicAutoCreate, "t"}
	if got := decode[wire.TopicList](t, c.want(wire.RespSuccess, request(wire.ReqGetAllTopicListFromNameserver))).TopicList; !slices.Equal(got, all) {
		t.Errorf("topics %v", got)
	}
	if got := decode[wire.TopicList](t, c.want(wire.RespSuccess, request(wire.ReqGetTopicsByCluster, "cluster", testCluster))).TopicList; !slices.Equal(got, all) {
		t.Errorf("topics %v", got)
	}
	if got := decode[wire.TopicList](t, c.want(wire.RespSuccess, request(wire.ReqGetTopicsByCluster, "cluster", "other"))).TopicList; len(got) != 0 {
		t.Errorf("topics %v of another cluster", got)
	}
	c.want(wire.RespInvalidParameter, request(wire.ReqGetTopicsByCluster))
}

func TestRemoteClientIsWarnedOfOnce(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		advertise, remote string
		warns             int
	}{
		{"127.0.0.1:10911", "10.0.0.7:5000", 1},
		{"127.0.0.1:10911", "127.0.0.1:5000", 0},
		{"127.0.0.1:10911", "[::1]:5000", 0},
		{"10.0.0.1:10911", "10.0.0.7:5000", 0},
	} {
		var log bytes.Buffer
		s := &Server{cfg: Config{Advertise: netip.MustParseAddrPort(tt.advertise)}}
		c := &conn{srv: s, remote: netip.MustParseAddrPort(tt.remote), log: slog.New(slog.NewTextHandler(&log, nil))}
		var w routeWarning
		for range 3 {
			w.check(s, c)
		}
		if got := strings.Count(log.String(), "--advertise-host"); got != tt.warns {
			t.Errorf("%s asks for %s: %d warnings, want %d", tt.remote, tt.advertise, got, tt.warns)
		}
	}
}

func TestQueryMessages(t *testing.T) {
	t.Parallel()
	b := startBroker(t)
	b.addTopic("t", 2)
	c := b.dial()
	for i := range 5 {
		c.produce("t", int32(i%2), fmt.Sprint("body", i), message.PropertyKeys, fmt.Sprintf("all k%d", i), message.PropertyUniqKey, fmt.Sprintf("U%d", i))
	}
	sent := c.produce("t", 0, "by id", message.PropertyUniqKey, "UX")
	query := func(key, maxNum, begin, end string, more ...string) *wire.Command {
		return request(wire.ReqQueryMessage, append([]string{"topic", "t", "key", key, "maxNum", maxNum, "beginTimestamp", begin, "endTimestamp", end}, more...)...)
	}
	const forever = "9223372036854775807"
	count := func(req *wire.Command) int {
		t.Helper()
		resp := c.want(wire.RespSuccess, req)
		extInt(t, resp, "indexLastUpdateTimestamp")
		extInt(t, resp, "indexLastUpdatePhyoffset")
		return len(messages(t, resp.Body))
	}
	if n := count(query("all", "32", "0", forever)); n != 5 {
		t.Errorf("%d messages have the key, want 5", n)
	}
	if n := count(query("all", "2", "0", forever)); n != 2 {
		t.Errorf("%d messages of two asked for", n)
	}
	if n := count(query("k3", "32", "0", forever)); n != 1 {
		t.Errorf("%d messages have the key, want 1", n)
	}
	// The client's idea of the time of a unique key is a hint only.
	if n := count(query("U4", "32", "1", "2", "_UNIQUE_KEY_QUERY", "true")); n != 1 {
		t.Errorf("%d messages have the unique key, want 1", n)
	}
	c.want(wire.RespQueryNotFound, query("all", "32", "1", "2"))
	c.want(wire.RespQueryNotFound, query("nope", "32", "0", forever))
	c.want(wire.RespInvalidParameter, query("all", "x", "0", forever))
	c.want(wire.RespInvalidParameter, request(wire.ReqQueryMessage, "topic", "t"))

	_, offset, err := message.ParseOffsetID(sent.Ext.String("msgId"))
	must(t, err)
	if got := messages(t, c.want(wire.RespSuccess, request(wire.ReqViewMessageByID, "offset", fmt.Sprint(offset))).Body); len(got) != 1 || string(got[0].Body()) != "by id" {
		t.Errorf("message by id: %v", got)
	}
	c.want(wire.RespSystemError, request(wire.ReqViewMessageByID, "offset", fmt.Sprint(offset+1)))
	c.want(wire.RespSystemError, request(wire.ReqViewMessageByID, "offset", "-5"))
	c.want(wire.RespInvalidParameter, request(wire.ReqViewMessageByID))
}
