package remoting

import (
	"context"
	"math/rand/v2"

	"github.com/varvemq/varve/internal/message"
	wire "github.com/varvemq/varve/internal/remoting"
)

// firstRetryLevel is the delay level of a first retry: 10 s. Each further one takes the next level.
const firstRetryLevel = 3

// sendMessageBack serves CONSUMER_SEND_MSG_BACK: a consumer could not consume a message. (AbstractSendMessageProcessor in RocketMQ's broker.) A copy
// goes to the group's retry topic by way of the delay topic, or to the dead-letter topic when the attempts are used up. The answer follows when the copy is
// stored; if it does not come, the client sends the copy itself.
func (s *Server) sendMessageBack(ctx context.Context, _ *conn, req *wire.Command) (*wire.Command, error) {
	var h wire.SendBackHeader
	if err := h.Decode(req); err != nil {
		return nil, err
	}
	g, ok := s.deps.Metadata.Group(h.Group)
	if !ok {
		return nil, status(wire.RespSubscriptionGroupNotExist, "subscription group not exist, %s", h.Group)
	}
	if err := s.deps.Ready(); err != nil {
		return nil, err
	}
	if g.RetryQueueNums <= 0 {
		return nil, nil // the group wants no retries
	}
	raw, err := s.byPhysical(ctx, h.Offset)
	if err != nil {
		return nil, err
	}
	v, err := message.Parse(raw)
	if err != nil {
		return nil, err
	}
	limit := g.RetryMaxTimes
	if req.Version >= wire.Version349 && h.MaxReconsumeTimes >= 0 {
		limit = h.MaxReconsumeTimes
	}
	fields := retryCopy(v)
	level := 0
	var info *topicInfo
	if v.ReconsumeTimes() >= limit || h.DelayLevel < 0 {
		info, err = s.internalTopic(ctx, message.DLQTopic(g.Name), 1)
		fields.Properties = deadLetter(fields.Properties)
	} else {
		info, err = s.retryTopic(ctx, g)
		if level = int(h.DelayLevel); level == 0 {
			level = firstRetryLevel + int(v.ReconsumeTimes())
		}
	}
	if err != nil {
		return nil, err
	}
	if info.meta.Perm&permWrite == 0 || info.meta.WriteQueues <= 0 {
		return nil, status(wire.RespNoPermission, "the topic[%s] sending message is forbidden", info.meta.Name)
	}
	fields.Topic, fields.QueueID = info.meta.Name, rand.Int32N(info.meta.WriteQueues) //nolint:gosec // spreads the load, nothing more
	fields.StoreHost = s.cfg.Advertise
	return nil, s.appendMessage(ctx, fields, level, s.isObject(fields.Properties))
}

// isObject reports whether a retry or dead letter comes from a topic of class object: the consumer's progress passes the original when its copy is acknowledged.
func (s *Server) isObject(props []byte) bool {
	origin, _ := message.Property(props, message.PropertyRetryTopic)
	info, ok := s.topics.lookup(origin)
	return ok && info.object
}

// retryCopy is the next attempt of a message: the same body, keys, tag and unique id, one more in the count, and where it came from first.
func retryCopy(v message.View) message.Fields {
	f := v.Fields()
	f.ReconsumeTimes++
	f.QueueOffset, f.PhysicalOffset, f.StoreTimestamp, f.PreparedTransactionOffset = 0, 0, 0, 0
	props := message.RemoveProperties(nil, f.Properties,
		message.PropertyDelay, message.PropertyRealTopic, message.PropertyRealQueueID, message.PropertyWait, message.PropertyPopCK)
	if _, ok := message.Property(props, message.PropertyRetryTopic); !ok {
		props = message.AppendProperty(props, message.PropertyRetryTopic, f.Topic)
	}
	if _, ok := message.Property(props, message.PropertyOriginMessageID); !ok {
		props = message.AppendProperty(props, message.PropertyOriginMessageID, message.OffsetID(v.StoreHost(), v.PhysicalOffset()))
	}
	f.Properties = props
	return f
}

// deadLetter adds where a dead letter came from.
func deadLetter(props []byte) []byte {
	topic := message.PropertyString(props, message.PropertyRetryTopic)
	id := message.PropertyString(props, message.PropertyOriginMessageID)
	props = message.SetProperty(nil, props, message.PropertyDLQOriginTopic, topic)
	return message.SetProperty(nil, props, message.PropertyDLQOriginMessageID, id)
}
