package client

import (
	"context"
	"fmt"
	"time"

	"github.com/varvemq/varve/internal/filter"
	"github.com/varvemq/varve/internal/remoting"
)

// subscription is what is wanted of a topic.
type subscription struct {
	topic   string
	expr    string
	sql     bool
	version int64
	tags    filter.Tags // of an expression that is not sql
}

func newSubscription(topic, expr string, sql bool) (subscription, error) {
	s := subscription{topic: topic, expr: expr, sql: sql, version: millis(time.Now())}
	if sql {
		if expr == "" {
			return s, fmt.Errorf("topic %s: empty expression: %w", topic, ErrInvalid)
		}
		return s, nil
	}
	if expr == "" {
		s.expr = filter.All
	}
	var err error
	if s.tags, err = filter.ParseTags(s.expr); err != nil {
		return s, fmt.Errorf("topic %s: %w: %w", topic, ErrInvalid, err)
	}
	return s, nil
}

// expressionType is the protocol's name of the expression's language.
func (s *subscription) expressionType() string {
	if s.sql {
		return "SQL92"
	}
	return "TAG"
}

// wants reports whether the message is wanted; the broker may send more than that.
func (s *subscription) wants(m *MessageExt) bool { return s.sql || s.tags.MatchString(m.Tag) }

// data is the subscription as heartbeats carry it.
func (s *subscription) data() remoting.SubscriptionData {
	d := remoting.SubscriptionData{
		Topic: s.topic, SubString: s.expr, SubVersion: s.version, ExpressionType: s.expressionType(),
		TagsSet: []string{}, CodeSet: []int32{},
	}
	if !s.sql {
		d.TagsSet = append(d.TagsSet, s.tags.Names()...)
		for _, h := range s.tags.Hashes() {
			d.CodeSet = append(d.CodeSet, int32(h))
		}
	}
	return d
}

// pullRequest asks a queue for messages.
type pullRequest struct {
	group    string
	sub      *subscription
	queue    Queue
	offset   int64
	max      int
	maxBytes int
	suspend  time.Duration // how long the broker may hold the request
	commit   int64         // progress to store on the way, if positive
}

// pulled is the answer to a pullRequest.
type pulled struct {
	messages       []*MessageExt // those the subscription wants
	bytes          int           // of all that came
	next, min, max int64
	moved          bool // the offset is outside the queue; go on at next
}

// pull asks for messages once.
func (c *core) pull(ctx context.Context, addr string, p *pullRequest) (*pulled, error) {
	h := remoting.PullMessageHeader{
		ConsumerGroup: []byte(p.group), Topic: []byte(p.sub.topic), QueueID: int32(p.queue.ID),
		QueueOffset: p.offset, MaxMsgNums: int32(p.max), SysFlag: remoting.PullFlagSubscription,
		SuspendTimeoutMillis: p.suspend.Milliseconds(),
		Subscription:         []byte(p.sub.expr), SubVersion: p.sub.version,
		ExpressionType: []byte(p.sub.expressionType()), MaxMsgBytes: remoting.Absent,
		BrokerName: []byte(p.queue.Broker),
	}
	if p.maxBytes > 0 {
		h.MaxMsgBytes = int32(p.maxBytes)
	}
	if p.suspend > 0 {
		h.SysFlag |= remoting.PullFlagSuspend
	}
	if p.commit > 0 {
		h.SysFlag |= remoting.PullFlagCommitOffset
		h.CommitOffset = p.commit
	}
	cmd := remoting.Command{Code: remoting.ReqPullMessage}
	h.AppendExt(&cmd)
	reply, err := c.net.requestHeld(ctx, "pull", addr, &cmd, p.suspend, c.cfg.requestTimeout+5*time.Second)
	if err != nil {
		return nil, err
	}
	return readPulled(addr, p, reply)
}

func readPulled(addr string, p *pullRequest, reply *remoting.Command) (*pulled, error) {
	switch reply.Code {
	case remoting.RespSuccess, remoting.RespPullNotFound, remoting.RespPullRetryImmediately, remoting.RespPullOffsetMoved:
	default:
		return nil, answerError("pull", addr, reply)
	}
	var rh remoting.PullResponseHeader
	if err := rh.Decode(reply); err != nil {
		return nil, &Error{Op: "pull", Addr: addr, Code: CodeNone, Err: fmt.Errorf("%w: %w", ErrMalformed, err)}
	}
	out := &pulled{
		next: rh.NextBeginOffset, min: rh.MinOffset, max: rh.MaxOffset, bytes: len(reply.Body),
		moved: reply.Code == remoting.RespPullOffsetMoved,
	}
	if reply.Code != remoting.RespSuccess {
		return out, nil
	}
	all, err := decodeMessages(reply.Body, p.queue.Broker)
	if err != nil {
		return nil, &Error{Op: "pull", Addr: addr, Code: CodeNone, Err: err}
	}
	out.messages = all[:0]
	for _, m := range all {
		if m.Offset >= p.offset && p.sub.wants(m) {
			out.messages = append(out.messages, m)
		}
	}
	return out, nil
}
