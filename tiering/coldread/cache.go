package coldread

import (
	"container/list"
	"slices"
	"sort"
	"sync"

	"github.com/varvemq/varve/tiering/segment"
)

// runKey is a queue's run in an object.
type runKey struct {
	object  uint64
	ordinal uint32
}

// item is a block in the cache, or on its way into it.
type item struct {
	run runKey
	ref segment.BlockRef

	done  chan struct{} // closed when block and err are set
	block Block
	err   error

	// Guarded by cache.mu:
	fetch  *fetch // nil when it is done
	listed bool   // in cache.runs
	ahead  bool   // fetched ahead, and nobody has asked for it yet
	high   uint64 // behind the highest offset that was asked for
	kept   bool   // it is in the list of those kept for longer
	elem   *list.Element
}

// overhead is about what an item takes besides its messages.
const overhead = 512

func (it *item) cost() int64 { return int64(it.ref.Raw) + overhead }

// fetch is a range of an object that is being fetched for its items, which are in order.
type fetch struct {
	seg   opened
	items []*item
	ahead bool
	bytes int64 // reserved when it begins, if it is ahead

	// Guarded by cache.mu:
	waiters int
	cancel  func() // nil before it has begun
	stopped bool   // nobody has waited any more
}

// span returns the place in the object of items, which are some of the fetch.
func span(items []*item) (pos int64, n int) {
	last := &items[len(items)-1].ref
	pos = items[0].ref.Pos
	return pos, int(last.Pos + int64(last.Size) - pos)
}

// cache keeps decoded blocks, bounded by their bytes, and knows those that are on their way.
type cache struct {
	limit int64
	m     *metrics

	mu         sync.Mutex
	runs       map[runKey][]*item // by offset; guarded by mu, as all below
	probation  list.List          // of *item: the next to go at the back
	kept       list.List          // of *item
	bytes      int64              // of items that are done
	keptBytes  int64
	aheadBytes int64 // of items that are ahead, done or not
}

func newCache(limit int64) *cache { return &cache{limit: limit, runs: make(map[runKey][]*item)} }

// size returns the bytes in the cache.
func (c *cache) size() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.bytes
}

// findLocked returns the item that has an offset, and where it is or belongs.
func (c *cache) findLocked(run runKey, offset uint64) (int, *item) {
	items := c.runs[run]
	i := sort.Search(len(items), func(i int) bool { return items[i].ref.End() > offset })
	if i < len(items) && items[i].ref.Base <= offset {
		return i, items[i]
	}
	return i, nil
}

// join returns the item that has an offset, if it may have one of the tags; nil if there is none. Whoever gets it must leave it.
func (c *cache) join(run runKey, offset uint64, tags []int64) *item {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, it := c.findLocked(run, offset)
	if it == nil || tags != nil && !it.ref.MayMatch(tags) {
		return nil
	}
	c.joinLocked(it, offset)
	return it
}

func (c *cache) joinLocked(it *item, offset uint64) {
	if it.ahead {
		it.ahead = false
		c.aheadBytes -= it.cost()
	}
	if it.fetch != nil {
		it.fetch.waiters++
	}
	again := offset < it.high
	it.high = max(it.high, offset+1)
	switch {
	case it.elem == nil:
	case it.kept:
		c.kept.MoveToFront(it.elem)
	case again:
		c.probation.Remove(it.elem)
		it.elem, it.kept = c.kept.PushFront(it), true
		c.keptBytes += it.cost()
		for c.keptBytes > c.limit/2 && c.kept.Len() > 1 {
			old := c.kept.Remove(c.kept.Back()).(*item)
			c.keptBytes -= old.cost()
			old.elem, old.kept = c.probation.PushFront(old), false
		}
	default:
		c.probation.MoveToFront(it.elem)
	}
}

// joinOrBegin is join, or else begins a fetch of the block, which the caller must start.
func (c *cache) joinOrBegin(seg opened, ref *segment.BlockRef, offset uint64) (*item, *fetch) {
	run := runKey{seg.entry.Object, ref.Ordinal}
	c.mu.Lock()
	defer c.mu.Unlock()
	i, it := c.findLocked(run, offset)
	if it != nil {
		c.joinLocked(it, offset)
		return it, nil
	}
	f := &fetch{seg: seg}
	it = c.insertLocked(run, i, ref, f)
	c.joinLocked(it, offset)
	return it, f
}

func (c *cache) insertLocked(run runKey, i int, ref *segment.BlockRef, f *fetch) *item {
	it := &item{run: run, ref: *ref, done: make(chan struct{}), fetch: f, listed: true}
	c.runs[run] = slices.Insert(c.runs[run], i, it)
	f.items = append(f.items, it)
	return it
}

// has reports whether a block is in the cache, or on its way.
func (c *cache) has(run runKey, offset uint64) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, it := c.findLocked(run, offset)
	return it != nil
}

// roomAhead returns how many bytes may be fetched ahead of readers.
func (c *cache) roomAhead() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.limit/2 - c.aheadBytes
}

// beginAhead adds blocks of a run that are to be fetched ahead, but for those that are there. It returns nil if all are.
func (c *cache) beginAhead(seg opened, refs []segment.BlockRef) *fetch {
	f := &fetch{seg: seg, ahead: true}
	c.mu.Lock()
	defer c.mu.Unlock()
	for j := range refs {
		run := runKey{seg.entry.Object, refs[j].Ordinal}
		i, it := c.findLocked(run, refs[j].Base)
		if it != nil {
			continue
		}
		it = c.insertLocked(run, i, &refs[j], f)
		it.ahead = true
		c.aheadBytes += it.cost()
	}
	if len(f.items) == 0 {
		return nil
	}
	return f
}

// started gives a fetch what cancels it.
func (c *cache) started(f *fetch, cancel func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if f.cancel = cancel; f.stopped {
		cancel()
	}
}

// leave ends what join began. A fetch that nobody waits for any more is given up, unless it is ahead of readers.
func (c *cache) leave(it *item) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f := it.fetch
	if f == nil {
		return
	}
	f.waiters--
	if f.waiters > 0 || f.ahead || f.stopped {
		return
	}
	f.stopped = true
	for _, it := range f.items {
		if it.fetch != nil {
			c.unlistLocked(it) // who comes now begins anew
		}
	}
	if f.cancel != nil {
		f.cancel()
	}
}

// complete ends an item's fetch.
func (c *cache) complete(it *item, b *Block, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if it.fetch == nil {
		return
	}
	if it.fetch.stopped && err != nil {
		err = errAbandoned
	}
	it.fetch = nil
	if it.err = err; err == nil {
		it.block = *b
	}
	switch {
	case err != nil:
		c.unlistLocked(it)
	case it.listed:
		it.elem = c.probation.PushFront(it)
		c.bytes += it.cost()
		c.evictLocked()
	}
	close(it.done)
}

// evictLocked gives up blocks until there are few enough.
func (c *cache) evictLocked() {
	for c.bytes > c.limit {
		e := c.probation.Back()
		if e == nil {
			e = c.kept.Back()
		}
		c.unlistLocked(e.Value.(*item))
	}
}

// unlistLocked takes an item out.
func (c *cache) unlistLocked(it *item) {
	if !it.listed {
		return
	}
	it.listed = false
	items := c.runs[it.run]
	if i := slices.Index(items, it); len(items) == 1 {
		delete(c.runs, it.run)
	} else {
		c.runs[it.run] = slices.Delete(items, i, i+1)
	}
	if it.ahead {
		it.ahead = false
		c.aheadBytes -= it.cost()
		if it.elem != nil {
			c.m.wasted.Add(float64(it.ref.Raw))
		}
	}
	switch {
	case it.elem == nil:
		return
	case it.kept:
		c.kept.Remove(it.elem)
		c.keptBytes -= it.cost()
	default:
		c.probation.Remove(it.elem)
	}
	it.elem = nil
	c.bytes -= it.cost()
}

// passed says that a sequential reader has left a block: the next one to go, if nobody keeps coming back to it.
func (c *cache) passed(run runKey, base uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, it := c.findLocked(run, base); it != nil && it.elem != nil && !it.kept {
		c.probation.MoveToBack(it.elem)
	}
}
