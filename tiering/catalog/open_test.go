package catalog

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/varvemq/varve/metadata"
	"github.com/varvemq/varve/tiering/manifest"
	"github.com/varvemq/varve/tiering/objstore"
	"github.com/varvemq/varve/tiering/segment"
)

// sample is a shard with two segments in a page and two in etcd.
func sample(tb testing.TB) *store {
	tb.Helper()
	s := newStore(tb)
	var segs []manifest.PageSegment
	rows := map[uint32]manifest.QueueRow{}
	for i := range uint64(4) {
		seg, sum := s.segment(0, 1+10*i, 11+10*i, []part{
			{ordinal: 3, first: 100 + 10*i, end: 110 + 10*i, store: 1000 + 100*int64(i)},
			{ordinal: 500, first: 5 * i, end: 5*i + 5, store: 1050 + 100*int64(i)},
		}, metadata.QueueCursor{Ordinal: 500, Offset: i})
		if r := RecentOf(seg, &sum); i < 2 {
			segs = append(segs, manifest.PageSegment{Entry: EntryOf(&seg), Runs: r.Runs})
		}
	}
	rows[3] = manifest.QueueRow{Ordinal: 3, First: 100, End: 120, LastStore: 1100, Bytes: segs[0].Runs[0].Bytes + segs[1].Runs[0].Bytes}
	rows[400] = manifest.QueueRow{Ordinal: 400, First: 77, End: 77, LastStore: 9}
	rows[500] = manifest.QueueRow{Ordinal: 500, End: 10, LastStore: 1150, Cursor: 2, Bytes: segs[0].Runs[1].Bytes + segs[1].Runs[1].Bytes}
	s.root([]manifest.PageRef{s.page(segs)}, rows)
	s.state.Segments = s.state.Segments[2:]
	s.state.Trims = map[uint32]uint64{3: 105, 4: 99}
	return s
}

// TestOpen: what is in etcd, the root and the page comes together.
func TestOpen(t *testing.T) {
	t.Parallel()
	s := sample(t)
	c := s.open()
	var rows []manifest.QueueRow
	for row := range c.Queues() {
		rows = append(rows, row)
	}
	want := []manifest.QueueRow{
		{Ordinal: 3, First: 105, End: 140, LastStore: 1300, Bytes: rows[0].Bytes},
		{Ordinal: 400, First: 77, End: 77, LastStore: 9},
		{Ordinal: 500, End: 20, LastStore: 1350, Cursor: 4, Bytes: rows[2].Bytes},
	}
	if d := cmp.Diff(want, rows); d != "" || rows[0].Bytes == 0 {
		t.Error(d)
	}
	if _, _, ok := c.Bounds(4); ok {
		t.Error("a queue that was trimmed only has bounds")
	}
	for offset, object := range map[uint64]uint64{105: 1, 109: 1, 110: 2, 119: 2, 120: 3, 139: 4} {
		e, r, err := c.Find(t.Context(), 3, offset)
		if err != nil || e.Object != object || offset < r.First || offset >= r.End {
			t.Errorf("offset %d: %+v, %+v, %v", offset, e, r, err)
		}
	}
	for _, e := range []uint64{1, 4} {
		for entry := range c.Entries(t.Context(), 0, 1<<40) {
			if entry.Object != e {
				continue
			}
			r, err := c.OpenSegment(t.Context(), entry)
			if err != nil || r.Footer().Sequence != e {
				t.Errorf("segment %d: %v", e, err)
			}
			again, _ := c.OpenSegment(t.Context(), entry)
			if again != r {
				t.Error("the reader is not kept")
			}
			rec, err := NewRecent(t.Context(), metadata.Segment{}, r)
			if err != nil || len(rec.Runs) != 2 || rec.Runs[1].Ordinal != 500 || rec.LastStores[1] != entry.MaxStore {
				t.Errorf("%+v, %v", rec, err)
			}
		}
	}
}

// TestOpenFaults: whatever an object lacks, a start refuses, and names it; but see TestDamagedSegment.
func TestOpenFaults(t *testing.T) {
	t.Parallel()
	overwrite := func(t *testing.T, s *store, key string, change func([]byte) []byte) {
		t.Helper()
		b, err := objstore.ReadAll(t.Context(), s.bucket, key, 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		if err := objstore.PutBytes(t.Context(), s.bucket, key, change(bytes.Clone(b)), objstore.PutOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	flip := func(b []byte) []byte { b[len(b)/2] ^= 1; return b }
	segmentKey := func(s *store) string { return ObjectKey(testShard, 1, s.state.Segments[1].Object, "seg") }
	rootKey := func(s *store) string { return ObjectKey(testShard, 1, s.state.Manifest.Object, "root") }
	for name, tt := range map[string]struct {
		spoil func(t *testing.T, s *store)
		key   func(s *store) string
		want  error
	}{
		"root gone":      {func(t *testing.T, s *store) { t.Helper(); s.remove(s.state.Manifest.Object, "root") }, rootKey, objstore.ErrNotFound},
		"root damaged":   {func(t *testing.T, s *store) { t.Helper(); overwrite(t, s, rootKey(s), flip) }, rootKey, ErrMismatch},
		"root shorter":   {func(t *testing.T, s *store) { t.Helper(); s.state.Manifest.Size++ }, rootKey, ErrMismatch},
		"root longer":    {func(t *testing.T, s *store) { t.Helper(); s.state.Manifest.Size-- }, rootKey, ErrMismatch},
		"root's size":    {func(t *testing.T, s *store) { t.Helper(); s.state.Manifest.Size = 1<<63 - 1 }, rootKey, ErrMismatch},
		"root's LSN":     {func(t *testing.T, s *store) { t.Helper(); s.state.Manifest.EndLSN++ }, rootKey, ErrMismatch},
		"root's count":   {func(t *testing.T, s *store) { t.Helper(); s.state.Manifest.Segments++ }, rootKey, ErrMismatch},
		"segment gone":   {func(t *testing.T, s *store) { t.Helper(); s.remove(s.state.Segments[1].Object, "seg") }, segmentKey, objstore.ErrNotFound},
		"segment's crc":  {func(t *testing.T, s *store) { t.Helper(); s.state.Segments[1].FooterCRC++ }, segmentKey, segment.ErrIdentity},
		"segment's size": {func(t *testing.T, s *store) { t.Helper(); s.state.Segments[1].Size-- }, segmentKey, segment.ErrTruncated},
		"segment's LSN":  {func(t *testing.T, s *store) { t.Helper(); s.state.Segments[1].EndLSN++ }, segmentKey, ErrMismatch},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := sample(t)
			key := tt.key(s)
			tt.spoil(t, s)
			c, err := Open(t.Context(), s.config(), &s.state)
			if c != nil || err == nil || !strings.Contains(err.Error(), key) || !errors.Is(err, tt.want) {
				t.Errorf("%v", err)
			}
		})
	}
	s := sample(t)
	other := *s.state.Manifest // intact, but under another root's name
	other.Object = s.number()
	b, err := objstore.ReadAll(t.Context(), s.bucket, rootKey(s), 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	s.put(other.Object, "root", b)
	st := s.state
	st.Manifest = &other
	if _, err := Open(t.Context(), s.config(), &st); !errors.Is(err, ErrMismatch) {
		t.Errorf("another root: %v", err)
	}
	for name, change := range map[string]func(cfg *Config){
		"shard": func(cfg *Config) { cfg.Shard = "s1" }, "cluster": func(cfg *Config) { cfg.Cluster[3]++ }, "no bucket": func(cfg *Config) { cfg.Bucket = nil },
	} {
		cfg := s.config()
		change(&cfg)
		if _, err := Open(t.Context(), cfg, &s.state); err == nil {
			t.Errorf("another %s: no error", name)
		}
	}
}

// TestPageGone: a page that is lost fails reads that need it, with its key, and no others.
func TestPageGone(t *testing.T) {
	t.Parallel()
	s := sample(t)
	c := s.open()
	root, _ := c.Root()
	key := ObjectKey(testShard, 1, root.Pages[0].Object, "page")
	s.remove(root.Pages[0].Object, "page")
	if _, _, err := c.Find(t.Context(), 3, 125); err != nil {
		t.Error(err)
	}
	_, _, err := c.Find(t.Context(), 3, 110)
	errs := []error{err}
	for _, err := range c.Since(t.Context(), 3, 0) {
		errs = append(errs, err)
	}
	for _, err := range c.Entries(t.Context(), 0, 1150) {
		errs = append(errs, err)
	}
	ok, err := c.Lists(t.Context(), 999, 1, 5, "seg")
	if errs = append(errs, err); !ok {
		t.Error("with an error it must not be known to be unlisted")
	}
	if len(errs) != 4 {
		t.Error(errs)
	}
	for i, err := range errs {
		if !errors.Is(err, objstore.ErrNotFound) || !strings.Contains(err.Error(), key) {
			t.Errorf("%d: %v", i, err)
		}
	}
	src := c.SegmentSource(manifest.Entry{Object: 12345, Epoch: 1})
	if _, err := src.Get(t.Context(), 0, 10); !errors.Is(err, objstore.ErrNotFound) {
		t.Error(err)
	}
}

// TestSparse: a queue that few of many pages have is found, wherever it is, and what no page has is reported.
func TestSparse(t *testing.T) {
	t.Parallel()
	rng := seed(t)
	s := newStore(t)
	const pages = 60
	rows := map[uint32]manifest.QueueRow{}
	var refs []manifest.PageRef
	runs := map[uint32][]Located{}
	for i := range uint64(pages) {
		seg := manifest.PageSegment{Entry: manifest.Entry{Object: s.number(), Epoch: 1, Size: 1000, FooterCRC: 1, FirstLSN: 1 + i, EndLSN: 2 + i, MaxStore: int64(i), Messages: 1}}
		for q := range uint32(30) {
			if q > 0 && rng.IntN(pages) >= int(q)*2 {
				continue
			}
			row := rows[q]
			r := manifest.Run{Ordinal: q, First: row.End, End: row.End + 1 + rng.Uint64N(5), Bytes: 10}
			if q == 0 && i == 7 {
				r.First++ // an offset that nobody has
				r.End++
			}
			row.Ordinal, row.End = q, r.End
			rows[q] = row
			seg.Runs = append(seg.Runs, r)
			runs[q] = append(runs[q], Located{Entry: seg.Entry, Run: r})
		}
		refs = append(refs, s.page([]manifest.PageSegment{seg}))
	}
	s.root(refs, rows)
	c := s.open()
	for q, ls := range runs {
		for _, l := range ls {
			for at := l.First; at < l.End; at++ {
				if e, r, err := c.Find(t.Context(), q, at); err != nil || e != l.Entry || r != l.Run {
					t.Fatalf("queue %d, offset %d: %+v, %+v, %v, want %+v", q, at, e, r, err, l)
				}
			}
		}
	}
	if _, _, err := c.Find(t.Context(), 0, runs[0][7].First-1); !errors.Is(err, ErrNotListed) {
		t.Errorf("an offset in a gap: %v", err)
	}
}

// TestObjectKey: keys are what they were, can be parsed, and are acceptable to stores.
func TestObjectKey(t *testing.T) {
	t.Parallel()
	if got, want := ObjectKey("s0", 7, 0x1a2b, "seg"), "61ea/s-s0/0000000000000007-0000000000001a2b.seg"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	prefixes := map[string]bool{}
	for i, shard := range []string{"s0", ".hidden", "..", "a/b", "ä ö", "%RETRY%g", strings.Repeat("/", 255), "s-s0"} {
		for _, kind := range []string{"seg", "root", "page"} {
			key := ObjectKey(shard, uint64(i), 1<<63+uint64(i), kind)
			prefixes[key[:4]] = true
			if err := objstore.ValidateKey(key); err != nil {
				t.Error(err)
			}
			if p, ok := ParseObjectKey(key); !ok || p != (ParsedKey{shard, uint64(i), 1<<63 + uint64(i), kind}) {
				t.Errorf("%s: %+v", key, p)
			}
			for _, other := range []string{"x" + key, key + "x/y", key[1:], strings.ToUpper(key), strings.Replace(key, "s-", "", 1), strings.Replace(key, "/", "//", 1)} {
				if p, ok := ParseObjectKey(other); ok {
					t.Errorf("%s: %+v", other, p)
				}
			}
		}
	}
	if len(prefixes) < 20 {
		t.Errorf("%d prefixes", len(prefixes))
	}
}

// TestWithoutLastStores: a segment whose queues' last store times are not known counts with its own, for all.
func TestWithoutLastStores(t *testing.T) {
	t.Parallel()
	c := newStore(t).open()
	c.Add(Recent{Segment: metadata.Segment{Object: 1, FirstLSN: 1, EndLSN: 2, MaxStore: 99}, Runs: []manifest.Run{{Ordinal: 1, First: 5, End: 6}}})
	c.Add(Recent{Segment: metadata.Segment{Object: 2, FirstLSN: 2, EndLSN: 3, MaxStore: 50}, Runs: []manifest.Run{{Ordinal: 1, First: 6, End: 7}}})
	for row := range c.Queues() {
		if row != (manifest.QueueRow{Ordinal: 1, First: 5, End: 7, LastStore: 99}) {
			t.Errorf("%+v", row)
		}
	}
}

// TestEndsStay: when nothing of a queue is listed any more, its end, its last store time and its cursor stay.
func TestEndsStay(t *testing.T) {
	t.Parallel()
	c := newStore(t).open()
	seg := Recent{
		Segment:    metadata.Segment{Object: 1, FirstLSN: 1, EndLSN: 2, MaxStore: 99, Cursors: []metadata.QueueCursor{{Ordinal: 1, Offset: 5}}},
		Runs:       []manifest.Run{{Ordinal: 1, First: 5, End: 60}},
		LastStores: []int64{98},
	}
	c.Add(seg)
	c.Replace([]uint64{1}, nil)
	c.Replace(nil, nil)
	want := manifest.QueueRow{Ordinal: 1, First: 60, End: 60, LastStore: 98, Cursor: 6}
	for row := range c.Queues() {
		if row != want {
			t.Errorf("%+v", row)
		}
	}
	seg.Object, seg.Runs = 2, []manifest.Run{{Ordinal: 1, First: 60, End: 70}}
	c.Add(seg)
	if first, end, ok := c.Bounds(1); first != 60 || end != 70 || !ok {
		t.Error(first, end, ok)
	}
	c.SetTrims(map[uint32]uint64{1: 80}) // as when etcd is older than the first offsets: what is below was in use
	if first, end, ok := c.Bounds(1); first != 80 || end != 80 || !ok {
		t.Error(first, end, ok)
	}
	if _, _, err := c.Find(t.Context(), 1, 69); !errors.Is(err, ErrTrimmed) {
		t.Error(err)
	}
	c.DropQueues([]uint32{1})
	c.Add(Recent{Segment: metadata.Segment{Object: 3, FirstLSN: 9, EndLSN: 10}, Runs: []manifest.Run{{Ordinal: 1, First: 80, End: 81}}})
	if _, _, ok := c.Bounds(1); ok || len(c.Recent()) != 2 {
		t.Error("a queue that was dropped is back")
	}
}

// TestTable compares tables with maps.
func TestTable(t *testing.T) {
	t.Parallel()
	rng := seed(t)
	tab, model := &table{}, map[uint32]uint64{}
	for range 80 {
		before, copied := tab, fmt.Sprint(dump(tab))
		set := map[uint32]bool{}
		for range rng.IntN(40) {
			set[rng.Uint32N(1<<[...]int{8, 12, 28}[rng.IntN(3)])] = true
		}
		var ordinals []uint32
		for o := range set {
			ordinals = append(ordinals, o)
		}
		sortOrdinals(ordinals)
		gone, value := rng.IntN(3) == 0, rng.Uint64()
		tab = tab.with(ordinals, func(r *row) bool {
			r.End = value + uint64(r.Ordinal)
			return !gone
		})
		for _, o := range ordinals {
			if model[o] = value + uint64(o); gone {
				delete(model, o)
			}
		}
		if fmt.Sprint(dump(before)) != copied {
			t.Fatal("a table has changed")
		}
		got := dump(tab)
		if len(got) != len(model) {
			t.Fatalf("%d rows, want %d", len(got), len(model))
		}
		for i, r := range got {
			if r.End != model[r.Ordinal] || i > 0 && got[i-1].Ordinal >= r.Ordinal || tab.row(r.Ordinal).End != r.End {
				t.Fatalf("row %+v", r)
			}
		}
		for range 10 {
			o := rng.Uint32N(1 << 12)
			if _, ok := model[o]; (tab.row(o) != nil) != ok {
				t.Fatalf("queue %d: %t", o, !ok)
			}
		}
	}
}

func dump(t *table) []row {
	var out []row
	for r := range t.all() {
		out = append(out, *r)
	}
	return out
}
