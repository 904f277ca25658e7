// Package metadata owns Varve's schema in etcd: the cluster's id, shard ownership, topics, consumer groups, committed offsets and the roots of sealed
// history.
//
// The format of keys and values, the transactions and what each of them protects are stated in docs/format/metadata.md, which a test holds against
// the constants of this package.
//
// # Layers
//
// [KV] is the seam: eight methods with etcd's semantics (one revision counter, compare-and-swap transactions, watches by revision, leases). It has two
// implementations, etcd ([DialEtcd], [Embedded]) and memory ([NewMemory], for tests), and one contract suite. [Store] is the typed layer above it.
//
// # Invariants
//
//   - Every change made on behalf of a shard's owner compares the revision of `shards/<id>`, which changes exactly when the epoch or the ownership does;
//     a broker that lost its shard gets [ErrFenced] and has changed nothing.
//   - What changes together changes in one transaction of at most [MaxTxnOps] operations; no value exceeds [MaxValueBytes].
//   - A transaction whose outcome is unknown is decided by reading again; all transactions are compare-and-swap, so that one that is still in flight
//     cannot be applied after its repetition was.
//   - An ordinal or an incarnation is handed out once, ever.
//   - A number of an object in the bucket is reserved once, and is in one place at each moment: an intent, a segment, the manifest or a record of garbage.
//   - A deleted topic leaves a positive record, a [Tombstone], and so do objects that nothing refers to any more, [Garbage]: nothing is deleted because
//     it is absent.
//
// # Concurrency
//
// All exported types are safe for concurrent use. Reads of topics, groups and shards come from snapshots kept by watches and take no lock; committed
// offsets take one short lock. None of them calls etcd. Lock order: Store.mu → session.mu; OffsetCommitter's writer semaphore → a stripe's mutex; no
// lock but the writer semaphore, which exists to serialise transactions, is held during I/O.
//
// [Store], [Ownership] and [OffsetCommitter] start their background goroutines when they are opened, and not in a Run method: each keeps a promise
// (a lease, a snapshot, a flush within a second) from the moment it exists. Store.Close, Ownership.Release and OffsetCommitter.Close wait for them.
package metadata
