package queue

import (
	"container/list"
	"sync"
)

// sectionCache keeps sections of closed files, bounded in bytes: the least recently used goes first. A section larger
// than the budget stays until the next one comes.
type sectionCache struct {
	mu     sync.Mutex // guards all
	budget int64
	used   int64
	lru    list.List // of *cachedSection, newest in front
	byKey  map[sectionKey]*list.Element
}

type sectionKey struct {
	file    uint64
	section int
}

// cachedSection is a section that is there, or is being loaded until ready is closed.
type cachedSection struct {
	key   sectionKey
	ready chan struct{}
	data  []byte
	err   error
	done  bool
}

func newSectionCache(budget int64) *sectionCache {
	return &sectionCache{budget: budget, byKey: make(map[sectionKey]*list.Element)}
}

// get returns a section, loading it if need be; concurrent callers share one load. Errors are not kept.
func (c *sectionCache) get(key sectionKey, load func() ([]byte, error)) ([]byte, error) {
	c.mu.Lock()
	if el, ok := c.byKey[key]; ok {
		c.lru.MoveToFront(el)
		s := el.Value.(*cachedSection)
		done := s.done
		c.mu.Unlock()
		if !done {
			<-s.ready
		}
		return s.data, s.err
	}
	s := &cachedSection{key: key, ready: make(chan struct{})}
	el := c.lru.PushFront(s)
	c.byKey[key] = el
	c.mu.Unlock()

	s.data, s.err = load()
	c.mu.Lock()
	defer c.mu.Unlock()
	defer close(s.ready)
	s.done = true
	if c.byKey[key] != el { // removed meanwhile
		return s.data, s.err
	}
	if s.err != nil {
		c.removeLocked(el)
		return nil, s.err
	}
	c.used += int64(len(s.data))
	c.shrinkLocked(el)
	return s.data, nil
}

// put adds a section that is already verified.
func (c *sectionCache) put(key sectionKey, data []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, ok := c.byKey[key]; ok {
		return
	}
	el := c.lru.PushFront(&cachedSection{key: key, data: data, done: true})
	c.byKey[key] = el
	c.used += int64(len(data))
	c.shrinkLocked(el)
}

// shrinkLocked drops the oldest sections over the budget, but not keep.
func (c *sectionCache) shrinkLocked(keep *list.Element) {
	for el := c.lru.Back(); el != nil && c.used > c.budget; {
		prev := el.Prev()
		if s := el.Value.(*cachedSection); s.done && el != keep {
			c.removeLocked(el)
		}
		el = prev
	}
}

func (c *sectionCache) removeLocked(el *list.Element) {
	s := el.Value.(*cachedSection)
	c.lru.Remove(el)
	delete(c.byKey, s.key)
	if s.done && s.err == nil {
		c.used -= int64(len(s.data))
	}
}

// drop forgets the sections of a file.
func (c *sectionCache) drop(file uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := 1; i <= sectionCount; i++ {
		if el, ok := c.byKey[sectionKey{file: file, section: i}]; ok {
			c.removeLocked(el)
		}
	}
}

// bytes returns what the cache holds.
func (c *sectionCache) bytes() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.used
}
