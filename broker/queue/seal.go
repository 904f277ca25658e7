package queue

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"sort"

	"github.com/varvemq/varve/broker/wal"
	"github.com/varvemq/varve/internal/keysort"
)

// sealFile builds the sections of a file, all of whose records are published, and lets its queues read from them.
func (l *Log) sealFile(ref wal.FileRef) ([][]byte, error) {
	l.unpin()
	f := l.fileFor(ref.Seq, ref.Base)
	f.mu.Lock()
	live, pinned := f.live, f.pinned
	f.mu.Unlock()
	if !live {
		if pinned == nil {
			return nil, fmt.Errorf("queue: seal file %d: it has its sections", ref.Seq)
		}
		return pinned[1:], nil
	}
	queues := f.sortedQueues()
	dir, ent, err := buildRows(f, queues)
	if err != nil {
		return nil, err
	}
	keys := f.buildKeys()
	sts := l.buildStates(f)

	f.mu.Lock()
	f.pinned = &[sectionCount + 1][]byte{nil, dir, ent, keys, sts}
	f.live, f.records, f.keys, f.cursors, f.queues = false, nil, nil, nil, nil
	f.mu.Unlock()
	for row, q := range queues {
		q.closeRun(f, uint32(row))
	}
	l.stats.sealed.Add(1)
	return [][]byte{dir, ent, keys, sts}, nil
}

// sortedQueues returns the queues that have a live run in the file.
func (f *fileIndex) sortedQueues() []*Queue {
	f.mu.Lock()
	defer f.mu.Unlock()
	queues := slices.Clone(f.queues)
	slices.SortFunc(queues, func(a, b *Queue) int { return cmp.Compare(a.ordinal, b.ordinal) })
	return queues
}

// buildRows builds the directory and the entries of queues that are sorted.
func buildRows(f *fileIndex, queues []*Queue) (dir, ent []byte, err error) {
	dir = appendHeader(nil, directoryNumber, len(queues), 0)
	ent = appendHeader(nil, entriesNumber, 0, 0)
	first := uint32(0)
	for _, q := range queues {
		run, ok := q.liveRunOf(f)
		if !ok {
			return nil, nil, fmt.Errorf("queue: seal file %d: queue %d has nothing in it", f.seq, q.ordinal)
		}
		if run.end-run.first > math.MaxUint32 {
			return nil, nil, fmt.Errorf("queue: seal file %d: queue %d has %d offsets in it", f.seq, q.ordinal, run.end-run.first)
		}
		dir = appendDirRow(dir, &dirRow{
			ordinal: q.ordinal, entries: uint32(len(run.entries)), firstEntry: first,
			first: run.first, end: run.end, minStore: run.minStore, maxStore: run.maxStore(),
		})
		for i := range run.entries {
			ent = appendEntry(ent, &run.entries[i])
		}
		first += uint32(len(run.entries))
	}
	le.PutUint32(ent[8:], first)
	return dir, ent, nil
}

// liveRunOf returns the queue's run in a file. The file is full: the run does not change any more.
func (q *Queue) liveRunOf(f *fileIndex) (liveRun, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for i := range q.live {
		if q.live[i].file == f {
			return q.live[i], true
		}
	}
	return liveRun{}, false
}

// closeRun replaces a live run by the row of a directory.
func (q *Queue) closeRun(f *fileIndex, row uint32) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for i := range q.live {
		if q.live[i].file != f {
			continue
		}
		if !q.dropped.Load() {
			// At the end, but for a file whose damaged sections were made anew.
			at := sort.Search(len(q.closed), func(j int) bool { return q.closed[j].seq > uint32(f.seq) })
			closed := slices.Clip(q.closed)
			if at == len(closed) {
				closed = q.closed
			}
			q.closed = slices.Insert(closed, at, closedRun{seq: uint32(f.seq), row: row, first: q.live[i].first})
		}
		q.live = slices.Delete(q.live, i, i+1)
		if len(q.live) == 0 {
			q.live = nil
		}
		return
	}
}

// buildKeys sorts the keys of a file that is full.
func (f *fileIndex) buildKeys() []byte {
	f.mu.Lock()
	defer f.mu.Unlock()
	records, n := chunkedLen(f.records), chunkedLen(f.keys)
	b := make([]byte, 0, headerSize+records*keyedRecordRow+n*keyRow)
	b = appendHeader(b, keysNumber, n, records)
	for _, chunk := range f.records {
		for _, r := range chunk {
			b = le.AppendUint32(b, r.place)
			b = le.AppendUint32(b, r.length)
		}
	}
	keys := make([]uint64, 0, n)
	for _, chunk := range f.keys {
		keys = append(keys, chunk...)
	}
	for _, k := range keysort.ByHash(keys) {
		b = le.AppendUint64(b, k)
	}
	return b
}

// buildStates moves every queue's state to the end of the file and writes all of them.
func (l *Log) buildStates(f *fileIndex) []byte {
	all := l.allQueues()
	slices.SortFunc(all, func(a, b *Queue) int { return cmp.Compare(a.ordinal, b.ordinal) })
	f.mu.Lock()
	cursors := f.cursors // full: nobody adds to it
	f.mu.Unlock()
	b := appendHeader(nil, statesNumber, 0, 0)
	n := uint32(0)
	newest := f.seq > l.sealedSeq
	l.sealedSeq = max(l.sealedSeq, f.seq)
	for _, q := range all {
		s := savedState{ordinal: q.ordinal, queueState: q.sealState(f, newest, cursors[q.ordinal])}
		if s.queueState != (queueState{}) {
			b = appendState(b, &s)
			n++
		}
	}
	le.PutUint32(b[8:], n)
	return b
}

// sealState returns the state of the queue at the end of a file. An older file than the newest sealed one is sealed only
// if its sections were damaged: then the state is that of the newest one, which is as good (docs/format/queue-index.md).
func (q *Queue) sealState(f *fileIndex, newest bool, cursor uint64) queueState {
	run, ok := q.liveRunOf(f)
	q.mu.Lock()
	defer q.mu.Unlock()
	if ok && newest {
		q.sealed.next, q.sealed.lastStore = run.end, run.maxStore()
	}
	if cursor != 0 && newest {
		q.sealed.cursor = cursor
	}
	return q.sealed
}

// unpin lets go of the sections of files that can be read from the disk by now: from here on the cache decides.
func (l *Log) unpin() {
	w := l.w()
	if w == nil {
		return
	}
	for _, f := range l.allFiles() {
		f.mu.Lock()
		pinned := f.pinned
		skip := pinned == nil || f.rebuilt
		f.mu.Unlock()
		if skip {
			continue
		}
		if ref, err := w.File(f.seq); err != nil || !ref.Closed {
			continue
		}
		for i := 1; i <= sectionCount; i++ {
			l.cache.put(sectionKey{file: f.seq, section: i}, pinned[i])
		}
		f.mu.Lock()
		f.pinned = nil
		f.mu.Unlock()
	}
}
