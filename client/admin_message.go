package client

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/varvemq/varve/internal/message"
	"github.com/varvemq/varve/internal/remoting"
)

// MinOffset returns the offset of a queue's first message.
func (a *Admin) MinOffset(ctx context.Context, topic string, q Queue) (int64, error) {
	return a.core.minOffset(ctx, topic, q)
}

// MaxOffset returns the offset that a queue's next message will have.
func (a *Admin) MaxOffset(ctx context.Context, topic string, q Queue) (int64, error) {
	return a.core.maxOffset(ctx, topic, q)
}

// OffsetAt returns the offset of the first message stored at that time or later,
// or MaxOffset if there is none.
func (a *Admin) OffsetAt(ctx context.Context, topic string, q Queue, t time.Time) (int64, error) {
	return a.core.offsetAt(ctx, topic, q, t)
}

// CommittedOffset returns the next offset that a group will consume. ErrNotFound
// if none was committed.
func (a *Admin) CommittedOffset(ctx context.Context, group, topic string, q Queue) (int64, error) {
	return a.core.committed(ctx, group, topic, q, false)
}

// CommitOffset commits an offset for a group. Connected members do not notice
// and may overwrite it; see [Admin.ResetOffset].
func (a *Admin) CommitOffset(ctx context.Context, group, topic string, q Queue, offset int64) error {
	return a.core.commit(ctx, group, topic, q, offset)
}

// QueryByKey returns the messages of a topic that have the key, the oldest first.
func (a *Admin) QueryByKey(ctx context.Context, topic, key string, q KeyQuery) ([]*MessageExt, error) {
	out, err := a.queryKey(ctx, topic, key, q, false)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(out, func(m *MessageExt) bool { return !slices.Contains(m.Keys, key) }), nil
}

func (a *Admin) queryKey(ctx context.Context, topic, key string, q KeyQuery, unique bool) ([]*MessageExt, error) {
	r, err := a.core.routes.get(ctx, topic)
	if err != nil {
		return nil, err
	}
	if q.Max <= 0 {
		q.Max = 32
	}
	begin, end := int64(0), time.Now().Add(time.Hour).UnixMilli()
	if !q.Begin.IsZero() {
		begin = millis(q.Begin)
	}
	if !q.End.IsZero() {
		end = millis(q.End)
	}
	var out []*MessageExt
	for broker, addr := range r.addrs {
		cmd := remoting.Command{Code: remoting.ReqQueryMessage}
		h := remoting.QueryMessageHeader{
			Topic: topic, Key: key, MaxNum: int32(q.Max), BeginTimestamp: begin, EndTimestamp: end, UniqueKey: unique,
		}
		h.AppendExt(&cmd)
		reply, err := a.core.request(ctx, "query message", addr, &cmd)
		if codeOf(err) == CodeQueryNotFound {
			continue
		}
		if err != nil {
			return nil, err
		}
		found, err := decodeMessages(reply.Body, broker)
		if err != nil {
			return nil, &Error{Op: "query message", Addr: addr, Code: CodeNone, Err: err}
		}
		out = append(out, found...)
	}
	slices.SortStableFunc(out, func(x, y *MessageExt) int { return x.StoreTime.Compare(y.StoreTime) })
	return out[:min(len(out), q.Max)], nil
}

// ViewMessage returns a message by its id: the one made by the client (MsgID)
// or the one made by the broker (OffsetMsgID). ErrNotFound if there is none.
func (a *Admin) ViewMessage(ctx context.Context, topic, id string) (*MessageExt, error) {
	m, err := a.viewByPlace(ctx, topic, id)
	if m != nil || err != nil {
		return m, err
	}
	found, err := a.queryKey(ctx, topic, id, KeyQuery{}, true)
	if err != nil {
		return nil, err
	}
	for _, m := range found {
		if m.MsgID == id {
			return m, nil
		}
	}
	return nil, fmt.Errorf("message %s: %w", id, ErrNotFound)
}

// viewByPlace asks the broker that an offset id names. It returns nil if the id
// is none, names no broker, or nothing is there.
func (a *Admin) viewByPlace(ctx context.Context, topic, id string) (*MessageExt, error) {
	host, offset, err := message.ParseOffsetID(id)
	if err != nil {
		return nil, nil //nolint:nilerr,nilnil // then it is an id made by a client
	}
	brokers, err := a.Brokers(ctx)
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(brokers, func(b BrokerInfo) bool { return b.Addr == host.String() })
	if i < 0 {
		return nil, nil //nolint:nilnil // as above
	}
	cmd := remoting.Command{Code: remoting.ReqViewMessageByID}
	cmd.Ext.AddInt("offset", offset)
	cmd.Ext.Add("topic", topic)
	reply, err := a.core.request(ctx, "view message", host.String(), &cmd)
	if c := codeOf(err); c == CodeSystemError || errors.Is(err, ErrNotFound) {
		return nil, nil //nolint:nilnil // RocketMQ's answer for a message that is not there
	}
	if err != nil {
		return nil, err
	}
	found, err := decodeMessages(reply.Body, brokers[i].Name)
	if err != nil {
		return nil, &Error{Op: "view message", Addr: host.String(), Code: CodeNone, Err: err}
	}
	if len(found) != 1 {
		return nil, fmt.Errorf("message %s: %d messages: %w", id, len(found), ErrMalformed)
	}
	return found[0], nil
}
