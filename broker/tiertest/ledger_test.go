package tiertest

import (
	"bytes"
	"encoding/binary"
	"sync"
	"time"

	"github.com/varvemq/varve/client"
)

type outcome uint8

const (
	pending outcome = iota
	acked
	unknown // it may have happened
	refused // it has not happened
)

// attempt is one message of one attempt to send. Its index in the ledger is its number.
type attempt struct {
	first   int // number of the first message of the same request
	queue   int // index in the ledger
	offset  int64
	at      int64 // where it was read, or -1
	times   int   // how often it was read, if it is delayed
	begun   time.Time
	delayed bool
	outcome outcome
}

// queueView is what is known of a queue.
type queueView struct {
	topic   string
	id      int
	kept    time.Duration // retention; 0: for ever
	numbers map[int64]int // offset → number
	stored  map[int64]time.Time
	end     int64 // behind the highest offset that was read
}

// ledger records what was sent and what was read, and compares the two: nothing that was acknowledged may be missing, nothing may be there twice, and what was
// read stays. It is safe for concurrent use.
type ledger struct {
	faults

	seed uint64

	mu       sync.Mutex // guards the rest
	attempts []attempt
	queues   []queueView
}

func newLedger(seed uint64) *ledger { return &ledger{seed: seed} }

// queue adds a queue, whose index is that of those before it and one more.
func (l *ledger) queue(topic string, id int, kept time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.queues = append(l.queues, queueView{topic: topic, id: id, kept: kept, numbers: map[int64]int{}, stored: map[int64]time.Time{}})
}

// begin notes a request with count messages and returns their bodies and the number of the first.
func (l *ledger) begin(queue, count int, delayed bool) (first int, bodies [][]byte) {
	l.mu.Lock()
	first = len(l.attempts)
	for range count {
		l.attempts = append(l.attempts, attempt{first: first, queue: queue, offset: -1, at: -1, begun: time.Now(), delayed: delayed})
	}
	l.mu.Unlock()
	for i := range count {
		bodies = append(bodies, l.body(first+i))
	}
	return first, bodies
}

func (l *ledger) body(n int) []byte {
	mean := 250
	if n%64 == 0 {
		mean = 10_000
	}
	return bodyOf(l.seed, uint64(n), mean)
}

// end notes the outcome of a request: the offsets of its messages, or the error.
func (l *ledger) end(first int, results []client.SendResult, err error) outcome {
	out := acked
	switch {
	case client.OutcomeUnknown(err):
		out = unknown
	case err != nil:
		out = refused
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := first; i < len(l.attempts) && l.attempts[i].first == first; i++ {
		a := &l.attempts[i]
		a.outcome = out
		switch {
		case out == refused && (a.at >= 0 || a.times > 0):
			l.add("message %d was refused (%v) and yet it is there", i, err)
		case out != acked || a.delayed: // a delayed one's offset is that of the delays
		case results[i-first].Status != client.SendOK:
			l.add("message %d was answered with status %d", i, results[i-first].Status)
		default:
			if a.offset = results[i-first].Offset; a.at >= 0 && a.at != a.offset {
				l.add("message %d was read at offset %d and acknowledged at %d", i, a.at, a.offset)
			}
		}
	}
	return out
}

// observe takes a message that was read from a queue, whose next offset was due, and returns the one after it.
func (l *ledger) observe(queue int, due int64, m *client.MessageExt) int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	v := &l.queues[queue]
	if m.Offset != due && (v.kept == 0 || m.Offset < due) {
		l.add("queue %d of %s: offset %d where %d is due", v.id, v.topic, m.Offset, due)
	}
	next := m.Offset + 1
	v.end = max(v.end, next)
	n := l.numberLocked(m.Body)
	if n < 0 {
		l.add("queue %d of %s, offset %d: a body that nobody sent, %d bytes", v.id, v.topic, m.Offset, len(m.Body))
		return next
	}
	a := &l.attempts[n]
	before, seen := v.numbers[m.Offset]
	switch {
	case a.queue != queue:
		l.add("queue %d of %s, offset %d: message %d was sent elsewhere", v.id, v.topic, m.Offset, n)
	case a.outcome == refused:
		l.add("queue %d of %s, offset %d: message %d was refused and yet it is there", v.id, v.topic, m.Offset, n)
	case a.outcome == acked && !a.delayed && a.offset != m.Offset:
		l.add("queue %d of %s, offset %d: message %d was acknowledged at %d", v.id, v.topic, m.Offset, n, a.offset)
	case a.at >= 0 && a.at != m.Offset:
		l.add("queue %d of %s, offset %d: message %d is there twice, also at %d", v.id, v.topic, m.Offset, n, a.at)
	case seen && before != n:
		l.add("queue %d of %s, offset %d: first message %d was here, now message %d", v.id, v.topic, m.Offset, before, n)
	case seen && !v.stored[m.Offset].Equal(m.StoreTime):
		l.add("queue %d of %s, offset %d: the store time changed from %v to %v", v.id, v.topic, m.Offset, v.stored[m.Offset], m.StoreTime)
	}
	a.at = m.Offset
	v.numbers[m.Offset], v.stored[m.Offset] = n, m.StoreTime
	return next
}

// numberLocked returns the number of the message with the body, or -1.
func (l *ledger) numberLocked(body []byte) int {
	if len(body) < 8 {
		return -1
	}
	n := int(binary.BigEndian.Uint64(body))
	if n < 0 || n >= len(l.attempts) || !bytes.Equal(body, l.body(n)) {
		return -1
	}
	return n
}

// ended notes the bounds of a queue that has been read to its end.
func (l *ledger) ended(queue int, first, next, end int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	v := &l.queues[queue]
	if next < end && v.kept == 0 || v.end > end {
		l.add("queue %d of %s: ends at %d, was read to %d, and before to %d", v.id, v.topic, end, next, v.end)
	}
	if v.kept == 0 && first != 0 {
		l.add("queue %d of %s: begins at %d", v.id, v.topic, first)
	}
}

// check compares all attempts from a number on with what was read; firsts are the first offsets of the queues.
func (l *ledger) check(from int, firsts []int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for n := from; n < len(l.attempts); n++ {
		a := &l.attempts[n]
		v := &l.queues[a.queue]
		switch {
		case a.outcome == pending:
			l.add("message %d: the send never returned", n)
		case a.outcome != acked || a.delayed || a.at == a.offset:
		case v.kept > 0 && a.offset < firsts[a.queue]:
			if age := time.Since(a.begun); age < v.kept {
				l.add("message %d at offset %d of queue %d of %s is deleted %v after it was sent", n, a.offset, v.id, v.topic, age)
			}
		default:
			l.add("message %d was acknowledged at offset %d of queue %d of %s, and is at %d", n, a.offset, v.id, v.topic, a.at)
		}
		if f := &l.attempts[a.first]; v.kept == 0 && ((a.at >= 0) != (f.at >= 0) || a.at >= 0 && a.at-f.at != int64(n-a.first)) {
			l.add("message %d is at offset %d, the first of its batch (%d) at %d: torn", n, a.at, a.first, f.at)
		}
	}
}

// missingDelayed returns how many acknowledged delayed messages have not arrived, and one of them.
func (l *ledger) missingDelayed() (count, example int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for n, a := range l.attempts {
		if a.delayed && a.outcome == acked && a.at < 0 {
			count, example = count+1, n
		}
	}
	return count, example
}

// sent returns how many messages have been given numbers, and how many of them were acknowledged.
func (l *ledger) sent() (all, ok int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range l.attempts {
		if l.attempts[i].outcome == acked {
			ok++
		}
	}
	return len(l.attempts), ok
}
