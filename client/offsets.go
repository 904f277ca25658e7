package client

import (
	"context"
	"fmt"
	"time"

	"github.com/varvemq/varve/internal/remoting"
)

// offset asks a broker for an offset of a queue, or stores one.
func (c *core) offset(ctx context.Context, op string, code int32, topic string, q Queue, h remoting.OffsetHeader) (int64, error) {
	r, err := c.routes.get(ctx, topic)
	if err != nil {
		return 0, err
	}
	q, err = resolve(r.read, q)
	if err != nil {
		return 0, err
	}
	addr, err := r.addr(q)
	if err != nil {
		return 0, err
	}
	h.Topic, h.QueueID, h.BrokerName = []byte(topic), int32(q.ID), []byte(q.Broker)
	cmd := remoting.Command{Code: code}
	h.AppendExt(&cmd)
	reply, err := c.request(ctx, op, addr, &cmd)
	if err != nil {
		if Retriable(err) {
			c.routes.invalidate(topic)
		}
		return 0, err
	}
	if code == remoting.ReqUpdateConsumerOffset {
		return h.CommitOffset, nil
	}
	n, err := reply.Ext.RequireInt64("offset")
	if err != nil {
		return 0, &Error{Op: op, Addr: addr, Code: CodeNone, Err: fmt.Errorf("%w: %w", ErrMalformed, err)}
	}
	return n, nil
}

func (c *core) minOffset(ctx context.Context, topic string, q Queue) (int64, error) {
	return c.offset(ctx, "min offset", remoting.ReqGetMinOffset, topic, q, remoting.OffsetHeader{})
}

func (c *core) maxOffset(ctx context.Context, topic string, q Queue) (int64, error) {
	return c.offset(ctx, "max offset", remoting.ReqGetMaxOffset, topic, q, remoting.OffsetHeader{})
}

func (c *core) offsetAt(ctx context.Context, topic string, q Queue, t time.Time) (int64, error) {
	return c.offset(ctx, "offset by time", remoting.ReqSearchOffsetByTimestamp, topic, q,
		remoting.OffsetHeader{Timestamp: millis(t)})
}

// committed asks for a group's progress. With zero a broker may answer 0 where
// nothing was committed but the queue is still whole.
func (c *core) committed(ctx context.Context, group, topic string, q Queue, zero bool) (int64, error) {
	return c.offset(ctx, "committed offset", remoting.ReqQueryConsumerOffset, topic, q,
		remoting.OffsetHeader{ConsumerGroup: []byte(group), SetZeroIfNotFound: zero})
}

func (c *core) commit(ctx context.Context, group, topic string, q Queue, offset int64) error {
	_, err := c.offset(ctx, "commit offset", remoting.ReqUpdateConsumerOffset, topic, q,
		remoting.OffsetHeader{ConsumerGroup: []byte(group), CommitOffset: offset})
	return err
}

// locate turns a position into an offset of a queue.
func (c *core) locate(ctx context.Context, topic string, q Queue, p Position) (int64, error) {
	switch p.kind {
	case atLast:
		return c.maxOffset(ctx, topic, q)
	case atTime:
		return c.offsetAt(ctx, topic, q, p.time)
	case atOffset:
		first, err := c.minOffset(ctx, topic, q)
		return max(first, p.offset), err
	case atFirst:
		return c.minOffset(ctx, topic, q)
	default:
		return 0, fmt.Errorf("position %d: %w", p.kind, ErrInvalid)
	}
}
