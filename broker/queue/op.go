package queue

import (
	"github.com/varvemq/varve/broker/wal"
)

// Batch is messages for one queue: stored messages, concatenated, in RocketMQ's layout. Offsets, physical offsets and
// store times are patched in place by Append, everything else is the caller's. A queue may stand in several batches of
// an operation. The results are valid when Append has returned nil.
type Batch struct {
	Queue    *Queue
	Messages []byte // the caller's; not to be touched between Append and Done
	Count    int    // messages in it

	BaseOffset     uint64 // result: offset of the first message
	PhysicalOffset int64  // result: physical offset of the first message; the others follow by ones
	StoreTime      int64  // result: of all messages, unix ms
}

// Cursor is a part of an operation: what reads Queue internally has consumed up to Offset. It is atomic with the
// batches of its operation and survives a restart, see [Queue.Cursor]. It never falls.
type Cursor struct {
	Queue  *Queue
	Offset uint64
}

// Op is one WAL record: messages for any number of queues, and cursors. It is the caller's, who may pool it: after Done
// was called, or Append has returned an error, it can be changed and used again. The zero value with Batches and Done
// set is ready.
type Op struct {
	Batches []Batch
	Cursors []Cursor

	Sync       bool // acknowledged and visible when durable; else when written
	AckWritten bool // acknowledged when written, visible when durable (WAIT=false)
	Object     bool // acknowledged, unless AckWritten, and visible when it is in a committed segment (class object)
	AckDurable bool // acknowledged when durable, whatever Object says
	Internal   bool // may use the last 5 % of the WAL

	// Done is called once if Append has returned nil, from the WAL's delivery goroutine: it must not block, and must not
	// wait for another operation. With a nil error the messages are visible (AckWritten: safe from kill -9). With an
	// error it is unknown whether they will be found after a restart.
	Done func(op *Op, err error)

	parts  []wal.Part
	keys   []uint32 // upper halves of key hashes
	locked []*Queue // distinct, by ordinal
	skips  []skip   // declared holes
	beyond bool     // the WAL's limit does not bound it
}

// skip is a part of an operation: the queue continues count offsets later.
type skip struct {
	queue *Queue
	base  uint64
	count uint32
	bytes [8]byte // the part's payload
}
