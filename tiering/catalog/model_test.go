package catalog

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"sync"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/varvemq/varve/metadata"
	"github.com/varvemq/varve/tiering/manifest"
)

// world is a shard's history and a model of what a catalog must say of it.
type world struct {
	*store

	rng     *rand.Rand
	lsn     uint64
	clock   int64
	queues  []uint32          // that are written to
	next    map[uint32]uint64 // offset of each queue ever
	last    map[uint32]int64  // store time of each queue's last message
	cursor  map[uint32]uint64
	dropped map[uint32]bool
	recents []Recent // by (FirstLSN, Object)
	pages   [][]manifest.PageSegment
	refs    []manifest.PageRef
	rows    map[uint32]manifest.QueueRow // of the root
	has     *Catalog
}

func newWorld(t *testing.T, rng *rand.Rand) *world {
	t.Helper()
	w := &world{
		store: newStore(t), rng: rng, lsn: 1, clock: 1_700_000_000_000, next: map[uint32]uint64{}, last: map[uint32]int64{}, cursor: map[uint32]uint64{},
		dropped: map[uint32]bool{}, rows: map[uint32]manifest.QueueRow{},
	}
	w.cache = [...]int64{0, 1, 20_000}[rng.IntN(3)] // with a byte nothing is kept, so that what is gone is missed
	for i := range 8 {
		w.newQueue(uint32(1 + i*[...]int{1, 60, 200}[rng.IntN(3)]))
	}
	w.has = w.open()
	return w
}

func (w *world) newQueue(ordinal uint32) {
	for slices.Contains(w.queues, ordinal) || w.dropped[ordinal] {
		ordinal++
	}
	w.queues = append(w.queues, ordinal)
	slices.Sort(w.queues)
	if _, ok := w.next[ordinal]; !ok {
		w.next[ordinal] = w.rng.Uint64N(50)
	}
}

// bounds returns what a catalog must say of a queue.
func (w *world) bounds(ordinal uint32) (first, end uint64, ok bool) {
	if w.dropped[ordinal] {
		return 0, 0, false
	}
	first = math.MaxUint64
	for _, l := range w.listed(ordinal) {
		first, end, ok = min(first, l.First), max(end, l.End), true
	}
	if row, there := w.rows[ordinal]; there {
		end, ok = max(end, row.End), true
	}
	if _, there := w.cursor[ordinal]; there {
		ok = true
	}
	first = max(min(first, end), w.state.Trims[ordinal])
	return first, max(end, w.state.Trims[ordinal]), ok
}

// listed returns a queue's runs in order of offsets.
func (w *world) listed(ordinal uint32) []Located {
	var out []Located
	for _, p := range w.pages {
		for i := range p {
			for _, r := range p[i].Runs {
				if r.Ordinal == ordinal {
					out = append(out, Located{Entry: p[i].Entry, Run: r})
				}
			}
		}
	}
	for i := range w.recents {
		if r := w.recents[i].run(ordinal); r != nil {
			out = append(out, Located{Entry: EntryOf(&w.recents[i].Segment), Run: *r})
		}
	}
	slices.SortFunc(out, func(a, b Located) int { return cmp.Compare(a.First, b.First) })
	return out
}

// seal commits a segment of level 0.
func (w *world) seal() {
	var parts []part
	odds := [...]int{0, 2, 2, 5}[w.rng.IntN(4)] // a segment may have nothing but cursors
	for _, o := range w.queues {
		if w.rng.IntN(6) >= odds {
			continue
		}
		w.clock += w.rng.Int64N(50)
		p := part{ordinal: o, first: w.next[o], end: w.next[o] + 1 + w.rng.Uint64N(4), store: w.clock}
		if w.rng.IntN(6) == 0 {
			p.store, p.end = 0, p.end+w.rng.Uint64N(100)
		}
		w.next[o], w.last[o] = p.end, max(w.last[o], p.store)
		parts = append(parts, p)
	}
	var cursors []metadata.QueueCursor
	for _, o := range w.queues {
		if w.rng.IntN(8) == 0 {
			w.cursor[o] = w.rng.Uint64N(w.next[o] + 1)
			cursors = append(cursors, metadata.QueueCursor{Ordinal: o, Offset: w.cursor[o]})
		}
	}
	end := w.lsn + 1 + w.rng.Uint64N(10)
	seg, sum := w.segment(0, w.lsn, end, parts, cursors...)
	w.lsn = end + w.rng.Uint64N(2)*100 // a new epoch leaves LSNs out
	r := RecentOf(seg, &sum)
	if w.rng.IntN(2) == 0 { // as a reader of the segment finds it
		rd, err := w.has.OpenSegment(w.tb.Context(), EntryOf(&seg))
		if err != nil {
			w.tb.Fatal(err)
		}
		read, err := NewRecent(w.tb.Context(), seg, rd)
		if err != nil || !gocmp.Equal(read, r) {
			w.tb.Fatalf("%v: %s", err, gocmp.Diff(r, read))
		}
	}
	w.recents = append(w.recents, r)
	w.has.Add(r)
	if w.rng.IntN(5) == 0 {
		w.has.Add(r)
	}
}

// merge replaces some adjacent recent segments by up to three of level 1.
func (w *world) merge() {
	if len(w.recents) < 2 {
		return
	}
	from := w.rng.IntN(len(w.recents) - 1)
	to := min(len(w.recents), from+2+w.rng.IntN(4))
	for from > 0 && w.recents[from-1].FirstLSN == w.recents[from].FirstLSN { // whole groups
		from--
	}
	for to < len(w.recents) && w.recents[to].FirstLSN == w.recents[to-1].FirstLSN {
		to++
	}
	byQueue := map[uint32][]part{}
	cursors := map[uint32]uint64{}
	var in []uint64
	endLSN := uint64(0)
	for i := from; i < to; i++ {
		r := &w.recents[i]
		in, endLSN = append(in, r.Object), max(endLSN, r.EndLSN)
		for _, c := range r.Cursors {
			cursors[c.Ordinal] = c.Offset
		}
		for j, run := range r.Runs {
			if w.dropped[run.Ordinal] {
				continue
			}
			byQueue[run.Ordinal] = append(byQueue[run.Ordinal], part{ordinal: run.Ordinal, first: run.First, end: run.End, store: r.LastStores[j]})
		}
	}
	var parts []part
	for _, o := range slices.Sorted(maps.Keys(byQueue)) {
		ps := byQueue[o]
		m := ps[0]
		for _, p := range ps[1:] {
			m.end, m.store = p.end, max(m.store, p.store)
		}
		if trim := w.state.Trims[o]; w.rng.IntN(2) == 0 && trim > m.first { // the last offset stays, or the queue's end would be forgotten
			m.first = min(trim, m.end-1)
		}
		if cut := m.first + 1; w.rng.IntN(4) == 0 && cut < m.end { // the queue is in two outputs
			parts = append(parts, part{ordinal: o, first: m.first, end: cut, store: m.store})
			m.first = cut
		}
		parts = append(parts, m)
	}
	var cs []metadata.QueueCursor
	for _, o := range slices.Sorted(maps.Keys(cursors)) {
		cs = append(cs, metadata.QueueCursor{Ordinal: o, Offset: cursors[o]})
	}
	var out []Recent
	for group := range outputs(parts, w.rng) {
		seg, sum := w.segment(1, w.recents[from].FirstLSN, endLSN, group, cs...)
		out, cs = append(out, RecentOf(seg, &sum)), nil
	}
	w.unlist(in)
	w.recents = slices.Replace(w.recents, from, to, out...)
	shuffled := slices.Clone(out)
	w.rng.Shuffle(len(out), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
	w.has.Replace(in, shuffled)
	for _, object := range in {
		w.remove(object, metadata.KindSegment)
	}
}

// outputs cuts parts into segments: no queue twice in one.
func outputs(parts []part, rng *rand.Rand) func(func([]part) bool) {
	return func(yield func([]part) bool) {
		from := 0
		for i := range parts {
			if i > from && (parts[i].ordinal == parts[i-1].ordinal || rng.IntN(6) == 0) {
				if !yield(parts[from:i]) {
					return
				}
				from = i
			}
		}
		yield(parts[from:])
	}
}

// roll moves the oldest recent segments into the last page, or a new one.
func (w *world) roll() {
	n := min(len(w.recents), 1+w.rng.IntN(6))
	if n == 0 {
		return
	}
	var gone []uint64
	var segs []manifest.PageSegment
	at := len(w.pages)
	if at > 0 && len(w.pages[at-1]) < 6 {
		at--
		segs = slices.Clone(w.pages[at])
	}
	for i := range n {
		r := &w.recents[i]
		gone = append(gone, r.Object)
		segs = append(segs, manifest.PageSegment{Entry: EntryOf(&r.Segment), Runs: r.Runs})
		for j, run := range r.Runs {
			row, ok := w.rows[run.Ordinal]
			if !ok || row.First == row.End {
				row.First = run.First
			}
			row.Ordinal, row.End, row.LastStore, row.Bytes = run.Ordinal, run.End, max(row.LastStore, r.LastStores[j]), row.Bytes+run.Bytes
			w.rows[run.Ordinal] = row
		}
		for _, c := range r.Cursors {
			row := w.rows[c.Ordinal]
			row.Ordinal, row.Cursor = c.Ordinal, c.Offset+1
			w.rows[c.Ordinal] = row
		}
	}
	w.recents = slices.Delete(w.recents, 0, n)
	w.rewrite(at, segs, gone)
}

// rewrite makes a page anew, or removes it, with a new root.
func (w *world) rewrite(at int, segs []manifest.PageSegment, rolled []uint64) {
	var old []uint64
	if at < len(w.refs) {
		old = append(old, w.refs[at].Object)
	}
	switch {
	case len(segs) == 0:
		w.pages, w.refs = slices.Delete(w.pages, at, at+1), slices.Delete(w.refs, at, at+1)
	case at == len(w.pages):
		w.pages, w.refs = append(w.pages, segs), append(w.refs, w.page(segs))
	default:
		w.pages[at], w.refs[at] = segs, w.page(segs)
	}
	maps.DeleteFunc(w.rows, func(o uint32, _ manifest.QueueRow) bool { return w.dropped[o] })
	before := w.state.Manifest
	root, ptr := w.root(w.refs, w.rows)
	w.unlist(rolled)
	w.has.SetManifest(root, ptr, rolled)
	if before != nil {
		w.remove(before.Object, metadata.KindRoot)
	}
	for _, object := range old {
		w.remove(object, metadata.KindPage)
	}
}

// expire unlists the segments of a page of which nothing can be read.
func (w *world) expire() {
	if len(w.pages) == 0 {
		return
	}
	at := w.rng.IntN(len(w.pages))
	var kept []manifest.PageSegment
	var gone []uint64
	for _, s := range w.pages[at] {
		if slices.ContainsFunc(s.Runs, func(r manifest.Run) bool { return !w.dropped[r.Ordinal] && r.End > w.state.Trims[r.Ordinal] }) {
			kept = append(kept, s)
			continue
		}
		gone = append(gone, s.Object)
		for _, r := range s.Runs {
			if row, ok := w.rows[r.Ordinal]; ok {
				row.Bytes -= r.Bytes
				row.First = max(row.First, min(w.state.Trims[r.Ordinal], row.End))
				w.rows[r.Ordinal] = row
			}
		}
	}
	if len(gone) == 0 {
		return
	}
	w.rewrite(at, kept, nil)
	for _, object := range gone {
		w.remove(object, metadata.KindSegment)
	}
}

// trim raises first offsets.
func (w *world) trim() {
	trims := map[uint32]uint64{}
	for _, o := range w.queues {
		if first, end, ok := w.bounds(o); ok && w.rng.IntN(3) == 0 {
			trims[o] = first + w.rng.Uint64N(end-first+1)
		}
	}
	for o, first := range trims {
		w.state.Trims[o] = max(w.state.Trims[o], first)
	}
	w.has.SetTrims(trims)
	w.has.SetTrims(map[uint32]uint64{w.queues[0]: 0}) // lowers nothing
}

// drop deletes a queue and makes another.
func (w *world) drop() {
	i := w.rng.IntN(len(w.queues))
	o := w.queues[i]
	w.queues = slices.Delete(w.queues, i, i+1)
	w.dropped[o] = true
	delete(w.cursor, o)
	w.has.DropQueues([]uint32{o})
	w.newQueue(o + 1)
}

// check compares a catalog with the model.
func (w *world) check(c *Catalog) {
	w.tb.Helper()
	ctx := w.tb.Context()
	var rows []manifest.QueueRow
	for row := range c.Queues() {
		rows = append(rows, row)
	}
	var want []manifest.QueueRow
	for _, o := range slices.Sorted(maps.Keys(w.next)) {
		first, end, ok := w.bounds(o)
		gotFirst, gotEnd, gotOK := c.Bounds(o)
		if ok != gotOK || ok && (first != gotFirst || end != gotEnd) {
			w.tb.Fatalf("queue %d: [%d, %d), %t, want [%d, %d), %t", o, gotFirst, gotEnd, gotOK, first, end, ok)
		}
		if ok {
			row := manifest.QueueRow{Ordinal: o, First: first, End: end, LastStore: w.last[o], Bytes: w.rows[o].Bytes}
			if cursor, there := w.cursor[o]; there {
				row.Cursor = cursor + 1
			}
			want = append(want, row)
		}
		w.checkQueue(ctx, c, o, first, end, ok)
	}
	if d := gocmp.Diff(want, rows); d != "" {
		w.tb.Fatalf("rows: %s", d)
	}
	w.checkEntries(ctx, c)
	if got := c.Recent(); len(got) != len(w.recents) || !slices.EqualFunc(got, w.recents, sameRecent) {
		w.tb.Fatalf("recent: %s", gocmp.Diff(w.recents, got))
	}
}

func sameRecent(a, b Recent) bool {
	return a.Object == b.Object && a.FirstLSN == b.FirstLSN && a.EndLSN == b.EndLSN && a.Level == b.Level && slices.Equal(a.Cursors, b.Cursors) && slices.Equal(a.Runs, b.Runs) &&
		slices.Equal(a.LastStores, b.LastStores)
}

func (w *world) checkQueue(ctx context.Context, c *Catalog, o uint32, first, end uint64, ok bool) {
	w.tb.Helper()
	runs := w.listed(o)
	if !ok {
		runs = nil
	}
	for at := first - min(first, 2); at < end+2; at++ {
		e, r, err := c.Find(ctx, o, at)
		switch {
		case !ok || at >= end:
			if !errors.Is(err, ErrBeyond) {
				w.tb.Fatalf("queue %d, offset %d beyond %d: %v", o, at, end, err)
			}
		case at < first:
			if !errors.Is(err, ErrTrimmed) {
				w.tb.Fatalf("queue %d, offset %d below %d: %v", o, at, first, err)
			}
		default:
			n := 0
			for _, l := range runs {
				if l.First <= at && at < l.End {
					n++
					if err != nil || e != l.Entry || r != l.Run {
						w.tb.Fatalf("queue %d, offset %d: %+v, %+v, %v, want %+v", o, at, e, r, err, l)
					}
				}
			}
			if n != 1 {
				w.tb.Fatalf("queue %d, offset %d: the model has it %d times", o, at, n)
			}
		}
	}
	for _, ms := range []int64{math.MinInt64, 0, w.clock - w.rng.Int64N(3000), w.clock + 1} {
		var got, want []Located
		for l, err := range c.Since(ctx, o, ms) {
			if err != nil {
				w.tb.Fatal(err)
			}
			got = append(got, l)
		}
		for _, l := range runs {
			if l.End > first && (len(want) > 0 || l.MaxStore >= ms) {
				want = append(want, l)
			}
		}
		if !slices.Equal(got, want) {
			w.tb.Fatalf("queue %d since %d: %s", o, ms, gocmp.Diff(want, got))
		}
	}
}

func (w *world) checkEntries(ctx context.Context, c *Catalog) {
	w.tb.Helper()
	var all []manifest.Entry
	for _, p := range w.pages {
		for i := range p {
			all = append(all, p[i].Entry)
		}
	}
	for i := range w.recents {
		all = append(all, EntryOf(&w.recents[i].Segment))
	}
	slices.Reverse(all)
	begin := w.clock - w.rng.Int64N(3000)
	for _, span := range [][2]int64{{math.MinInt64, math.MaxInt64}, {begin, begin + w.rng.Int64N(1000)}, {0, 0}, {1, w.clock}, {w.clock + 1, math.MaxInt64}} {
		var got, want []manifest.Entry
		for e, err := range c.Entries(ctx, span[0], span[1]) {
			if err != nil {
				w.tb.Fatal(err)
			}
			got = append(got, e)
		}
		for _, e := range all {
			if e.MinStore <= span[1] && e.MaxStore >= span[0] {
				want = append(want, e)
			}
		}
		if !slices.Equal(got, want) {
			w.tb.Fatalf("entries in %v: %s", span, gocmp.Diff(want, got))
		}
	}
	lists := func(object, first, end uint64, kind string) bool {
		ok, err := c.Lists(ctx, object, first, end, kind)
		if err != nil {
			w.tb.Fatal(err)
		}
		return ok
	}
	for _, e := range all {
		if !lists(e.Object, e.FirstLSN, e.EndLSN, metadata.KindSegment) || lists(e.Object, e.FirstLSN, e.EndLSN, metadata.KindPage) {
			w.tb.Fatalf("segment %d is not listed, or as a page", e.Object)
		}
	}
	for _, p := range w.refs {
		if !lists(p.Object, p.FirstLSN, p.EndLSN, metadata.KindPage) || lists(p.Object, p.FirstLSN, p.EndLSN, metadata.KindSegment) {
			w.tb.Fatalf("page %d is not listed, or as a segment", p.Object)
		}
	}
	if root, ptr := c.Root(); (root == nil) != (w.state.Manifest == nil) || root != nil && (ptr != *w.state.Manifest || !lists(ptr.Object, 0, ptr.EndLSN, metadata.KindRoot)) {
		w.tb.Fatalf("root %d", ptr.Object)
	}
	if object := w.rng.Uint64N(w.store.next); !slices.ContainsFunc(all, func(e manifest.Entry) bool { return e.Object == object }) && lists(object, 0, w.lsn, metadata.KindSegment) {
		w.tb.Fatalf("segment %d is listed", object)
	}
}

// TestModel does random things and compares the catalog with a model, and now and then one that is opened anew. Meanwhile others read: what is in bounds they find, though the
// objects of former roots are gone at once.
func TestModel(t *testing.T) {
	t.Parallel()
	histories, steps := 6, 50
	if os.Getenv("VARVE_LONG") != "" {
		histories, steps = 200, 150
	}
	for i := range histories {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, seed(t))
			ctx, stop := context.WithCancel(t.Context())
			var readers sync.WaitGroup
			for n := range 2 {
				readers.Go(func() { readWhile(ctx, t, w.has, rand.New(rand.NewPCG(uint64(n), 2))) })
			}
			defer readers.Wait()
			defer stop()
			for range steps {
				switch n := w.rng.IntN(20); {
				case n < 9:
					w.seal()
				case n < 12:
					w.merge()
				case n < 15:
					w.roll()
				case n < 17:
					w.trim()
				case n < 19:
					w.expire()
				default:
					w.drop()
				}
				w.check(w.has)
				if w.rng.IntN(10) == 0 {
					c := w.open()
					c.DropQueues(slices.Collect(maps.Keys(w.dropped)))
					w.check(c)
				}
			}
		})
	}
}

// readWhile reads until ctx ends.
func readWhile(ctx context.Context, t *testing.T, c *Catalog, rng *rand.Rand) {
	t.Helper()
	for ctx.Err() == nil {
		for row := range c.Queues() {
			if row.First == row.End {
				continue
			}
			at := row.First + rng.Uint64N(row.End-row.First)
			_, r, err := c.Find(ctx, row.Ordinal, at)
			switch {
			case ctx.Err() != nil:
				return
			case errors.Is(err, ErrTrimmed):
				if first, _, ok := c.Bounds(row.Ordinal); ok && first <= at {
					t.Errorf("queue %d, offset %d: %v, but the first is %d", row.Ordinal, at, err, first)
				}
			case errors.Is(err, ErrBeyond):
				if _, end, ok := c.Bounds(row.Ordinal); ok {
					t.Errorf("queue %d, offset %d: %v, but the end is %d", row.Ordinal, at, err, end)
				}
			case err != nil || at < r.First || at >= r.End:
				t.Errorf("queue %d, offset %d: %+v, %v", row.Ordinal, at, r, err)
			}
		}
	}
}
