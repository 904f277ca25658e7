package remoting

import (
	"context"
	"time"

	"github.com/varvemq/varve/broker/queue"
	"github.com/varvemq/varve/internal/filter"
	wire "github.com/varvemq/varve/internal/remoting"
)

const (
	pullMaxMessages  = 32 << 10 // of one pull, whatever the client asks
	pullDefaultBytes = 1 << 20
	pullMaxBytes     = 8 << 20 // a frame must stay below 16 MiB
	pullMaxSuspend   = 2 * time.Minute
	pullBufferKeep   = 1 << 20
	// maxHeldPulls bounds the pulls of one connection that wait or are being worked on.
	maxHeldPulls = 65536

	exprTag = "TAG"
)

// pull is a PULL_MESSAGE or LITE_PULL_MESSAGE request from its arrival to its answer. While it waits for a message it holds
// no goroutine and no buffer.
type pull struct {
	waiter queue.Waiter

	c       *conn
	r       reply
	group   string
	q       *queue.Queue
	queueID int32
	req     queue.ReadRequest
	commit  int64 // offset to commit, or -1
	until   time.Time
	suspend bool
	final   bool // the deadline has passed: answer whatever there is

	next             *pull // in the pool's list, or the connection's list of deferred pulls
	heldPrev, heldNx *pull // in the connection's list of all its pulls
}

// pullMessage serves PULL_MESSAGE and LITE_PULL_MESSAGE. (PullMessageProcessor in RocketMQ's broker.)
func (s *Server) pullMessage(ctx context.Context, c *conn, req *wire.Command) {
	var h wire.PullMessageHeader
	if err := h.Decode(req); err != nil {
		c.respondError(replyTo(req), err)
		return
	}
	if _, ok := s.deps.Metadata.Group(string(h.ConsumerGroup)); !ok {
		if _, known := s.topics.lookup(h.Topic); known { // else the answer is no, and no group is made for it
			c.runSlow(ctx, handler{slow: s.firstPull}, req)
			return
		}
	}
	s.startPull(c, replyTo(req), &h)
}

// firstPull makes the group of a pull that comes before any heartbeat of the group, so that what the pull commits is not lost. It answers by itself.
func (s *Server) firstPull(ctx context.Context, c *conn, req *wire.Command) (*wire.Command, error) {
	var h wire.PullMessageHeader
	if err := h.Decode(req); err != nil {
		return nil, err
	}
	if err := s.createGroup(ctx, string(h.ConsumerGroup)); err != nil {
		return nil, err
	}
	s.startPull(c, replyTo(req), &h)
	return answered, nil
}

func (s *Server) startPull(c *conn, r reply, h *wire.PullMessageHeader) {
	p, err := s.newPull(c, r, h)
	if err != nil {
		c.respondError(r, err)
		return
	}
	if !c.pulls.add(p) {
		c.respondStatus(r, wire.RespPollingFull, "too many pulls of this connection are waiting")
		p.free()
		return
	}
	s.pulls.push(p)
}

func (s *Server) newPull(c *conn, r reply, h *wire.PullMessageHeader) (*pull, error) {
	if err := s.deps.Ready(); err != nil {
		return nil, err
	}
	info, q, err := s.readQueue(h.Topic, h.QueueID)
	switch {
	case err != nil:
		return nil, err
	case info.meta.Perm&permRead == 0:
		return nil, status(wire.RespNoPermission, "the topic[%s] pulling message is forbidden", h.Topic)
	case h.QueueOffset < 0:
		return nil, status(wire.RespInvalidParameter, "queueOffset %d is illegal", h.QueueOffset)
	case h.SysFlag&wire.PullFlagClassFilter != 0:
		return nil, status(wire.RespSystemError, "class filters are not supported")
	}
	groupName := string(h.ConsumerGroup)
	match, err := s.pullFilter(groupName, info, h)
	if err != nil {
		return nil, err
	}
	p, ok := s.pullPool.Get().(*pull)
	if !ok {
		p = &pull{}
		p.waiter.Wake = func(_ *queue.Waiter, reason queue.WakeReason) { p.woken(reason) }
	}
	p.c, p.r, p.group, p.q, p.queueID = c, r, groupName, q, h.QueueID
	// The Go client's poll asks for no message at all and takes one, as RocketMQ's broker has it.
	p.req = queue.ReadRequest{
		Offset: uint64(h.QueueOffset), MaxMessages: int(min(max(h.MaxMsgNums, 1), pullMaxMessages)), MaxBytes: pullDefaultBytes, Filter: match,
	}
	if h.MaxMsgBytes > 0 {
		p.req.MaxBytes = int(min(h.MaxMsgBytes, pullMaxBytes))
	}
	p.commit = -1
	if h.SysFlag&wire.PullFlagCommitOffset != 0 && h.CommitOffset > 0 {
		p.commit = h.CommitOffset
	}
	p.final = false
	if p.suspend = h.SysFlag&wire.PullFlagSuspend != 0 && h.SuspendTimeoutMillis > 0; p.suspend {
		p.until = time.Now().Add(min(time.Duration(min(h.SuspendTimeoutMillis, int64(pullMaxSuspend/time.Millisecond)))*time.Millisecond, pullMaxSuspend))
	}
	return p, nil
}

// pullFilter returns what the pull's group wants of the topic; nil means everything.
func (s *Server) pullFilter(groupName string, info *topicInfo, h *wire.PullMessageHeader) (queue.Filter, error) {
	if g, ok := s.deps.Metadata.Group(groupName); ok && !g.ConsumeEnable {
		return nil, status(wire.RespNoPermission, "subscription group no permission, %s", groupName)
	}
	var tags *filter.Tags
	if h.SysFlag&wire.PullFlagSubscription != 0 {
		if t := string(h.ExpressionType); t != "" && t != exprTag {
			return nil, status(wire.RespSystemError, "the broker does not support consumer to filter message by %s", t)
		}
		parsed, err := filter.ParseTags(string(h.Subscription))
		if err != nil {
			return nil, status(wire.RespSubscriptionParseFailed, "parse the consumer's subscription failed: %v", err)
		}
		tags = &parsed
	} else {
		sub, known := s.deps.Groups.Subscription(groupName, info.meta.Name)
		switch {
		case !known:
			return nil, status(wire.RespSubscriptionNotExist, "the consumer's group info not exist")
		case sub == nil:
			return nil, status(wire.RespSubscriptionNotExist, "the consumer's subscription not exist")
		case sub.ExpressionType != "" && sub.ExpressionType != exprTag:
			return nil, status(wire.RespSystemError, "the broker does not support consumer to filter message by %s", sub.ExpressionType)
		case sub.Version < h.SubVersion:
			// RocketMQ refuses with SUBSCRIPTION_NOT_LATEST. Java clients raise the version at every rebalance and then send a heartbeat, which they drop if
			// another is under way: a new consumer then stands still for 30 s, until the next one. So the pull is answered without a filter, which
			// can miss nothing; clients match tags themselves anyway, because of collisions of the hash.
			return nil, nil //nolint:nilnil // no filter and no error
		}
		tags = &sub.Tags
	}
	if tags.All() {
		return nil, nil //nolint:nilnil // no filter and no error
	}
	return tags, nil
}

// free gives the pull back; nobody else may hold it.
func (p *pull) free() {
	s := p.c.srv
	p.c, p.q, p.group = nil, nil, ""
	p.req.Filter = nil
	p.waiter.Filter = nil
	s.pullPool.Put(p)
}

// woken is called by the queue layer; it must not block.
func (p *pull) woken(reason queue.WakeReason) {
	if reason != queue.WakeArrived {
		p.final = true
	}
	p.c.srv.pulls.push(p)
}

// work reads the queue and answers, or waits. It is called by a worker that owns the pull. Only those for cold pulls ask object storage.
func (p *pull) work(ctx context.Context, cold bool, buf []byte) []byte {
	c, s := p.c, p.c.srv
	if c.pulls.closed() {
		c.pulls.remove(p)
		p.free()
		return buf
	}
	if c.out.full() && c.pulls.deferUntilRoom(p) {
		if !c.out.full() { // the writer may have caught up just before the pull was parked
			c.resumePulls()
		}
		return buf
	}
	if p.commit >= 0 {
		s.commitOffset(p.group, p.q, p.commit)
		p.commit = -1
	}
	if offset, ok := s.resets.take(p.group, p.q.Ordinal()); ok {
		p.answer(wire.RespPullOffsetMoved, "OFFSET_RESET", queue.ReadResult{Next: offset, Min: p.q.Min(), Max: p.q.Max()}, nil)
		return buf
	}
	if !cold && s.deps.Log.Cold(p.q, p.req.Offset) {
		s.coldPulls.push(p)
		return buf
	}
	for {
		body, res, err := s.deps.Log.Read(ctx, p.q, p.req, buf[:0])
		switch {
		case err != nil:
			if ctx.Err() == nil {
				c.log.Error("read a queue", "ordinal", p.q.Ordinal(), "offset", p.req.Offset, "err", err)
			}
			c.respondError(p.r, err)
			p.done()
			return buf
		case res.Status == queue.NoMessage && p.suspend && !p.final && time.Now().Before(p.until):
			p.waiter.Offset, p.waiter.Filter, p.waiter.Deadline = p.req.Offset, p.req.Filter, p.until
			if s.deps.Log.Wait(p.q, &p.waiter) {
				return buf // no longer ours
			}
			p.final = p.q.Dropped() || ctx.Err() != nil // else something has just arrived
			continue
		}
		code := pullCode(res.Status)
		if code == wire.RespSuccess {
			s.stats.get(res.Count, len(body))
			s.m.pulled.Add(float64(res.Count))
		}
		p.answer(code, res.Status.String(), res, body)
		return body
	}
}

// pullCode maps a read's status. (PullMessageProcessor.composeResponseHeader in RocketMQ's broker.)
func pullCode(st queue.Status) int32 {
	switch st {
	case queue.Found:
		return wire.RespSuccess
	case queue.NoMatch:
		return wire.RespPullRetryImmediately
	case queue.NoMessage:
		return wire.RespPullNotFound
	default:
		return wire.RespPullOffsetMoved
	}
}

// answer sends the response and ends the pull.
func (p *pull) answer(code int32, remark string, res queue.ReadResult, body []byte) {
	var resp wire.Command
	p.r.init(&resp, code, remark)
	head := wire.PullResponseHeader{NextBeginOffset: int64(res.Next), MinOffset: int64(res.Min), MaxOffset: int64(res.Max)}
	head.AppendExt(&resp)
	if code == wire.RespSuccess {
		resp.Body = body
	}
	if !p.r.oneway {
		p.c.send(&resp)
	}
	p.done()
}

func (p *pull) done() {
	p.c.pulls.remove(p)
	p.free()
}
