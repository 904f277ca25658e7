package client

import (
	"context"
	"time"
)

// Admin manages topics, groups and offsets, and looks up messages. Make it with [NewAdmin].
type Admin struct{ cfg *config }

// NewAdmin returns an admin. It dials nothing. The error joins all faults in the options.
func NewAdmin(opts ...Option) (*Admin, error) { panic("todo") }

// Close closes the connections. The second call does nothing.
func (a *Admin) Close() error { panic("todo") }

// CreateTopic creates a topic on all brokers. It is an ErrExists if it is there already.
func (a *Admin) CreateTopic(ctx context.Context, t TopicConfig) error { panic("todo") }

// UpdateTopic changes a topic on all brokers, or creates it.
func (a *Admin) UpdateTopic(ctx context.Context, t TopicConfig) error { panic("todo") }

// DeleteTopic deletes a topic and its messages everywhere.
func (a *Admin) DeleteTopic(ctx context.Context, topic string) error { panic("todo") }

// ListTopics returns the names of all topics in order, those that RocketMQ
// reserves, retry and dead letter topics included.
func (a *Admin) ListTopics(ctx context.Context) ([]string, error) { panic("todo") }

// DescribeTopic returns a topic's queues, in order.
func (a *Admin) DescribeTopic(ctx context.Context, topic string) (*TopicInfo, error) { panic("todo") }

// ListGroups returns the names of all consumer groups in order.
func (a *Admin) ListGroups(ctx context.Context) ([]string, error) { panic("todo") }

// DescribeGroup returns a group's members and progress.
func (a *Admin) DescribeGroup(ctx context.Context, group string) (*GroupInfo, error) { panic("todo") }

// CreateGroup creates a consumer group on all brokers, or changes how often
// its messages are retried before they go to the dead letter topic. Zero means 16.
func (a *Admin) CreateGroup(ctx context.Context, group string, maxRetries int) error { panic("todo") }

// DeleteGroup deletes a group and its committed offsets.
func (a *Admin) DeleteGroup(ctx context.Context, group string) error { panic("todo") }

// GroupsOf returns the groups that consume a topic.
func (a *Admin) GroupsOf(ctx context.Context, topic string) ([]string, error) { panic("todo") }

// ResetOffset moves a group in all queues of a topic to a position. Connected
// members follow. It returns the new offsets.
func (a *Admin) ResetOffset(ctx context.Context, group, topic string, to Position) (map[Queue]int64, error) {
	panic("todo")
}

// MinOffset returns the offset of a queue's first message.
func (a *Admin) MinOffset(ctx context.Context, topic string, q Queue) (int64, error) { panic("todo") }

// MaxOffset returns the offset that a queue's next message will have.
func (a *Admin) MaxOffset(ctx context.Context, topic string, q Queue) (int64, error) { panic("todo") }

// OffsetAt returns the offset of the first message stored at that time or later,
// or MaxOffset if there is none.
func (a *Admin) OffsetAt(ctx context.Context, topic string, q Queue, t time.Time) (int64, error) {
	panic("todo")
}

// CommittedOffset returns the next offset that a group will consume. ErrNotFound
// if none was committed.
func (a *Admin) CommittedOffset(ctx context.Context, group, topic string, q Queue) (int64, error) {
	panic("todo")
}

// CommitOffset commits an offset for a group. Connected members do not notice
// and may overwrite it; see [Admin.ResetOffset].
func (a *Admin) CommitOffset(ctx context.Context, group, topic string, q Queue, offset int64) error {
	panic("todo")
}

// Brokers returns all brokers in order.
func (a *Admin) Brokers(ctx context.Context) ([]BrokerInfo, error) { panic("todo") }

// BrokerStatus asks a broker, by its address, about itself.
func (a *Admin) BrokerStatus(ctx context.Context, addr string) (BrokerStatus, error) { panic("todo") }

// QueryByKey returns the messages of a topic that have the key, the oldest first.
func (a *Admin) QueryByKey(ctx context.Context, topic, key string, q KeyQuery) ([]*MessageExt, error) {
	panic("todo")
}

// ViewMessage returns a message by its id: the one made by the client (MsgID)
// or the one made by the broker (OffsetMsgID). ErrNotFound if there is none.
func (a *Admin) ViewMessage(ctx context.Context, topic, id string) (*MessageExt, error) {
	panic("todo")
}
