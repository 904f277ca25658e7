package remoting

import (
	"context"
	"time"

	"github.com/varvemq/varve/broker/queue"
	wire "github.com/varvemq/varve/internal/remoting"
)

// youngTopic is how long a new group begins at the first message of a topic whatever it asked for: see queryConsumerOffset. RocketMQ keeps messages for
// as long by default.
const youngTopic = 72 * time.Hour

// namedQueue finds the queue of an offset request, also one that is only written or no longer in use.
func (s *Server) namedQueue(h *wire.OffsetHeader) (*queue.Queue, error) {
	info, ok := s.topics.lookup(h.Topic)
	if !ok {
		return nil, status(wire.RespTopicNotExist, "topic[%s] not exist, apply first please!", h.Topic)
	}
	q := s.queue(info, h.QueueID)
	if q == nil {
		return nil, status(wire.RespInvalidParameter, "queueId[%d] is illegal, topic[%s] has %d queues", h.QueueID, h.Topic, info.meta.Queues())
	}
	return q, nil
}

// offsetRequest decodes the request of an offset and finds its queue.
func (s *Server) offsetRequest(req *wire.Command) (*wire.OffsetHeader, *queue.Queue, error) {
	h := &wire.OffsetHeader{}
	if err := h.Decode(req); err != nil {
		return nil, nil, err
	}
	q, err := s.namedQueue(h)
	return h, q, err
}

// offsetResponse is a successful response with one number.
func offsetResponse(field string, value int64) *wire.Command {
	resp := &wire.Command{Code: wire.RespSuccess}
	resp.Ext.AddInt(field, value)
	return resp
}

// maxOffset serves GET_MAX_OFFSET. What is not visible yet does not count, whatever the request's "committed" says.
func (s *Server) maxOffset(_ *conn, req *wire.Command) (*wire.Command, error) {
	_, q, err := s.offsetRequest(req)
	if err != nil {
		return nil, err
	}
	return offsetResponse("offset", int64(q.Max())), nil
}

// minOffset serves GET_MIN_OFFSET.
func (s *Server) minOffset(_ *conn, req *wire.Command) (*wire.Command, error) {
	_, q, err := s.offsetRequest(req)
	if err != nil {
		return nil, err
	}
	return offsetResponse("offset", int64(q.Min())), nil
}

// searchOffset serves SEARCH_OFFSET_BY_TIMESTAMP.
func (s *Server) searchOffset(ctx context.Context, _ *conn, req *wire.Command) (*wire.Command, error) {
	h, q, err := s.offsetRequest(req)
	if err != nil {
		return nil, err
	}
	offset, err := s.deps.Log.OffsetByTime(ctx, q, h.Timestamp, h.Upper)
	if err != nil {
		return nil, err
	}
	return offsetResponse("offset", int64(offset)), nil
}

// earliestStoreTime serves GET_EARLIEST_MSG_STORETIME; -1 says that the queue is empty.
func (s *Server) earliestStoreTime(ctx context.Context, _ *conn, req *wire.Command) (*wire.Command, error) {
	_, q, err := s.offsetRequest(req)
	if err != nil {
		return nil, err
	}
	ms, err := s.deps.Log.EarliestStoreTime(ctx, q)
	if err != nil {
		return nil, err
	}
	return offsetResponse("timestamp", ms), nil
}

// queryConsumerOffset serves QUERY_CONSUMER_OFFSET. (ConsumerManageProcessor in RocketMQ's broker.) A group that has nothing stored is sent to offset 0
// while the queue is young and complete, even if it asked to begin at the end: RocketMQ does so while message 0 is in memory, its tests rely on it, and
// it loses nothing. We take a queue for young while it is empty, and for 72 hours after its topic was made.
func (s *Server) queryConsumerOffset(c *conn, req *wire.Command) (*wire.Command, error) {
	var h wire.OffsetHeader
	if err := h.Decode(req); err != nil {
		return nil, err
	}
	info, ok := s.topics.lookup(h.Topic)
	if !ok {
		return nil, status(wire.RespQueryNotFound, "Not found, the topic does not exist")
	}
	q, err := s.namedQueue(&h)
	if err != nil {
		return nil, err
	}
	name := string(h.ConsumerGroup)
	if offset, ok := s.deps.Offsets.Offset(name, q.Ordinal()); ok {
		if s.resets.count.Load() > 0 {
			if id := s.consumerID(name, c); id != "" {
				s.resets.announce(name, q.Ordinal(), offset, id)
			}
		}
		return offsetResponse("offset", offset), nil
	}
	young := q.Max() == 0 || time.Since(time.UnixMilli(info.meta.CreatedMs)) < youngTopic
	switch {
	case !h.SetZeroIfNotFound:
		return nil, status(wire.RespQueryNotFound, "Not found, do not set to zero, maybe this group boot first")
	case q.Min() == 0 && young:
		return offsetResponse("offset", 0), nil
	default:
		return nil, status(wire.RespQueryNotFound, "Not found, V3_0_6_SNAPSHOT maybe this group consumer boot first")
	}
}

// updateConsumerOffset serves UPDATE_CONSUMER_OFFSET. The offset may be lower than the one before; it may not be beyond what the queue has.
func (s *Server) updateConsumerOffset(c *conn, req *wire.Command) (*wire.Command, error) {
	var h wire.OffsetHeader
	if err := h.Decode(req); err != nil {
		return nil, err
	}
	g, ok := s.deps.Metadata.Group(string(h.ConsumerGroup))
	if !ok {
		return nil, status(wire.RespSubscriptionGroupNotExist, "Group %s not exist!", h.ConsumerGroup)
	}
	q, err := s.namedQueue(&h)
	if err != nil {
		return nil, err
	}
	if h.CommitOffset < 0 || h.CommitOffset > int64(q.Max()) {
		return nil, status(wire.RespInvalidParameter, "offset %d is not in [0, %d] of queue %d of topic %s", h.CommitOffset, q.Max(), h.QueueID, h.Topic)
	}
	if !s.commitOffsetOf(c, g.Name, q, h.CommitOffset) {
		return &wire.Command{Code: wire.RespSuccess, Remark: "Offset has been previously reset"}, nil
	}
	return nil, nil
}

// commitOffset takes a group's progress in, unless the offset is beyond the queue's end, the group is not there, or a reset is waiting for
// the group's consumers: what they still report is of before the reset.
func (s *Server) commitOffset(group string, q *queue.Queue, offset int64) bool {
	return s.commitOffsetOf(nil, group, q, offset)
}

// commitOffsetOf is commitOffset of a client, if there is one: a consumer that knows of a reset is not refused.
func (s *Server) commitOffsetOf(c *conn, group string, q *queue.Queue, offset int64) bool {
	if offset < 0 || offset > int64(q.Max()) {
		return false
	}
	if s.resets.count.Load() > 0 && !s.resets.mayCommit(group, q.Ordinal(), offset, s.consumerID(group, c)) {
		return false
	}
	if _, ok := s.deps.Metadata.Group(group); !ok {
		return false
	}
	s.deps.Offsets.Commit(group, q.Ordinal(), offset)
	return true
}
