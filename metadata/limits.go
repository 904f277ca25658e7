package metadata

import "time"

// The limits of the format, as stated in docs/format/metadata.md.
const (
	// FormatVersion is the version in every value.
	FormatVersion = 1
	// MaxTxnOps bounds the operations of a transaction.
	MaxTxnOps = 64
	// MaxTxnBytes bounds the values of a transaction (etcd refuses requests over 1.5 MiB).
	MaxTxnBytes = 1 << 20
	// MaxValueBytes bounds a value.
	MaxValueBytes = 256 << 10
	// MaxNameBytes bounds the name of a topic, group, shard, broker or cluster.
	MaxNameBytes = 255
	// MaxQueuesPerTopic bounds the queues of a topic.
	MaxQueuesPerTopic = 1 << 16
	// OrdinalBits is the width of a queue ordinal.
	OrdinalBits = 28
	// MaxOrdinal is the highest queue ordinal; 0 is never handed out.
	MaxOrdinal = 1<<OrdinalBits - 1
	// ChunkBits is the number of low bits of an ordinal that select a queue in a chunk of offsets.
	ChunkBits = 12
	// ChunkQueues is the number of queues of a chunk of offsets.
	ChunkQueues = 1 << ChunkBits
	// MaxTxnGroups bounds the groups whose offsets a transaction writes.
	MaxTxnGroups = 64
	// DefaultFlushInterval is the longest time a committed offset stays in memory alone while etcd answers.
	DefaultFlushInterval = time.Second
	// DefaultLeaseTTL is the life of a broker's lease after its last keep-alive.
	DefaultLeaseTTL = 30 * time.Second
	// LeaseMargin is the part of a lease's life, one in LeaseMargin, that its owner gives up for the difference of two clocks' rates.
	LeaseMargin = 10
)
