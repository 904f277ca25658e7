package catalog

import (
	"cmp"
	"slices"

	"github.com/varvemq/varve/metadata"
	"github.com/varvemq/varve/tiering/manifest"
)

// snapshot is all that a Catalog knows at a moment. It is immutable.
type snapshot struct {
	root    *manifest.Root // nil: none
	ptr     metadata.ManifestPointer
	recents []Recent // by (FirstLSN, Object)
	table   *table
}

// pages returns the manifest's pages.
func (s *snapshot) pages() []manifest.PageRef {
	if s.root == nil {
		return nil
	}
	return s.root.Pages
}

// paged reports whether pages have runs of a queue that can be read.
func (s *snapshot) paged(ordinal uint32) bool {
	if s.root == nil {
		return false
	}
	rows := s.root.Queues
	i, ok := slices.BinarySearchFunc(rows, ordinal, func(r manifest.QueueRow, o uint32) int { return cmp.Compare(r.Ordinal, o) })
	return ok && rows[i].First < rows[i].End
}

func compareRecent(a, b Recent) int {
	return cmp.Or(cmp.Compare(a.FirstLSN, b.FirstLSN), cmp.Compare(a.Object, b.Object))
}

// withRecents returns the recent segments without some and with others.
func (s *snapshot) withRecents(in []uint64, out []Recent) []Recent {
	kept := make([]Recent, 0, len(s.recents)+len(out))
	have := map[uint64]struct{}{}
	for _, object := range in {
		have[object] = struct{}{} // not to come again either
	}
	add := func(r *Recent) {
		if _, ok := have[r.Object]; !ok {
			have[r.Object] = struct{}{}
			kept = append(kept, *r)
		}
	}
	for i := range s.recents {
		add(&s.recents[i])
	}
	for i := range out {
		add(&out[i])
	}
	slices.SortFunc(kept, compareRecent)
	return kept
}

// builder makes a table anew.
type builder struct {
	rows    []row
	at      map[uint32]int // of rows, by ordinal
	dropped map[uint32]struct{}
	overlap func(run *manifest.Run, object uint64)
}

// row returns a queue's row, or nil if the queue was dropped.
func (b *builder) row(ordinal uint32) *row {
	i, ok := b.at[ordinal]
	if !ok {
		if _, gone := b.dropped[ordinal]; gone {
			return nil
		}
		i = len(b.rows)
		b.at[ordinal] = i
		b.rows = append(b.rows, row{QueueRow: manifest.QueueRow{Ordinal: ordinal}})
	}
	return &b.rows[i]
}

// build makes the table of a root and recent segments; what the table before knew is not forgotten, unless the queue was dropped.
func (c *Catalog) build(root *manifest.Root, recents []Recent, before *table) *table {
	b := builder{at: map[uint32]int{}, dropped: c.dropped, overlap: c.reportOverlap}
	if root != nil {
		b.rows = make([]row, 0, len(root.Queues)+16)
		for i := range root.Queues {
			if r := b.row(root.Queues[i].Ordinal); r != nil {
				r.QueueRow = root.Queues[i]
			}
		}
	}
	for i := range recents {
		b.take(&recents[i])
	}
	if before != nil {
		for old := range before.all() {
			if r := b.row(old.Ordinal); r != nil {
				r.keep(old)
			}
		}
	}
	for i := range b.rows {
		b.rows[i].trim = max(b.rows[i].trim, c.trims[b.rows[i].Ordinal])
	}
	slices.SortFunc(b.rows, func(x, y row) int { return cmp.Compare(x.Ordinal, y.Ordinal) })
	return newTable(b.rows)
}

func (b *builder) take(seg *Recent) {
	for i := range seg.Runs {
		if r := b.row(seg.Runs[i].Ordinal); r != nil && r.take(&seg.Runs[i], seg.LastStore(i)) {
			b.overlap(&seg.Runs[i], seg.Object)
		}
	}
	for _, cur := range seg.Cursors {
		if r := b.row(cur.Ordinal); r != nil {
			r.Cursor = cur.Offset + 1
		}
	}
}

// reportOverlap says that offsets are listed twice. They are the same messages, so that reading goes on.
func (c *Catalog) reportOverlap(run *manifest.Run, object uint64) {
	c.cfg.Logger.Error("offsets of a queue are listed twice", "shard", c.cfg.Shard, "queue", run.Ordinal, "first", run.First, "end", run.End, "object", object)
}

// added returns the table with a segment that is newer than all in it.
func (c *Catalog) added(t *table, seg *Recent) *table {
	runs, cursors := map[uint32]int{}, map[uint32]uint64{}
	ordinals := make([]uint32, 0, len(seg.Runs)+len(seg.Cursors))
	want := func(ordinal uint32) bool {
		_, gone := c.dropped[ordinal]
		if !gone {
			ordinals = append(ordinals, ordinal)
		}
		return !gone
	}
	for i := range seg.Runs {
		if want(seg.Runs[i].Ordinal) {
			runs[seg.Runs[i].Ordinal] = i
		}
	}
	for _, cur := range seg.Cursors {
		if want(cur.Ordinal) {
			cursors[cur.Ordinal] = cur.Offset + 1
		}
	}
	slices.Sort(ordinals)
	return t.with(slices.Compact(ordinals), func(r *row) bool {
		r.trim = max(r.trim, c.trims[r.Ordinal])
		if i, ok := runs[r.Ordinal]; ok && r.take(&seg.Runs[i], seg.LastStore(i)) {
			c.reportOverlap(&seg.Runs[i], seg.Object)
		}
		if cursor, ok := cursors[r.Ordinal]; ok {
			r.Cursor = cursor
		}
		return true
	})
}
