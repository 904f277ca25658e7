package maintain

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/varvemq/varve/internal/vfs"
	"github.com/varvemq/varve/metadata"
	"github.com/varvemq/varve/tiering/catalog"
	"github.com/varvemq/varve/tiering/manifest"
	"github.com/varvemq/varve/tiering/objstore"
	"github.com/varvemq/varve/tiering/objstore/faulty"
	"github.com/varvemq/varve/tiering/segment"
)

// mergeCase is inputs of a merge and what is done with their queues.
type mergeCase struct {
	bucket objstore.Store
	segs   []metadata.Segment
	all    contents // of all inputs
	fates  map[uint32]fate
}

// randomCase makes n segments of a few queues.
func randomCase(t *testing.T, rng *rand.Rand, n, queues, size int) *mergeCase {
	t.Helper()
	c := &mergeCase{bucket: objstore.NewMem(), all: contents{}, fates: map[uint32]fate{}}
	next := map[uint32]uint64{}
	for i := range n {
		have := contents{}
		var ordinals []uint32
		for ordinal := uint32(1); ordinal <= uint32(queues); ordinal++ {
			if rng.IntN(3) == 0 {
				continue
			}
			ordinals = append(ordinals, ordinal)
			for range 1 + rng.IntN(4) {
				count := 1 + rng.Uint64N(20)
				p := holeOf(next[ordinal], count)
				if rng.IntN(5) > 0 {
					p = batchOf(t, rng, ordinal, next[ordinal], count, size, int64(1000*i)+1)
				}
				next[ordinal] += count
				have[ordinal] = append(have[ordinal], p)
				c.all[ordinal] = append(c.all[ordinal], p)
			}
		}
		cfg := segmentConfig(uint64(i+1), 1, uint64(10*i+1), uint64(10*i+11), 0)
		cfg.BlockBytes = 1 << (8 + rng.IntN(6))
		b, s := writeSegment(t, cfg, have, ordinals)
		c.segs = append(c.segs, putSegment(t, c.bucket, b, &s))
	}
	for ordinal, end := range next {
		switch rng.IntN(4) {
		case 0:
			c.fates[ordinal] = fate{dead: true}
		case 1:
			c.fates[ordinal] = fate{first: rng.Uint64N(end + 1)}
		}
	}
	return c
}

// run merges the case's segments.
func (c *mergeCase) run(ctx context.Context, fs vfs.FS, limit int64) (*merger, error) {
	m := &merger{limit: limit, fate: func(ordinal uint32) fate { return c.fates[ordinal] }}
	number := uint64(1000)
	m.begin = func(context.Context) (*output, error) {
		number++
		f, err := fs.Create(fmt.Sprintf("out-%d", number))
		if err != nil {
			return nil, err
		}
		return newOutput(f, segmentConfig(number, 2, c.segs[0].FirstLSN, c.segs[len(c.segs)-1].EndLSN, 1), metadata.Upload{Object: number, Epoch: 2})
	}
	defer func() {
		for _, in := range m.inputs {
			_ = in.close()
		}
	}()
	for i := range c.segs {
		s := &c.segs[i]
		src := &object{bucket: c.bucket, key: catalog.ObjectKey(testShard, s.Epoch, s.Object, metadata.KindSegment), size: s.Size}
		in, err := openInput(ctx, src, segment.Expect{FooterCRC: s.FooterCRC})
		if err != nil {
			return nil, err
		}
		m.inputs = append(m.inputs, in)
	}
	return m, m.merge(ctx)
}

// TestMerge merges random segments and compares what the outputs have with what went in.
func TestMerge(t *testing.T) {
	t.Parallel()
	rng := newRand(seedOf(t))
	for i := range 60 {
		c := randomCase(t, rng, 1+rng.IntN(8), 1+rng.IntN(12), 40+rng.IntN(2000))
		limit := int64(4<<10 + rng.IntN(200<<10))
		m, err := c.run(t.Context(), vfs.NewCrash(nil), limit)
		if err != nil {
			t.Fatalf("case %d: %v", i, err)
		}
		c.check(t, m, limit)
	}
}

// check compares outputs and drops with the model.
func (c *mergeCase) check(t *testing.T, m *merger, limit int64) {
	t.Helper()
	var inputs, outputs []manifest.Run
	got := map[uint32][]byte{}
	firsts := map[uint32]uint64{}
	for _, in := range m.inputs {
		runs, err := queueRanges(t.Context(), in.r)
		if err != nil {
			t.Fatal(err)
		}
		inputs = append(inputs, runs...)
	}
	for i, o := range m.outs {
		runs, err := o.verify(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if i > 0 && compareRuns(outputs[len(outputs)-1], runs[0]) >= 0 {
			t.Errorf("output %d begins with %+v, the one before ends with %+v", i, runs[0], outputs[len(outputs)-1])
		}
		if o.summary.Size > limit+limit/4+int64(64<<10) { // a block and an index may come on top
			t.Errorf("an output of %d bytes, where the limit is %d", o.summary.Size, limit)
		}
		outputs = append(outputs, runs...)
		r, err := segment.Open(t.Context(), spooled{o.file}, o.summary.Size, segment.Expect{})
		if err != nil {
			t.Fatal(err)
		}
		for _, run := range runs {
			if _, ok := firsts[run.Ordinal]; !ok {
				firsts[run.Ordinal] = run.First
			}
			for ref, err := range r.Blocks(t.Context(), run.Ordinal, run.First) {
				if err != nil {
					t.Fatal(err)
				}
				b, err := r.ReadBlock(t.Context(), &ref, nil)
				if err != nil {
					t.Fatal(err)
				}
				got[run.Ordinal] = append(got[run.Ordinal], b.Messages...)
			}
		}
	}
	if err := checkCoverage(inputs, outputs, m.drops); err != nil {
		t.Error(err)
	}
	for ordinal, pieces := range c.all {
		first, there := firsts[ordinal]
		if c.fates[ordinal].dead {
			if there {
				t.Errorf("queue %d is dead and there", ordinal)
			}
			continue
		}
		if !there || first > max(c.fates[ordinal].first, 0) && first != pieces[0].base && !lastMessages(pieces, first) {
			t.Errorf("queue %d begins at %d (%v), the first offset is %d", ordinal, first, there, c.fates[ordinal].first)
		}
		var want []byte
		for _, p := range pieces {
			want = append(want, p.raw...)
		}
		if !bytes.HasSuffix(want, got[ordinal]) {
			t.Errorf("queue %d: other bytes", ordinal)
		}
		if first == pieces[0].base && len(want) != len(got[ordinal]) {
			t.Errorf("queue %d: %d of %d bytes", ordinal, len(got[ordinal]), len(want))
		}
		if len(want) > 0 && len(got[ordinal]) == 0 {
			t.Errorf("queue %d: no messages are left, and no last store time", ordinal)
		}
	}
}

// lastMessages reports whether no messages are behind the piece that has an offset.
func lastMessages(pieces []piece, offset uint64) bool {
	return !slices.ContainsFunc(pieces, func(p piece) bool { return !p.hole && p.base > offset })
}

// TestMergeDrops: what is kept below first offsets, and what is not.
func TestMergeDrops(t *testing.T) {
	t.Parallel()
	rng := newRand(1)
	batch := func(base, count uint64) piece { return batchOf(t, rng, 1, base, count, 100, 5) }
	for _, tt := range []struct {
		name  string
		segs  [][]piece
		first uint64
		keep  uint64 // the first offset of the outputs
		fails bool
	}{
		{name: "nothing trimmed", segs: [][]piece{{batch(0, 5)}, {batch(5, 5)}}, first: 0, keep: 0},
		{name: "the middle of a block", segs: [][]piece{{batch(0, 5)}, {batch(5, 5)}}, first: 7, keep: 5},
		{name: "a block's end", segs: [][]piece{{batch(0, 5)}, {batch(5, 5)}}, first: 5, keep: 5},
		{name: "everything", segs: [][]piece{{batch(0, 5)}, {batch(5, 5)}}, first: 10, keep: 5},
		{name: "everything, a hole last", segs: [][]piece{{batch(0, 5)}, {batch(5, 5), holeOf(10, 100)}}, first: 110, keep: 5},
		{name: "a hole last in a segment of its own", segs: [][]piece{{batch(0, 5)}, {batch(5, 5)}, {holeOf(10, 100)}}, first: 110, keep: 5},
		{name: "holes only", segs: [][]piece{{holeOf(0, 5)}, {holeOf(5, 5)}}, first: 10, keep: 0},
		{name: "a gap below the first offset", segs: [][]piece{{batch(0, 5)}, {batch(8, 5)}}, first: 8, keep: 8},
		{name: "a gap above it", segs: [][]piece{{batch(0, 5)}, {batch(8, 5)}}, first: 7, fails: true},
		{name: "an overlap", segs: [][]piece{{batch(0, 5)}, {batch(4, 5)}}, first: 0, fails: true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c := &mergeCase{bucket: objstore.NewMem(), fates: map[uint32]fate{1: {first: tt.first}}}
			for i, pieces := range tt.segs {
				b, s := writeSegment(t, segmentConfig(uint64(i+1), 1, uint64(i+1), uint64(i+2), 0), contents{1: pieces}, []uint32{1})
				c.segs = append(c.segs, putSegment(t, c.bucket, b, &s))
			}
			m, err := c.run(t.Context(), vfs.NewCrash(nil), 1<<20)
			if tt.fails {
				if !errors.Is(err, errOverlap) {
					t.Fatalf("%v, want an overlap", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			runs, err := m.outs[0].verify(t.Context())
			if err != nil || len(m.outs) != 1 || len(runs) != 1 || runs[0].First != tt.keep {
				t.Errorf("%+v, %v, want offsets from %d on", runs, err, tt.keep)
			}
		})
	}
}

// TestMergeRequests: each input costs one request for its end and one for its blocks, or one alone if it is small.
func TestMergeRequests(t *testing.T) {
	t.Parallel()
	rng := newRand(2)
	mem := objstore.NewMem()
	bucket := &counting{Store: mem}
	c := &mergeCase{bucket: mem, fates: map[uint32]fate{}}
	next := map[uint32]uint64{}
	var ordinals []uint32
	for ordinal := range uint32(200) {
		ordinals = append(ordinals, ordinal+1)
	}
	var total int64
	for i := range 6 {
		have := contents{}
		for _, ordinal := range ordinals {
			have[ordinal] = []piece{batchOf(t, rng, ordinal, next[ordinal], 4, 2000, 5)}
			next[ordinal] += 4
		}
		if i > 2 {
			ordinals = ordinals[:20]
		}
		b, s := writeSegment(t, segmentConfig(uint64(i+1), 1, uint64(i+1), uint64(i+2), 0), have, ordinals)
		total += s.Size
		c.segs = append(c.segs, putSegment(t, c.bucket, b, &s))
	}
	c.bucket = bucket
	if _, err := c.run(t.Context(), vfs.NewCrash(nil), 1<<30); err != nil {
		t.Fatal(err)
	}
	large := 0
	for i := range c.segs {
		if c.segs[i].Size > wholeBytes {
			large++
		}
	}
	if large == 0 || large == len(c.segs) {
		t.Fatalf("%d large inputs of %d: the test is not what it says", large, len(c.segs))
	}
	if got, want := bucket.gets.Load(), int64(len(c.segs)+large); got != want {
		t.Errorf("%d GETs for %d inputs, %d of them large; want %d", got, len(c.segs), large, want)
	}
	if got := bucket.bytes.Load(); got > total+int64(large)*(segment.TailBytes+streamBuffer) {
		t.Errorf("%d bytes read of %d", got, total)
	}
}

// TestMergeBrokenReads: bodies that end early, and bytes that change on the way.
func TestMergeBrokenReads(t *testing.T) {
	t.Parallel()
	rng := newRand(seedOf(t))
	found := 0
	for i := range 20 {
		c := randomCase(t, rng, 3, 5, 6000)
		mem := c.bucket
		c.bucket = faulty.New(mem, faulty.Config{Seed: rng.Uint64(), Rates: map[faulty.Fault]float64{faulty.TruncateBody: 0.2, faulty.ResetBody: 0.2}})
		m, err := c.run(t.Context(), vfs.NewCrash(nil), 1<<20)
		switch {
		case err == nil:
			c.check(t, m, 1<<20)
		case !objstore.Retriable(err) && !errors.Is(err, segment.ErrTruncated):
			t.Errorf("case %d: %v", i, err)
		}
		c.bucket = faulty.New(mem, faulty.Config{Plan: func(op faulty.Op) faulty.Fault {
			if strings.Contains(op.Key, "0001.seg") {
				return faulty.FlipBit
			}
			return faulty.None
		}})
		var damage *segment.CorruptError
		switch m, err := c.run(t.Context(), vfs.NewCrash(nil), 1<<20); {
		case err == nil: // the bit was in what a merge does not use
			c.check(t, m, 1<<20)
		case !errors.As(err, &damage) && !errors.Is(err, segment.ErrTruncated):
			t.Errorf("case %d, flipped bits: %v", i, err)
		default:
			found++
		}
	}
	if found == 0 {
		t.Error("no flipped bit was found")
	}
}

// TestCheckCoverage: the check fails for each way to lose or double offsets.
func TestCheckCoverage(t *testing.T) {
	t.Parallel()
	run := func(ordinal uint32, first, end uint64) manifest.Run {
		return manifest.Run{Ordinal: ordinal, First: first, End: end, Bytes: first + 1}
	}
	in := []manifest.Run{run(1, 0, 10), run(2, 5, 7), run(1, 10, 30), run(3, 100, 200)}
	for _, tt := range []struct {
		name       string
		outs, drop []manifest.Run
		ok         bool
	}{
		{"the same", []manifest.Run{run(1, 0, 30), run(2, 5, 7), run(3, 100, 200)}, nil, true},
		{"cut elsewhere", []manifest.Run{run(1, 0, 15), run(1, 15, 30), run(2, 5, 7), run(3, 100, 200)}, nil, true},
		{"a queue dropped", []manifest.Run{run(1, 0, 30), run(3, 100, 200)}, []manifest.Run{run(2, 5, 7)}, true},
		{"a part dropped", []manifest.Run{run(1, 20, 30), run(2, 5, 7), run(3, 100, 200)}, []manifest.Run{run(1, 0, 10), run(1, 10, 20)}, true},
		{"all dropped", nil, in, true},
		{"a queue lost", []manifest.Run{run(1, 0, 30), run(3, 100, 200)}, nil, false},
		{"the last queue lost", []manifest.Run{run(1, 0, 30), run(2, 5, 7)}, nil, false},
		{"an offset lost at the start", []manifest.Run{run(1, 1, 30), run(2, 5, 7), run(3, 100, 200)}, nil, false},
		{"at the end", []manifest.Run{run(1, 0, 29), run(2, 5, 7), run(3, 100, 200)}, nil, false},
		{"in between", []manifest.Run{run(1, 0, 15), run(1, 16, 30), run(2, 5, 7), run(3, 100, 200)}, nil, false},
		{"an offset twice", []manifest.Run{run(1, 0, 16), run(1, 15, 30), run(2, 5, 7), run(3, 100, 200)}, nil, false},
		{"dropped and there", []manifest.Run{run(1, 0, 30), run(2, 5, 7), run(3, 100, 200)}, []manifest.Run{run(2, 5, 6)}, false},
		{"a queue that was not there", []manifest.Run{run(1, 0, 30), run(2, 5, 7), run(3, 100, 200), run(4, 0, 1)}, nil, false},
		{"offsets that were not there", []manifest.Run{run(1, 0, 31), run(2, 5, 7), run(3, 100, 200)}, nil, false},
		{"an empty range", []manifest.Run{run(1, 0, 30), run(2, 5, 7), run(3, 100, 200), run(4, 3, 3)}, nil, false},
	} {
		if err := checkCoverage(in, tt.outs, tt.drop); (err == nil) != tt.ok || err != nil && !errors.Is(err, errCoverage) {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
	if err := checkCoverage(append(in, run(2, 6, 9)), in, nil); !errors.Is(err, errCoverage) {
		t.Errorf("inputs that overlap: %v", err)
	}
}

// TestVerifyOutput: a spool file that has changed since it was written is not used.
func TestVerifyOutput(t *testing.T) {
	t.Parallel()
	rng := newRand(seedOf(t))
	c := randomCase(t, rng, 3, 5, 300)
	fs := vfs.NewCrash(nil)
	m, err := c.run(t.Context(), fs, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	o := m.outs[0]
	for range 50 {
		at := rng.Int64N(o.summary.Size)
		var b [1]byte
		if _, err := o.file.ReadAt(b[:], at); err != nil {
			t.Fatal(err)
		}
		if _, err := o.file.WriteAt([]byte{b[0] ^ 1<<rng.IntN(8)}, at); err != nil {
			t.Fatal(err)
		}
		if _, err := o.verify(t.Context()); err == nil {
			t.Errorf("a bit at %d of %d was flipped, and the output is whole", at, o.summary.Size)
		}
		if _, err := o.file.WriteAt(b[:], at); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := o.verify(t.Context()); err != nil {
		t.Error(err)
	}
}
