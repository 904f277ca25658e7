package queue

import (
	"bytes"
	"slices"

	"github.com/varvemq/varve/broker/wal"
	"github.com/varvemq/varve/internal/message"
)

// Wait registers w at the queue. It returns false if there is something at w.Offset or above already, or the queue or
// the log is gone: read again. After true, Wake is called exactly once unless Cancel returns true; that may happen
// before Wait returns. A waiter with a filter sleeps through what does not match, and then wakes at its old Offset.
func (l *Log) Wait(q *Queue, w *Waiter) bool {
	w.queue, w.prev, w.next = q, nil, nil
	q.waitMu.Lock()
	q.waiting.Add(1)
	// Whoever publishes stores the end first and then looks for waiters: one of the two sees the other.
	if q.visible.Load() > w.Offset || q.dropped.Load() || l.isClosed() {
		q.waiting.Add(-1)
		q.waitMu.Unlock()
		return false
	}
	w.state.Store(waiterWaiting)
	q.linkLocked(w)
	if !w.Deadline.IsZero() {
		l.timers.add(w)
	}
	q.waitMu.Unlock()
	l.stats.waiters.Add(1)
	return true
}

// Cancel takes w back and reports whether it did: then Wake is not called. False: Wake was called, or is about to be. It
// is for a waiter that Wait has returned true for.
func (l *Log) Cancel(w *Waiter) bool {
	if !w.state.CompareAndSwap(waiterWaiting, waiterTaken) {
		return false
	}
	q := w.queue
	q.waitMu.Lock()
	q.unlinkLocked(w)
	q.waitMu.Unlock()
	l.release(w)
	return true
}

// release ends the life of a waiter that is taken and unlinked.
func (l *Log) release(w *Waiter) {
	l.timers.remove(w)
	l.stats.waiters.Add(-1)
	w.queue = nil
	w.state.Store(waiterIdle)
}

// fire releases waiters in a list and calls their Wake.
func (l *Log) fire(list *Waiter, reason WakeReason) {
	for w := list; w != nil; {
		next := w.next
		w.next = nil
		l.release(w)
		w.Wake(w, reason)
		w = next
	}
}

// expire wakes a waiter whose deadline has passed; the timers have taken it.
func (l *Log) expire(w *Waiter) {
	q := w.queue
	q.waitMu.Lock()
	q.unlinkLocked(w)
	q.waitMu.Unlock()
	l.fire(w, WakeDeadline)
}

func (q *Queue) linkLocked(w *Waiter) {
	w.prev = q.waitTail
	if q.waitTail != nil {
		q.waitTail.next = w
	} else {
		q.waitHead = w
	}
	q.waitTail = w
}

func (q *Queue) unlinkLocked(w *Waiter) {
	if w.prev != nil {
		w.prev.next = w.next
	} else {
		q.waitHead = w.next
	}
	if w.next != nil {
		w.next.prev = w.prev
	} else {
		q.waitTail = w.prev
	}
	w.next, w.prev = nil, nil
	q.waiting.Add(-1)
}

// takeLocked unlinks the waiters that want to be woken and returns them as a list, in order.
func (q *Queue) takeLocked(want func(*Waiter) bool) *Waiter {
	var head, tail *Waiter
	for w := q.waitHead; w != nil; {
		next := w.next
		if want(w) && w.state.CompareAndSwap(waiterWaiting, waiterTaken) {
			q.unlinkLocked(w)
			if tail == nil {
				head = w
			} else {
				tail.next = w
			}
			tail = w
		}
		w = next
	}
	return head
}

// wakeAll wakes every waiter of the queue.
func (q *Queue) wakeAll(reason WakeReason) {
	q.waitMu.Lock()
	list := q.takeLocked(func(*Waiter) bool { return true })
	q.waitMu.Unlock()
	q.log.fire(list, reason)
}

// wake wakes the waiters for which a record brings something; the record ends at offset end. Tags are looked at only if
// there is a waiter with a filter.
func (l *Log) wake(q *Queue, end uint64, at wal.Appended) {
	var tags tagSet
	q.waitMu.Lock()
	list := q.takeLocked(func(w *Waiter) bool {
		if end <= w.Offset {
			return false
		}
		if w.Filter == nil {
			return true
		}
		if !tags.done {
			tags.load(l, q, at)
		}
		return tags.match(w.Filter)
	})
	q.waitMu.Unlock()
	l.fire(list, WakeArrived)
}

// maxTags bounds the tags of a record that are told apart; with more of them every waiter wakes.
const maxTags = 64

// tagSet is the distinct tags of a queue's messages in a record.
type tagSet struct {
	done bool
	any  bool
	tags [][]byte // nil: no tag
}

// load reads the tags from the record, which is in the WAL's tail: no copy, no I/O.
func (t *tagSet) load(l *Log, q *Queue, at wal.Appended) {
	t.done = true
	rec, err := l.w().Record(at.Pos, at.Len, nil)
	if err != nil {
		t.any = true // whoever reads is told
		return
	}
	for i := range rec.Parts {
		p := &rec.Parts[i]
		if p.Kind != wal.PartBatch || p.Queue != q.ordinal {
			continue
		}
		for b := p.Payload; len(b) > 0 && !t.any; b = b[len(nextView(b)):] {
			tag, _ := nextView(b).Property(message.PropertyTags)
			t.add(tag)
		}
	}
}

func (t *tagSet) add(tag []byte) {
	for _, have := range t.tags {
		if bytes.Equal(have, tag) {
			return
		}
	}
	if len(t.tags) == maxTags {
		t.any = true
		return
	}
	t.tags = append(t.tags, tag)
}

func (t *tagSet) match(f Filter) bool {
	return t.any || slices.ContainsFunc(t.tags, f.MatchTag)
}
