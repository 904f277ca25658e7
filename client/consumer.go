package client

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/varvemq/varve/internal/filter"
	"github.com/varvemq/varve/internal/message"
	"github.com/varvemq/varve/internal/remoting"
)

// PushConsumer is a member of a consumer group. Make it with [NewPushConsumer],
// subscribe, then [PushConsumer.Run] it.
type PushConsumer struct {
	cfg     *consumerConfig
	core    *core
	group   string
	handler Handler
	sender  sender
	jobs    chan job      // to the concurrent handlers
	wake    chan struct{} // has an element if a rebalance is due
	stop    chan struct{} // closed by Close
	done    chan struct{} // closed when Run has ended
	local   *offsetFile   // broadcasting only
	fresh   atomic.Bool   // a connection was made: its server has to hear of us

	mu sync.Mutex
	// All are guarded by mu.
	subs      map[string]*subscription
	views     map[string]view // by topic: what was there when it was looked for first
	assigned  map[topicQueue]*assignment
	releasing map[topicQueue]struct{}
	started   bool
	closed    bool
}

// topicQueue is a queue of a topic.
type topicQueue struct {
	topic string
	queue Queue
}

// NewPushConsumer returns a consumer of the group that gives messages to the
// handler. It dials nothing. The error joins all faults in the options.
func NewPushConsumer(group string, handler Handler, opts ...Option) (*PushConsumer, error) {
	cfg, err := newConfig(roleConsumer, opts)
	if verr := message.ValidateGroup(group); verr != nil {
		err = errors.Join(err, fmt.Errorf("%w: %w", ErrInvalid, verr))
	}
	if handler == nil {
		err = errors.Join(err, fmt.Errorf("handler: nil: %w", ErrInvalid))
	}
	if err != nil {
		return nil, err
	}
	c := &PushConsumer{
		cfg: &cfg.consumer, core: newCore(cfg), group: group, handler: handler,
		jobs: make(chan job, cfg.consumer.bufferMessages), wake: make(chan struct{}, 1), stop: make(chan struct{}), done: make(chan struct{}),
		subs: make(map[string]*subscription), views: make(map[string]view), assigned: make(map[topicQueue]*assignment),
		releasing: make(map[topicQueue]struct{}),
	}
	var turn atomic.Uint32
	c.sender = sender{core: c.core, cfg: &cfg.producer, next: func() uint32 { return turn.Add(1) }}
	c.core.notify = serverRequests{membersChanged: c.membersChanged, resetOffsets: c.resetOffsets, connected: c.connected}
	if c.cfg.broadcasting {
		c.local = newOffsetFile(c.cfg.offsetFile)
	}
	return c, nil
}

// Subscribe adds a topic, or replaces its expression: "*" (or "") for all
// messages, or tags separated by "||". It may be called while the consumer
// runs. All members of a group must subscribe to the same.
func (c *PushConsumer) Subscribe(topic, expr string) error { return c.subscribe(topic, expr, false) }

// SubscribeSQL is Subscribe with a SQL92 expression over the messages'
// properties, such as "price > 10 AND region = 'eu'". The broker must support it.
func (c *PushConsumer) SubscribeSQL(topic, expr string) error { return c.subscribe(topic, expr, true) }

func (c *PushConsumer) subscribe(topic, expr string, sql bool) error {
	if err := message.ValidateTopic(topic); err != nil {
		return fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	s, err := newSubscription(topic, expr, sql)
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return ErrClosed
	}
	c.subs[topic] = &s
	c.requestRebalance()
	return nil
}

// Unsubscribe removes a topic.
func (c *PushConsumer) Unsubscribe(topic string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, ok := c.subs[topic]; !ok {
		return fmt.Errorf("subscription to %s: %w", topic, ErrNotFound)
	}
	delete(c.subs, topic)
	delete(c.views, topic)
	c.requestRebalance()
	return nil
}

// Run consumes until ctx ends or Close is called. Then it stops fetching, waits
// for the running handlers ([WithShutdownTimeout]), commits the progress,
// releases its queues and leaves the group. It returns nil then. Brokers and
// name servers that are away are waited for, not an error. It can be called once.
func (c *PushConsumer) Run(ctx context.Context) error {
	if err := c.begin(); err != nil {
		return err
	}
	defer close(c.done)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var wg sync.WaitGroup
	wg.Go(func() {
		select {
		case <-c.stop:
			cancel()
		case <-ctx.Done():
		}
	})
	after := context.WithoutCancel(ctx) // for what is finished after the end
	var workers sync.WaitGroup
	if !c.cfg.orderly {
		for range c.cfg.concurrency {
			workers.Go(func() { c.work(after) })
		}
	}
	wg.Go(func() { tick(ctx, c.core.cfg.heartbeat, c.heartbeat) })
	wg.Go(func() { tick(ctx, c.cfg.commitInterval, c.commitAll) })
	if c.cfg.orderly {
		wg.Go(func() { tick(ctx, lockInterval, c.renewLocks) })
	}
	c.rebalanceLoop(ctx, after)
	wg.Wait()
	err := c.leave(after)
	close(c.jobs)
	workers.Wait()
	return err
}

func (c *PushConsumer) begin() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return ErrClosed
	}
	if c.started {
		return fmt.Errorf("consumer runs already: %w", ErrInvalid)
	}
	if !c.cfg.broadcasting {
		retry, err := newSubscription(message.RetryTopic(c.group), filter.All, false)
		if err != nil {
			return err
		}
		c.subs[retry.topic] = &retry
	}
	if err := c.local.load(); err != nil {
		return err
	}
	c.started = true
	return nil
}

// tick calls f at each interval until ctx ends.
func tick(ctx context.Context, interval time.Duration, f func(context.Context)) {
	t := time.NewTicker(interval)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
			f(ctx)
		}
	}
}

// Close ends Run and waits for it. The second call does nothing.
func (c *PushConsumer) Close() error {
	c.mu.Lock()
	started, closed := c.started, c.closed
	c.closed = true
	c.mu.Unlock()
	if !closed {
		close(c.stop)
	}
	if started {
		<-c.done
	}
	c.core.close()
	return nil
}

// Assigned returns the queues that this member consumes now, by topic.
func (c *PushConsumer) Assigned() map[string][]Queue {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := make(map[string][]Queue)
	for tq := range c.assigned {
		out[tq.topic] = append(out[tq.topic], tq.queue)
	}
	for _, queues := range out {
		slices.SortFunc(queues, compareQueues)
	}
	return out
}

// leave gives all queues back, commits, and says goodbye.
func (c *PushConsumer) leave(ctx context.Context) error {
	c.mu.Lock()
	c.closed = true
	all := slices.Collect(maps.Values(c.assigned))
	clear(c.assigned)
	c.mu.Unlock()
	var wg sync.WaitGroup
	for _, a := range all {
		wg.Go(func() { a.release(ctx) })
	}
	wg.Wait()
	c.waitReleasing()
	err := c.local.save()
	c.core.unregister(ctx, innerProducer, c.group)
	c.core.close()
	return err
}

// waitReleasing waits for the queues that a rebalance took away.
func (c *PushConsumer) waitReleasing() {
	for {
		c.mu.Lock()
		n := len(c.releasing)
		c.mu.Unlock()
		if n == 0 {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// innerProducer is the producer group of what consumers send back.
const innerProducer = "CLIENT_INNER_PRODUCER"

// heartbeat tells the brokers about this member.
func (c *PushConsumer) heartbeat(ctx context.Context) {
	d := remoting.ConsumerData{
		GroupName: c.group, ConsumeType: "CONSUME_PASSIVELY", MessageModel: "CLUSTERING",
		ConsumeFromWhere: "CONSUME_FROM_LAST_OFFSET",
	}
	if c.cfg.broadcasting {
		d.MessageModel = "BROADCASTING"
	}
	switch c.cfg.from.kind {
	case atFirst:
		d.ConsumeFromWhere = "CONSUME_FROM_FIRST_OFFSET"
	case atTime:
		d.ConsumeFromWhere = "CONSUME_FROM_TIMESTAMP"
	default:
	}
	c.mu.Lock()
	for _, topic := range slices.Sorted(maps.Keys(c.subs)) {
		d.SubscriptionDataSet = append(d.SubscriptionDataSet, c.subs[topic].data())
	}
	c.mu.Unlock()
	c.core.heartbeat(ctx, &remoting.HeartbeatData{
		ClientID: c.core.cfg.clientID, ConsumerDataSet: []remoting.ConsumerData{d},
		ProducerDataSet: []remoting.ProducerData{{GroupName: innerProducer}},
	})
}

// commitAll commits the progress of all queues.
func (c *PushConsumer) commitAll(ctx context.Context) {
	c.mu.Lock()
	all := slices.Collect(maps.Values(c.assigned))
	c.mu.Unlock()
	for _, a := range all {
		if err := a.commit(ctx); err != nil && ctx.Err() == nil {
			c.core.cfg.logger.Warn("progress not committed", "group", c.group, "topic", a.sub.topic, "queue", a.queue.ID, "error", err)
		}
	}
	if err := c.local.save(); err != nil {
		c.core.cfg.logger.Warn("progress not saved", "group", c.group, "error", err)
	}
}

// membersChanged is called when a broker says that the group has other members.
func (c *PushConsumer) membersChanged(group string) {
	if group == c.group {
		c.requestRebalance()
	}
}

// connected is called when a connection was made: a broker that was restarted
// knows nothing of this member.
func (c *PushConsumer) connected() {
	c.fresh.Store(true)
	c.requestRebalance()
}

func (c *PushConsumer) requestRebalance() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// resetOffsets is called when a broker moves the group.
func (c *PushConsumer) resetOffsets(group, topic string, offsets map[Queue]int64) {
	if group != c.group {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for q, offset := range offsets {
		if a := c.assigned[topicQueue{topic, q}]; a != nil {
			a.moveTo(offset)
		}
	}
}
