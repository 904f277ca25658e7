package manifest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/varvemq/varve/tiering/segment"
)

// small is a page with all parts in it, small enough to damage at every byte: two blocks of segments, two of the directory.
func small(tb testing.TB) ([]byte, PageRef, []PageSegment) {
	tb.Helper()
	segs := build(rand.New(rand.NewPCG(1, 2)), shape{segments: segmentsPer + 3, queues: 460, present: 0.02, gaps: 0.2})
	b, ref := encode(tb, segs)
	return b, ref, segs
}

// outcome is what reading a damaged page in every way gave.
type outcome struct {
	open     error
	sections map[string]int // CorruptErrors by section
	other    error          // anything that is no CorruptError
	wrong    string         // an answer that is not what was written: never
	served   int            // queues whose runs could be read
}

func (o *outcome) take(err error) bool {
	var c *CorruptError
	switch {
	case err == nil:
		return false
	case errors.As(err, &c):
		o.sections[c.Section]++
	default:
		o.other = err
	}
	return true
}

// survey reads everything from a source, and compares with what was written.
func survey(ctx context.Context, src segment.Source, ref PageRef, segs []PageSegment, queues map[uint32][]Located) outcome {
	o := outcome{sections: map[string]int{}}
	p, err := OpenPage(ctx, src, ref)
	if o.open = err; err != nil {
		return o
	}
	entries, err := p.Entries(ctx)
	if !o.take(err) {
		for i := range segs {
			if i >= len(entries) || entries[i] != segs[i].Entry {
				o.wrong = fmt.Sprintf("segment %d", i)
			}
		}
	}
	if all, err := p.All(ctx); !o.take(err) {
		for i := range segs {
			if all[i].Entry != segs[i].Entry || !slices.Equal(all[i].Runs, segs[i].Runs) {
				o.wrong = fmt.Sprintf("segment %d of all: %+v", i, all[i])
			}
		}
	}
	for ordinal, runs := range queues {
		o.queue(ctx, p, ordinal, runs)
	}
	return o
}

func (o *outcome) queue(ctx context.Context, p *Page, ordinal uint32, runs []Located) {
	i := 0
	var failed bool
	for l, err := range p.Runs(ctx, ordinal) {
		if failed = o.take(err); !failed && (i >= len(runs) || l != runs[i]) {
			o.wrong = fmt.Sprintf("queue %d: %+v", ordinal, l)
		}
		i++
	}
	if !failed {
		if i != len(runs) {
			o.wrong = fmt.Sprintf("queue %d: %d runs of %d", ordinal, i, len(runs))
		}
		o.served++
	}
	want := runs[len(runs)/2]
	if e, r, err := p.Find(ctx, ordinal, want.First); !o.take(err) && (e != want.Entry || r != want.Run) {
		o.wrong = fmt.Sprintf("queue %d: found %+v", ordinal, r)
	}
	if first, end, err := p.Range(ctx, ordinal); !o.take(err) && (first != runs[0].First || end != runs[len(runs)-1].End) {
		o.wrong = fmt.Sprintf("queue %d: [%d, %d)", ordinal, first, end)
	}
}

// sectionOf names the part of a page that has a byte.
func sectionOf(f *footer, size, at int) string {
	switch pos := int64(at); {
	case pos < f.dirPos:
		return SectionRuns
	case pos < f.segPos:
		return SectionDirectory
	case pos < f.indexPos:
		return SectionSegments
	case at < size-footerSize:
		return SectionIndex
	}
	return SectionFooter
}

// TestEveryByteOfAPage damages each byte of a page: it is detected, in the right part, nothing is wrong, and what does not depend on it is served.
func TestEveryByteOfAPage(t *testing.T) {
	t.Parallel()
	rng := seed(t)
	good, ref, segs := small(t)
	p, _ := open(t, good, ref)
	if len(p.index.dir) < 2 || len(p.index.segs) < 2 {
		t.Fatalf("%d, %d blocks", len(p.index.dir), len(p.index.segs))
	}
	everything := byQueue(segs)
	ordinals := slices.Sorted(maps.Keys(everything))
	served := map[string]int{}
	unnamed := ref
	unnamed.CRC = 0
	for at := range good {
		if raceDetector && at%9 != 0 {
			continue
		}
		queues := map[uint32][]Located{} // a few of them; All reads the others
		for range 4 {
			ordinal := ordinals[rng.IntN(len(ordinals))]
			queues[ordinal] = everything[ordinal]
		}
		bad := bytes.Clone(good)
		bad[at] ^= 1 << rng.IntN(8)
		section := sectionOf(&p.foot, len(good), at)
		place := fmt.Sprintf("byte %d of the %s", at, section)
		o := survey(t.Context(), &memory{b: bad}, unnamed, segs, queues)
		if o.wrong != "" || o.other != nil {
			t.Fatalf("%s: wrong: %s, %v", place, o.wrong, o.other)
		}
		var c *CorruptError
		switch section {
		case SectionFooter, SectionIndex:
			if !errors.As(o.open, &c) || c.Section != section {
				t.Fatalf("%s: opened: %v", place, o.open)
			}
			continue
		case SectionRuns:
			if o.served < len(queues)-1 {
				t.Fatalf("%s: %d of %d queues served", place, o.served, len(queues))
			}
		default:
			served[section] += o.served
		}
		if o.open != nil || o.sections[section] == 0 || len(o.sections) != 1 {
			t.Fatalf("%s: %+v", place, o)
		}
	}
	if served[SectionDirectory] == 0 || served[SectionSegments] == 0 {
		t.Errorf("with damage in one block nothing is served of the others: %v", served)
	}
}

// TestEveryLengthOfAPage cuts a page at every length, and lets the store have less than it said.
func TestEveryLengthOfAPage(t *testing.T) {
	t.Parallel()
	good, ref, _ := small(t)
	for n := range good {
		cut := ref
		cut.Size = int64(n)
		if _, err := OpenPage(t.Context(), &memory{b: good[:n]}, cut); !errors.Is(err, ErrTruncated) {
			t.Fatalf("cut at %d: %v", n, err)
		}
		if _, err := OpenPage(t.Context(), &memory{b: good[:n]}, ref); !errors.Is(err, ErrTruncated) {
			t.Fatalf("cut at %d, listed with %d bytes: %v", n, ref.Size, err)
		}
	}
}

// TestShortReads: less than asked for is an error wherever it happens.
func TestShortReads(t *testing.T) {
	t.Parallel()
	segs := build(seed(t), shape{segments: 400, queues: 300, present: 1})
	b, ref := encode(t, segs)
	p, src := open(t, b, ref)
	src.b = b[:10]
	if _, _, err := p.Find(t.Context(), segs[0].Runs[100].Ordinal, segs[0].Runs[100].First); !errors.Is(err, ErrTruncated) {
		t.Error(err)
	}
	if _, err := p.All(t.Context()); !errors.Is(err, ErrTruncated) {
		t.Error(err)
	}
	for _, err := range p.Runs(t.Context(), segs[0].Runs[100].Ordinal) {
		if !errors.Is(err, ErrTruncated) {
			t.Error(err)
		}
	}
}

// TestEveryByteOfARoot damages each byte of a root, and cuts it at every length.
func TestEveryByteOfARoot(t *testing.T) {
	t.Parallel()
	rng := seed(t)
	r := testRoot(rng, 5, 20)
	good := r.Encode()
	for at := range good {
		bad := bytes.Clone(good)
		bad[at] ^= 1 << rng.IntN(8)
		_, err := DecodeRoot(bad)
		var c *CorruptError
		length := at == 10 || at == 11 // a longer header looks like an end that is missing
		if !errors.As(err, &c) && (!length || !errors.Is(err, ErrTruncated)) {
			t.Fatalf("byte %d: %v", at, err)
		}
		if _, err := DecodeRoot(good[:at]); !errors.Is(err, ErrTruncated) {
			t.Fatalf("cut at %d: %v", at, err)
		}
	}
	var c *CorruptError
	if _, err := DecodeRoot(append(good, 0)); !errors.As(err, &c) || c.Pos != int64(len(good)) {
		t.Errorf("a byte too many: %v", err)
	}
}

// TestVersions: an intact part of a later version is not corrupt.
func TestVersions(t *testing.T) {
	t.Parallel()
	good, ref, _ := small(t)
	ref.CRC = 0
	for _, n := range []int{100, footerSize, footerSize + 8} { // a later version may have a longer or a shorter footer
		b := bytes.Clone(good)
		end := b[len(b)-n:]
		le.PutUint16(end[n-12:], 2)
		le.PutUint16(end[n-10:], uint16(n))
		le.PutUint32(end[n-footerTrailer:], footerCRC(end))
		if _, err := OpenPage(t.Context(), &memory{b: b}, ref); !errors.Is(err, ErrVersion) {
			t.Errorf("footer of %d: %v", n, err)
		}
	}
	b := testRoot(seed(t), 2, 2).Encode()
	for _, n := range []int{rootLeader, rootHeader + 2, rootHeader + 10} {
		b := bytes.Clone(b)
		le.PutUint16(b[8:], 2)
		le.PutUint16(b[10:], uint16(n))
		le.PutUint32(b[12:], headerCRC(b[:n]))
		if _, err := DecodeRoot(b); !errors.Is(err, ErrVersion) {
			t.Errorf("header of %d: %v", n, err)
		}
	}
}

// TestIdentity: an intact page that is not the listed one is not served.
func TestIdentity(t *testing.T) {
	t.Parallel()
	good, ref, _ := small(t)
	for name, change := range map[string]func(r *PageRef){
		"crc": func(r *PageRef) { r.CRC++ }, "object": func(r *PageRef) { r.Object++ }, "epoch": func(r *PageRef) { r.Epoch++ },
	} {
		other := ref
		change(&other)
		if _, err := OpenPage(t.Context(), &memory{b: good}, other); !errors.Is(err, ErrIdentity) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// flaky damages what is read until it is repaired.
type flaky struct {
	memory

	broken bool
}

func (f *flaky) Get(ctx context.Context, off int64, n int) ([]byte, error) {
	b, err := f.memory.Get(ctx, off, n)
	if f.broken && len(b) > 0 {
		b[len(b)/2] ^= 1
	}
	return b, err
}

// TestDamageOnTheWay: what was damaged on the way only is not kept.
func TestDamageOnTheWay(t *testing.T) {
	t.Parallel()
	segs := build(seed(t), shape{segments: 900, queues: 300, present: 0.5})
	b, ref := encode(t, segs)
	src := &flaky{memory: memory{b: b}}
	p, err := NewCache(1<<20).OpenPage(t.Context(), src, ref)
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(segs, func(s PageSegment) bool { return len(s.Runs) > 0 })
	run := segs[i].Runs[0]
	src.broken = true
	var c *CorruptError
	if _, _, err := p.Find(t.Context(), run.Ordinal, run.First); !errors.As(err, &c) {
		t.Fatal(err)
	}
	src.broken = false
	if _, r, err := p.Find(t.Context(), run.Ordinal, run.First); err != nil || r != run {
		t.Errorf("%+v, %v", r, err)
	}
}
