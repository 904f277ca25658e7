package client

import (
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/varvemq/varve/internal/message"
	"github.com/varvemq/varve/internal/remoting"
)

// defaultMaxAttempts is RocketMQ's limit of retries.
const defaultMaxAttempts = 16

// sendBack has a message delivered again later, or, with a negative level, put
// in the dead letter topic. If its broker refuses or is away, the message is
// sent to the group's retry topic on any.
func (c *PushConsumer) sendBack(ctx context.Context, m *MessageExt, level int) error {
	err := c.requestSendBack(ctx, m, level)
	if err == nil {
		return nil
	}
	if rerr := c.resend(ctx, m, level); rerr != nil {
		return errors.Join(err, rerr)
	}
	return nil
}

func (c *PushConsumer) requestSendBack(ctx context.Context, m *MessageExt, level int) error {
	r, err := c.core.routes.get(ctx, m.Topic)
	if err != nil {
		return err
	}
	addr, err := r.addr(m.Queue)
	if err != nil {
		return err
	}
	h := remoting.SendBackHeader{
		Offset: m.PhysicalOffset, Group: c.group, DelayLevel: int32(level), OriginMsgID: m.MsgID,
		OriginTopic: m.Topic, MaxReconsumeTimes: remoting.Absent, BrokerName: m.Queue.Broker,
	}
	if c.cfg.maxAttempts > 0 {
		h.MaxReconsumeTimes = int32(c.cfg.maxAttempts)
	}
	cmd := remoting.Command{Code: remoting.ReqConsumerSendMsgBack}
	h.AppendExt(&cmd)
	_, err = c.core.request(ctx, "send back", addr, &cmd)
	return err
}

// resend sends a copy of the message to the group's retry topic. The broker puts
// it in the dead letter topic if it was retried often enough.
func (c *PushConsumer) resend(ctx context.Context, m *MessageExt, level int) error {
	limit := c.cfg.maxAttempts
	if limit <= 0 {
		limit = defaultMaxAttempts
	}
	attempts := m.Attempt
	if level < 0 {
		attempts = limit + 1
	}
	if level <= 0 {
		level = 2 + m.Attempt
	}
	var props []byte
	for k, v := range m.Properties {
		switch k {
		case message.PropertyDelay, message.PropertyRetryTopic, message.PropertyReconsumeTime,
			message.PropertyMaxReconsumeTimes, message.PropertyTransactionPrepared, message.PropertyOriginMessageID:
		default:
			props = appendProperty(props, k, v)
		}
	}
	origin := m.Properties[message.PropertyOriginMessageID]
	if origin == "" {
		origin = m.OffsetMsgID
	}
	props = appendProperty(props, message.PropertyRetryTopic, m.Topic)
	props = appendProperty(props, message.PropertyOriginMessageID, origin)
	props = appendProperty(props, message.PropertyReconsumeTime, strconv.Itoa(attempts))
	props = appendProperty(props, message.PropertyMaxReconsumeTimes, strconv.Itoa(limit))
	props = appendProperty(props, message.PropertyDelay, strconv.Itoa(level))
	_, err := c.sender.deliver(ctx, &outgoing{
		topic: message.RetryTopic(c.group), group: innerProducer, born: millis(time.Now()),
		body: m.Body, props: props, flag: m.Flag, attempts: int32(attempts), maxAttempts: int32(limit),
	})
	return err
}
