package remoting

import (
	"context"

	"github.com/varvemq/varve/metadata"
)

// Metadata is the metadata store under the ownership of the shard: reads are from memory, every change compares the shard's epoch.
type Metadata struct {
	Store *metadata.Store
	Own   *metadata.Ownership
}

// Topic returns a topic from memory. It must not be modified.
func (m Metadata) Topic(name string) (*metadata.Topic, bool) { return m.Store.Topic(name) }

// ListTopics returns all topics from memory.
func (m Metadata) ListTopics() []*metadata.Topic { return m.Store.ListTopics() }

// CreateTopic makes a topic on this shard; metadata.ErrTopicExists, with the topic, if it is there.
func (m Metadata) CreateTopic(ctx context.Context, t metadata.Topic) (*metadata.Topic, error) {
	t.Shard = m.Own.Shard()
	return m.Store.CreateTopic(ctx, m.Own, t)
}

// UpdateTopic changes a topic.
func (m Metadata) UpdateTopic(ctx context.Context, name string, edit func(*metadata.Topic) error) (*metadata.Topic, error) {
	return m.Store.UpdateTopic(ctx, m.Own, name, edit)
}

// DeleteTopic leaves a tombstone that says which queues go.
func (m Metadata) DeleteTopic(ctx context.Context, name string) (*metadata.Tombstone, error) {
	return m.Store.DeleteTopic(ctx, m.Own, name)
}

// Group returns a consumer group's configuration from memory. It must not be modified.
func (m Metadata) Group(name string) (*metadata.Group, bool) { return m.Store.Group(name) }

// ListGroups returns all consumer groups from memory.
func (m Metadata) ListGroups() []*metadata.Group { return m.Store.ListGroups() }

// PutGroup makes or replaces a group's configuration.
func (m Metadata) PutGroup(ctx context.Context, g metadata.Group) (*metadata.Group, error) {
	return m.Store.PutGroup(ctx, m.Own, g)
}

// DeleteGroup removes a group's configuration and, if asked, its committed offsets, in one step.
func (m Metadata) DeleteGroup(ctx context.Context, name string, withOffsets bool) error {
	return m.Store.DeleteGroup(ctx, m.Own, name, withOffsets)
}
