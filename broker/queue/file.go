package queue

import (
	"sync"

	"github.com/varvemq/varve/broker/wal"
)

const (
	placeUnit = 8    // records start at multiples of it
	keyChunk  = 8192 // keys in a chunk: growing never copies what is there
)

// fileIndex is what is known of a WAL file: everything while it has no sections, where they are afterwards.
type fileIndex struct {
	seq  uint64
	base wal.Position

	mu       sync.Mutex // guards the following
	queues   []*Queue   // those with a live run here
	records  [][]keyedRecord
	keys     [][]uint64                // in the order of their records
	cursors  map[uint32]uint64         // the last ones of this file, + 1
	minStore int64                     // of all messages
	maxStore int64                     //
	pinned   *[sectionCount + 1][]byte // sections that cannot be read from the file (yet)
	rebuilt  bool                      // pinned for good, because those in the file are damaged
	live     bool                      // it has no sections
}

// keyedRecord is a record that has keys, as it stands in section 3.
type keyedRecord struct{ place, length uint32 }

func newFileIndex(seq uint64, base wal.Position) *fileIndex {
	return &fileIndex{seq: seq, base: base, live: true}
}

// place returns the record place of a position.
func (f *fileIndex) place(pos wal.Position) uint32 { return uint32((pos - f.base) / placeUnit) }

func (f *fileIndex) addQueue(q *Queue) {
	f.mu.Lock()
	f.queues = append(f.queues, q)
	f.mu.Unlock()
}

// addRecord adds what a record brings besides its entries.
func (f *fileIndex) addRecord(place, length uint32, keys []uint32, cursors []Cursor, lo, hi int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, c := range cursors {
		f.addCursorLocked(c.Queue.ordinal, c.Offset)
	}
	f.addTimesLocked(lo, hi)
	f.addKeysLocked(place, length, keys)
}

func (f *fileIndex) addCursorLocked(ordinal uint32, offset uint64) {
	if f.cursors == nil {
		f.cursors = make(map[uint32]uint64)
	}
	f.cursors[ordinal] = offset + 1
}

func (f *fileIndex) addTimesLocked(lo, hi int64) {
	if hi == 0 {
		return
	}
	if f.maxStore == 0 || lo < f.minStore {
		f.minStore = lo
	}
	f.maxStore = max(f.maxStore, hi)
}

func (f *fileIndex) addKeysLocked(place, length uint32, keys []uint32) {
	if len(keys) == 0 {
		return
	}
	number := uint64(chunkedLen(f.records))
	f.records = chunkedAppend(f.records, keyedRecord{place: place, length: length})
	for _, k := range keys {
		f.keys = chunkedAppend(f.keys, uint64(k)<<32|number)
	}
}

// times returns the lowest and highest store times; ok is false if there is no message.
func (f *fileIndex) times() (lo, hi int64, ok bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.minStore, f.maxStore, f.maxStore != 0
}

// pinnedSection returns a section that is held in memory.
func (f *fileIndex) pinnedSection(i int) ([]byte, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.pinned == nil {
		return nil, false
	}
	return f.pinned[i], true
}

// chunkedAppend appends to a list of chunks. Whoever has copied the outer slice may go on reading what it saw.
func chunkedAppend[T any](chunks [][]T, v T) [][]T {
	n := len(chunks)
	if n == 0 || len(chunks[n-1]) == keyChunk {
		size := keyChunk
		if n == 0 {
			size = 64
		}
		chunks = append(chunks, make([]T, 0, size))
		n++
	}
	chunks[n-1] = append(chunks[n-1], v)
	return chunks
}

func chunkedLen[T any](chunks [][]T) int {
	if len(chunks) == 0 {
		return 0
	}
	return (len(chunks)-1)*keyChunk + len(chunks[len(chunks)-1])
}
