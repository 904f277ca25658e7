package queue

import (
	"context"

	"github.com/varvemq/varve/broker/wal"
)

// Log is all queues of one shard over one WAL.
type Log struct{}

// Queue is one queue of a Log.
type Queue struct{}

// Open recovers the log in cfg.WAL.Dir, or makes one.
func Open(ctx context.Context, cfg Config) (*Log, error) { return nil, nil }

// Close ends the log and its WAL. Waiters are woken, pending operations are written.
func (l *Log) Close() error { return nil }

// WAL returns the log's WAL, for its stats.
func (l *Log) WAL() *wal.WAL { return nil }

// Queue returns the queue with an ordinal, made at its first use. It is never nil; one that was dropped stays so.
func (l *Log) Queue(ordinal uint32) *Queue { return nil }

// Lookup returns a queue that exists, or nil.
func (l *Log) Lookup(ordinal uint32) *Queue { return nil }

// Append puts op into the WAL.
func (l *Log) Append(ctx context.Context, op *Op) error { return nil }

// AppendWait is Append, and waits until Done would be called.
func (l *Log) AppendWait(ctx context.Context, op *Op) error { return nil }

// Read appends messages from req.Offset on to dst.
func (l *Log) Read(ctx context.Context, q *Queue, req ReadRequest, dst []byte) ([]byte, ReadResult, error) {
	return nil, ReadResult{}, nil
}

// OffsetByTime searches by store time.
func (l *Log) OffsetByTime(ctx context.Context, q *Queue, ms int64, upper bool) (uint64, error) {
	return 0, nil
}

// EarliestStoreTime returns the store time of the first message kept, -1 if there is none.
func (l *Log) EarliestStoreTime(ctx context.Context, q *Queue) (int64, error) { return 0, nil }

// StoreTime returns the store time of a message.
func (l *Log) StoreTime(ctx context.Context, q *Queue, offset uint64) (int64, error) { return 0, nil }

// ByPhysical appends the message with a physical offset to dst; ErrNotFound.
func (l *Log) ByPhysical(ctx context.Context, phys int64, dst []byte) ([]byte, error) {
	return nil, nil
}

// ByKey appends messages with a key, newest first, to dst and returns their number.
func (l *Log) ByKey(ctx context.Context, kq KeyQuery, dst []byte) ([]byte, int, error) {
	return nil, 0, nil
}

// Wait registers w.
func (l *Log) Wait(q *Queue, w *Waiter) bool { return false }

// Cancel takes a waiter back.
func (l *Log) Cancel(w *Waiter) bool { return false }

// Drop forgets queues.
func (l *Log) Drop(ordinals []uint32) {}

// TrimTo drops whole closed WAL files below pos.
func (l *Log) TrimTo(ctx context.Context, pos wal.Position) error { return nil }

// Ordinal returns the queue's ordinal.
func (q *Queue) Ordinal() uint32 { return 0 }

// Min returns the first offset kept.
func (q *Queue) Min() uint64 { return 0 }

// Max returns the visible end: one above the last offset that can be read.
func (q *Queue) Max() uint64 { return 0 }

// Cursor returns the last cursor of the queue.
func (q *Queue) Cursor() (uint64, bool) { return 0, false }

// LastStoreTime returns the store time of the last message.
func (q *Queue) LastStoreTime() int64 { return 0 }
