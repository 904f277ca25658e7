package queue

import (
	"cmp"
	"context"
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/varvemq/varve/broker/wal"
	"github.com/varvemq/varve/internal/message"
)

// codecMessages is the codec of batches of RocketMQ's stored messages.
const codecMessages = 1

// Operations in the WAL; docs/format/queue-index.md.
const (
	opCursor = 1
	opHole   = 2
)

// Append reserves room in the WAL (bounded by ctx), assigns offsets and store times, patches the messages and appends
// the record. After nil, op.Done will be called, exactly once, and may have been already. After an error nothing has
// happened: wal.ErrFull and wal.ErrNoSpace are flow control.
//
// It must not be called from a Done or a Wake: it may have to wait for room that only their goroutine can make.
func (l *Log) Append(ctx context.Context, op *Op) error {
	if err := op.prepare(l); err != nil {
		return err
	}
	if op.Object && l.sealed.stalled() {
		return fmt.Errorf("queue: append: %w", ErrSealStalled)
	}
	size := wal.RecordSize(op.parts)
	if err := op.reserve(ctx, size); err != nil {
		return fmt.Errorf("queue: append: %w", err)
	}
	messages := op.count()
	p := l.pending.Get().(*pending)
	op.lock()
	err := l.appendLocked(op, p, size)
	for _, q := range p.queues {
		q.mu.Unlock()
	}
	if err != nil {
		p.release()
		return err
	}
	p.armed()
	l.stats.appended.Add(messages)
	l.stats.appendedBytes.Add(uint64(size))
	return nil
}

func (op *Op) reserve(ctx context.Context, size int) error {
	w := op.locked[0].log.w()
	if op.beyond {
		return w.ReserveBeyond(ctx, size)
	}
	return w.Reserve(ctx, size, op.Internal)
}

// AppendWait is Append, and waits for Done, whose error it returns; op.Done is not called. If ctx ends first its error is
// returned, the operation goes on and op must not be used again.
func (l *Log) AppendWait(ctx context.Context, op *Op) error {
	done := make(chan error, 1)
	op.Done = func(_ *Op, err error) { done <- err }
	if err := l.Append(ctx, op); err != nil {
		return err
	}
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return fmt.Errorf("queue: append, outcome unknown: %w", ctx.Err())
	}
}

// prepare checks the operation and computes what does not depend on offsets, before any lock is taken.
func (op *Op) prepare(l *Log) error {
	op.parts, op.keys, op.locked = op.parts[:0], op.keys[:0], op.locked[:0]
	if len(op.Batches)+len(op.Cursors)+len(op.skips) == 0 || op.Done == nil {
		return fmt.Errorf("no batch, no cursor or no Done: %w", ErrInvalidOp)
	}
	for i := range op.Batches {
		b := &op.Batches[i]
		if b.Queue == nil || b.Queue.log != l {
			return fmt.Errorf("batch %d: a queue of another log: %w", i, ErrInvalidOp)
		}
		if err := op.scan(b); err != nil {
			return fmt.Errorf("batch %d: %w", i, err)
		}
		op.parts = append(op.parts, wal.Part{
			Kind: wal.PartBatch, Codec: codecMessages, Queue: b.Queue.ordinal, Count: uint32(b.Count), Payload: b.Messages,
		})
		op.addLock(b.Queue)
	}
	for i := range op.Cursors {
		c := &op.Cursors[i]
		if c.Queue == nil || c.Queue.log != l {
			return fmt.Errorf("cursor %d: a queue of another log: %w", i, ErrInvalidOp)
		}
		op.parts = append(op.parts, wal.Part{Kind: wal.PartOperation, Codec: opCursor, Queue: c.Queue.ordinal, Base: c.Offset})
		op.addLock(c.Queue)
	}
	for i := range op.skips {
		s := &op.skips[i]
		binary.LittleEndian.PutUint64(s.bytes[:], uint64(s.count))
		op.parts = append(op.parts, wal.Part{Kind: wal.PartOperation, Codec: opHole, Queue: s.queue.ordinal, Payload: s.bytes[:]})
		op.addLock(s.queue)
	}
	return nil
}

// scan checks a batch and collects the hashes of its keys.
func (op *Op) scan(b *Batch) error {
	n, rest := 0, b.Messages
	for ; len(rest) > 0; n++ {
		v, tail, err := message.Next(rest)
		if err != nil {
			return fmt.Errorf("message %d: %w: %w", n, ErrInvalidOp, err)
		}
		rest = tail
		op.keys = appendKeys(op.keys, v)
	}
	if n == 0 || n != b.Count {
		return fmt.Errorf("%d messages, counted as %d: %w", n, b.Count, ErrInvalidOp)
	}
	return nil
}

// addLock keeps the queues to lock distinct and in the order of their ordinals.
func (op *Op) addLock(q *Queue) {
	i, ok := slices.BinarySearchFunc(op.locked, q, func(a, b *Queue) int { return cmp.Compare(a.ordinal, b.ordinal) })
	if !ok {
		op.locked = slices.Insert(op.locked, i, q)
	}
}

func (op *Op) lock() {
	for _, q := range op.locked {
		q.mu.Lock()
	}
}

func (op *Op) count() uint64 {
	n := 0
	for i := range op.Batches {
		n += op.Batches[i].Count
	}
	return uint64(n)
}

// appendLocked does everything between the locking of the queues and their unlocking. After wal.Append has returned op
// may be gone at any time, if it were not for p: nothing is delivered for p before the queues are unlocked.
func (l *Log) appendLocked(op *Op, p *pending, size int) error {
	p.fill(op)
	sync, object := op.Sync || op.AckWritten, op.Object
	for i := range op.Batches {
		// Behind a record that is not yet visible, nothing may be visible earlier than it.
		q := op.Batches[i].Queue
		published := q.published.Load()
		sync, object = sync || q.syncMark > published, object || q.sealMark > published
	}
	sync = sync || object
	if err := op.assignLocked(l.cfg.Clock().UnixMilli()); err != nil {
		l.w().Unreserve(size)
		return err
	}
	p.arm(op, sync, object)
	at, err := l.w().Append(l.cfg.Shard.ID, op.parts, p.notify, p)
	if err != nil {
		op.unassignLocked(len(op.Batches), len(op.skips))
		return fmt.Errorf("queue: append: %w", err)
	}
	p.at = at
	for i := range op.Batches {
		if q := op.Batches[i].Queue; sync {
			q.syncMark = uint64(at.Pos) + 1
			if object {
				q.sealMark = q.syncMark
			}
		}
	}
	for i := range op.skips {
		op.skips[i].queue.syncMark = uint64(at.Pos) + 1
	}
	op.indexLocked(l.fileFor(at.File, at.FileBase), at)
	return nil
}

// assignLocked gives offsets and store times, and patches the messages.
func (op *Op) assignLocked(now int64) error {
	for _, q := range op.locked {
		if q.dropped.Load() {
			return fmt.Errorf("queue %d: %w", q.ordinal, ErrDropped)
		}
	}
	for i := range op.Batches {
		b := &op.Batches[i]
		q := b.Queue
		if q.next+uint64(b.Count)-1 > message.MaxDelta {
			op.unassignLocked(i, 0)
			return fmt.Errorf("queue %d: %w", q.ordinal, ErrExhausted)
		}
		phys, err := message.PhysicalOffset(q.ordinal, q.next)
		if err != nil {
			op.unassignLocked(i, 0)
			return fmt.Errorf("queue %d: %w", q.ordinal, err)
		}
		b.BaseOffset, b.PhysicalOffset, b.StoreTime = q.next, phys, max(now, q.lastStore)
		patch(b)
		part := &op.parts[i]
		part.Base, part.MinStoreTime, part.MaxStoreTime = b.BaseOffset, b.StoreTime, b.StoreTime
		q.next += uint64(b.Count)
		q.lastStore = b.StoreTime
	}
	for i := range op.skips {
		s := &op.skips[i]
		if s.queue.next+uint64(s.count) > message.MaxDelta {
			op.unassignLocked(len(op.Batches), i)
			return fmt.Errorf("queue %d: %w", s.queue.ordinal, ErrExhausted)
		}
		s.base = s.queue.next
		s.queue.next += uint64(s.count)
		op.parts[len(op.Batches)+len(op.Cursors)+i].Base = s.base
	}
	return nil
}

// unassignLocked takes back the offsets of the first n batches and skips. Store times may stay ahead.
func (op *Op) unassignLocked(batches, skips int) {
	for i := skips - 1; i >= 0; i-- {
		op.skips[i].queue.next = op.skips[i].base
	}
	for i := batches - 1; i >= 0; i-- {
		op.Batches[i].Queue.next = op.Batches[i].BaseOffset
	}
}

// patch writes what the log assigns into the messages of a batch.
func patch(b *Batch) {
	off, phys := int64(b.BaseOffset), b.PhysicalOffset
	for m := b.Messages; len(m) > 0; {
		v := message.View(m[:binary.BigEndian.Uint32(m)])
		v.PatchQueueOffset(off)
		v.PatchPhysicalOffset(phys)
		v.PatchStoreTimestamp(b.StoreTime)
		m = m[len(v):]
		off++
		phys++
	}
}

// indexLocked puts the record into the index of its file.
func (op *Op) indexLocked(f *fileIndex, at wal.Appended) {
	e := entry{place: f.place(at.Pos), length: uint32(at.Len)}
	var lo, hi int64
	for i := range op.Batches {
		b := &op.Batches[i]
		e.count, e.maxStore = uint32(b.Count), b.StoreTime
		b.Queue.insertLocked(f, b.BaseOffset, e, b.StoreTime)
		if i == 0 {
			lo, hi = b.StoreTime, b.StoreTime
		}
		lo, hi = min(lo, b.StoreTime), max(hi, b.StoreTime)
	}
	for i := range op.skips {
		s := &op.skips[i]
		h := entry{count: s.count, maxStore: s.queue.lastStore, place: e.place, length: e.length | holeFlag}
		s.queue.insertLocked(f, s.base, h, s.queue.lastStore)
	}
	f.addRecord(e.place, e.length, op.keys, op.Cursors, lo, hi)
}
