package maintain

import (
	"maps"
	"slices"

	"github.com/varvemq/varve/tiering/catalog"
	"github.com/varvemq/varve/tiering/manifest"
)

// rows are a root's rows of queues while a new root is made.
type rows map[uint32]*manifest.QueueRow

// rowsOf returns the rows of a root, nil being none, but for those of tombstones: nothing of them outlives.
func (m *Maintainer) rowsOf(root *manifest.Root) rows {
	r := rows{}
	if root == nil {
		return r
	}
	for _, row := range root.Queues {
		if !m.cfg.Topics.Dead(row.Ordinal) {
			r[row.Ordinal] = &row
		}
	}
	return r
}

// row returns a queue's row, a new one if need be.
func (r rows) row(ordinal uint32, first uint64) *manifest.QueueRow {
	if r[ordinal] == nil {
		r[ordinal] = &manifest.QueueRow{Ordinal: ordinal, First: first, End: first}
	}
	return r[ordinal]
}

// roll takes in a segment that moves into a page. Segments come by LSN, so that the last cursor is the newest.
func (r rows) roll(seg *catalog.Recent, dead func(uint32) bool) {
	for i, run := range seg.Runs {
		if dead(run.Ordinal) {
			continue
		}
		row := r.row(run.Ordinal, run.First)
		if row.First == row.End { // it has no runs in pages
			row.First = run.First
		}
		row.End = max(row.End, run.End)
		row.Bytes += run.Bytes
		row.LastStore = max(row.LastStore, seg.LastStore(i))
	}
	for _, c := range seg.Cursors {
		if !dead(c.Ordinal) {
			r.row(c.Ordinal, 0).Cursor = c.Offset + 1
		}
	}
}

// unlist takes out a segment of which nothing can be read: its queues begin at their first offsets, of which the caller knows, or have nothing left.
func (r rows) unlist(seg *manifest.PageSegment, first func(uint32) uint64) {
	for _, run := range seg.Runs {
		row := r[run.Ordinal]
		if row == nil {
			continue
		}
		row.Bytes -= min(row.Bytes, run.Bytes)
		row.First = max(row.First, min(first(run.Ordinal), row.End))
	}
}

// sorted returns the rows by ordinal.
func (r rows) sorted() []manifest.QueueRow {
	out := make([]manifest.QueueRow, 0, len(r))
	for _, ordinal := range slices.Sorted(maps.Keys(r)) {
		out = append(out, *r[ordinal])
	}
	return out
}
