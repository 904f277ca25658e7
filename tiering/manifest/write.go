package manifest

import (
	"container/heap"

	"github.com/varvemq/varve/internal/message"
)

// EncodePage returns a page of segments, which are in order ([Entry.Compare]) with their runs by ordinal, and how a root names it. What cannot be in a page is an [ErrInvalid]:
// also a queue whose offsets do not rise in the order of the segments, and more than [MaxPageSegments], [MaxPageRuns] or [MaxPageBytes].
func EncodePage(id PageIdentity, segs []PageSegment) ([]byte, PageRef, error) {
	if id.Shard == "" || len(id.Shard) > maxShardName {
		return nil, PageRef{}, invalid("shard %q", id.Shard)
	}
	w := pageWriter{segs: segs, foot: footer{PageIdentity: id, segments: uint32(len(segs))}}
	if err := w.check(); err != nil {
		return nil, PageRef{}, err
	}
	w.out = make([]byte, 0, w.foot.runs*8+uint64(len(segs))*48+footerSize+4096)
	if err := w.runs(); err != nil {
		return nil, PageRef{}, err
	}
	w.foot.dirPos = int64(len(w.out))
	w.out = append(w.out, w.dir...)
	w.foot.segPos = int64(len(w.out))
	w.segments()
	w.foot.indexPos = int64(len(w.out))
	x := w.index.encode()
	w.foot.indexLen, w.foot.indexCRC = uint32(len(x)), crcOf(x)
	w.out = append(w.out, x...)
	w.out = w.foot.append(w.out)
	if len(x) > maxIndex || len(w.out) > MaxPageBytes {
		return nil, PageRef{}, invalid("a page of %d bytes, an index of %d", len(w.out), len(x))
	}
	return w.out, w.foot.ref(int64(len(w.out))), nil
}

// pageWriter builds a page.
type pageWriter struct {
	segs  []PageSegment
	foot  footer
	out   []byte
	dir   []byte // the directory, before it has its place
	index index
}

// check reports segments that cannot be in a page, and sums them up.
func (w *pageWriter) check() error {
	f := &w.foot
	if len(w.segs) == 0 || len(w.segs) > MaxPageSegments {
		return invalid("a page of %d segments", len(w.segs))
	}
	f.firstLSN = w.segs[0].FirstLSN
	timed := false
	for i := range w.segs {
		s := &w.segs[i]
		if why := s.check(); why != "" {
			return invalid("segment %d: %s", s.Object, why)
		}
		if i > 0 && w.segs[i-1].Compare(&s.Entry) >= 0 {
			return invalid("segment %d after %d", s.Object, w.segs[i-1].Object)
		}
		if err := checkRuns(s); err != nil {
			return err
		}
		f.endLSN = max(f.endLSN, s.EndLSN)
		f.bytes += uint64(s.Size)
		f.runs += uint64(len(s.Runs))
		if s.Messages == 0 {
			continue
		}
		if !timed {
			f.minStore, f.maxStore, timed = s.MinStore, s.MaxStore, true
		}
		f.minStore, f.maxStore = min(f.minStore, s.MinStore), max(f.maxStore, s.MaxStore)
	}
	if f.runs > MaxPageRuns {
		return invalid("a page of %d runs", f.runs)
	}
	return nil
}

func checkRuns(s *PageSegment) error {
	for i := range s.Runs {
		r := &s.Runs[i]
		if r.Ordinal > message.MaxOrdinal || r.First >= r.End || r.End > maxOffset || i > 0 && s.Runs[i-1].Ordinal >= r.Ordinal {
			return invalid("segment %d: queue %d, offsets [%d, %d)", s.Object, r.Ordinal, r.First, r.End)
		}
	}
	return nil
}

// runs writes all runs by queue, and the directory.
func (w *pageWriter) runs() error {
	m := newMerge(w.segs)
	var row dirRow
	last := uint32(0) // ordinal in the block
	for m.Len() > 0 {
		e, err := w.queue(m)
		if err != nil {
			return err
		}
		if row.queues == 0 {
			row = dirRow{runs: e.pos, pos: int64(len(w.dir)), ordinal: e.ordinal}
			last = e.ordinal
		}
		w.dir = appendDirEntry(w.dir, &e, last)
		last = e.ordinal
		row.queues++
		w.foot.queues++
		if row.size = uint32(int64(len(w.dir)) - row.pos); row.size >= directoryTarget || m.Len() == 0 {
			row.crc = crcOf(w.dir[row.pos:])
			w.index.dir = append(w.index.dir, row)
			row = dirRow{}
		}
	}
	return nil
}

// queue writes the runs of the lowest queue that is left.
func (w *pageWriter) queue(m *merge) (dirEntry, error) {
	at := len(w.out)
	first := m.run()
	e := dirEntry{ordinal: first.Ordinal, pos: int64(at), first: first.First, end: first.First}
	for next := 0; m.Len() > 0 && m.run().Ordinal == e.ordinal; {
		r, i := m.run(), m.at[0]
		if r.First < e.end {
			return e, invalid("segment %d: queue %d begins at offset %d, but ends at %d before", w.segs[i].Object, r.Ordinal, r.First, e.end)
		}
		w.out = appendRun(w.out, r, i, next, e.end)
		next, e.end = i+1, r.End
		e.count++
		m.advance()
	}
	e.size, e.crc = len(w.out)-at, crcOf(w.out[at:])
	return e, nil
}

// segments writes the segment table.
func (w *pageWriter) segments() {
	for from := 0; from < len(w.segs); from += segmentsPer {
		at := len(w.out)
		var before Entry
		for i := from; i < min(from+segmentsPer, len(w.segs)); i++ {
			w.out = appendEntry(w.out, &w.segs[i].Entry, &before)
			before = w.segs[i].Entry
		}
		w.index.segs = append(w.index.segs, segRow{size: uint32(len(w.out) - at), crc: crcOf(w.out[at:])})
	}
}

// merge is a heap of the segments that have runs left, by the ordinal of the next run, then their order.
type merge struct {
	segs []PageSegment
	next []int // of each segment: its next run
	at   []int // the heap, of numbers of segments
}

func newMerge(segs []PageSegment) *merge {
	m := &merge{segs: segs, next: make([]int, len(segs))}
	for i := range segs {
		if len(segs[i].Runs) > 0 {
			m.at = append(m.at, i)
		}
	}
	heap.Init(m)
	return m
}

// run returns the first run that is left.
func (m *merge) run() *Run { return &m.segs[m.at[0]].Runs[m.next[m.at[0]]] }

// advance drops the first run.
func (m *merge) advance() {
	i := m.at[0]
	if m.next[i]++; m.next[i] == len(m.segs[i].Runs) {
		heap.Pop(m)
		return
	}
	heap.Fix(m, 0)
}

// Len implements heap.Interface.
func (m *merge) Len() int { return len(m.at) }

// Less implements heap.Interface.
func (m *merge) Less(i, j int) bool {
	a, b := m.at[i], m.at[j]
	x, y := m.segs[a].Runs[m.next[a]].Ordinal, m.segs[b].Runs[m.next[b]].Ordinal
	return x < y || x == y && a < b
}

// Swap implements heap.Interface.
func (m *merge) Swap(i, j int) { m.at[i], m.at[j] = m.at[j], m.at[i] }

// Push implements heap.Interface.
func (m *merge) Push(x any) { m.at = append(m.at, x.(int)) }

// Pop implements heap.Interface.
func (m *merge) Pop() any {
	x := m.at[len(m.at)-1]
	m.at = m.at[:len(m.at)-1]
	return x
}
