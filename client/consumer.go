package client

import "context"

// PushConsumer is a member of a consumer group. Make it with [NewPushConsumer],
// subscribe, then [PushConsumer.Run] it.
type PushConsumer struct {
	cfg     *config
	handler Handler
}

// NewPushConsumer returns a consumer of the group that gives messages to the
// handler. It dials nothing. The error joins all faults in the options.
func NewPushConsumer(group string, handler Handler, opts ...Option) (*PushConsumer, error) {
	panic("todo")
}

// Subscribe adds a topic, or replaces its expression: "*" (or "") for all
// messages, or tags separated by "||". It may be called while the consumer
// runs. All members of a group must subscribe to the same.
func (c *PushConsumer) Subscribe(topic, expr string) error { panic("todo") }

// SubscribeSQL is Subscribe with a SQL92 expression over the messages'
// properties, such as "price > 10 AND region = 'eu'". The broker must support it.
func (c *PushConsumer) SubscribeSQL(topic, expr string) error { panic("todo") }

// Unsubscribe removes a topic.
func (c *PushConsumer) Unsubscribe(topic string) error { panic("todo") }

// Run consumes until ctx ends or Close is called. Then it stops fetching, waits
// for the running handlers ([WithShutdownTimeout]), commits the progress,
// releases its queues and leaves the group. It returns nil then. Brokers and
// name servers that are away are waited for, not an error. It can be called once.
func (c *PushConsumer) Run(ctx context.Context) error { panic("todo") }

// Close ends Run and waits for it. The second call does nothing.
func (c *PushConsumer) Close() error { panic("todo") }

// Assigned returns the queues that this member consumes now, by topic.
func (c *PushConsumer) Assigned() map[string][]Queue { panic("todo") }
