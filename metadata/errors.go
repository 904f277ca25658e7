package metadata

import "errors"

// The conditions that callers branch on. All are wrapped with the name concerned; test with errors.Is.
var (
	// ErrFenced says that the shard is no longer owned under this epoch: nothing was changed, and nothing more may be acknowledged.
	ErrFenced = errors.New("metadata: fenced: the shard has another owner or epoch")
	// ErrShardOwned says that another process holds the shard under a live lease; a claim may succeed once that lease has ended.
	ErrShardOwned = errors.New("metadata: shard is owned by a live broker")
	// ErrTailDirty says that the shard's unsealed tail is in a WAL other than the claimant's.
	ErrTailDirty = errors.New("metadata: shard's unsealed tail is in another WAL")
	// ErrOldCopy says that the claimant's WAL is an older copy of the one that last held the shard's tail.
	ErrOldCopy = errors.New("metadata: the WAL is an older copy of the shard's")
	// ErrTopicExists says that a topic of that name exists.
	ErrTopicExists = errors.New("metadata: topic exists")
	// ErrTopicNotFound says that no topic of that name exists.
	ErrTopicNotFound = errors.New("metadata: topic not found")
	// ErrGroupNotFound says that no consumer group of that name exists.
	ErrGroupNotFound = errors.New("metadata: group not found")
	// ErrNoClusterID says that the cluster has no id yet: nothing was ever started on this etcd prefix.
	ErrNoClusterID = errors.New("metadata: no cluster id")
	// ErrConflict says that what a commit was computed from is not what etcd has. Nothing was changed.
	ErrConflict = errors.New("metadata: conflict with what is committed")
	// ErrInvalid says that an argument or a name is not acceptable.
	ErrInvalid = errors.New("metadata: invalid")
	// ErrOrdinalsExhausted says that the 28 bits of queue ordinals are used up.
	ErrOrdinalsExhausted = errors.New("metadata: queue ordinals exhausted")
	// ErrTooLarge says that a value or a transaction would exceed its limit.
	ErrTooLarge = errors.New("metadata: value or transaction too large")
	// ErrUnavailable says that etcd did not answer. The outcome of a transaction that failed with it is unknown.
	ErrUnavailable = errors.New("metadata: etcd is unavailable")
	// ErrCompacted says that a revision asked for was compacted away: read the present state and watch from there.
	ErrCompacted = errors.New("metadata: revision is compacted")
	// ErrLeaseNotFound says that a lease has expired or was revoked.
	ErrLeaseNotFound = errors.New("metadata: lease not found")
	// ErrClosed says that the store, the KV or the committer was closed.
	ErrClosed = errors.New("metadata: closed")
	// ErrCorrupt says that a stored value cannot be decoded.
	ErrCorrupt = errors.New("metadata: corrupt value")
	// ErrVersion says that a stored value has a version this build does not know.
	ErrVersion = errors.New("metadata: unknown version of a value")
)
