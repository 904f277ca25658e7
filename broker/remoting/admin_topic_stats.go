package remoting

import (
	"context"
	"slices"

	wire "github.com/varvemq/varve/internal/remoting"
	"github.com/varvemq/varve/metadata"
)

// topicStats serves GET_TOPIC_STATS_INFO: the extent of every queue of a topic.
func (s *Server) topicStats(_ context.Context, _ *conn, req *wire.Command) (*wire.Command, error) {
	name, err := req.Ext.RequireString("topic")
	if err != nil {
		return nil, err
	}
	info, ok := s.topics.lookup([]byte(name))
	if !ok {
		return nil, status(wire.RespTopicNotExist, "topic[%s] not exist", name)
	}
	n := max(info.meta.ReadQueues, info.meta.WriteQueues)
	var stats wire.TopicStatsTable
	var total int64
	for id := range n {
		q := s.queue(info, id)
		if q == nil {
			continue
		}
		extent := wire.TopicOffset{MinOffset: int64(q.Min()), MaxOffset: int64(q.Max()), LastUpdateTimestamp: max(0, q.LastStoreTime())}
		total += extent.MaxOffset
		stats.OffsetTable = append(stats.OffsetTable, wire.QueueEntry[wire.TopicOffset]{Queue: s.messageQueue(info.meta.Name, id), Value: extent})
	}
	stats.TopicPutTPS = s.stats.rate("put "+name, total)
	return bodyResponse(&stats)
}

// messageQueue names a queue of this shard.
func (s *Server) messageQueue(topic string, id int32) wire.MessageQueue {
	return wire.MessageQueue{BrokerName: s.cfg.Shard, QueueID: id, Topic: topic}
}

// topicConsumers serves QUERY_TOPIC_CONSUME_BY_WHO: the groups that are subscribed to a topic now or have progress in it.
func (s *Server) topicConsumers(_ context.Context, _ *conn, req *wire.Command) (*wire.Command, error) {
	name, err := req.Ext.RequireString("topic")
	if err != nil {
		return nil, err
	}
	groups := s.deps.Groups.GroupsOfTopic(name)
	if info, ok := s.topics.lookup([]byte(name)); ok {
		for _, g := range s.deps.Metadata.ListGroups() {
			if !slices.Contains(groups, g.Name) && s.hasProgress(g.Name, info.meta) {
				groups = append(groups, g.Name)
			}
		}
	}
	slices.Sort(groups)
	if groups == nil {
		groups = []string{}
	}
	return bodyResponse(&wire.GroupList{GroupList: groups})
}

// hasProgress says whether a group has a committed offset in a topic.
func (s *Server) hasProgress(group string, t *metadata.Topic) bool {
	for _, r := range t.Ordinals {
		for i := range uint32(r.Count) {
			if _, ok := s.deps.Offsets.Offset(group, r.First+i); ok {
				return true
			}
		}
	}
	return false
}
