package catalog

import (
	"cmp"
	"iter"
	"slices"
	"sort"

	"github.com/varvemq/varve/tiering/manifest"
)

// row is what is known of a queue. First and End are those of its listed runs; if there are none, both are the end of what it ever had. Bytes are those in pages.
type row struct {
	manifest.QueueRow

	trim uint64 // first offset kept
}

// bounds returns the offsets that can be read. Offsets below the first one kept were in use, whatever is listed.
func (r *row) bounds() (first, end uint64) { return max(r.First, r.trim), max(r.End, r.trim) }

// listed returns the row as others see it.
func (r *row) listed() manifest.QueueRow {
	q := r.QueueRow
	q.First, q.End = r.bounds()
	return q
}

// take takes in a run that is listed. It reports whether offsets of it were listed already.
func (r *row) take(run *manifest.Run, lastStore int64) (overlap bool) {
	if r.First == r.End { // nothing of it is listed
		overlap = run.First < r.End
		r.First = run.First
	} else {
		overlap = run.First < r.End && r.First < run.End
		r.First = min(r.First, run.First)
	}
	r.End = max(r.End, run.End)
	r.LastStore = max(r.LastStore, lastStore)
	return overlap
}

// keep holds on to what an earlier row of the queue knew: ends and last store times do not fall.
func (r *row) keep(before *row) {
	if r.First == r.End {
		r.First = max(r.First, before.End)
	}
	r.End = max(r.End, before.End)
	r.LastStore = max(r.LastStore, before.LastStore)
	r.trim = max(r.trim, before.trim)
	if r.Cursor == 0 {
		r.Cursor = before.Cursor
	}
}

// chunkBits is the logarithm of the ordinals in a chunk.
const chunkBits = 5

// chunk has the rows of queues whose ordinals begin with the same bits, by ordinal.
type chunk struct {
	key  uint32
	rows []row
}

// table has a row per queue. It is immutable; a changed one shares the chunks that were not touched.
type table struct {
	chunks []chunk // by key
}

func (t *table) chunk(key uint32) int {
	return sort.Search(len(t.chunks), func(i int) bool { return t.chunks[i].key >= key })
}

// row returns a queue's row, or nil. It must not be changed.
func (t *table) row(ordinal uint32) *row {
	key := ordinal >> chunkBits
	i := t.chunk(key)
	if i == len(t.chunks) || t.chunks[i].key != key {
		return nil
	}
	rows := t.chunks[i].rows
	j, ok := slices.BinarySearchFunc(rows, ordinal, func(r row, o uint32) int { return cmp.Compare(r.Ordinal, o) })
	if !ok {
		return nil
	}
	return &rows[j]
}

// all yields the rows by ordinal. They must not be changed.
func (t *table) all() iter.Seq[*row] {
	return func(yield func(*row) bool) {
		for i := range t.chunks {
			rows := t.chunks[i].rows
			for j := range rows {
				if !yield(&rows[j]) {
					return
				}
			}
		}
	}
}

// with returns a table in which the rows of the ordinals, which are sorted and different, were changed, those not there yet from a row that has the ordinal only. change returns
// false for a row that is to go.
func (t *table) with(ordinals []uint32, change func(*row) bool) *table {
	out := &table{chunks: make([]chunk, 0, len(t.chunks)+1)}
	rest := t.chunks
	for len(ordinals) > 0 {
		key := ordinals[0] >> chunkBits
		n := sort.Search(len(ordinals), func(i int) bool { return ordinals[i]>>chunkBits > key })
		before := sort.Search(len(rest), func(i int) bool { return rest[i].key >= key })
		out.chunks = append(out.chunks, rest[:before]...)
		rest = rest[before:]
		var old []row
		if len(rest) > 0 && rest[0].key == key {
			old, rest = rest[0].rows, rest[1:]
		}
		if rows := changed(old, ordinals[:n], change); len(rows) > 0 {
			out.chunks = append(out.chunks, chunk{key: key, rows: rows})
		}
		ordinals = ordinals[n:]
	}
	out.chunks = append(out.chunks, rest...)
	return out
}

// changed returns a chunk's rows with changes.
func changed(old []row, ordinals []uint32, change func(*row) bool) []row {
	out := make([]row, 0, len(old)+len(ordinals))
	for _, o := range ordinals {
		i := sort.Search(len(old), func(i int) bool { return old[i].Ordinal >= o })
		out = append(out, old[:i]...)
		old = old[i:]
		r := row{QueueRow: manifest.QueueRow{Ordinal: o}}
		if len(old) > 0 && old[0].Ordinal == o {
			r, old = old[0], old[1:]
		}
		if change(&r) {
			out = append(out, r)
		}
	}
	return append(out, old...)
}

// newTable makes a table of rows by ordinal.
func newTable(rows []row) *table {
	t := &table{}
	for len(rows) > 0 {
		key := rows[0].Ordinal >> chunkBits
		n := sort.Search(len(rows), func(i int) bool { return rows[i].Ordinal>>chunkBits > key })
		t.chunks = append(t.chunks, chunk{key: key, rows: rows[:n:n]})
		rows = rows[n:]
	}
	return t
}
