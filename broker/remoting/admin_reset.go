package remoting

import (
	"context"
	"maps"
	"math"
	"slices"

	"github.com/varvemq/varve/broker/queue"
	wire "github.com/varvemq/varve/internal/remoting"
)

// resetRequest is the request of INVOKE_BROKER_TO_RESET_OFFSET.
type resetRequest struct {
	topic, group string
	queueID      int32 // negative: every queue
	offset       int64 // negative: by time
	timestamp    int64 // ms; negative: the end
	force        bool  // also forward
}

func decodeReset(req *wire.Command) (r resetRequest, err error) {
	e := &req.Ext
	if r.topic, err = e.RequireString("topic"); err != nil {
		return r, err
	}
	if r.group, err = e.RequireString("group"); err != nil {
		return r, err
	}
	if r.queueID, err = e.Int32("queueId", -1); err != nil {
		return r, err
	}
	if r.offset, err = e.Int64("offset", -1); err != nil {
		return r, err
	}
	if r.timestamp, err = e.RequireInt64("timestamp"); err != nil {
		return r, err
	}
	r.force = e.Bool("isForce", false) || r.queueID >= 0
	return r, nil
}

// resetOffset serves INVOKE_BROKER_TO_RESET_OFFSET. The offsets are stored before the answer; consumers of the group learn of them from their next pull
// of each queue, which is answered with PULL_OFFSET_MOVED. (RocketMQ 5 does so too. RESET_CONSUMER_CLIENT_OFFSET is not sent: all clients act on
// PULL_OFFSET_MOVED, and one that hears of a reset twice goes back twice.)
func (s *Server) resetOffset(ctx context.Context, c *conn, req *wire.Command) (*wire.Command, error) {
	r, err := decodeReset(req)
	if err != nil {
		return nil, err
	}
	info, ok := s.topics.lookup([]byte(r.topic))
	if !ok {
		return nil, status(wire.RespTopicNotExist, "Topic %s does not exist", r.topic)
	}
	g, ok := s.deps.Metadata.Group(r.group)
	if !ok {
		return nil, status(wire.RespSubscriptionGroupNotExist, "Group %s does not exist", r.group)
	}
	first, end := int32(0), info.meta.ReadQueues
	if r.queueID >= 0 {
		first, end = r.queueID, r.queueID+1
	}
	var body wire.ResetOffsetBody
	offsets := map[uint32]int64{}
	for id := first; id < end; id++ {
		q := s.queue(info, id)
		if q == nil {
			return nil, status(wire.RespInvalidParameter, "queueId[%d] is illegal, topic[%s] has %d queues", id, r.topic, info.meta.Queues())
		}
		offset, err := s.resetTarget(ctx, &r, g.Name, q)
		if err != nil {
			return nil, err
		}
		offsets[q.Ordinal()] = offset
		body.OffsetTable = append(body.OffsetTable, wire.QueueEntry[int64]{Queue: s.messageQueue(info.meta.Name, id), Value: offset})
	}
	if len(offsets) == 0 {
		return nil, status(wire.RespSystemError, "No queues to reset.")
	}
	// Before they are stored, so that no commit of before the reset comes after it.
	begun := s.resets.begin(g.Name, offsets, s.consumerIDs(g.Name))
	err = s.deps.Offsets.Reset(ctx, g.Name, offsets)
	s.resets.settle(begun, s.consumerIDs(g.Name)) // also after an error: the offsets count, and are stored later
	if err != nil {
		return nil, err
	}
	s.wakePulls(g.Name, offsets)
	c.log.Info("offsets reset by an administrator", "group", g.Name, "topic", r.topic, "queues", len(offsets), "timestamp_ms", r.timestamp)
	return bodyResponse(&body)
}

// resetTarget is the offset to set for a queue.
func (s *Server) resetTarget(ctx context.Context, r *resetRequest, group string, q *queue.Queue) (int64, error) {
	lo, hi := int64(q.Min()), int64(q.Max())
	if r.queueID >= 0 && r.offset >= 0 {
		if r.offset < lo || r.offset > hi {
			return 0, status(wire.RespSystemError, "Target offset %d not in consume queue range [%d-%d]", r.offset, lo, hi)
		}
		return r.offset, nil
	}
	target := hi
	if r.timestamp >= 0 && r.timestamp < math.MaxInt64 {
		found, err := s.deps.Log.OffsetByTime(ctx, q, r.timestamp, false)
		if err != nil {
			return 0, err
		}
		target = min(max(int64(found), lo), hi)
	}
	if stored, ok := s.deps.Offsets.Offset(group, q.Ordinal()); ok && !r.force {
		target = min(target, stored)
	}
	return target, nil
}

// consumerIDs are the ids of a group's consumers: of its members, and the addresses of other clients that hold pulls.
func (s *Server) consumerIDs(group string) []string {
	live, _ := s.deps.Groups.Info(group)
	ids := make([]string, 0, len(live.Members))
	members := make(map[*conn]bool, len(live.Members))
	for i := range live.Members {
		ids = append(ids, live.Members[i].ClientID)
		if c, ok := live.Members[i].Conn.(*conn); ok {
			members[c] = true
		}
	}
	s.mu.Lock()
	conns := slices.Collect(maps.Keys(s.conns))
	s.mu.Unlock()
	for _, c := range conns {
		if !members[c] && c.pulls.ofGroup(group) {
			ids = append(ids, c.RemoteAddr())
		}
	}
	return ids
}

// consumerID is the id of the group's member on a connection; empty if none is there.
func (s *Server) consumerID(group string, c *conn) string {
	if c == nil {
		return ""
	}
	live, _ := s.deps.Groups.Info(group)
	for i := range live.Members {
		if live.Members[i].Conn == c {
			return live.Members[i].ClientID
		}
	}
	return ""
}

// wakePulls works the waiting pulls of a group's queues again, so that consumers hear of a reset now and not when their wait ends.
func (s *Server) wakePulls(group string, queues map[uint32]int64) {
	s.mu.Lock()
	conns := slices.Collect(maps.Keys(s.conns))
	s.mu.Unlock()
	for _, c := range conns {
		var taken []*pull
		c.pulls.mu.Lock()
		for p := c.pulls.all; p != nil; p = p.heldNx {
			if _, reset := queues[p.q.Ordinal()]; reset && p.group == group && s.deps.Log.Cancel(&p.waiter) {
				taken = append(taken, p)
			}
		}
		c.pulls.mu.Unlock()
		for _, p := range taken {
			s.pulls.push(p)
		}
	}
}
