package queue

import (
	"sort"
	"sync"
	"sync/atomic"

	"github.com/varvemq/varve/broker/wal"
)

// Queue is one queue of a Log. Get it from [Log.Queue]; all its methods may be called from any goroutine.
type Queue struct {
	log     *Log
	ordinal uint32
	dropped atomic.Bool

	mu        sync.Mutex  // the append lock; guards the fields up to live
	next      uint64      // offset of the next message appended
	lastStore int64       // store time of the last message appended
	syncMark  uint64      // position + 1 of the last record that becomes visible when durable
	sealMark  uint64      // position + 1 of the last record that becomes visible when it is in a segment
	sealed    queueState  // at the end of the newest file with sections
	closed    []closedRun // files with sections, oldest first; replaced, not changed, when runs are removed
	live      []liveRun   // files without, oldest first, behind closed

	first     atomic.Uint64 // first offset kept, wherever; moved by retention, and without a tier with min
	min       atomic.Uint64 // first offset kept in the log
	visible   atomic.Uint64 // end of what may be read; moved by the delivery goroutine only
	published atomic.Uint64 // position + 1 of the last published record; moved by the delivery goroutine only
	cursor    atomic.Uint64 // last published cursor + 1

	waiting  atomic.Int32 // waiters in the list
	waitMu   sync.Mutex   // guards the list
	waitHead *Waiter
	waitTail *Waiter
}

// queueState is what must outlive all records of a queue.
type queueState struct {
	next      uint64
	lastStore int64
	cursor    uint64 // + 1, 0: none
}

// closedRun is a queue's share of a closed file.
type closedRun struct {
	seq   uint32 // of the file
	row   uint32 // in its directory
	first uint64 // offset
}

// liveRun is a queue's share of a file that has no sections yet. Its entries are dense.
type liveRun struct {
	file       *fileIndex
	first, end uint64
	minStore   int64
	entries    []entry
}

// entry is one batch of a queue in one record, as it stands in section 2.
type entry struct {
	delta    uint32 // first offset − the run's first offset
	count    uint32
	place    uint32
	length   uint32 // of the record; with holeFlag a declared hole
	maxStore int64
}

const holeFlag = 1 << 31

// Ordinal returns the queue's ordinal.
func (q *Queue) Ordinal() uint32 { return q.ordinal }

// Min returns the first offset kept, in the log or in segments.
func (q *Queue) Min() uint64 { return q.first.Load() }

// Max returns the visible end: one above the last offset that can be read.
func (q *Queue) Max() uint64 {
	_, hi := q.bounds()
	return hi
}

// Cursor returns the last visible cursor, and whether there is one. After a trim it may be below Min: go on at the greater.
func (q *Queue) Cursor() (uint64, bool) {
	c := q.cursor.Load()
	return max(c, 1) - 1, c > 0
}

// LastStoreTime returns the store time of the last message appended, unix ms; 0 if there was none.
func (q *Queue) LastStoreTime() int64 {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.lastStore
}

// Dropped reports whether the queue was dropped.
func (q *Queue) Dropped() bool { return q.dropped.Load() }

// bounds returns the offsets that can be read.
func (q *Queue) bounds() (lo, hi uint64) {
	hi = q.visible.Load()
	lo = q.first.Load()
	return lo, max(lo, hi)
}

// cold reports whether an offset within the bounds is no longer in the log.
func (q *Queue) cold(off uint64) bool { return off < q.min.Load() }

// raise moves a number that never falls.
func raise(n *atomic.Uint64, to uint64) {
	for {
		have := n.Load()
		if to <= have || n.CompareAndSwap(have, to) {
			return
		}
	}
}

// insertLocked adds an entry for count offsets from base on, the queue's next.
func (q *Queue) insertLocked(f *fileIndex, base uint64, e entry, minStore int64) {
	n := len(q.live)
	if n == 0 || q.live[n-1].file != f {
		q.live = append(q.live, liveRun{file: f, first: base, end: base, minStore: minStore})
		n++
		f.addQueue(q)
	}
	run := &q.live[n-1]
	e.delta = uint32(base - run.first)
	run.entries = append(run.entries, e)
	run.end = base + uint64(e.count)
}

// maxStore returns the highest store time of a run.
func (r *liveRun) maxStore() int64 { return r.entries[len(r.entries)-1].maxStore }

// find returns the index of the entry that holds an offset of the run.
func (r *liveRun) find(off uint64) int {
	return sort.Search(len(r.entries), func(i int) bool { return r.first+uint64(r.entries[i].delta) > off }) - 1
}

// extent is an entry with its context: where a batch of a queue stands.
type extent struct {
	file     uint64
	pos      wal.Position
	length   int
	first    uint64
	count    uint32
	hole     bool
	maxStore int64
}

func (x *extent) end() uint64 { return x.first + uint64(x.count) }

func (e entry) extent(f *fileIndex, first uint64) extent {
	return extent{
		file: f.seq, pos: f.base + wal.Position(e.place)*placeUnit, length: int(e.length &^ holeFlag),
		first: first + uint64(e.delta), count: e.count, hole: e.length&holeFlag != 0, maxStore: e.maxStore,
	}
}
