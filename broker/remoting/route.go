package remoting

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strconv"
	"sync/atomic"

	"github.com/varvemq/varve/internal/message"
	wire "github.com/varvemq/varve/internal/remoting"
	"github.com/varvemq/varve/metadata"
)

// templateQueues is what the route of the template topic TBW102 claims; a producer of a new topic takes four of them at most.
const templateQueues = 8

// routeWarning remembers that a remote client was given a loopback address.
type routeWarning struct{ said atomic.Bool }

// check warns once, when a client of another machine is sent to an address that it cannot reach.
func (w *routeWarning) check(s *Server, c *conn) {
	if !s.cfg.Advertise.Addr().IsLoopback() || !c.remote.IsValid() || c.remote.Addr().IsLoopback() || w.said.Swap(true) {
		return
	}
	c.log.Warn("a remote client asked for a route, but the advertised address is of this machine only: set --advertise-host",
		"advertised", s.brokerAddr())
}

// brokerAddr is the shard's address in routes.
func (s *Server) brokerAddr() string {
	host := s.cfg.AdvertiseHost
	if host == "" {
		host = s.cfg.Advertise.Addr().String()
	}
	return net.JoinHostPort(host, strconv.Itoa(int(s.cfg.Advertise.Port())))
}

func (s *Server) brokerData() wire.BrokerData {
	return wire.BrokerData{
		BrokerAddrs: map[int64]string{wire.MasterID: s.brokerAddr()}, BrokerName: s.cfg.Shard, Cluster: s.cfg.Cluster,
	}
}

// topicRoute serves GET_ROUTEINFO_BY_TOPIC. (ClientRequestProcessor in RocketMQ's name server.) The body is standard JSON for every client.
func (s *Server) topicRoute(c *conn, req *wire.Command) (*wire.Command, error) {
	name, err := req.Ext.RequireString("topic")
	if err != nil {
		return nil, err
	}
	s.warn.check(s, c)
	info, ok := s.topics.lookup([]byte(name))
	var t *metadata.Topic
	switch {
	case ok:
		t = info.meta
	case name == message.TopicAutoCreate:
		t = templateTopic()
	default:
		return nil, status(wire.RespTopicNotExist, "No topic route info in name server for the topic: %s", name)
	}
	route := wire.TopicRouteData{
		BrokerDatas: []wire.BrokerData{s.brokerData()},
		QueueDatas: []wire.QueueData{{
			BrokerName: s.cfg.Shard, Perm: t.Perm, ReadQueueNums: t.ReadQueues, WriteQueueNums: t.WriteQueues, TopicSysFlag: t.SysFlag,
		}},
	}
	if t.Order {
		route.OrderTopicConf = s.orderConf(t)
	}
	return bodyResponse(route)
}

// templateTopic is the topic that producers look at when their own is not there yet. Nothing is ever stored in it.
func templateTopic() *metadata.Topic {
	return &metadata.Topic{
		Name: message.TopicAutoCreate, ReadQueues: templateQueues, WriteQueues: templateQueues,
		Perm: permRead | permWrite | wire.PermInherit, FilterType: wire.SingleTag,
	}
}

// orderConf says how many queues an ordered topic has at each broker.
func (s *Server) orderConf(t *metadata.Topic) string {
	return fmt.Sprintf("%s:%d", s.cfg.Shard, t.WriteQueues)
}

// clusterInfo serves GET_BROKER_CLUSTER_INFO.
func (s *Server) clusterInfo(context.Context, *conn, *wire.Command) (*wire.Command, error) {
	return bodyResponse(&wire.ClusterInfo{
		BrokerAddrTable:  map[string]wire.BrokerData{s.cfg.Shard: s.brokerData()},
		ClusterAddrTable: map[string][]string{s.cfg.Cluster: {s.cfg.Shard}},
	})
}

// topicList serves GET_ALL_TOPIC_LIST_FROM_NAMESERVER.
func (s *Server) topicList(context.Context, *conn, *wire.Command) (*wire.Command, error) {
	return bodyResponse(&wire.TopicList{TopicList: s.topicNames()})
}

// topicsByCluster serves GET_TOPICS_BY_CLUSTER.
func (s *Server) topicsByCluster(_ context.Context, _ *conn, req *wire.Command) (*wire.Command, error) {
	cluster, err := req.Ext.RequireString("cluster")
	if err != nil {
		return nil, err
	}
	if cluster != s.cfg.Cluster {
		return bodyResponse(&wire.TopicList{TopicList: []string{}})
	}
	return bodyResponse(&wire.TopicList{TopicList: s.topicNames()})
}

// topicNames lists the topics that have a route.
func (s *Server) topicNames() []string {
	topics := s.deps.Metadata.ListTopics()
	names := make([]string, 0, len(topics)+1)
	for _, t := range topics {
		names = append(names, t.Name)
	}
	if i, found := slices.BinarySearch(names, message.TopicAutoCreate); !found {
		names = slices.Insert(names, i, message.TopicAutoCreate)
	}
	return names
}

// deleteTopicInNameServer serves DELETE_TOPIC_IN_NAMESRV. There is nothing to do: a topic's route goes with the topic.
func (s *Server) deleteTopicInNameServer(_ context.Context, _ *conn, req *wire.Command) (*wire.Command, error) {
	_, err := req.Ext.RequireString("topic")
	return nil, err
}
