package wal

import (
	"sort"
	"sync"
)

// chunk is a piece of the stream in memory. Bytes below the WAL's next position never change, and the memory is left to
// the garbage collector: who reads a record may keep it.
type chunk struct {
	start Position
	buf   []byte
	used  int // guarded by WAL.mu
}

// tail is the arena of the newest bytes of the stream.
type tail struct {
	mu     sync.RWMutex
	chunks []*chunk // by start, without holes but those of marks; guarded by mu
	bytes  int64    // guarded by mu
	max    int64
}

// add appends a chunk and drops the oldest ones, as far as they are written, until the arena is within its bound.
func (t *tail) add(c *chunk, written Position) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.chunks = append(t.chunks, c)
	t.bytes += int64(len(c.buf))
	for t.bytes > t.max && len(t.chunks) > 1 && t.chunks[1].start <= written {
		t.bytes -= int64(len(t.chunks[0].buf))
		t.chunks[0] = nil
		t.chunks = t.chunks[1:]
	}
}

// find returns n bytes at pos, or nil if they are not in the arena. The caller has checked that they have been appended.
func (t *tail) find(pos Position, n int) []byte {
	t.mu.RLock()
	defer t.mu.RUnlock()
	i := sort.Search(len(t.chunks), func(i int) bool { return t.chunks[i].start > pos }) - 1
	if i < 0 {
		return nil
	}
	c := t.chunks[i]
	at := int(pos - c.start)
	if at+n > len(c.buf) {
		return nil
	}
	return c.buf[at : at+n : at+n]
}

func (t *tail) size() int64 {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.bytes
}
