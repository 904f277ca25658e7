package remoting

import (
	"context"
	"errors"
	"time"

	"github.com/varvemq/varve/broker/queue"
	wire "github.com/varvemq/varve/internal/remoting"
)

const (
	queryMaxMessages = 64
	queryMaxBytes    = 12 << 20 // a frame must stay below 16 MiB
)

// queryMessage serves QUERY_MESSAGE, by a word of KEYS or by UNIQ_KEY. (QueryMessageProcessor in RocketMQ's broker.)
func (s *Server) queryMessage(ctx context.Context, _ *conn, req *wire.Command) (*wire.Command, error) {
	var h wire.QueryMessageHeader
	if err := h.Decode(req); err != nil {
		return nil, err
	}
	kq := queue.KeyQuery{Topic: h.Topic, Key: h.Key, Unique: h.UniqueKey, Begin: h.BeginTimestamp, End: h.EndTimestamp, Max: queryMaxMessages, MaxBytes: queryMaxBytes}
	if h.UniqueKey { // the times are the client's guess: 4.9 derives them from the id, 5.x asks for the last three days
		kq.Begin, kq.End = 0, 0
	} else if h.MaxNum > 0 {
		kq.Max = int(min(h.MaxNum, queryMaxMessages))
	}
	body, n, err := s.deps.Log.ByKey(ctx, kq, nil)
	switch {
	case errors.Is(err, queue.ErrNotFound), err == nil && n == 0:
		return nil, status(wire.RespQueryNotFound, "can not find message, maybe time range not correct")
	case err != nil:
		return nil, err
	}
	resp := &wire.Command{Code: wire.RespSuccess, Body: body}
	resp.Ext.AddInt("indexLastUpdateTimestamp", time.Now().UnixMilli())
	resp.Ext.AddInt("indexLastUpdatePhyoffset", 0)
	return resp, nil
}

// viewMessage serves VIEW_MESSAGE_BY_ID: the message with a physical offset, which clients read out of an offset message id.
func (s *Server) viewMessage(ctx context.Context, _ *conn, req *wire.Command) (*wire.Command, error) {
	offset, err := req.Ext.RequireInt64("offset")
	if err != nil {
		return nil, err
	}
	body, err := s.byPhysical(ctx, offset)
	if err != nil {
		return nil, err
	}
	return &wire.Command{Code: wire.RespSuccess, Body: body}, nil
}

// byPhysical reads the message with a physical offset.
func (s *Server) byPhysical(ctx context.Context, offset int64) ([]byte, error) {
	body, err := s.deps.Log.ByPhysical(ctx, offset, nil)
	if errors.Is(err, queue.ErrNotFound) {
		return nil, status(wire.RespSystemError, "can not find message by the offset, %d", offset)
	}
	return body, err
}
