package remoting

import (
	"context"
	"strings"

	wire "github.com/varvemq/varve/internal/remoting"
)

// consumeStats serves GET_CONSUME_STATS: the progress of a group in the topics that are named, or else in all it has progress in.
func (s *Server) consumeStats(ctx context.Context, _ *conn, req *wire.Command) (*wire.Command, error) {
	name, err := req.Ext.RequireString("consumerGroup")
	if err != nil {
		return nil, err
	}
	var stats wire.ConsumeStats
	var total int64
	for _, info := range s.statsTopics(name, req.Ext.String("topic"), req.Ext.String("topicList")) {
		for id := range info.meta.ReadQueues {
			w, err := s.progress(ctx, name, info, id)
			if err != nil {
				return nil, err
			}
			total += w.ConsumerOffset
			stats.OffsetTable = append(stats.OffsetTable, wire.QueueEntry[wire.OffsetWrapper]{Queue: s.messageQueue(info.meta.Name, id), Value: w})
		}
	}
	stats.ConsumeTPS = s.stats.rate("get "+name+" "+req.Ext.String("topic"), total)
	return bodyResponse(&stats)
}

// progress tells how far a group is in a queue. A group without progress is shown at zero, as in RocketMQ.
func (s *Server) progress(ctx context.Context, group string, info *topicInfo, id int32) (wire.OffsetWrapper, error) {
	var w wire.OffsetWrapper
	q := s.queue(info, id)
	if q == nil {
		return w, nil
	}
	w.BrokerOffset = int64(q.Max())
	w.ConsumerOffset, _ = s.deps.Offsets.Offset(group, q.Ordinal())
	w.PullOffset = w.ConsumerOffset
	if last := w.ConsumerOffset - 1; last >= int64(q.Min()) && last < w.BrokerOffset {
		ms, err := s.deps.Log.StoreTime(ctx, q, uint64(last))
		if err != nil {
			return w, err
		}
		w.LastTimestamp = max(0, ms)
	}
	return w, nil
}

// statsTopics chooses the topics of GET_CONSUME_STATS. A list is taken as it is; else topics that a live group is not subscribed to are left out.
func (s *Server) statsTopics(group, topic, list string) []*topicInfo {
	var names []string
	if list != "" {
		names = strings.FieldsFunc(list, func(r rune) bool { return r == ';' })
	} else {
		if topic != "" {
			names = []string{topic}
		} else {
			names = s.topicsWithProgress(group)
		}
		if live, ok := s.deps.Groups.Info(group); ok && len(live.Subscriptions) > 0 {
			kept := names[:0]
			for _, n := range names {
				if sub, _ := s.deps.Groups.Subscription(group, n); sub != nil {
					kept = append(kept, n)
				}
			}
			names = kept
		}
	}
	infos := make([]*topicInfo, 0, len(names))
	for _, n := range names {
		if info, ok := s.topics.lookup([]byte(n)); ok {
			infos = append(infos, info)
		}
	}
	return infos
}

func (s *Server) topicsWithProgress(group string) []string {
	var names []string
	for _, t := range s.deps.Metadata.ListTopics() {
		if s.hasProgress(group, t) {
			names = append(names, t.Name)
		}
	}
	return names
}
