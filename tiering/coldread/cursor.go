package coldread

import (
	"container/list"
	"sync"
	"time"
)

const (
	maxCursors = 256
	activeFor  = 300 * time.Millisecond // how long a cursor counts as active after a step
)

// step is that a reader comes to a block, or to what it can pass over.
type step struct {
	run        runKey
	first, end uint64 // of the block
	offset     uint64 // that was asked for
	tags       []int64
	bytes      int64 // of the messages
	miss       bool  // the block was not there and not on its way
}

// cursor is a sequential reader, or what may become one: the place after which it is expected.
type cursor struct {
	ordinal  uint32
	run      runKey
	first    uint64
	end      uint64
	ahead    uint64 // everything below was asked for ahead of the reader
	left     int64  // about the bytes of messages between the reader and ahead
	window   int64  // 0: not sequential yet
	planning bool   // its read-ahead is being planned
	at       time.Time
	elem     *list.Element
}

// plan is what is to be fetched ahead.
type plan struct {
	cursor *cursor
	from   uint64
	bytes  int64
	tags   []int64
}

// cursors recognises sequential readers by where they go on.
type cursors struct {
	mu   sync.Mutex
	all  map[uint32][]*cursor // by ordinal; guarded by mu, as is all in a cursor
	used list.List            // the last one has been used the longest time ago
}

func newCursors() *cursors { return &cursors{all: make(map[uint32][]*cursor)} }

// findLocked returns the cursor whose block has an offset or ends there; preferably the latter.
func (cs *cursors) findLocked(s *step) *cursor {
	var in *cursor
	for _, c := range cs.all[s.run.ordinal] {
		switch {
		case c.end == s.offset:
			return c
		case c.first <= s.offset && s.offset < c.end:
			in = c
		}
	}
	return in
}

// step moves a cursor. It returns what to fetch ahead, if anything, and the cursor's place before if it has left a block.
func (cs *cursors) step(s *step, limit int64) (ahead *plan, left *cursor) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	c := cs.findLocked(s)
	if c == nil {
		cs.addLocked(s)
		return nil, nil
	}
	cs.used.MoveToFront(c.elem)
	c.at = time.Now()
	if s.offset < c.end {
		return nil, nil // still in its block
	}
	before := *c
	c.run, c.first, c.end = s.run, s.first, s.end
	c.left = max(0, c.left-s.bytes)
	switch {
	case s.miss && s.offset < c.ahead: // it was fetched, and has been driven out
		c.window /= 2
		c.ahead, c.left = s.end, 0
	case s.bytes > 0:
		c.window = max(2*c.window, minWindow)
	}
	if c.ahead <= c.end {
		c.ahead, c.left = c.end, 0
	}
	c.window = min(c.window, limit)
	window := min(c.window, cs.shareLocked(limit))
	if window <= 0 || c.planning || c.left > window/4 {
		return nil, &before
	}
	c.planning = true
	return &plan{cursor: c, from: c.ahead, bytes: window - c.left, tags: s.tags}, &before
}

// shareLocked is what each active cursor may have of all windows.
func (cs *cursors) shareLocked(limit int64) int64 {
	since, active := time.Now().Add(-activeFor), int64(1)
	for e := cs.used.Front(); e != nil; e = e.Next() {
		c := e.Value.(*cursor)
		if c.at.Before(since) {
			break
		}
		if c.window > 0 {
			active++
		}
	}
	return max(1, 3*limit/active)
}

func (cs *cursors) addLocked(s *step) {
	if cs.used.Len() >= maxCursors {
		old := cs.used.Remove(cs.used.Back()).(*cursor)
		of := cs.all[old.ordinal]
		for i, c := range of {
			if c == old {
				of[i] = of[len(of)-1]
				of[len(of)-1] = nil
				of = of[:len(of)-1]
				break
			}
		}
		if cs.all[old.ordinal] = of; len(of) == 0 {
			delete(cs.all, old.ordinal)
		}
	}
	c := &cursor{ordinal: s.run.ordinal, run: s.run, first: s.first, end: s.end, ahead: s.end, at: time.Now()}
	c.elem = cs.used.PushFront(c)
	cs.all[c.ordinal] = append(cs.all[c.ordinal], c)
}

// planned says how far a plan has come.
func (cs *cursors) planned(p *plan, until uint64, bytes int64) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	c := p.cursor
	c.planning = false
	if c.ahead == p.from && until > c.end { // else the reader has overtaken it, or gone back
		c.ahead = until
		c.left += bytes
	}
}
