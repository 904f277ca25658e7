package manifest

import (
	"bytes"
	"context"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// corpus adds an input, and keeps it in testdata if asked to.
func corpus(f *testing.F, n int, b []byte) {
	f.Helper()
	f.Add(b)
	if !*update {
		return
	}
	dir := filepath.Join("testdata", "fuzz", f.Name())
	if err := os.MkdirAll(dir, 0o750); err != nil {
		f.Fatal(err)
	}
	text := "go test fuzz v1\n[]byte(" + strconv.Quote(string(b)) + ")\n"
	if err := os.WriteFile(filepath.Join(dir, "seed-"+strconv.Itoa(n)), []byte(text), 0o600); err != nil {
		f.Fatal(err)
	}
}

// FuzzRoot: no bytes make it panic; what it takes, it writes again in the same way but for the encoding of numbers.
func FuzzRoot(f *testing.F) {
	rng := rand.New(rand.NewPCG(1, 1))
	corpus(f, 1, testRoot(rng, 2, 5).Encode())
	corpus(f, 2, testRoot(rng, 0, 0).Encode())
	corpus(f, 3, goldenRoot(PageRef{Object: 3, Size: 5000, EndLSN: 90_000, Segments: 4}).Encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		b = bytes.Clone(b)
		fixRoot(b)
		r, err := DecodeRoot(b)
		if err != nil {
			return
		}
		again, err := DecodeRoot(r.Encode())
		if err != nil || !cmp.Equal(r, again) {
			t.Fatalf("%v: %s", err, cmp.Diff(r, again))
		}
	})
}

// fixRoot makes lengths and checksums right, so that the fuzzer need not guess them.
func fixRoot(b []byte) {
	if len(b) < rootHeader+1 {
		return
	}
	copy(b, rootMagic)
	n := rootHeader + int(b[rootHeader-1])
	le.PutUint16(b[10:], uint16(n))
	if n > len(b) {
		return
	}
	pages := min(int(le.Uint32(b[80:])), len(b)-n)
	if pages < 0 {
		return
	}
	le.PutUint32(b[80:], uint32(pages))
	le.PutUint32(b[84:], crcOf(b[n:n+pages]))
	le.PutUint32(b[88:], uint32(len(b)-n-pages))
	le.PutUint32(b[92:], crcOf(b[n+pages:]))
	le.PutUint32(b[12:], headerCRC(b[:n]))
}

// FuzzFooter: no bytes make it panic; what it takes, it writes again, and its positions are in the page.
func FuzzFooter(f *testing.F) {
	b, _, _ := small(f)
	corpus(f, 1, b[len(b)-footerSize:])
	corpus(f, 2, b[len(b)-footerSize-100:])
	f.Fuzz(func(t *testing.T, b []byte) {
		b = bytes.Clone(b)
		if len(b) >= footerSize {
			end := b[len(b)-footerSize:]
			le.PutUint16(end[footerSize-10:], footerSize)
			copy(end[footerSize-8:], footerMagic)
			le.PutUint32(end[footerSize-footerTrailer:], footerCRC(end))
		}
		for _, size := range []int64{int64(len(b)), 5000, MaxPageBytes} {
			foot, err := parseFooter(b, size)
			if err != nil {
				continue
			}
			if foot.dirPos < 0 || foot.indexPos+int64(foot.indexLen)+footerSize != size || len(foot.append(nil)) != footerSize {
				t.Fatalf("%+v", foot)
			}
		}
	})
}

// FuzzIndex: no index makes a reader panic or read outside the page.
func FuzzIndex(f *testing.F) {
	b, ref, segs := small(f)
	p, _ := open(f, b, ref)
	corpus(f, 1, p.index.encode())
	corpus(f, 2, (&index{segs: make([]segRow, 1)}).encode())
	f.Fuzz(func(t *testing.T, x []byte) {
		foot := p.foot
		foot.indexLen, foot.indexCRC = uint32(len(x)), crcOf(x)
		page := foot.append(append(bytes.Clone(b[:foot.indexPos]), x...))
		readAll(t.Context(), page, segs)
	})
}

// readAll reads a page whose checksums are right in every way.
func readAll(ctx context.Context, page []byte, segs []PageSegment) {
	p, err := OpenPage(ctx, &memory{b: page}, PageRef{Size: int64(len(page))})
	if err != nil {
		return
	}
	_, _ = p.Entries(ctx)
	_, _ = p.All(ctx)
	for q, err := range p.Queues(ctx) {
		if err != nil {
			break
		}
		_, _, _ = p.Find(ctx, q.Ordinal, q.First)
	}
	for ordinal := range byQueue(segs[:10]) {
		for _, err := range p.Runs(ctx, ordinal) {
			if err != nil {
				break
			}
		}
	}
}

// FuzzDirectory: no block makes reading it panic or say what contradicts itself.
func FuzzDirectory(f *testing.F) {
	b, ref, _ := small(f)
	p, _ := open(f, b, ref)
	for i := range p.index.dir {
		corpus(f, i, b[p.index.dir[i].pos:][:p.index.dir[i].size])
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		row := dirRow{runs: 10, ordinal: p.index.dir[0].ordinal, queues: 200, size: uint32(len(b))}
		blk := newDirBlock(b, &row, 20_000, 1<<20)
		at, last := row.runs, int64(-1)
		for {
			ok, err := blk.next()
			if err != nil {
				return
			}
			if !ok {
				break
			}
			e := &blk.entry
			if e.pos != at || e.size <= 0 || e.pos+int64(e.size) > 20_000 || int64(e.ordinal) <= last || e.ordinal > 1<<20 || e.first >= e.end || e.count > MaxPageSegments {
				t.Fatalf("%+v", e)
			}
			at, last = e.pos+int64(e.size), int64(e.ordinal)
		}
	})
}

// FuzzRuns: no runs make reading them panic or say what contradicts itself.
func FuzzRuns(f *testing.F) {
	b, ref, segs := small(f)
	p, _ := open(f, b, ref)
	n := 0
	queues := byQueue(segs)
	for _, ordinal := range slices.Sorted(maps.Keys(queues)) {
		if len(queues[ordinal]) < 3 {
			continue
		}
		e, err := p.entry(f.Context(), ordinal)
		if err != nil {
			f.Fatal(err)
		}
		if n++; n == 4 {
			break
		}
		corpus(f, n, b[e.pos:][:e.size])
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		for count := range 5 {
			e := dirEntry{ordinal: 3, count: count + 1, first: 1000, end: maxOffset}
			it := newRunIter(b, &e, MaxPageSegments)
			at, end := -1, e.first
			for {
				ok, err := it.more()
				if err != nil || !ok {
					break
				}
				if it.at <= at || it.at >= MaxPageSegments || it.run.First < end || it.run.End <= it.run.First || it.run.End > e.end {
					t.Fatalf("%+v", it.run)
				}
				at, end = it.at, it.run.End
			}
		}
	})
}

// FuzzSegments: no block makes reading it panic or say what contradicts itself; what is read is written again in the same way.
func FuzzSegments(f *testing.F) {
	b, ref, _ := small(f)
	p, _ := open(f, b, ref)
	for i, row := range p.index.segs {
		corpus(f, i, b[row.pos:][:row.size])
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		foot := footer{endLSN: 1<<64 - 1}
		for _, count := range []int{1, 3, segmentsPer} {
			entries, err := appendEntries(nil, b, 0, count, &foot)
			if err != nil {
				continue
			}
			var again []byte
			var before Entry
			for i := range entries {
				again = appendEntry(again, &entries[i], &before)
				before = entries[i]
			}
			got, err := appendEntries(nil, again, 0, count, &foot)
			if err != nil || !cmp.Equal(got, entries) {
				t.Fatalf("%v: %s", err, cmp.Diff(entries, got))
			}
		}
	})
}
