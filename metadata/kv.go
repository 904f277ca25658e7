package metadata

import (
	"context"
	"time"
)

// KV is the seam between the typed [Store] and the keeper of the keys. It has etcd's semantics: one revision counter that each changing transaction
// raises by one, linearizable reads, atomic compare-and-swap transactions, watches that deliver every change from a revision on, and leases whose
// keys vanish with them. An error that wraps [ErrUnavailable] leaves the outcome of a call unknown.
type KV interface {
	// Get returns the key's present state; the result's ModRev is 0 when it does not exist.
	Get(ctx context.Context, key string) (KeyValue, error)
	// Range returns keys of a prefix in ascending order.
	Range(ctx context.Context, r RangeRequest) (RangeResult, error)
	// Txn applies ops, all or none, if every compare holds; otherwise the result has the present state of each compared key.
	Txn(ctx context.Context, compares []Compare, ops []Op) (TxnResult, error)
	// Watch delivers every change of a prefix from revision fromRev on (0: from now on) until ctx ends, then closes the channel. A batch with Err set is the last.
	Watch(ctx context.Context, prefix string, fromRev int64) <-chan WatchBatch
	// Grant creates a lease that lives at least ttl after its last keep-alive.
	Grant(ctx context.Context, ttl time.Duration) (LeaseID, error)
	// KeepAlive prolongs a lease once, or returns [ErrLeaseNotFound].
	KeepAlive(ctx context.Context, id LeaseID) error
	// Revoke ends a lease and deletes its keys; a lease that has already ended is no error.
	Revoke(ctx context.Context, id LeaseID) error
	// Close ends all watches and releases the connection. Leases live on until they expire.
	Close() error
}

// LeaseID names a lease; 0 is none.
type LeaseID int64

// KeyValue is a key's state at a revision.
type KeyValue struct {
	Key   string
	Value []byte
	// ModRev is the revision of the last change; 0 says that the key does not exist.
	ModRev int64
	Lease  LeaseID
}

// Exists reports whether the key exists.
func (kv KeyValue) Exists() bool { return kv.ModRev != 0 }

// RangeRequest asks for the keys of a prefix.
type RangeRequest struct {
	Prefix string
	// After skips keys up to and including it.
	After string
	// Limit bounds the number of keys; 0 is no bound.
	Limit int
	// Rev reads at a past revision; 0 is the present.
	Rev int64
}

// RangeResult is one page of keys.
type RangeResult struct {
	KVs []KeyValue
	// Rev is the revision the page was read at.
	Rev int64
	// More says that Limit cut the result short.
	More bool
}

// Compare is a condition of a transaction: the key's ModRev is exactly this (0: the key does not exist).
type Compare struct {
	Key    string
	ModRev int64
}

// OpKind is what an [Op] does.
type OpKind uint8

// The kinds of operations.
const (
	OpPut OpKind = iota + 1
	OpDelete
	OpDeletePrefix
)

// Op is one change in a transaction. A key may be changed once in a transaction.
type Op struct {
	Kind  OpKind
	Key   string
	Value []byte
	// Lease attaches the key to a lease; 0 is none.
	Lease LeaseID
}

// Put returns the operation that writes a key.
func Put(key string, value []byte) Op { return Op{Kind: OpPut, Key: key, Value: value} }

// PutLeased returns the operation that writes a key that vanishes with a lease.
func PutLeased(key string, value []byte, lease LeaseID) Op {
	return Op{Kind: OpPut, Key: key, Value: value, Lease: lease}
}

// Delete returns the operation that deletes a key, if it exists.
func Delete(key string) Op { return Op{Kind: OpDelete, Key: key} }

// DeletePrefix returns the operation that deletes all keys with a prefix.
func DeletePrefix(prefix string) Op { return Op{Kind: OpDeletePrefix, Key: prefix} }

// TxnResult is the outcome of a transaction.
type TxnResult struct {
	Succeeded bool
	// Rev is the revision after the transaction: the ModRev of what it wrote.
	Rev int64
	// Current is, when the transaction did not succeed, the state of each compared key in the order of the compares.
	Current []KeyValue
}

// Event is one change of a key.
type Event struct {
	// KV has the new state; for a deletion the key and the revision of the deletion only.
	KV      KeyValue
	Deleted bool
}

// WatchBatch is what changed at one or more revisions, in order. The changes of a revision are never split over batches.
type WatchBatch struct {
	Events []Event
	// Rev is the revision of the last event.
	Rev int64
	// Err ends the watch: [ErrCompacted] or [ErrUnavailable].
	Err error
}
