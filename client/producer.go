package client

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/varvemq/varve/internal/message"
	"github.com/varvemq/varve/internal/remoting"
)

// Producer sends messages. Make it with [NewProducer].
type Producer struct {
	cfg    *producerConfig
	core   *core
	group  string
	sender sender
	acc    *accumulator
	closed atomic.Bool
}

// NewProducer returns a producer. It dials nothing: the first send does. The
// error joins all faults in the options.
func NewProducer(opts ...Option) (*Producer, error) {
	cfg, err := newConfig(roleProducer, opts)
	if err != nil {
		return nil, err
	}
	p := &Producer{cfg: &cfg.producer, core: newCore(cfg), group: cfg.group}
	if p.group == "" {
		p.group = "DEFAULT_PRODUCER"
	}
	var turn atomic.Uint32
	p.sender = sender{core: p.core, cfg: p.cfg, next: func() uint32 { return turn.Add(1) }}
	p.acc = newAccumulator(p)
	p.core.life.every(cfg.heartbeat, func(ctx context.Context) {
		p.core.heartbeat(ctx, &remoting.HeartbeatData{
			ClientID:        cfg.clientID,
			ProducerDataSet: []remoting.ProducerData{{GroupName: p.group}},
		})
	})
	return p, nil
}

// Send sends a message and waits for the answer. An error is an [*Error], a
// fault in the message (ErrInvalid), ErrNoRoute or ErrClosed.
func (p *Producer) Send(ctx context.Context, m *Message) (SendResult, error) {
	out, id, err := p.single(m)
	if err != nil {
		return SendResult{}, err
	}
	a, err := p.sender.deliver(ctx, out)
	if err != nil {
		return SendResult{MsgID: id, Topic: m.Topic}, err
	}
	return a.result(m.Topic, id, 0, 1), nil
}

// single makes the request for one message, and its id.
func (p *Producer) single(m *Message) (*outgoing, string, error) {
	if p.closed.Load() {
		return nil, "", ErrClosed
	}
	if err := checkMessage(m); err != nil {
		return nil, "", err
	}
	now := time.Now()
	id := p.core.ids.Next(now)
	props := make([]byte, 0, 128)
	props = appendProperty(props, message.PropertyUniqKey, id)
	if props = appendProperties(props, m); len(props) > message.MaxProperties {
		return nil, "", fmt.Errorf("message: properties of %d bytes: %w", len(props), ErrInvalid)
	}
	out := &outgoing{
		topic: m.Topic, group: p.group, pin: pinOf(m), born: millis(now),
		body: m.Body, props: props, flag: m.Flag,
	}
	if p.cfg.compressAbove > 0 && len(m.Body) >= p.cfg.compressAbove {
		out.body, out.sysFlag = compress(m.Body)
	}
	return out, id, nil
}

// SendAsync takes a message to send, and calls done with the answer later. It
// returns once the message is encoded: m may then be reused. It waits, until
// ctx ends, while too many messages are in flight ([WithMaxInFlightMessages],
// [WithMaxInFlightBytes]) or the topic's route is unknown.
//
// Messages gather in batches without waiting for one another: to an idle queue
// a message goes at once, and while a batch is on its way the next one fills.
// Messages with the same sharding key, or for the same queue, keep their order,
// unless one fails. Delayed messages go alone.
//
// If SendAsync returns nil, done is called exactly once, by a goroutine that
// calls the functions of all messages one after the other: it must be quick and
// must not wait for the producer (with [WithNonBlocking] it may call
// SendAsync). A nil done is allowed. ctx does not bound the send itself.
func (p *Producer) SendAsync(ctx context.Context, m *Message, done func(SendResult, error)) error {
	if p.closed.Load() {
		return ErrClosed
	}
	if err := checkMessage(m); err != nil {
		return err
	}
	return p.acc.add(ctx, m, done)
}

// SendOneway sends a message and does not wait for an answer. Nil means that
// the message was handed to the connection, no more.
func (p *Producer) SendOneway(ctx context.Context, m *Message) error {
	out, _, err := p.single(m)
	if err != nil {
		return err
	}
	r, err := p.core.sendRoute(ctx, out.topic)
	if err != nil {
		return err
	}
	q, err := p.sender.choose(r, out, "")
	if err != nil {
		return err
	}
	addr, err := r.addr(q)
	if err != nil {
		return err
	}
	var cmd remoting.Command
	out.command(&cmd, q)
	if err := p.core.net.oneway(ctx, "send one-way", addr, &cmd); err != nil {
		p.core.routes.invalidate(out.topic)
		return err
	}
	if r.template {
		p.core.routes.invalidate(out.topic)
	}
	return nil
}

// SendBatch sends messages of one topic in one request: all are stored, next to
// each other in one queue, or none. Delays are not possible. The results are
// in the order of the messages. Queue and sharding key are taken from the first.
func (p *Producer) SendBatch(ctx context.Context, ms []*Message) ([]SendResult, error) {
	if p.closed.Load() {
		return nil, ErrClosed
	}
	if len(ms) == 0 {
		return nil, nil
	}
	now := time.Now()
	out := &outgoing{group: p.group, born: millis(now), batch: true}
	var ids []byte
	for i, m := range ms {
		if err := checkMessage(m); err != nil {
			return nil, fmt.Errorf("message %d: %w", i, err)
		}
		switch {
		case m.DelayLevel != 0 || !m.DeliverAt.IsZero():
			return nil, fmt.Errorf("message %d: a delay in a batch: %w", i, ErrInvalid)
		case m.Topic != ms[0].Topic || m.NoWait != ms[0].NoWait:
			return nil, fmt.Errorf("message %d: topic or NoWait differs from the first: %w", i, ErrInvalid)
		}
		var err error
		if out.body, ids, err = appendItem(out.body, ids, m, p.core.ids, now); err != nil {
			return nil, fmt.Errorf("message %d: %w", i, err)
		}
	}
	if len(out.body) > maxBatchBytes {
		return nil, fmt.Errorf("batch of %d bytes: %w", len(out.body), ErrInvalid)
	}
	out.topic, out.pin = ms[0].Topic, pinOf(ms[0])
	if ms[0].NoWait {
		out.props = appendProperty(nil, message.PropertyWait, "false")
	}
	a, err := p.sender.deliver(ctx, out)
	if err != nil {
		return nil, err
	}
	all, size := string(ids), len(ids)/len(ms)
	results := make([]SendResult, len(ms))
	for i := range results {
		results[i] = a.result(out.topic, all[i*size:(i+1)*size], i, len(ms))
	}
	return results, nil
}

// Flush waits until every message that SendAsync took before has been answered
// and its function has returned.
func (p *Producer) Flush(ctx context.Context) error { return p.acc.flush(ctx) }

// Close waits for the messages in flight, no longer than the send timeout and
// the retries take, says goodbye to the brokers and closes the connections. The
// second call does nothing.
func (p *Producer) Close() error {
	if p.closed.Swap(true) {
		return nil
	}
	bound := time.Duration(p.cfg.retries+2) * p.cfg.sendTimeout
	ctx, cancel := context.WithTimeout(context.Background(), bound) //nolint:forbidigo // Close has no context; the time is bounded
	defer cancel()
	err := p.acc.close(ctx)
	p.core.unregister(ctx, p.group, "")
	p.core.close()
	p.acc.wait()
	return err
}
