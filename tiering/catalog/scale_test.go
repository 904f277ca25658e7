package catalog

import (
	"math/rand/v2"
	"os"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/varvemq/varve/metadata"
	"github.com/varvemq/varve/tiering/manifest"
)

func sortOrdinals(o []uint32) { slices.Sort(o) }

// bigShard is a shard of so many segments, the last 64 of them in etcd, each with all its queues, 10 offsets each.
func bigShard(tb testing.TB, segments, queues int) *store {
	tb.Helper()
	const inEtcd = 64
	s := newStore(tb)
	rows := make(map[uint32]manifest.QueueRow, queues)
	var refs []manifest.PageRef
	var segs []manifest.PageSegment
	for i := range segments - inEtcd {
		at := uint64(i)
		e := manifest.Entry{
			Object: s.number(), Epoch: 1, Size: 64 << 20, FooterCRC: 1, FirstLSN: 1 + 100*at, EndLSN: 101 + 100*at, MinStore: 60_000 * int64(i), MaxStore: 60_000*int64(i) + 59_999,
			Messages: uint64(queues) * 10, RawBytes: 64 << 20,
		}
		runs := make([]manifest.Run, queues)
		for q := range runs {
			runs[q] = manifest.Run{Ordinal: uint32(q), First: 10 * at, End: 10*at + 10, Bytes: 64 << 20 / uint64(queues)}
		}
		if segs = append(segs, manifest.PageSegment{Entry: e, Runs: runs}); len(segs) == manifest.MaxPageSegments || i == segments-inEtcd-1 || len(segs)*queues > manifest.MaxPageRuns-queues {
			refs, segs = append(refs, s.page(segs)), nil
		}
	}
	end := uint64(segments-inEtcd) * 10
	for q := range uint32(queues) {
		rows[q] = manifest.QueueRow{Ordinal: q, End: end, LastStore: 1, Bytes: 1}
	}
	s.root(refs, rows)
	parts := make([]part, queues)
	for i := range uint64(inEtcd) {
		for q := range parts {
			parts[q] = part{ordinal: uint32(q), first: end + 10*i, end: end + 10*i + 10}
		}
		lsn := 1 + 100*(uint64(segments-inEtcd)+i)
		s.segment(0, lsn, lsn+100, parts)
	}
	return s
}

func heap() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// TestScale opens a large shard and finds random offsets. VARVE_SCALE=1 makes it as large as a shard is meant to be.
func TestScale(t *testing.T) { //nolint:paralleltest // it measures the heap
	segments, queues := 1500, 60
	if os.Getenv("VARVE_SCALE") != "" {
		segments, queues = 10_000, 1000
	}
	s := bigShard(t, segments, queues)
	before, start := heap(), time.Now()
	c := s.open()
	took := time.Since(start)
	opened := int64(heap()) - int64(before)
	rng := rand.New(rand.NewPCG(1, 1))
	start = time.Now()
	finds := 5000
	for range finds {
		o, at := rng.Uint32N(uint32(queues)), rng.Uint64N(uint64(segments)*10)
		e, r, err := c.Find(t.Context(), o, at)
		if err != nil || r.Ordinal != o || at/10 != r.First/10 || (e.FirstLSN-1)/100 != at/10 {
			t.Fatalf("queue %d, offset %d: %+v, %+v, %v", o, at, e, r, err)
		}
	}
	each := time.Since(start) / time.Duration(finds)
	used := int64(heap()) - int64(before)
	t.Logf("%d segments, %d queues: opened in %v with %.1f MB; %d finds of %v each, then %.1f MB, caches %.1f and %.1f MB", segments, queues, took.Round(time.Millisecond),
		float64(opened)/1e6, finds, each, float64(used)/1e6, float64(c.pages.Bytes())/1e6, float64(c.readers.Bytes())/1e6)
	if took > 2*time.Second*slow || opened > 200e6 || used > 200e6 {
		t.Errorf("it takes too long, or too much memory")
	}
	runtime.KeepAlive(c)
}

// TestScaleQueues: what a shard of 100,000 queues costs, as far as it is about rows.
func TestScaleQueues(t *testing.T) { //nolint:paralleltest // it measures
	s := newStore(t)
	const queues = 100_000
	rows := make(map[uint32]manifest.QueueRow, queues)
	for q := range uint32(queues) {
		rows[q] = manifest.QueueRow{Ordinal: q, First: 1, End: 10_000, LastStore: 1_700_000_000_000, Bytes: 1 << 20}
	}
	s.root(nil, rows)
	before, start := heap(), time.Now()
	c := s.open()
	opened := time.Since(start)
	used := int64(heap()) - int64(before)
	seg := Recent{Segment: metadata.Segment{FirstLSN: 1, EndLSN: 2}}
	for q := uint32(0); q < queues; q += 100 {
		seg.Runs = append(seg.Runs, manifest.Run{Ordinal: q, First: 10_000, End: 10_001})
	}
	start = time.Now()
	for i := range 10 {
		seg.Object++
		seg.FirstLSN++
		c.Add(seg)
		seg.Runs = slices.Clone(seg.Runs)
		for j := range seg.Runs {
			seg.Runs[j].First, seg.Runs[j].End = seg.Runs[j].End, seg.Runs[j].End+1
		}
		if _, end, _ := c.Bounds(300); end != 10_001+uint64(i) {
			t.Fatalf("end %d", end)
		}
	}
	add := time.Since(start) / 10
	start = time.Now()
	n := 0
	for range c.Queues() {
		n++
	}
	all := time.Since(start)
	start = time.Now()
	root, ptr := c.Root()
	c.SetManifest(root, ptr, nil)
	t.Logf("%d queues: opened in %v with %.1f MB; a segment with 1,000 of them taken in in %v, all rows in %v, a manifest in %v", n, opened.Round(time.Millisecond), float64(used)/1e6, add,
		all, time.Since(start).Round(time.Millisecond))
	if n != queues || opened > 2*time.Second*slow || used > 50e6 {
		t.Error("it takes too long, or too much memory")
	}
	runtime.KeepAlive(c)
}

// BenchmarkFind finds random offsets in pages that are cached.
func BenchmarkFind(b *testing.B) {
	s := bigShard(b, 3000, 100)
	c := s.open()
	rng := rand.New(rand.NewPCG(1, 1))
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := c.Find(b.Context(), rng.Uint32N(100), rng.Uint64N(29_000)); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkBounds asks for the bounds of random queues.
func BenchmarkBounds(b *testing.B) {
	s := bigShard(b, 65, 10_000)
	c := s.open()
	rng := rand.New(rand.NewPCG(1, 1))
	b.ReportAllocs()
	for b.Loop() {
		if _, _, ok := c.Bounds(rng.Uint32N(10_000)); !ok {
			b.Fatal("no bounds")
		}
	}
}
