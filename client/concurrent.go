package client

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"github.com/varvemq/varve/internal/message"
)

// sendBackAgain is when a message that could not be sent back is handled again.
const sendBackAgain = 5 * time.Second

// job is a message for a concurrent handler.
type job struct {
	a    *assignment
	m    *MessageExt
	slot *slot
}

// work handles messages until there are no more.
func (c *PushConsumer) work(ctx context.Context) {
	for j := range c.jobs {
		if !j.a.enter(j.slot) {
			continue
		}
		c.handleOne(ctx, j)
		j.a.exit()
	}
}

// handleOne handles a message, and sends it back if that fails.
func (c *PushConsumer) handleOne(ctx context.Context, j job) {
	unwrapRetry(j.m)
	err := c.call(j.a.handling, j.m) //nolint:contextcheck // ends with the queue, not with the worker
	switch {
	case err == nil:
		j.a.handled(j.slot)
		return
	case errors.Is(err, errGivenBack):
		return
	}
	log := c.core.cfg.logger
	if c.cfg.broadcasting {
		log.Warn("message failed and is skipped", "group", c.group, "topic", j.m.Topic, "msg_id", j.m.MsgID, "error", err)
		j.a.handled(j.slot)
		return
	}
	level := levelOf(err)
	log.Debug("message sent back", "group", c.group, "topic", j.m.Topic, "msg_id", j.m.MsgID, "level", level, "error", err)
	if err := c.sendBack(ctx, j.m, level); err != nil {
		log.Warn("message not sent back, tried again here", "group", c.group, "topic", j.m.Topic, "msg_id", j.m.MsgID, "error", err)
		c.later(j)
		return
	}
	j.a.handled(j.slot)
}

// later hands a message to a handler again after a pause, unless its queue is
// given back before.
func (c *PushConsumer) later(j job) {
	c.core.life.run(func(ctx context.Context) {
		t := time.NewTimer(sendBackAgain)
		defer t.Stop()
		select {
		case <-t.C:
		case <-j.a.ended:
			return
		case <-ctx.Done():
			return
		}
		select {
		case c.jobs <- j:
		case <-j.a.ended:
		case <-ctx.Done():
		}
	})
}

// call calls the handler and makes an error of a panic.
func (c *PushConsumer) call(ctx context.Context, m *MessageExt) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("handler panicked: %v", r)
			c.core.cfg.logger.Error("handler panicked", "group", c.group, "topic", m.Topic, "msg_id", m.MsgID,
				"panic", r, "stack", string(debug.Stack()))
		}
	}()
	return c.handler(ctx, m)
}

// unwrapRetry gives a message from the group's retry topic its own topic back.
func unwrapRetry(m *MessageExt) {
	if topic := m.Properties[message.PropertyRetryTopic]; topic != "" && message.IsRetryTopic(m.Topic) {
		m.Topic = topic
	}
}
