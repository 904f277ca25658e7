package client

import "context"

// Producer sends messages. Make it with [NewProducer].
type Producer struct{ cfg *config }

// NewProducer returns a producer. It dials nothing: the first send does. The
// error joins all faults in the options.
func NewProducer(opts ...Option) (*Producer, error) {
	cfg, err := newConfig(roleProducer, opts)
	return &Producer{cfg: cfg}, err
}

// Send sends a message and waits for the answer. An error is an [*Error], a
// fault in the message (ErrInvalid), ErrNoRoute or ErrClosed.
func (p *Producer) Send(ctx context.Context, m *Message) (SendResult, error) { panic("todo") }

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
	panic("todo")
}

// SendOneway sends a message and does not wait for an answer. Nil means that
// the message was handed to the connection, no more.
func (p *Producer) SendOneway(ctx context.Context, m *Message) error { panic("todo") }

// SendBatch sends messages of one topic in one request: all are stored, next to
// each other in one queue, or none. Delays are not possible. The results are
// in the order of the messages. Queue and sharding key are taken from the first.
func (p *Producer) SendBatch(ctx context.Context, ms []*Message) ([]SendResult, error) { panic("todo") }

// Flush waits until every message that SendAsync took before has been answered
// and its function has returned.
func (p *Producer) Flush(ctx context.Context) error { panic("todo") }

// Close waits for the messages in flight, no longer than the send timeout and
// the retries take, says goodbye to the brokers and closes the connections. The
// second call does nothing.
func (p *Producer) Close() error { panic("todo") }
