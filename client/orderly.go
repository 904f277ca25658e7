package client

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/varvemq/varve/internal/remoting"
)

const (
	// lockInterval is how often locks are renewed.
	lockInterval = 20 * time.Second
	// lockValid is how long a lock is believed in without renewal. Brokers keep it for 60 s.
	lockValid = 30 * time.Second
	// lockPoll is how often a lost lock is looked at again.
	lockPoll = 200 * time.Millisecond
)

// handleInOrder handles messages one after the other, each until it succeeds or
// goes to the retry or dead letter topic.
func (a *assignment) handleInOrder(ctx context.Context, ms []*MessageExt, slots []*slot) error {
	for i, m := range ms {
		unwrapRetry(m)
		for done := false; !done; {
			if err := a.awaitLock(ctx); err != nil {
				return err
			}
			if !a.enter(slots[i]) {
				return nil
			}
			done = a.handleInPlace(ctx, m)
			if done {
				a.handled(slots[i])
			}
			a.exit()
			if !done && !sleep(ctx, a.c.cfg.retryPause) {
				return ctx.Err()
			}
		}
	}
	return nil
}

// handleInPlace handles a message once and reports whether it is done with.
func (a *assignment) handleInPlace(ctx context.Context, m *MessageExt) bool {
	c := a.c
	err := c.call(a.handling, m) //nolint:contextcheck // outlives ctx, which ends fetching
	if err == nil {
		return true
	}
	dead := levelOf(err) < 0
	if !dead && (c.cfg.maxAttempts <= 0 || m.Attempt < c.cfg.maxAttempts) {
		c.core.cfg.logger.Debug("message failed, handled again in place", "group", c.group, "topic", m.Topic,
			"msg_id", m.MsgID, "attempt", m.Attempt, "error", err)
		m.Attempt++
		return false
	}
	if err := c.resend(context.WithoutCancel(ctx), m, -1); err != nil {
		c.core.cfg.logger.Warn("message not sent to the dead letter topic", "group", c.group, "topic", m.Topic,
			"msg_id", m.MsgID, "error", err)
		return false
	}
	return true
}

// awaitLock waits until the queue's lock is valid.
func (a *assignment) awaitLock(ctx context.Context) error {
	for {
		a.mu.Lock()
		valid := time.Now().Before(a.lockUntil)
		a.mu.Unlock()
		if valid {
			return nil
		}
		if !sleep(ctx, lockPoll) {
			return ctx.Err()
		}
	}
}

// renewLocks renews the locks of all assigned queues. A queue whose lock another
// member has stands still until that one gives it up.
func (c *PushConsumer) renewLocks(ctx context.Context) {
	c.mu.Lock()
	queues := make([]topicQueue, 0, len(c.assigned))
	for tq := range c.assigned {
		queues = append(queues, tq)
	}
	c.mu.Unlock()
	before := time.Now()
	locked := c.lock(ctx, queues)
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, tq := range locked {
		if a := c.assigned[tq]; a != nil {
			a.mu.Lock()
			a.lockUntil = before.Add(lockValid)
			a.mu.Unlock()
		}
	}
}

// lock asks the brokers for locks and returns the queues that were locked.
func (c *PushConsumer) lock(ctx context.Context, queues []topicQueue) []topicQueue {
	var locked []topicQueue
	for addr, part := range c.byBroker(ctx, queues) {
		var body remoting.LockBatchResponseBody
		reply, err := c.lockRequest(ctx, "lock queues", remoting.ReqLockBatchMQ, addr, part)
		if err == nil {
			if err = remoting.DecodeBody(reply.Body, &body); err != nil {
				err = fmt.Errorf("%w: %w", ErrMalformed, err)
			}
		}
		if err != nil {
			if ctx.Err() == nil {
				c.core.cfg.logger.Warn("queues not locked", "group", c.group, "addr", addr, "error", err)
			}
			continue
		}
		for _, mq := range body.LockOKMQSet {
			tq := topicQueue{mq.Topic, Queue{mq.BrokerName, int(mq.QueueID)}}
			if slices.Contains(part, tq) {
				locked = append(locked, tq)
			}
		}
	}
	return locked
}

// unlock gives a lock back.
func (c *PushConsumer) unlock(ctx context.Context, tq topicQueue) {
	for addr, part := range c.byBroker(ctx, []topicQueue{tq}) {
		if _, err := c.lockRequest(ctx, "unlock queues", remoting.ReqUnlockBatchMQ, addr, part); err != nil {
			c.core.cfg.logger.Warn("queue not unlocked", "group", c.group, "topic", tq.topic, "queue", tq.queue.ID, "error", err)
		}
	}
}

func (c *PushConsumer) lockRequest(ctx context.Context, op string, code int32, addr string, queues []topicQueue) (*remoting.Command, error) {
	body := remoting.LockBatchBody{ClientID: c.core.cfg.clientID, ConsumerGroup: c.group}
	for _, tq := range queues {
		body.MQSet = append(body.MQSet, remoting.MessageQueue{
			Topic: tq.topic, BrokerName: tq.queue.Broker, QueueID: int32(tq.queue.ID),
		})
	}
	b, err := remoting.EncodeBody(&body)
	if err != nil {
		return nil, err
	}
	return c.core.request(ctx, op, addr, &remoting.Command{Code: code, Body: b})
}

// byBroker groups queues by their broker's address.
func (c *PushConsumer) byBroker(ctx context.Context, queues []topicQueue) map[string][]topicQueue {
	out := make(map[string][]topicQueue)
	for _, tq := range queues {
		r, err := c.core.routes.get(ctx, tq.topic)
		if err != nil {
			continue
		}
		if addr, err := r.addr(tq.queue); err == nil {
			out[addr] = append(out[addr], tq)
		}
	}
	return out
}
