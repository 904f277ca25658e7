package catalog

import (
	"iter"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/varvemq/varve/metadata"
	"github.com/varvemq/varve/tiering/manifest"
)

// Catalog is a shard's listed segments.
type Catalog struct {
	cfg     Config
	pages   *manifest.Cache
	readers *manifest.Cache // of segments
	snap    atomic.Pointer[snapshot]

	mu      sync.Mutex          // held while the snapshot is replaced
	trims   map[uint32]uint64   // first offsets kept, also of queues that have no row; guarded by mu
	dropped map[uint32]struct{} // queues dropped; guarded by mu
}

func newCatalog(cfg Config) *Catalog {
	c := &Catalog{
		cfg: cfg, pages: manifest.NewCache(cfg.PageCache), readers: manifest.NewCache(cfg.ReaderCache), trims: map[uint32]uint64{}, dropped: map[uint32]struct{}{},
	}
	c.snap.Store(&snapshot{table: &table{}})
	return c
}

// Bounds returns the offsets [first, end) of a queue that are in listed segments and not trimmed, or false if nothing of it was ever sealed. No I/O.
func (c *Catalog) Bounds(ordinal uint32) (first, end uint64, ok bool) {
	r := c.snap.Load().table.row(ordinal)
	if r == nil {
		return 0, 0, false
	}
	first, end = r.bounds()
	return first, end, true
}

// Queues yields every queue ever sealed and not dropped, by ordinal, as it was at the call of the sequence: First and End as in [Catalog.Bounds], last store time and cursor those of
// the newest segments, Bytes of runs in pages only. No I/O.
func (c *Catalog) Queues() iter.Seq[manifest.QueueRow] {
	return func(yield func(manifest.QueueRow) bool) {
		for r := range c.snap.Load().table.all() {
			if !yield(r.listed()) {
				return
			}
		}
	}
}

// Recent returns the segments that etcd lists, by FirstLSN, then Object. What they point to is shared and must not be changed.
func (c *Catalog) Recent() []Recent { return slices.Clone(c.snap.Load().recents) }

// Root returns the manifest's root, nil if there is none yet, and the pointer to it. It is shared and must not be changed.
func (c *Catalog) Root() (*manifest.Root, metadata.ManifestPointer) {
	s := c.snap.Load()
	return s.root, s.ptr
}

// Add takes in a segment that was committed. One that is there already changes nothing.
func (c *Catalog) Add(r Recent) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.snap.Load()
	next := *s
	next.recents = s.withRecents(nil, []Recent{r})
	switch n := len(next.recents); {
	case n == len(s.recents):
		return
	case next.recents[n-1].Object == r.Object:
		next.table = c.added(s.table, &r)
	default: // older than another: cursors go by age
		next.table = c.build(s.root, next.recents, s.table)
	}
	c.snap.Store(&next)
}

// Replace takes in segments in the place of others, by their numbers.
func (c *Catalog) Replace(in []uint64, out []Recent) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.snap.Load()
	next := *s
	next.recents = s.withRecents(in, out)
	next.table = c.build(s.root, next.recents, s.table)
	c.snap.Store(&next)
}

// SetManifest takes in a new root, whose pages have the rolled segments, by their numbers. The catalog keeps root, which must not be changed any more.
func (c *Catalog) SetManifest(root *manifest.Root, ptr metadata.ManifestPointer, rolled []uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.snap.Load()
	next := &snapshot{root: root, ptr: ptr, recents: s.withRecents(rolled, nil)}
	next.table = c.build(root, next.recents, s.table)
	c.snap.Store(next)
}

// SetTrims raises first offsets, by ordinal. None falls.
func (c *Catalog) SetTrims(trims map[uint32]uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.snap.Load()
	var ordinals []uint32
	for o, first := range trims {
		if first <= c.trims[o] {
			continue
		}
		c.trims[o] = first
		if s.table.row(o) != nil {
			ordinals = append(ordinals, o)
		}
	}
	c.change(s, ordinals, func(r *row) bool {
		r.trim = c.trims[r.Ordinal]
		return true
	})
}

// DropQueues forgets queues for good: those of deleted topics, whose ordinals are not used again. They have no rows and no bounds, whatever segments have of them.
func (c *Catalog) DropQueues(ordinals []uint32) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.snap.Load()
	var there []uint32
	for _, o := range ordinals {
		c.dropped[o] = struct{}{}
		if s.table.row(o) != nil {
			there = append(there, o)
		}
	}
	c.change(s, there, func(*row) bool { return false })
}

// change replaces the snapshot by one with changed rows. The lock is held.
func (c *Catalog) change(s *snapshot, ordinals []uint32, change func(*row) bool) {
	if len(ordinals) == 0 {
		return
	}
	slices.Sort(ordinals)
	next := *s
	next.table = s.table.with(slices.Compact(ordinals), change)
	c.snap.Store(&next)
}
