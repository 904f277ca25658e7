package manifest

import (
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func isNotFound(err error) bool { return errors.Is(err, ErrNotFound) }

// TestRoundTrip writes random pages and reads them in every way.
func TestRoundTrip(t *testing.T) {
	t.Parallel()
	for name, s := range map[string]shape{
		"one segment":      {segments: 1, queues: 3, present: 1},
		"no queues":        {segments: 5},
		"few":              {segments: 7, queues: 20, present: 0.5, gaps: 0.1},
		"dense":            {segments: 200, queues: 50, present: 1},
		"sparse":           {segments: 300, queues: 400, present: 0.02, gaps: 0.3},
		"many queues":      {segments: 4, queues: 3000, present: 0.7},
		"full page":        {segments: MaxPageSegments, queues: 30, present: 0.9, gaps: 0.01},
		"exactly a block":  {segments: segmentsPer, queues: 2, present: 1},
		"one over a block": {segments: segmentsPer + 1, queues: 2, present: 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rng := seed(t)
			segs := build(rng, s)
			b, ref := encode(t, segs)
			p, src := open(t, b, ref)
			if p.Ref() != ref || p.Identity() != testPageIdentity() || src.gets.Load() > 2 {
				t.Errorf("%+v, want %+v, %d requests", p.Ref(), ref, src.gets.Load())
			}
			check(t, rng, p, segs)
			cache := NewCache(1 << 20)
			for range 2 {
				p, err := cache.OpenPage(t.Context(), src, ref)
				if err != nil {
					t.Fatal(err)
				}
				check(t, rng, p, segs)
			}
			if n := cache.Bytes(); n > 1<<20 {
				t.Errorf("the cache has %d bytes", n)
			}
			again, _ := encode(t, segs)
			if string(again) != string(b) {
				t.Error("the same input gives other bytes")
			}
		})
	}
}

// TestRequests: what a read costs.
func TestRequests(t *testing.T) {
	t.Parallel()
	rng := seed(t)
	segs := build(rng, shape{segments: 400, queues: 2000, present: 0.3})
	b, ref := encode(t, segs)
	src := &memory{b: b}
	cache := NewCache(1 << 20)
	p, err := cache.OpenPage(t.Context(), src, ref)
	if err != nil || src.gets.Load() != 1 || src.bytes.Load() != tailBytes {
		t.Fatalf("open: %d requests, %d bytes, %v", src.gets.Load(), src.bytes.Load(), err)
	}
	run := segs[300].Runs[3]
	for want := range int64(2) {
		src.gets.Store(0)
		src.bytes.Store(0)
		e, r, err := p.Find(t.Context(), run.Ordinal, run.First)
		if err != nil || e != segs[300].Entry || r != run {
			t.Fatalf("%+v, %+v, %v", e, r, err)
		}
		if most := 2 * (1 - want); src.gets.Load() > most || src.bytes.Load() > most*maxDirectory {
			t.Errorf("find: %d requests, %d bytes", src.gets.Load(), src.bytes.Load())
		}
	}
	if _, err := cache.OpenPage(t.Context(), &memory{}, ref); err != nil {
		t.Errorf("the page is not in the cache: %v", err)
	}
	other := ref
	other.CRC++
	if _, err := cache.OpenPage(t.Context(), src, other); !errors.Is(err, ErrIdentity) {
		t.Errorf("another crc than the cache's: %v", err)
	}
}

// TestRootRoundTrip encodes random roots, and some at the limits.
func TestRootRoundTrip(t *testing.T) {
	t.Parallel()
	rng := seed(t)
	big := &Root{
		Shard: strings.Repeat("x", maxShardName), Epoch: math.MaxUint64, Object: math.MaxUint64, EtcdRevision: math.MaxUint64, Created: math.MinInt64, EndLSN: math.MaxUint64,
		Pages: []PageRef{
			{Object: math.MaxUint64, Epoch: math.MaxUint64, Size: MaxPageBytes, EndLSN: math.MaxUint64, MinStore: math.MinInt64, Segments: 1},
			{Size: footerSize + 1, FirstLSN: math.MaxUint64, EndLSN: math.MaxUint64, MinStore: 5, MaxStore: math.MaxInt64, Segments: MaxPageSegments, Bytes: math.MaxUint64},
		},
		Queues: []QueueRow{
			{Ordinal: 0, LastStore: math.MinInt64},
			{Ordinal: 1, First: maxOffset, End: maxOffset, LastStore: math.MaxInt64, Cursor: maxOffset + 1},
			{Ordinal: 1<<28 - 1, End: maxOffset, Bytes: math.MaxUint64},
		},
	}
	for name, r := range map[string]*Root{
		"nothing": testRoot(rng, 0, 0), "pages": testRoot(rng, 3, 0), "queues": testRoot(rng, 0, 3), "both": testRoot(rng, 100, 1000), "limits": big,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := r.Encode()
			got, err := DecodeRoot(b)
			if err != nil || !cmp.Equal(got, r) {
				t.Fatalf("%v: %s", err, cmp.Diff(r, got))
			}
			if err := r.Validate(); err != nil {
				t.Error(err)
			}
			clear(b)
			if !cmp.Equal(got, r) {
				t.Error("it keeps the bytes that it was decoded from")
			}
		})
	}
}

// TestInvalid: what cannot be read again is not written.
func TestInvalid(t *testing.T) {
	t.Parallel()
	rng := seed(t)
	page := func(change func(segs []PageSegment) []PageSegment) error {
		segs := build(rng, shape{segments: 4, queues: 4, present: 1})
		_, _, err := EncodePage(testPageIdentity(), change(segs))
		return err
	}
	root := func(change func(r *Root)) error {
		r := testRoot(rng, 3, 3)
		change(r)
		return r.Validate()
	}
	for name, err := range map[string]error{
		"no segments":         page(func([]PageSegment) []PageSegment { return nil }),
		"too many segments":   page(func([]PageSegment) []PageSegment { return build(rng, shape{segments: MaxPageSegments + 1}) }),
		"order of segments":   page(func(s []PageSegment) []PageSegment { s[0], s[1] = s[1], s[0]; return s }),
		"twice":               page(func(s []PageSegment) []PageSegment { s[1] = s[0]; return s }),
		"level":               page(func(s []PageSegment) []PageSegment { s[2].Level = 2; return s }),
		"LSNs":                page(func(s []PageSegment) []PageSegment { s[3].EndLSN = s[3].FirstLSN - 1; return s }),
		"store times":         page(func(s []PageSegment) []PageSegment { s[3].MinStore = s[3].MaxStore + 1; return s }),
		"empty run":           page(func(s []PageSegment) []PageSegment { s[0].Runs[0].End = s[0].Runs[0].First; return s }),
		"order of queues":     page(func(s []PageSegment) []PageSegment { s[1].Runs[1].Ordinal = s[1].Runs[0].Ordinal; return s }),
		"ordinal":             page(func(s []PageSegment) []PageSegment { s[1].Runs[3].Ordinal = 1 << 28; return s }),
		"offsets fall":        page(func(s []PageSegment) []PageSegment { s[3].Runs[0].First = s[2].Runs[0].End - 1; return s }),
		"page of no shard":    func() error { _, _, err := EncodePage(PageIdentity{}, build(rng, shape{segments: 1})); return err }(),
		"root of no shard":    root(func(r *Root) { r.Shard = "" }),
		"long name":           root(func(r *Root) { r.Shard = strings.Repeat("x", 256) }),
		"end LSN":             root(func(r *Root) { r.EndLSN-- }),
		"order of pages":      root(func(r *Root) { r.Pages[0].FirstLSN = r.Pages[1].FirstLSN + 1 }),
		"page of no segments": root(func(r *Root) { r.Pages[1].Segments = 0 }),
		"page size":           root(func(r *Root) { r.Pages[1].Size = MaxPageBytes + 1 }),
		"order of rows":       root(func(r *Root) { r.Queues[0].Ordinal = r.Queues[1].Ordinal }),
		"rows backwards":      root(func(r *Root) { r.Queues[0].Ordinal = r.Queues[2].Ordinal }),
		"row's offsets":       root(func(r *Root) { r.Queues[1].First = r.Queues[1].End + 1 }),
		"row's end":           root(func(r *Root) { r.Queues[1].End = maxOffset + 1 }),
		"row's ordinal":       root(func(r *Root) { r.Queues[2].Ordinal = 1 << 28 }),
	} {
		if !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestMaxRuns: a page of more runs than are allowed is not written.
func TestMaxRuns(t *testing.T) {
	t.Parallel()
	runs := make([]Run, MaxPageRuns/4+1)
	for i := range runs {
		runs[i] = Run{Ordinal: uint32(i), First: 1, End: 2}
	}
	segs := make([]PageSegment, 4)
	for i := range segs {
		segs[i] = PageSegment{Entry: Entry{Object: uint64(i)}, Runs: runs}
	}
	if _, _, err := EncodePage(testPageIdentity(), segs); !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), "runs") {
		t.Error(err)
	}
}

// TestCache: it stays within its bytes, gives up what was not used for longest, and is not needed.
func TestCache(t *testing.T) {
	t.Parallel()
	key := func(i int) CacheKey { return CacheKey{Object: 1, Pos: int64(i)} }
	c := NewCache(4 * (itemOverhead + 100))
	for i := range 4 {
		c.Put(key(i), i, 100)
	}
	if _, ok := c.Get(key(0)); !ok {
		t.Error("0 is gone")
	}
	c.Put(key(4), 4, 100)
	if _, ok := c.Get(key(1)); ok {
		t.Error("1 is there, which was not used for longest")
	}
	if v, ok := c.Get(key(0)); !ok || v != 0 {
		t.Error("0 is gone, which was used")
	}
	c.Put(key(5), 5, 1<<20)
	c.Put(key(4), 7, 100)
	if v, _ := c.Get(key(4)); v != 4 || c.Bytes() != 4*(itemOverhead+100) {
		t.Errorf("%v, %d bytes", v, c.Bytes())
	}
	var none *Cache
	none.Put(key(1), 1, 1)
	if _, ok := none.Get(key(1)); ok || none.Bytes() != 0 {
		t.Error("a nil cache has something")
	}
}
