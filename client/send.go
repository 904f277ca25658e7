package client

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/varvemq/varve/internal/message"
	"github.com/varvemq/varve/internal/remoting"
)

// outgoing is one send request, of a message or a batch.
type outgoing struct {
	topic, group  string
	pin           pin
	born          int64
	body, props   []byte
	sysFlag, flag int32
	batch         bool
	attempts      int32 // deliveries so far, of a message sent back by a consumer
	maxAttempts   int32
}

// pin says which queue a message has to go to. The zero value means any.
type pin struct {
	queue Queue
	exact bool   // queue counts
	key   string // sharding key
}

func (p pin) free() bool { return !p.exact && p.key == "" }

func pinOf(m *Message) pin {
	if m.Queue != nil {
		return pin{queue: *m.Queue, exact: true}
	}
	return pin{key: m.ShardingKey}
}

// answer is the response to a send.
type answer struct {
	status SendStatus
	queue  Queue
	offset int64
	ids    string // of a batch, with commas between
}

// sender sends requests with retries. Producers have one, and consumers for
// what they send back.
type sender struct {
	core *core
	cfg  *producerConfig
	next func() uint32 // turns for messages without a key
}

// deliver sends a request until it is answered or may not be repeated.
func (s *sender) deliver(ctx context.Context, out *outgoing) (answer, error) {
	start, pause := time.Now(), 20*time.Millisecond
	avoid := ""
	for attempt := 0; ; {
		a, broker, err := s.try(ctx, out, avoid)
		if err == nil {
			return a, nil
		}
		if ctx.Err() != nil || !s.repeatable(err) {
			return answer{}, err
		}
		avoid = broker
		s.core.routes.invalidate(out.topic)
		// A server that cannot be reached is tried for as long as one send may take.
		if !errors.Is(err, errUnsent) || time.Since(start) > s.cfg.sendTimeout {
			if attempt++; attempt > s.cfg.retries {
				return answer{}, err
			}
		}
		if !sleep(ctx, pause) {
			return answer{}, err
		}
		pause = min(2*pause, time.Second)
	}
}

// repeatable reports whether a failed send may be made again.
func (s *sender) repeatable(err error) bool {
	return retrySafe(err) || s.cfg.duplicatesAllowed && Retriable(err)
}

// try sends a request once. It returns the broker it chose, to be avoided next time.
func (s *sender) try(ctx context.Context, out *outgoing, avoid string) (answer, string, error) {
	r, err := s.core.sendRoute(ctx, out.topic)
	if err != nil {
		return answer{}, "", err
	}
	q, err := s.choose(r, out, avoid)
	if err != nil {
		return answer{}, "", err
	}
	addr, err := r.addr(q)
	if err != nil {
		return answer{}, q.Broker, err
	}
	var cmd remoting.Command
	out.command(&cmd, q)
	reply, err := s.core.net.request(ctx, "send", addr, &cmd, s.cfg.sendTimeout)
	if err != nil {
		return answer{}, q.Broker, err
	}
	if r.template {
		s.core.routes.invalidate(out.topic)
	}
	a, err := readAnswer(addr, q, reply)
	return a, q.Broker, err
}

// choose picks the queue, if that is allowed on another broker than avoid, and on
// one that can be reached.
func (s *sender) choose(r *route, out *outgoing, avoid string) (Queue, error) {
	if len(r.write) == 0 {
		return Queue{}, fmt.Errorf("topic %q has no queue to write to: %w", out.topic, ErrNoRoute)
	}
	if out.pin.exact {
		return resolve(r.write, out.pin.queue)
	}
	if out.pin.key != "" {
		i := s.cfg.partitioner(out.topic, out.pin.key, len(r.write))
		if i < 0 || i >= len(r.write) {
			return Queue{}, fmt.Errorf("partitioner returned %d of %d queues: %w", i, len(r.write), ErrInvalid)
		}
		return r.write[i], nil
	}
	n := uint32(len(r.write))
	first := s.next() % n
	for i := range n {
		if q := r.write[(first+i)%n]; q.Broker != avoid && !s.core.net.failing(r.addrs[q.Broker]) {
			return q, nil
		}
	}
	for i := range n {
		if q := r.write[(first+i)%n]; q.Broker != avoid {
			return q, nil
		}
	}
	return r.write[first], nil
}

// command fills in the request for a queue.
func (out *outgoing) command(cmd *remoting.Command, q Queue) {
	cmd.Code = remoting.ReqSendMessageV2
	if out.batch {
		cmd.Code = remoting.ReqSendBatchMessage
	}
	h := remoting.SendMessageHeader{
		ProducerGroup: []byte(out.group), Topic: []byte(out.topic),
		DefaultTopic: []byte(message.TopicAutoCreate), DefaultTopicQueueNums: defaultTopicQueues,
		QueueID: int32(q.ID), SysFlag: out.sysFlag, BornTimestamp: out.born, Flag: out.flag,
		Properties: out.props, ReconsumeTimes: out.attempts, MaxReconsumeTimes: remoting.Absent,
		Batch: out.batch, BrokerName: []byte(q.Broker),
	}
	if out.maxAttempts > 0 {
		h.MaxReconsumeTimes = out.maxAttempts
	}
	h.AppendExt(cmd)
	cmd.Body = out.body
}

// readAnswer decodes the response to a send to the queue.
func readAnswer(addr string, q Queue, reply *remoting.Command) (answer, error) {
	a := answer{queue: q}
	switch reply.Code {
	case remoting.RespSuccess:
	case remoting.RespFlushDiskTimeout:
		a.status = SendFlushDiskTimeout
	case remoting.RespFlushSlaveTimeout:
		a.status = SendFlushReplicaTimeout
	case remoting.RespSlaveNotAvailable:
		a.status = SendReplicaNotAvailable
	default:
		return a, &Error{
			Op: "send", Addr: addr, Code: Code(reply.Code), Remark: reply.Remark,
			Unknown: reply.Code == remoting.RespSystemError,
		}
	}
	var h remoting.SendResponseHeader
	if err := h.Decode(reply); err != nil {
		return a, &Error{Op: "send", Addr: addr, Code: CodeNone, Err: fmt.Errorf("%w: %w", ErrMalformed, err), Unknown: true}
	}
	a.queue.ID, a.offset, a.ids = int(h.QueueID), h.QueueOffset, string(h.MsgID)
	return a, nil
}

// result makes the result of the i-th message of an answer.
func (a *answer) result(topic, msgID string, i, n int) SendResult {
	return SendResult{
		Status: a.status, MsgID: msgID, OffsetMsgID: nthID(a.ids, i, n), Topic: topic,
		Queue: a.queue, Offset: a.offset + int64(i),
	}
}

// nthID cuts the i-th of n ids of the same length, with commas between, out of a string.
func nthID(ids string, i, n int) string {
	size := (len(ids)+1)/n - 1
	if size <= 0 || (size+1)*n-1 != len(ids) {
		return ""
	}
	return ids[i*(size+1) : i*(size+1)+size]
}
