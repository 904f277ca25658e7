package client

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/varvemq/varve/internal/message"
	"github.com/varvemq/varve/internal/remoting"
)

// rebalanceSoon is when a rebalance that could not finish is tried again.
const rebalanceSoon = time.Second

// rebalanceLoop keeps the assignment right until ctx ends.
func (c *PushConsumer) rebalanceLoop(ctx, after context.Context) {
	var told map[string]*subscription // what brokers heard of
	var heard []string                // brokers that did
	warned := make(map[string]bool)
	for {
		c.mu.Lock()
		subs := maps.Clone(c.subs)
		c.mu.Unlock()
		for topic := range subs { // so that the topics' brokers are known
			r, err := c.core.routes.get(ctx, topic)
			c.look(topic, r, err)
			if err != nil && ctx.Err() == nil && !message.IsRetryTopic(topic) && !warned[topic] {
				c.core.cfg.logger.Warn("topic has no route, asked for again until it has", "topic", topic, "error", err)
			}
			warned[topic] = err != nil
		}
		brokers := c.core.routes.brokers()
		if c.fresh.Swap(false) || !maps.Equal(told, subs) || !slices.Equal(heard, brokers) {
			c.heartbeat(ctx)
			told, heard = subs, brokers
		}
		wait := c.cfg.rebalance
		if !c.rebalance(ctx, after, subs) {
			wait = min(wait, rebalanceSoon)
		}
		t := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			t.Stop()
			return
		case <-c.wake:
		case <-t.C:
		}
		t.Stop()
	}
}

// rebalance compares what this member has with what it should have. It reports
// false if something has to be tried again soon.
func (c *PushConsumer) rebalance(ctx, after context.Context, subs map[string]*subscription) bool {
	ok := true
	wanted := make(map[topicQueue]*subscription)
	unknown := make(map[string]bool) // topics of which nothing could be found out
	for topic, sub := range subs {
		queues, err := c.share(ctx, topic)
		if err != nil {
			ok = false
			unknown[topic] = !errors.Is(err, ErrNoRoute)
			if ctx.Err() == nil && !errors.Is(err, ErrNoRoute) {
				c.core.cfg.logger.Warn("queues not shared out", "group", c.group, "topic", topic, "error", err)
			}
			continue
		}
		for _, q := range queues {
			wanted[topicQueue{topic, q}] = sub
		}
	}
	if ctx.Err() != nil {
		return true
	}
	c.dropUnwanted(after, wanted, unknown)
	return c.addWanted(ctx, after, wanted) && ok
}

// dropUnwanted gives back the queues that are not this member's any more.
func (c *PushConsumer) dropUnwanted(after context.Context, wanted map[topicQueue]*subscription, unknown map[string]bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for tq, a := range c.assigned {
		if wanted[tq] == a.sub || unknown[tq.topic] {
			continue
		}
		delete(c.assigned, tq)
		c.releasing[tq] = struct{}{}
		c.core.cfg.logger.Info("queue released", "group", c.group, "topic", tq.topic, "broker", tq.queue.Broker, "queue", tq.queue.ID)
		c.core.life.run(func(context.Context) {
			a.release(after)
			c.mu.Lock()
			delete(c.releasing, tq)
			c.mu.Unlock()
			c.requestRebalance()
		})
	}
}

// addWanted takes the queues that are new to this member.
func (c *PushConsumer) addWanted(ctx, after context.Context, wanted map[topicQueue]*subscription) bool {
	ok := true
	var fresh []topicQueue
	c.mu.Lock()
	for tq := range wanted {
		if _, busy := c.releasing[tq]; !busy && c.assigned[tq] == nil {
			fresh = append(fresh, tq)
		}
	}
	c.mu.Unlock()
	if c.cfg.orderly && len(fresh) > 0 {
		locked := c.lock(ctx, fresh)
		ok = len(locked) == len(fresh)
		fresh = locked
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, tq := range fresh {
		a := newAssignment(c, wanted[tq], tq.queue)
		c.assigned[tq] = a
		c.core.cfg.logger.Info("queue taken", "group", c.group, "topic", tq.topic, "broker", tq.queue.Broker, "queue", tq.queue.ID)
		a.start(ctx, after)
	}
	return ok
}

// share returns the queues of a topic that are this member's.
func (c *PushConsumer) share(ctx context.Context, topic string) ([]Queue, error) {
	r, err := c.core.routes.get(ctx, topic)
	if err != nil {
		return nil, err
	}
	if c.cfg.broadcasting {
		return r.read, nil
	}
	members, err := c.members(ctx, r)
	if err != nil {
		return nil, err
	}
	return allocate(r.read, members, c.core.cfg.clientID)
}

// members asks a broker for the ids of the group's members.
func (c *PushConsumer) members(ctx context.Context, r *route) ([]string, error) {
	err := fmt.Errorf("topic has no broker: %w", ErrNoRoute)
	for _, broker := range slices.Sorted(maps.Keys(r.addrs)) {
		cmd := remoting.Command{Code: remoting.ReqGetConsumerListByGroup}
		cmd.Ext.Add("consumerGroup", c.group)
		var reply *remoting.Command
		reply, err = c.core.request(ctx, "group members", r.addrs[broker], &cmd)
		if err != nil {
			continue
		}
		var body remoting.ConsumerListBody
		if err = remoting.DecodeBody(reply.Body, &body); err == nil {
			slices.Sort(body.ConsumerIDList)
			return slices.Compact(body.ConsumerIDList), nil
		}
	}
	return nil, err
}

// allocate shares out sorted queues evenly, in runs, among sorted members: the
// same rule as RocketMQ's default, since members of one group must agree.
func allocate(queues []Queue, members []string, self string) ([]Queue, error) {
	i := slices.Index(members, self)
	if i < 0 {
		return nil, fmt.Errorf("this member is not yet in the group: %w", &Error{Op: "rebalance", Code: CodeNone})
	}
	n, each, extra := len(queues), len(queues)/len(members), len(queues)%len(members)
	if n <= len(members) {
		each, extra = 1, 0
	}
	start := i*each + min(i, extra)
	if i < extra {
		each++
	}
	if start >= n {
		return nil, nil
	}
	return queues[start:min(n, start+each)], nil
}
