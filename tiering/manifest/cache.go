package manifest

import (
	"container/list"
	"sync"
)

// CacheKey names what a [Cache] has: a part of an object, by its position. The object as a whole is at -1.
type CacheKey struct {
	Object uint64
	Pos    int64
}

// Cache keeps what was used last, within a bound of bytes. It is a shard's, since it knows objects by their number. A nil Cache keeps nothing.
type Cache struct {
	limit int64

	mu    sync.Mutex
	items map[CacheKey]*list.Element // of cached; guarded by mu
	order *list.List                 // the last used first; guarded by mu
	bytes int64                      // guarded by mu
}

type cached struct {
	key   CacheKey
	value any
	bytes int64
}

// itemOverhead is about what an item takes beside its value.
const itemOverhead = 160

// NewCache returns a cache of at most limit bytes.
func NewCache(limit int64) *Cache {
	return &Cache{limit: limit, items: map[CacheKey]*list.Element{}, order: list.New()}
}

// Get returns what is kept by a key.
func (c *Cache) Get(key CacheKey) (any, bool) {
	if c == nil {
		return nil, false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	e, ok := c.items[key]
	if !ok {
		return nil, false
	}
	c.order.MoveToFront(e)
	return e.Value.(*cached).value, true //nolint:forcetypeassert // nothing else is put in
}

// Put keeps a value that takes so many bytes, and gives up what was not used for longest. What is there already stays.
func (c *Cache) Put(key CacheKey, value any, bytes int64) {
	bytes += itemOverhead
	if c == nil || bytes > c.limit {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, ok := c.items[key]; ok {
		return
	}
	c.items[key] = c.order.PushFront(&cached{key: key, value: value, bytes: bytes})
	for c.bytes += bytes; c.bytes > c.limit; {
		c.drop(c.order.Back())
	}
}

// drop gives up an item; the lock is held.
func (c *Cache) drop(e *list.Element) {
	it := c.order.Remove(e).(*cached) //nolint:forcetypeassert // nothing else is put in
	delete(c.items, it.key)
	c.bytes -= it.bytes
}

// Bytes returns the bytes kept.
func (c *Cache) Bytes() int64 {
	if c == nil {
		return 0
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.bytes
}
