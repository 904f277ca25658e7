package seal

import (
	"context"

	"github.com/varvemq/varve/metadata"
	"github.com/varvemq/varve/tiering/segment"
)

// Record is a record of the log, as far as a segment is concerned.
type Record struct {
	LSN      uint64
	Pos, End uint64 // its place in the WAL: [Pos, End)
	Epoch    uint32 // under which it was written
	Batches  []Batch
	Holes    []Hole
	Cursors  []metadata.QueueCursor
}

// Batch is a run of messages of a queue.
type Batch struct {
	Ordinal  uint32
	Base     uint64 // offset of the first
	Count    uint32
	Messages []byte // concatenated, in RocketMQ's stored layout; immutable, and may be kept
}

// Hole is a run of offsets that are lost.
type Hole struct {
	Ordinal     uint32
	Base, Count uint64
}

// Source is the WAL as the sealer sees it.
type Source interface {
	// WALUUID names the WAL that all positions belong to.
	WALUUID() string
	// Durable returns a position, the end of a record, below which everything is durable.
	Durable() uint64
	// Scan calls fn with the shard's data records that are within the positions [from, to), in order, until fn returns false or an error. The slices of a
	// record are reused, the bytes of messages are not.
	Scan(ctx context.Context, from, to uint64, fn func(*Record) (more bool, err error)) error
	// Sealed says that all records below lsn are in committed segments, and that the log may be trimmed below pos. It is called again with the same
	// arguments after an error.
	Sealed(lsn, pos uint64) error
}

// QueueState says what is known of a queue.
type QueueState uint8

// The states of queues.
const (
	// QueueLive is a queue of a topic.
	QueueLive QueueState = iota + 1
	// QueueDeleted is a queue of a deleted topic: a tombstone says so. Its messages are left out.
	QueueDeleted
	// QueueUnknown is a queue that metadata does not know. That is no proof of anything: its messages are kept.
	QueueUnknown
)

// Topics says whose a queue is. It answers from memory.
type Topics interface {
	Queue(ordinal uint32) (segment.Queue, segment.Compression, QueueState)
}
