package remoting

import (
	"context"

	"github.com/varvemq/varve/internal/message"
	wire "github.com/varvemq/varve/internal/remoting"
)

// sendBatch serves SEND_BATCH_MESSAGE: all messages of the body go to one queue, one after another, in one record.
func (s *Server) sendBatch(ctx context.Context, c *conn, req *wire.Command) {
	o := s.newSendOp(c, req)
	if err := o.header.Decode(req); err != nil {
		o.fail(err)
		return
	}
	info, ok := s.topics.lookup(o.header.Topic)
	if !ok {
		o.release()
		c.runSlow(ctx, handler{slow: s.createAndSend}, req)
		return
	}
	if err := o.prepareBatch(info, req.Body); err != nil {
		o.fail(err)
		return
	}
	o.append(ctx)
}

// prepareBatch validates a batch and encodes its messages.
func (o *sendOp) prepareBatch(info *topicInfo, body []byte) error {
	s, h := o.srv, &o.header
	o.isBatch = true
	if err := s.checkSend(info, len(body)); err != nil {
		return err
	}
	if message.IsRetryTopic(info.meta.Name) {
		return status(wire.RespMessageIllegal, "batch request does not support retry group %s", info.meta.Name)
	}
	if err := o.props.scan(h.Properties); err != nil {
		return err
	}
	if o.props.delay > 0 {
		return status(wire.RespMessageIllegal, "a batch cannot be delayed")
	}
	id, q, err := s.writeQueue(info, h.QueueID)
	if err != nil {
		return err
	}
	o.queueID = id
	shared := message.Fields{
		Topic: info.meta.Name, QueueID: id, SysFlag: h.SysFlag &^ (message.SysFlagBornHostV6 | message.SysFlagStoreHostV6),
		BornTimestamp: h.BornTimestamp, BornHost: o.c.remote, StoreHost: s.cfg.Advertise, ReconsumeTimes: h.ReconsumeTimes,
	}
	var count int
	o.buf, count, err = message.ExplodeBatch(o.buf[:0], &shared, body, nil)
	if err != nil {
		return status(wire.RespMessageIllegal, "%v", err)
	}
	o.Object = info.object
	o.fill(info, q, count)
	return nil
}
