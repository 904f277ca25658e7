package queue

import (
	"sync/atomic"
	"time"

	"github.com/varvemq/varve/broker/wal"
)

// pending is a record between its append and its last stage: what the WAL tells of it. It is pooled; the operation
// itself is touched only until its Done.
type pending struct {
	log     *Log
	op      *Op // nil once Done was called
	queues  []*Queue
	ranges  []visibleRange
	at      wal.Appended
	notify  wal.Stage
	ack     wal.Stage // when Done is called
	publish wal.Stage // when the ranges become visible; never before ack
	object  bool      // both wait for a segment after publish; an ack at Written does not
	parked  time.Time // since when they do
	holders atomic.Int32
}

// visibleRange is what a record makes visible of a queue.
type visibleRange struct {
	queue  *Queue
	end    uint64 // 0: no messages
	cursor uint64 // + 1, 0: none
}

// fill takes over what is known before offsets are assigned.
func (p *pending) fill(op *Op) {
	p.queues = append(p.queues[:0], op.locked...)
	p.ranges = p.ranges[:0]
}

// arm takes over the rest, just before the record is handed to the WAL.
func (p *pending) arm(op *Op, sync, object bool) {
	p.op = op
	for i := range op.Batches {
		b := &op.Batches[i]
		p.ranges = append(p.ranges, visibleRange{queue: b.Queue, end: b.BaseOffset + uint64(b.Count)})
	}
	for i := range op.skips {
		s := &op.skips[i]
		p.ranges = append(p.ranges, visibleRange{queue: s.queue, end: s.base + uint64(s.count)})
	}
	for _, c := range op.Cursors {
		p.ranges = append(p.ranges, visibleRange{queue: c.Queue, cursor: c.Offset + 1})
	}
	p.ack, p.publish = wal.Written, wal.Written
	if sync {
		p.publish = wal.Durable
		if !op.AckWritten {
			p.ack = wal.Durable
		}
	}
	p.object = object
	p.notify = p.ack | p.publish
	p.holders.Store(2) // the appender and the WAL
}

// armed is called by the appender when the queues are unlocked.
func (p *pending) armed() {
	if p.holders.Add(-1) == 0 {
		p.release()
	}
}

// release gives p back to the pool.
func (p *pending) release() {
	clear(p.queues)
	clear(p.ranges)
	p.op, p.queues, p.ranges = nil, p.queues[:0], p.ranges[:0]
	p.log.pending.Put(p)
}

// Reached implements wal.Waiter.
func (p *pending) Reached(stage wal.Stage, err error) {
	if p.holders.Load() == 2 {
		// The appender may not have indexed the record yet. It holds the lock of the record's queues until it has.
		q := p.queues[0]
		q.mu.Lock()
		q.mu.Unlock() //nolint:staticcheck // SA2001: waiting is the purpose
	}
	if err != nil || !p.object || stage != p.publish {
		p.reached(stage, err)
		return
	}
	if op := p.op; op != nil && op.AckDurable {
		p.op = nil
		op.Done(op, nil)
	}
	p.log.sealed.park(p)
}

// reached does what is due at a stage.
func (p *pending) reached(stage wal.Stage, err error) {
	last := err != nil || stage == p.publish
	if err == nil && stage == p.publish {
		for i := range p.ranges {
			p.publishRange(&p.ranges[i])
		}
	}
	if op := p.op; op != nil && (err != nil || stage == p.ack) {
		p.op = nil
		op.Done(op, err)
	}
	if last && p.holders.Add(-1) == 0 {
		p.release()
	}
}

// publishRange makes a range visible and wakes who waits for it.
func (p *pending) publishRange(r *visibleRange) {
	q := r.queue
	raise(&q.cursor, r.cursor) // a record that waited for a segment may come after a later one
	if r.end != 0 && !q.dropped.Load() {
		q.visible.Store(r.end)
	}
	if r.end == 0 {
		return
	}
	q.published.Store(uint64(p.at.Pos) + 1)
	if q.waiting.Load() != 0 {
		p.log.wake(q, r.end, p.at)
	}
}
