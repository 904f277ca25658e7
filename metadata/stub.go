package metadata

import (
	"context"
	"errors"
	"time"

	"github.com/google/uuid"
)

var errStub = errors.New("metadata: not written yet")

// BootClock reads the time since boot, sleep included.
func BootClock() time.Duration { return 0 }

// Store is the typed layer over a [KV].
type Store struct{}

// NewStore loads the snapshots and starts their watches. The KV stays the caller's and must outlive the store.
func NewStore(ctx context.Context, kv KV, cfg StoreConfig) (*Store, error) { return nil, errStub }

// Open connects to an external etcd. An etcd that does not answer within DialTimeout gives an error that names the endpoints.
func Open(ctx context.Context, cfg Config) (*Store, error) { return nil, errStub }

// Close stops the watches, waits for them, and closes the KV if Open made it. Ownerships must have been released before.
func (s *Store) Close() error { return errStub }

// KV returns the seam below, for `varve metadata` and tests.
func (s *Store) KV() KV { return nil }

// Revision returns etcd's present revision.
func (s *Store) Revision(ctx context.Context) (int64, error) { return 0, errStub }

// ClusterID returns the cluster's id, or [ErrNoClusterID].
func (s *Store) ClusterID(ctx context.Context) (uuid.UUID, error) { return uuid.Nil, errStub }

// EnsureClusterID returns the cluster's id, after setting it to proposed if there was none.
func (s *Store) EnsureClusterID(ctx context.Context, proposed uuid.UUID) (uuid.UUID, error) {
	return uuid.Nil, errStub
}

// AcquireShard takes the ownership of a shard under the next epoch, or returns [ErrShardOwned] or [ErrTailDirty].
func (s *Store) AcquireShard(ctx context.Context, claim ShardClaim) (*Ownership, error) {
	return nil, errStub
}

// Shard returns a shard's record from the snapshot.
func (s *Store) Shard(id string) (*Shard, bool) { return nil, false }

// ListShards returns all shards' records in order of id.
func (s *Store) ListShards() []*Shard { return nil }

// Ownership is the right to write to a shard under an epoch.
type Ownership struct{}

// Shard returns the shard's id.
func (o *Ownership) Shard() string { return "" }

// Epoch returns the epoch, which is higher than that of any owner before.
func (o *Ownership) Epoch() uint64 { return 0 }

// Previous returns the record that was replaced, or nil for a new shard.
func (o *Ownership) Previous() *Shard { return nil }

// TailLost reports that the tail before this epoch was in another WAL and dirty, and its loss was accepted.
func (o *Ownership) TailLost() bool { return false }

// Valid reports whether the lease still holds at the time now of the store's Clock (by default [BootClock]). It may become true again after an outage
// of etcd; after Lost it never does.
func (o *Ownership) Valid(now time.Duration) bool { return false }

// Lost is closed when another owner or epoch was seen, or the ownership was released.
func (o *Ownership) Lost() <-chan struct{} { return nil }

// Release gives the shard up; clean says that its tail is sealed.
func (o *Ownership) Release(ctx context.Context, clean bool) error { return errStub }

// Topic returns a topic from the snapshot, without a lock and without calling etcd.
func (s *Store) Topic(name string) (*Topic, bool) { return nil, false }

// ListTopics returns all topics in order of name.
func (s *Store) ListTopics() []*Topic { return nil }

// CreateTopic creates a topic and allocates its ordinals, in one transaction. It fills in Incarnation, Ordinals, CreatedMs (if 0), Shard and Revision.
// If the topic exists it is returned with [ErrTopicExists].
func (s *Store) CreateTopic(ctx context.Context, own *Ownership, t Topic) (*Topic, error) {
	return nil, errStub
}

// UpdateTopic applies edit to the present topic and writes it, allocating ordinals for added queues. edit may be called more than once; its error is
// returned as it is. Name, Incarnation, Ordinals, Shard and CreatedMs cannot be edited.
func (s *Store) UpdateTopic(ctx context.Context, own *Ownership, name string, edit func(*Topic) error) (*Topic, error) {
	return nil, errStub
}

// DeleteTopic deletes a topic and leaves its tombstone, or returns [ErrTopicNotFound].
func (s *Store) DeleteTopic(ctx context.Context, own *Ownership, name string) (*Tombstone, error) {
	return nil, errStub
}

// ListTombstones reads the tombstones of deleted topics in order of incarnation.
func (s *Store) ListTombstones(ctx context.Context) ([]*Tombstone, error) { return nil, errStub }

// DropTombstone removes a tombstone, after the data it stands for is gone.
func (s *Store) DropTombstone(ctx context.Context, own *Ownership, incarnation uint64) error {
	return errStub
}

// WatchTopics calls fn for every change from now on, in order of revision, one at a time, after the snapshot has it. fn must not block. The returned
// function ends it.
func (s *Store) WatchTopics(fn func(TopicEvent)) (stop func()) { return func() {} }

// WatchShards is [Store.WatchTopics] for shards.
func (s *Store) WatchShards(fn func(ShardEvent)) (stop func()) { return func() {} }

// WatchGroups is [Store.WatchTopics] for groups.
func (s *Store) WatchGroups(fn func(GroupEvent)) (stop func()) { return func() {} }

// Group returns a group from the snapshot, without a lock and without calling etcd.
func (s *Store) Group(name string) (*Group, bool) { return nil, false }

// ListGroups returns all groups in order of name.
func (s *Store) ListGroups() []*Group { return nil }

// PutGroup creates or replaces a group.
func (s *Store) PutGroup(ctx context.Context, own *Ownership, g Group) (*Group, error) {
	return nil, errStub
}

// DeleteGroup deletes a group and, withOffsets, its committed offsets in own's shard, in one transaction; else it returns [ErrGroupNotFound] if there
// is no such group. Offsets are deleted even if the group has no record.
func (s *Store) DeleteGroup(ctx context.Context, own *Ownership, name string, withOffsets bool) error {
	return errStub
}

// OffsetKey names a committed offset.
type OffsetKey struct {
	Group   string
	Ordinal uint32
}

// LoadOffsets reads all committed offsets of a shard from etcd.
func (s *Store) LoadOffsets(ctx context.Context, shard string) (map[OffsetKey]int64, error) {
	return nil, errStub
}

// OffsetConfig configures an [OffsetCommitter]. The zero value of a field means its default.
type OffsetConfig struct {
	// FlushInterval is the longest time between the flushes of changed offsets. Default: [DefaultFlushInterval].
	FlushInterval time.Duration
	// RetryMin and RetryMax bound the pause after a flush that failed. Default: 100 ms and 5 s.
	RetryMin, RetryMax time.Duration
}

// OffsetCommitter keeps the committed offsets of one shard in memory and writes the changed ones to etcd.
type OffsetCommitter struct{}

// OpenOffsets loads the shard's offsets and starts to flush changes. There is one committer per ownership.
func (s *Store) OpenOffsets(ctx context.Context, own *Ownership, cfg OffsetConfig) (*OffsetCommitter, error) {
	return nil, errStub
}

// Offset returns the committed offset of a queue, this process's own commits included.
func (c *OffsetCommitter) Offset(group string, ordinal uint32) (int64, bool) { return 0, false }

// Commit sets a group's offset in a queue; the last call wins, also when it is lower. It reaches etcd within FlushInterval. It does not allocate,
// unless the group or the queue is new.
func (c *OffsetCommitter) Commit(group string, ordinal uint32, offset int64) {}

// Reset sets offsets (by ordinal) of a group and returns when etcd has them. After an error they may or may not reach etcd later; memory has them.
func (c *OffsetCommitter) Reset(ctx context.Context, group string, offsets map[uint32]int64) error {
	return errStub
}

// Delete removes offsets of a group (all if no ordinal is named) and returns when etcd has forgotten them.
func (c *OffsetCommitter) Delete(ctx context.Context, group string, ordinals ...uint32) error {
	return errStub
}

// Clone copies the offsets of group from to group to, for the named ordinals (all if none is named), and returns when etcd has them.
func (c *OffsetCommitter) Clone(ctx context.Context, from, to string, ordinals ...uint32) error {
	return errStub
}

// Forget removes queues of deleted topics from all groups; etcd learns of it with the next flushes.
func (c *OffsetCommitter) Forget(ordinals []OrdinalRange) {}

// Groups returns the groups that have a committed offset, in order of name.
func (c *OffsetCommitter) Groups() []string { return nil }

// Each calls fn for every committed offset of a group, in order of ordinal, until it returns false.
func (c *OffsetCommitter) Each(group string, fn func(ordinal uint32, offset int64) bool) {}

// Pending returns the number of chunks that etcd does not have yet.
func (c *OffsetCommitter) Pending() int { return 0 }

// Flush writes what has changed and returns when etcd has it.
func (c *OffsetCommitter) Flush(ctx context.Context) error { return errStub }

// Close flushes and ends the committer. It is idempotent; after an error what Pending counts is lost with the process.
func (c *OffsetCommitter) Close(ctx context.Context) error { return errStub }

// NewMemory returns an in-memory [KV] with etcd's semantics, for tests.
func NewMemory() *Memory { return &Memory{} }

// Memory is a [KV] in memory, for tests.
type Memory struct{ KV }

// Embedded is an etcd in this process.
type Embedded struct{}

// OpenEmbedded starts an etcd in this process and waits until it serves.
func OpenEmbedded(ctx context.Context, cfg EmbedConfig) (*Embedded, error) { return nil, errStub }

// Open returns a store on this etcd. Close it before the Embedded.
func (e *Embedded) Open(ctx context.Context, cfg StoreConfig) (*Store, error) { return nil, errStub }

// KV returns a connection within the process.
func (e *Embedded) KV() (KV, error) { return nil, errStub }

// Endpoints returns the client URLs, for tools.
func (e *Embedded) Endpoints() []string { return nil }

// Stopped is closed when the etcd has stopped, be it by itself.
func (e *Embedded) Stopped() <-chan struct{} { return nil }

// Close stops the etcd: clients first, then the server, then its files. It is idempotent.
func (e *Embedded) Close() error { return errStub }
