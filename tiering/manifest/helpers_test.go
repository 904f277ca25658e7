package manifest

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// memory is a segment.Source that counts.
type memory struct {
	b     []byte
	gets  atomic.Int64
	bytes atomic.Int64
}

func (m *memory) Get(_ context.Context, off int64, n int) ([]byte, error) {
	m.gets.Add(1)
	if off < 0 || n < 0 {
		return nil, fmt.Errorf("get %d bytes at %d", n, off)
	}
	size := int64(len(m.b))
	b := bytes.Clone(m.b[min(size, off):min(size, off+int64(n))])
	m.bytes.Add(int64(len(b)))
	return b, nil
}

// seed returns a generator whose seed is shown if the test fails.
func seed(tb testing.TB) *rand.Rand {
	tb.Helper()
	n := rand.Uint64()
	tb.Logf("seed %d", n)
	return rand.New(rand.NewPCG(n, 1))
}

func testPageIdentity() PageIdentity {
	return PageIdentity{Cluster: [16]byte{1, 2, 3, 15: 16}, Shard: "s0", Epoch: 7, Object: 99}
}

// shape says how random a page is.
type shape struct {
	segments, queues int
	present          float64 // how often a segment has something of a queue
	gaps             float64 // how often offsets are left out before a run
}

// build makes the segments of a page. Some share their LSNs, as those of level 1 do.
func build(rng *rand.Rand, s shape) []PageSegment {
	ordinals := make([]uint32, s.queues)
	at := uint32(rng.IntN(2))
	for i := range ordinals {
		ordinals[i] = at
		at += 1 + uint32(rng.IntN(1+rng.IntN(40)))
	}
	next := make([]uint64, s.queues)
	for i := range next {
		next[i] = rng.Uint64N(1 << rng.IntN(40))
	}
	segs := make([]PageSegment, s.segments)
	lsn, object, store := 1+rng.Uint64N(1000), 1+rng.Uint64N(100), int64(1_700_000_000_000)
	for i := range segs {
		e := Entry{Object: object, Epoch: 1 + rng.Uint64N(9), Size: rng.Int64N(256 << 20), FooterCRC: rng.Uint32(), FirstLSN: lsn, EndLSN: lsn + 1 + rng.Uint64N(5000)}
		object += 1 + rng.Uint64N(5)
		if e.Level = uint8(rng.IntN(2)); e.Level == 0 || rng.IntN(3) == 0 {
			lsn = e.EndLSN + rng.Uint64N(2)
		}
		if rng.IntN(10) > 0 {
			e.MinStore = store + rng.Int64N(60_000)
			e.MaxStore = e.MinStore + rng.Int64N(60_000)
			e.Messages, e.RawBytes = 1+rng.Uint64N(1<<20), rng.Uint64N(1<<30)
			store = e.MaxStore - rng.Int64N(1000)
		}
		segs[i].Entry = e
		for j, o := range ordinals {
			if rng.Float64() >= s.present {
				continue
			}
			if rng.Float64() < s.gaps {
				next[j] += 1 + rng.Uint64N(1<<rng.IntN(36))
			}
			r := Run{Ordinal: o, First: next[j], End: next[j] + 1 + rng.Uint64N(1<<rng.IntN(20)), Bytes: rng.Uint64N(1 << 24)}
			next[j] = r.End
			segs[i].Runs = append(segs[i].Runs, r)
		}
	}
	return segs
}

// encode encodes a page.
func encode(tb testing.TB, segs []PageSegment) ([]byte, PageRef) {
	tb.Helper()
	b, ref, err := EncodePage(testPageIdentity(), segs)
	if err != nil {
		tb.Fatal(err)
	}
	if ref.Size != int64(len(b)) || int(ref.Segments) != len(segs) {
		tb.Fatalf("%+v", ref)
	}
	return b, ref
}

// open opens a page in memory.
func open(tb testing.TB, b []byte, ref PageRef) (*Page, *memory) {
	tb.Helper()
	src := &memory{b: b}
	p, err := OpenPage(tb.Context(), src, ref)
	if err != nil {
		tb.Fatal(err)
	}
	return p, src
}

// byQueue returns the runs of each queue with their segments, in order.
func byQueue(segs []PageSegment) map[uint32][]Located {
	m := map[uint32][]Located{}
	for i := range segs {
		for _, r := range segs[i].Runs {
			m[r.Ordinal] = append(m[r.Ordinal], Located{Entry: segs[i].Entry, Run: r})
		}
	}
	return m
}

// check compares all that a page says with what it was made of.
func check(tb testing.TB, rng *rand.Rand, p *Page, segs []PageSegment) {
	tb.Helper()
	ctx := tb.Context()
	entries, err := p.Entries(ctx)
	want := make([]Entry, len(segs))
	for i := range segs {
		want[i] = segs[i].Entry
	}
	if err != nil || !slices.Equal(entries, want) {
		tb.Fatalf("%v: %s", err, cmp.Diff(want, entries))
	}
	all, err := p.All(ctx)
	same := func(a, b PageSegment) bool { return a.Entry == b.Entry && slices.Equal(a.Runs, b.Runs) }
	if err != nil || !slices.EqualFunc(all, segs, same) {
		tb.Fatalf("%v: %s", err, cmp.Diff(segs, all))
	}
	queues := byQueue(segs)
	seen := 0
	for q, err := range p.Queues(ctx) {
		runs := queues[q.Ordinal]
		if err != nil || len(runs) == 0 || q.First != runs[0].First || q.End != runs[len(runs)-1].End {
			tb.Fatalf("%+v, %v", q, err)
		}
		seen++
	}
	if n, _ := p.Counts(); seen != len(queues) || n != uint64(seen) {
		tb.Fatalf("%d queues, %d, want %d", seen, n, len(queues))
	}
	for ordinal, runs := range queues {
		checkQueue(tb, rng, p, ordinal, runs)
	}
	for range 5 {
		ordinal := rng.Uint32N(1 << 12)
		if _, ok := queues[ordinal]; ok {
			continue
		}
		if _, _, err := p.Range(ctx, ordinal); !isNotFound(err) {
			tb.Fatalf("queue %d, which is not there: %v", ordinal, err)
		}
		for range p.Runs(ctx, ordinal) {
			tb.Fatalf("queue %d, which is not there, has a run", ordinal)
		}
	}
}

func checkQueue(tb testing.TB, rng *rand.Rand, p *Page, ordinal uint32, runs []Located) {
	tb.Helper()
	ctx := tb.Context()
	first, end, err := p.Range(ctx, ordinal)
	if err != nil || first != runs[0].First || end != runs[len(runs)-1].End {
		tb.Fatalf("queue %d: [%d, %d), %v", ordinal, first, end, err)
	}
	var got []Located
	for l, err := range p.Runs(ctx, ordinal) {
		if err != nil {
			tb.Fatal(err)
		}
		got = append(got, l)
	}
	if !slices.Equal(got, runs) {
		tb.Fatalf("queue %d: %s", ordinal, cmp.Diff(runs, got))
	}
	for range 4 {
		l := runs[rng.IntN(len(runs))]
		offset := [...]uint64{l.First, l.End - 1, l.First + rng.Uint64N(l.End-l.First), l.End}[rng.IntN(4)]
		i := slices.IndexFunc(runs, func(l Located) bool { return l.First <= offset && offset < l.End })
		e, r, err := p.Find(ctx, ordinal, offset)
		if i < 0 {
			if !isNotFound(err) {
				tb.Fatalf("queue %d, offset %d: %v", ordinal, offset, err)
			}
		} else if err != nil || e != runs[i].Entry || r != runs[i].Run {
			tb.Fatalf("queue %d, offset %d: %+v, %+v, %v, want %+v", ordinal, offset, e, r, err, runs[i])
		}
	}
}

// testRoot makes a root of random pages and queues.
func testRoot(rng *rand.Rand, pages, queues int) *Root {
	r := &Root{
		Cluster: [16]byte{1, 2, 3, 15: 16}, Shard: "s0", Epoch: 7, Object: 98, EtcdRevision: 12345, Created: 1_700_000_000_000, Pages: make([]PageRef, pages),
		Queues: make([]QueueRow, queues),
	}
	lsn, object, store := rng.Uint64N(100), rng.Uint64N(1000), int64(1_700_000_000_000)
	for i := range r.Pages {
		p := PageRef{
			Object: object, Epoch: 1 + rng.Uint64N(9), Size: 20_000 + rng.Int64N(8<<20), CRC: rng.Uint32(), FirstLSN: lsn, EndLSN: lsn + 1<<20 + rng.Uint64N(1<<20),
			MinStore: store, MaxStore: store + 60_000*1024, Segments: MaxPageSegments, Bytes: 64 << 30,
		}
		lsn, object, store = p.EndLSN, object+1025+rng.Uint64N(3), p.MaxStore-rng.Int64N(100)
		r.Pages[i] = p
	}
	r.EndLSN = lsn
	ordinal := uint32(0)
	for i := range r.Queues {
		ordinal += 1 + uint32(rng.IntN(3))
		q := QueueRow{Ordinal: ordinal, First: rng.Uint64N(1 << 30), LastStore: store - rng.Int64N(100_000)}
		q.End = q.First + rng.Uint64N(1<<30)
		q.Bytes = (q.End - q.First) * 200
		if rng.IntN(20) == 0 {
			q.Cursor = 1 + q.First
		}
		r.Queues[i] = q
	}
	return r
}
