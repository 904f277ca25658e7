package crashtest

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
	"sort"
	"sync"

	"github.com/varvemq/varve/client"
)

// rules are what a mode of operation may lose, and what not.
type rules struct {
	noWaitMayVanish bool // messages with WAIT=false may be lost, as long as nobody saw them
	tailMayVanish   bool // any message may be lost; its offset then becomes a hole for ever
}

type kind uint8

const (
	waiting kind = iota // acknowledged when it is as durable as the topic asks
	noWait              // acknowledged before
	delayed             // to the topic of delayed messages
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
	first   int   // the number of the first message of the same request
	queue   int   // that it was sent to
	offset  int64 // that was acknowledged
	at      int64 // where it was read, or -1
	times   int   // how often it was read, if it is delayed
	kind    kind
	outcome outcome
}

// place is what is known of an offset.
type place struct {
	number int // of the message that was read here, or none
	sweep  int // the last sweep that read it
	stored int64
}

// none is the number of a place where nothing was read.
const none = -1

// view is what is known of a queue.
type view struct {
	places map[int64]place // by offset
	end    int64           // behind the highest offset that was read
	holes  []span          // in order
}

// span is the offsets from a to b-1.
type span struct{ from, to int64 }

// at returns what is known of an offset.
func (v *view) at(offset int64) place {
	if p, ok := v.places[offset]; ok {
		return p
	}
	return place{number: none}
}

// inHole reports whether an offset is in a hole.
func (v *view) inHole(offset int64) bool {
	i := sort.Search(len(v.holes), func(i int) bool { return v.holes[i].to > offset })
	return i < len(v.holes) && v.holes[i].from <= offset
}

// cursor is where a reader is in a queue.
type cursor struct {
	next   int64 // the offset that is due
	stored int64 // store time of the message before
}

// ledger records what was sent and what was read, and compares the two. It is safe for concurrent use.
type ledger struct {
	seed  uint64
	rules rules

	mu       sync.Mutex // guards the rest
	attempts []attempt
	queues   []view
	sweep    int // number of the running sweep
	faults   []string
	vanished int // messages that the rules allowed to be lost
}

func newLedger(seed uint64, queues int, r rules) *ledger {
	l := &ledger{seed: seed, rules: r, queues: make([]view, queues)}
	for i := range l.queues {
		l.queues[i].places = map[int64]place{}
	}
	return l
}

func (l *ledger) faultLocked(format string, args ...any) {
	l.faults = append(l.faults, fmt.Sprintf(format, args...))
}

// begin notes a request with count messages and returns their bodies and the number of the first.
func (l *ledger) begin(k kind, queue, count int) (first int, bodies [][]byte) {
	l.mu.Lock()
	first = len(l.attempts)
	for range count {
		l.attempts = append(l.attempts, attempt{first: first, queue: queue, offset: -1, at: -1, kind: k})
	}
	l.mu.Unlock()
	for i := range count {
		bodies = append(bodies, l.body(first+i))
	}
	return first, bodies
}

// body is the body of message number n: unique, and of its own length.
func (l *ledger) body(n int) []byte {
	x := l.seed ^ uint64(n)*0x9e3779b97f4a7c15
	next := func() uint64 { // splitmix64
		x += 0x9e3779b97f4a7c15
		z := (x ^ x>>30) * 0xbf58476d1ce4e5b9
		z = (z ^ z>>27) * 0x94d049bb133111eb
		return z ^ z>>31
	}
	size := 16 + int(next()%500)
	if next()%128 == 0 {
		size += 20_000
	}
	b := binary.BigEndian.AppendUint64(make([]byte, 0, size+8), uint64(n))
	for len(b) < size {
		b = binary.BigEndian.AppendUint64(b, next())
	}
	return b
}

// end notes the outcome of a request: the offsets of its messages, or the error.
func (l *ledger) end(first int, results []client.SendResult, err error) outcome {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := acked
	switch {
	case client.OutcomeUnknown(err):
		out = unknown
	case err != nil:
		out = refused
	}
	for i := first; i < len(l.attempts) && l.attempts[i].first == first; i++ {
		a := &l.attempts[i]
		a.outcome = out
		switch {
		case out == refused && (a.at >= 0 || a.times > 0):
			l.faultLocked("message %d was refused (%v) and yet it is there, at offset %d of queue %d", i, err, a.at, a.queue)
		case out != acked:
		case results[i-first].Status != client.SendOK:
			l.faultLocked("message %d was answered with status %d", i, results[i-first].Status)
		case a.kind == delayed: // its offset is one of the delay topic
		default:
			a.offset = results[i-first].Offset
			if results[i-first].Queue.ID != a.queue || a.at >= 0 && a.at != a.offset {
				l.faultLocked("message %d was read at offset %d of queue %d and acknowledged at offset %d of queue %d",
					i, a.at, a.queue, a.offset, results[i-first].Queue.ID)
			}
		}
	}
	return out
}

// beginSweep begins to read everything from the offsets on; readers of before must have ended.
func (l *ledger) beginSweep() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sweep++
}

// numberOf returns the number of the message with the body, or -1.
func (l *ledger) numberOf(body []byte) int {
	if len(body) < 8 {
		return -1
	}
	n := int(binary.BigEndian.Uint64(body))
	if n < 0 || n >= len(l.attempts) || !bytes.Equal(body, l.body(n)) {
		return -1
	}
	return n
}

// observe takes a message that was read from a queue by the reader at c.
func (l *ledger) observe(queue int, c *cursor, m *client.MessageExt) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if m.Queue.ID != queue || m.Offset < c.next {
		l.faultLocked("queue %d: offset %d of queue %d was read where %d was due", queue, m.Offset, m.Queue.ID, c.next)
		return
	}
	l.skipLocked(queue, c.next, m.Offset)
	v, n, stored := &l.queues[queue], l.numberOf(m.Body), m.StoreTime.UnixMilli()
	before := c.stored
	*c = cursor{next: m.Offset + 1, stored: stored}
	v.end = max(v.end, c.next)
	if n < 0 {
		l.faultLocked("queue %d, offset %d: a body that nobody sent, %d bytes", queue, m.Offset, len(m.Body))
		return
	}
	p, a := v.at(m.Offset), &l.attempts[n]
	switch {
	case a.queue != queue || a.kind == delayed:
		l.faultLocked("queue %d, offset %d: message %d was sent elsewhere", queue, m.Offset, n)
	case a.outcome == refused:
		l.faultLocked("queue %d, offset %d: message %d was refused and yet it is there", queue, m.Offset, n)
	case a.outcome == acked && a.offset != m.Offset:
		l.faultLocked("queue %d, offset %d: message %d was acknowledged at %d", queue, m.Offset, n, a.offset)
	case a.at >= 0 && a.at != m.Offset:
		l.faultLocked("queue %d, offset %d: message %d is there twice, also at %d", queue, m.Offset, n, a.at)
	case v.inHole(m.Offset):
		l.faultLocked("queue %d, offset %d: message %d is in a hole", queue, m.Offset, n)
	case p.number != none && p.number != n:
		l.faultLocked("queue %d, offset %d: first message %d was here, now message %d", queue, m.Offset, p.number, n)
	case p.number == n && p.stored != stored:
		l.faultLocked("queue %d, offset %d: the store time changed from %d to %d", queue, m.Offset, p.stored, stored)
	case stored < before:
		l.faultLocked("queue %d, offset %d: stored at %d, the one before at %d", queue, m.Offset, stored, before)
	}
	a.at = m.Offset
	v.places[m.Offset] = place{number: n, sweep: l.sweep, stored: stored}
}

// skipLocked takes note that reading went from one offset to a higher one.
func (l *ledger) skipLocked(queue int, from, to int64) {
	if from == to {
		return
	}
	if !l.rules.tailMayVanish {
		l.faultLocked("queue %d: offsets %d to %d are missing", queue, from, to-1)
		return
	}
	v := &l.queues[queue]
	if slices.Contains(v.holes, span{from, to}) {
		return
	}
	if len(v.holes) > 0 && v.holes[len(v.holes)-1].to > from {
		l.faultLocked("queue %d: a hole from %d to %d, and one to %d before", queue, from, to-1, v.holes[len(v.holes)-1].to)
		return
	}
	v.holes = append(v.holes, span{from, to})
	for o := from; o < min(to, v.end); o++ {
		if p, ok := v.places[o]; ok { // it was seen, and the mode allows that it is lost
			l.attempts[p.number].at = -1
			delete(v.places, o)
		}
	}
}

// endQueue ends a sweep of a queue at its end.
func (l *ledger) endQueue(queue int, c *cursor, end int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if c.next < end {
		l.skipLocked(queue, c.next, end)
	}
	c.next = end
	if v := &l.queues[queue]; v.end > end {
		l.faultLocked("queue %d: it ends at %d, but offset %d was read before", queue, end, v.end-1)
	}
}

// check compares all attempts from a number on with what the sweep has read.
func (l *ledger) check(from int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if from == 0 {
		l.vanished = 0
	}
	for n := from; n < len(l.attempts); n++ {
		a := &l.attempts[n]
		if a.kind == delayed {
			continue
		}
		switch a.outcome {
		case pending:
			l.faultLocked("message %d: the send never returned", n)
		case acked:
			l.checkAckedLocked(n, a)
		case unknown, refused:
		}
		if f := &l.attempts[a.first]; (a.at >= 0) != (f.at >= 0) || a.at >= 0 && a.at-f.at != int64(n-a.first) {
			l.faultLocked("message %d is at offset %d, the first of its batch (%d) at %d: torn", n, a.at, a.first, f.at)
		}
	}
}

func (l *ledger) checkAckedLocked(n int, a *attempt) {
	v := &l.queues[a.queue]
	p := v.at(a.offset)
	switch {
	case p.number == n && p.sweep == l.sweep:
	case l.rules.tailMayVanish && v.inHole(a.offset), l.rules.noWaitMayVanish && a.kind == noWait && a.at < 0:
		l.vanished++
	default:
		l.faultLocked("message %d was acknowledged at offset %d of queue %d; there is message %d, read by sweep %d of %d", n, a.offset, a.queue, p.number, p.sweep, l.sweep)
	}
}

// observeDelayed takes a message read from the topic of delayed messages.
func (l *ledger) observeDelayed(m *client.MessageExt) {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := l.numberOf(m.Body)
	if n < 0 || l.attempts[n].kind != delayed {
		l.faultLocked("delayed topic, offset %d: a body that nobody sent", m.Offset)
		return
	}
	a := &l.attempts[n]
	if a.times++; a.times > 1 {
		l.faultLocked("delayed message %d arrived %d times", n, a.times)
	}
	if a.outcome == refused {
		l.faultLocked("delayed message %d was refused and yet it arrived", n)
	}
	if wait := m.StoreTime.Sub(m.BornTime).Milliseconds(); wait < delayMillis-50 { // born by the client's clock, before it was stored
		l.faultLocked("delayed message %d arrived %d ms after it was sent", n, wait)
	}
}

// missingDelayed returns how many acknowledged delayed messages have not arrived, and one of them.
func (l *ledger) missingDelayed() (count, example int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for n, a := range l.attempts {
		if a.kind == delayed && a.outcome == acked && a.times == 0 {
			count, example = count+1, n
		}
	}
	return count, example
}

// tally is what a ledger has in it.
type tally struct {
	requests, acked, unknown, unknownStored, refused, read, vanished, delayed, holes int
}

func (l *ledger) tally() tally {
	l.mu.Lock()
	defer l.mu.Unlock()
	t := tally{vanished: l.vanished}
	for n, a := range l.attempts {
		if a.first == n {
			t.requests++
		}
		switch {
		case a.outcome == acked && a.kind == delayed:
			t.delayed++
		case a.outcome == acked:
			t.acked++
		case a.outcome == unknown:
			t.unknown++
			if a.at >= 0 || a.times > 0 {
				t.unknownStored++
			}
		case a.outcome == refused:
			t.refused++
		}
	}
	for i := range l.queues {
		t.holes += len(l.queues[i].holes)
		for _, p := range l.queues[i].places {
			if p.sweep == l.sweep {
				t.read++
			}
		}
	}
	return t
}

// sent returns how many messages have been given numbers.
func (l *ledger) sent() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.attempts)
}

// found returns the faults.
func (l *ledger) found() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.faults
}
