package remoting

import (
	"context"
	"strconv"

	"github.com/varvemq/varve/broker/queue"
	"github.com/varvemq/varve/internal/message"
	wire "github.com/varvemq/varve/internal/remoting"
)

// appendMessage stores a message that the broker itself makes (a retry, a dead letter), and waits until it is as durable as its topic asks. With a
// delay level it goes to the delay topic first. The topic must be there. object says that the message is to be as safe as one of class object anyway.
func (s *Server) appendMessage(ctx context.Context, m message.Fields, level int, object bool) error {
	info, ok := s.topics.lookup([]byte(m.Topic))
	if !ok {
		return status(wire.RespTopicNotExist, "topic[%s] not exist", m.Topic)
	}
	object = object || info.object
	q := s.queue(info, m.QueueID)
	if q == nil {
		return status(wire.RespInvalidParameter, "queueId[%d] is illegal, topic[%s]", m.QueueID, m.Topic)
	}
	if level > 0 {
		level = min(level, s.cfg.Delays.Max())
		m.Properties = message.SetProperty(nil, m.Properties, message.PropertyDelay, strconv.Itoa(level))
		var err error
		if info, q, err = s.delayed(&m, new([]byte), level); err != nil {
			return err
		}
	}
	if err := m.Validate(); err != nil {
		return status(wire.RespMessageIllegal, "%v", err)
	}
	return s.deps.Log.AppendWait(ctx, &queue.Op{
		Batches:  []queue.Batch{{Queue: q, Messages: message.Append(nil, &m), Count: 1}},
		Sync:     info.sync,
		Object:   object,
		Internal: true,
	})
}
