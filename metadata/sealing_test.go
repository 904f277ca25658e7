package metadata

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// reserve reserves objects, one of each kind.
func reserve(t *testing.T, own *Ownership, kinds ...string) []Upload {
	t.Helper()
	ups, err := own.ReserveObjects(t.Context(), kinds)
	if err != nil {
		t.Fatal(err)
	}
	return ups
}

// segmentOf makes a plausible segment of an intent.
func segmentOf(u Upload, level uint8, first, end uint64) Segment {
	return Segment{
		Object: u.Object, Epoch: u.Epoch, Level: level, Size: 1000 + int64(u.Object), FooterCRC: 77 * uint32(u.Object), FirstLSN: first, EndLSN: end,
		MinStore: int64(first), MaxStore: int64(end), Messages: end - first, RawBytes: 100 * (end - first), Queues: 1,
	}
}

// headOf makes the head that the commit of a segment asks for.
func headOf(seg Segment) SealHead {
	return SealHead{LSN: seg.EndLSN, WALUUID: "w0", Position: 100 * seg.EndLSN, Epoch: seg.Epoch, FooterCRC: seg.FooterCRC, Object: seg.Object}
}

// commitNext reserves and commits the segment of the next n LSNs, and returns it as etcd has it.
func commitNext(t *testing.T, own *Ownership, first, n uint64) (Segment, SealHead) {
	t.Helper()
	seg := segmentOf(reserve(t, own, KindSegment)[0], 0, first, first+n)
	head, err := own.CommitSegment(t.Context(), seg, headOf(seg))
	if err != nil {
		t.Fatal(err)
	}
	seg.Revision = head.Revision
	return seg, head
}

func sealedState(t *testing.T, s *Store, shard string) *SealedState {
	t.Helper()
	st, err := s.SealedState(t.Context(), shard)
	if err != nil {
		t.Fatal(err)
	}
	return st
}

// TestSealing: the life of segments, from the reservation of their numbers to the end of their garbage.
func TestSealing(t *testing.T) {
	t.Parallel()
	onAll(t, func(t *testing.T, kv KV) { //nolint:thelper // a case, not a helper: its own lines matter
		ctx := t.Context()
		s := newStore(t, kv, StoreConfig{})
		empty := sealedState(t, s, "s/0")
		if diff := cmp.Diff(&SealedState{Head: SealHead{NextObject: 1, LSN: 1}, Trims: map[uint32]uint64{}, Revision: empty.Revision}, empty); diff != "" {
			t.Fatal(diff)
		}
		own := acquireShard(t, s, claimOf("s/0", "b0", "w0"))
		a, _ := commitNext(t, own, 1, 10)
		b, _ := commitNext(t, own, 11, 10)
		c, head := commitNext(t, own, 21, 5)
		left := reserve(t, own, KindSegment, KindPage, KindRoot)
		big := segmentOf(left[0], 1, 1, 21)
		if err := own.ReplaceSegments(ctx, []Segment{a, b}, []Segment{big}, "merged"); err != nil {
			t.Fatal(err)
		}
		next := ManifestPointer{Object: left[2].Object, Epoch: 1, Size: 10, CRC: 5, EndLSN: 21, Segments: 1}
		ptr, err := own.CommitManifest(ctx, nil, next, []Segment{big}, []uint64{left[1].Object, left[2].Object}, nil, "")
		if err != nil {
			t.Fatal(err)
		}
		if err := own.PutTrims(ctx, map[uint32]uint64{1: 5, 9000: 7, 2: 0}); err != nil {
			t.Fatal(err)
		}
		st := sealedState(t, s, "s/0")
		want := &SealedState{
			Head: head, Manifest: &ptr, Segments: []Segment{c}, Trims: map[uint32]uint64{1: 5, 9000: 7}, Revision: st.Revision,
			Garbage: []Garbage{{
				Objects: []GarbageObject{{a.Object, 1, KindSegment, 1, 11}, {b.Object, 1, KindSegment, 11, 21}}, Why: "merged", Key: a.Object,
				SinceMs: st.Garbage[0].SinceMs, Revision: st.Garbage[0].Revision,
			}},
		}
		want.Head.NextObject, want.Head.Revision = 7, st.Head.Revision
		if diff := cmp.Diff(want, st); diff != "" {
			t.Fatal(diff)
		}
	})
}

// sealedFixture is a shard with something in every place: two segments, a manifest, an intent of each kind, garbage and trims.
type sealedFixture struct {
	s              *Store
	own            *Ownership
	a, b           Segment
	ptr            ManifestPointer
	seg, root, pag Upload
	garbage        Garbage
	head           SealHead
}

func fillShard(t *testing.T, s *Store, shard string) *sealedFixture {
	t.Helper()
	f := &sealedFixture{s: s, own: acquireShard(t, s, claimOf(shard, "b0", "w0"))}
	rolled, _ := commitNext(t, f.own, 1, 5)
	gone, _ := commitNext(t, f.own, 6, 5)
	f.a, _ = commitNext(t, f.own, 11, 5)
	f.b, f.head = commitNext(t, f.own, 16, 5)
	root := reserve(t, f.own, KindRoot)[0]
	next := ManifestPointer{Object: root.Object, Epoch: 1, Size: 10, CRC: 5, EndLSN: 6, Segments: 1}
	var err error
	if f.ptr, err = f.own.CommitManifest(t.Context(), nil, next, []Segment{rolled}, []uint64{root.Object}, nil, ""); err != nil {
		t.Fatal(err)
	}
	if err := f.own.ReplaceSegments(t.Context(), []Segment{gone}, nil, "retention"); err != nil {
		t.Fatal(err)
	}
	ups := reserve(t, f.own, KindSegment, KindRoot, KindPage)
	f.seg, f.root, f.pag = ups[0], ups[1], ups[2]
	if err := f.own.PutTrims(t.Context(), map[uint32]uint64{1: 10, ChunkQueues: 5}); err != nil {
		t.Fatal(err)
	}
	f.garbage = sealedState(t, s, shard).Garbage[0]
	return f
}

// next is a pointer that the fixture's root could get.
func (f *sealedFixture) next() ManifestPointer {
	return ManifestPointer{Object: f.root.Object, Epoch: f.own.Epoch(), Size: 20, CRC: 6, EndLSN: 21, Segments: 3}
}

// trash is the old root as garbage.
func (f *sealedFixture) trash() []GarbageObject {
	return []GarbageObject{{Object: f.ptr.Object, Epoch: f.ptr.Epoch, Kind: KindRoot}}
}

// commit commits a segment with the head that belongs to it.
func (f *sealedFixture) commit(ctx context.Context, seg Segment) error {
	_, err := f.own.CommitSegment(ctx, seg, headOf(seg))
	return err
}

// sealingStep is one transaction that the fixture allows, and the places that it changes.
type sealingStep struct {
	name string
	do   func(ctx context.Context, f *sealedFixture) error
}

// sealingSteps has each transaction of sealing once.
func sealingSteps() []sealingStep {
	return []sealingStep{
		{"reserve", func(ctx context.Context, f *sealedFixture) error {
			_, err := f.own.ReserveObjects(ctx, []string{KindSegment, KindPage})
			return err
		}},
		{"commit segment", func(ctx context.Context, f *sealedFixture) error { return f.commit(ctx, segmentOf(f.seg, 0, 21, 30)) }},
		{"replace", func(ctx context.Context, f *sealedFixture) error {
			return f.own.ReplaceSegments(ctx, []Segment{f.a, f.b}, []Segment{segmentOf(f.seg, 1, 11, 21)}, "merge")
		}},
		{"remove", func(ctx context.Context, f *sealedFixture) error {
			return f.own.ReplaceSegments(ctx, []Segment{f.a}, nil, "retention")
		}},
		{"commit manifest", func(ctx context.Context, f *sealedFixture) error {
			got, err := f.own.CommitManifest(ctx, &f.ptr, f.next(), []Segment{f.a, f.b}, []uint64{f.root.Object, f.pag.Object}, f.trash(), "roll")
			if want := f.next(); err == nil && (got.Revision == 0 || !got.same(&want)) {
				err = fmt.Errorf("stored as %+v", got)
			}
			return err
		}},
		{"put trims", func(ctx context.Context, f *sealedFixture) error {
			return f.own.PutTrims(ctx, map[uint32]uint64{1: 11, 2: 3, ChunkQueues: 4, 3 * ChunkQueues: 1})
		}},
		{"drop upload", func(ctx context.Context, f *sealedFixture) error { return f.own.DropUpload(ctx, f.pag) }},
		{"drop garbage", func(ctx context.Context, f *sealedFixture) error { return f.own.DropGarbage(ctx, f.garbage) }},
	}
}

// TestSealingRepeats: each transaction changes the state once, and saying it again with the same arguments is success and no change; but for
// reservations, which are new ones.
func TestSealingRepeats(t *testing.T) {
	t.Parallel()
	onAll(t, func(t *testing.T, kv KV) { //nolint:thelper // a case, not a helper: its own lines matter
		s := newStore(t, kv, StoreConfig{})
		for _, step := range sealingSteps() {
			f := fillShard(t, s, step.name)
			before := sealedState(t, s, step.name)
			if err := step.do(t.Context(), f); err != nil {
				t.Fatal(step.name, err)
			}
			once := sealedState(t, s, step.name)
			before.Revision = once.Revision
			if cmp.Diff(before, once) == "" {
				t.Errorf("%s changed nothing", step.name)
			}
			if step.name == "reserve" {
				continue
			}
			for range 2 { // the second time after the head has moved on
				if err := step.do(t.Context(), f); err != nil {
					t.Errorf("%s again: %v", step.name, err)
				}
				twice := sealedState(t, s, step.name)
				once.Revision = twice.Revision
				if diff := cmp.Diff(once, twice); diff != "" {
					t.Errorf("%s again: %s", step.name, diff)
				}
				reserve(t, f.own, KindSegment)
				once = sealedState(t, s, step.name)
			}
		}
	})
}

// TestSealingConflicts: what does not fit what is there is refused, and changes nothing.
func TestSealingConflicts(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		do   func(ctx context.Context, f *sealedFixture) error
	}{
		{"a gap", func(ctx context.Context, f *sealedFixture) error { return f.commit(ctx, segmentOf(f.seg, 0, 22, 30)) }},
		{"an overlap", func(ctx context.Context, f *sealedFixture) error { return f.commit(ctx, segmentOf(f.seg, 0, 20, 30)) }},
		{"no intent", func(ctx context.Context, f *sealedFixture) error {
			return f.commit(ctx, segmentOf(Upload{Object: 1000, Epoch: 1}, 0, 21, 30))
		}},
		{"the intent of a page", func(ctx context.Context, f *sealedFixture) error { return f.commit(ctx, segmentOf(f.pag, 0, 21, 30)) }},
		{"a number twice", func(ctx context.Context, f *sealedFixture) error {
			return f.commit(ctx, segmentOf(Upload{Object: f.b.Object, Epoch: 1}, 0, 21, 30))
		}},
		{"the last commit with another crc", func(ctx context.Context, f *sealedFixture) error {
			seg := f.b
			seg.FooterCRC++
			return f.commit(ctx, seg)
		}},
		{"a replaced segment that is not there", func(ctx context.Context, f *sealedFixture) error {
			gone := segmentOf(Upload{Object: 2, Epoch: 1}, 0, 6, 11)
			return f.own.ReplaceSegments(ctx, []Segment{gone, f.a}, []Segment{segmentOf(f.seg, 1, 6, 16)}, "")
		}},
		{"all replaced segments gone, nothing there", func(ctx context.Context, f *sealedFixture) error {
			gone := segmentOf(Upload{Object: 2, Epoch: 1}, 0, 6, 11)
			return f.own.ReplaceSegments(ctx, []Segment{gone}, []Segment{segmentOf(f.seg, 1, 6, 11)}, "")
		}},
		{"a removed segment of other LSNs", func(ctx context.Context, f *sealedFixture) error {
			gone := segmentOf(Upload{Object: 2, Epoch: 1}, 0, 6, 10)
			return f.own.ReplaceSegments(ctx, []Segment{gone}, nil, "")
		}},
		{"a removed segment that is rolled", func(ctx context.Context, f *sealedFixture) error {
			return f.own.ReplaceSegments(ctx, []Segment{segmentOf(Upload{Object: 1, Epoch: 1}, 0, 1, 6)}, nil, "")
		}},
		{"a replacement without an intent", func(ctx context.Context, f *sealedFixture) error {
			return f.own.ReplaceSegments(ctx, []Segment{f.a}, []Segment{segmentOf(Upload{Object: 1000, Epoch: 1}, 1, 11, 16)}, "")
		}},
		{"another segment of that number", func(ctx context.Context, f *sealedFixture) error {
			other := f.a
			other.FooterCRC++
			return f.own.ReplaceSegments(ctx, []Segment{other}, nil, "")
		}},
		{"a manifest where there is none", func(ctx context.Context, f *sealedFixture) error {
			old := f.ptr
			old.Object++
			_, err := f.own.CommitManifest(ctx, &old, f.next(), nil, []uint64{f.root.Object}, nil, "")
			return err
		}},
		{"the first manifest, twice", func(ctx context.Context, f *sealedFixture) error {
			_, err := f.own.CommitManifest(ctx, nil, f.next(), nil, []uint64{f.root.Object}, nil, "")
			return err
		}},
		{"the manifest at another revision", func(ctx context.Context, f *sealedFixture) error {
			old := f.ptr
			old.Revision++
			_, err := f.own.CommitManifest(ctx, &old, f.next(), nil, []uint64{f.root.Object}, nil, "")
			return err
		}},
		{"a rolled segment that is not there", func(ctx context.Context, f *sealedFixture) error {
			gone := segmentOf(Upload{Object: 2, Epoch: 1}, 0, 6, 11)
			_, err := f.own.CommitManifest(ctx, &f.ptr, f.next(), []Segment{gone}, []uint64{f.root.Object}, nil, "")
			return err
		}},
		{"a page without an intent", func(ctx context.Context, f *sealedFixture) error {
			_, err := f.own.CommitManifest(ctx, &f.ptr, f.next(), nil, []uint64{f.root.Object, 1000}, nil, "")
			return err
		}},
		{"a segment as a page", func(ctx context.Context, f *sealedFixture) error {
			_, err := f.own.CommitManifest(ctx, &f.ptr, f.next(), nil, []uint64{f.root.Object, f.seg.Object}, nil, "")
			return err
		}},
		{"garbage that is on record", func(ctx context.Context, f *sealedFixture) error {
			_, err := f.own.CommitManifest(ctx, &f.ptr, f.next(), nil, []uint64{f.root.Object}, f.garbage.Objects, "")
			return err
		}},
		{"the intent of another epoch", func(ctx context.Context, f *sealedFixture) error {
			u := f.pag
			u.Epoch++
			return f.own.DropUpload(ctx, u)
		}},
		{"garbage of other objects", func(ctx context.Context, f *sealedFixture) error {
			g := f.garbage
			g.Objects = append(slices.Clone(g.Objects), GarbageObject{Object: f.a.Object, Epoch: 1, Kind: KindSegment})
			return f.own.DropGarbage(ctx, g)
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			f := fillShard(t, newStore(t, NewMemory(), StoreConfig{}), "s0")
			before := sealedState(t, f.s, "s0")
			if err := tt.do(t.Context(), f); !errors.Is(err, ErrConflict) {
				t.Fatal(err)
			}
			if diff := cmp.Diff(before, sealedState(t, f.s, "s0")); diff != "" {
				t.Fatal(diff)
			}
		})
	}
}

// TestSealingArguments: what makes no sense is refused before etcd is asked.
func TestSealingArguments(t *testing.T) {
	t.Parallel()
	f := fillShard(t, newStore(t, NewMemory(), StoreConfig{}), "s0")
	edited := func(seg Segment, edit func(*Segment)) Segment { edit(&seg); return seg }
	good := segmentOf(f.seg, 0, 21, 30)
	commit := func(edit func(*Segment, *SealHead)) func() error {
		return func() error {
			seg, head := good, headOf(good)
			edit(&seg, &head)
			_, err := f.own.CommitSegment(t.Context(), seg, head)
			return err
		}
	}
	replace := func(in, out []Segment) func() error {
		return func() error { return f.own.ReplaceSegments(t.Context(), in, out, "") }
	}
	manifest := func(next ManifestPointer, rolled []Segment, intents []uint64, garbage []GarbageObject) func() error {
		return func() error {
			_, err := f.own.CommitManifest(t.Context(), &f.ptr, next, rolled, intents, garbage, "")
			return err
		}
	}
	foreign := f.next()
	foreign.Epoch++
	before := sealedState(t, f.s, "s0")
	for name, do := range map[string]func() error{
		"no kinds":             func() error { _, err := f.own.ReserveObjects(t.Context(), nil); return err },
		"an unknown kind":      func() error { _, err := f.own.ReserveObjects(t.Context(), []string{"seg", "x"}); return err },
		"no LSNs":              commit(func(s *Segment, h *SealHead) { s.EndLSN, h.LSN = 21, 21 }),
		"another epoch":        commit(func(s *Segment, h *SealHead) { s.Epoch, h.Epoch = 2, 2 }),
		"level 1":              commit(func(s *Segment, _ *SealHead) { s.Level = 1 }),
		"an empty object":      commit(func(s *Segment, _ *SealHead) { s.Size = 0 }),
		"cursors out of order": commit(func(s *Segment, _ *SealHead) { s.Cursors = []QueueCursor{{2, 1}, {1, 1}} }),
		"a cursor of queue 0":  commit(func(s *Segment, _ *SealHead) { s.Cursors = []QueueCursor{{0, 1}} }),
		"store times":          commit(func(s *Segment, _ *SealHead) { s.MinStore = s.MaxStore + 1 }),
		"a head elsewhere":     commit(func(_ *Segment, h *SealHead) { h.LSN++ }),
		"a head of another":    commit(func(_ *Segment, h *SealHead) { h.Object-- }),
		"a head of another crc": commit(func(_ *Segment, h *SealHead) {
			h.FooterCRC++
		}),
		"nothing replaced":    replace(nil, []Segment{segmentOf(f.seg, 1, 11, 16)}),
		"replaced twice":      replace([]Segment{f.a, f.a}, nil),
		"replaced by itself":  replace([]Segment{f.a}, []Segment{edited(f.a, func(s *Segment) { s.Level = 1 })}),
		"replaced by level 0": replace([]Segment{f.a}, []Segment{segmentOf(f.seg, 0, 11, 16)}),
		"more than replaced":  replace([]Segment{f.a}, []Segment{segmentOf(f.seg, 1, 11, 17)}),
		"a foreign root":      manifest(foreign, nil, []uint64{f.root.Object}, nil),
		"no root":             manifest(f.next(), nil, []uint64{f.pag.Object}, nil),
		"an empty root":       manifest(ManifestPointer{Object: f.root.Object, Epoch: 1, EndLSN: 1}, nil, []uint64{f.root.Object}, nil),
		"a page twice":        manifest(f.next(), nil, []uint64{f.root.Object, f.pag.Object, f.pag.Object}, nil),
		"rolled garbage":      manifest(f.next(), []Segment{f.a}, []uint64{f.root.Object}, []GarbageObject{{Object: f.a.Object, Epoch: 1, Kind: KindSegment}}),
		"garbage twice":       manifest(f.next(), nil, []uint64{f.root.Object}, []GarbageObject{f.trash()[0], f.trash()[0]}),
		"a trim of queue 0":   func() error { return f.own.PutTrims(t.Context(), map[uint32]uint64{0: 1}) },
		"a trim of 29 bits":   func() error { return f.own.PutTrims(t.Context(), map[uint32]uint64{MaxOrdinal + 1: 1}) },
		"a trim of 64 bits":   func() error { return f.own.PutTrims(t.Context(), map[uint32]uint64{1: 1 << 63}) },
		"a loss to come":      func() error { return f.own.SettleLosses(t.Context(), 1) },
	} {
		if err := do(); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if diff := cmp.Diff(before, sealedState(t, f.s, "s0")); diff != "" {
		t.Fatal(diff)
	}
}

// TestSettleLosses: the number of settled losses rises, survives commits, and never falls.
func TestSettleLosses(t *testing.T) {
	t.Parallel()
	onAll(t, func(t *testing.T, kv KV) { //nolint:thelper // a case, not a helper: its own lines matter
		s := newStore(t, kv, StoreConfig{})
		a := acquireShard(t, s, claimOf("s0", "b0", "w0"))
		if err := errors.Join(a.SettleLosses(t.Context(), 0), a.Release(t.Context(), false)); err != nil {
			t.Fatal(err)
		}
		if st := sealedState(t, s, "s0"); st.Head.Revision != 0 {
			t.Fatal("a head was written for nothing")
		}
		c := claimOf("s0", "b0", "w1")
		c.AcceptTailLoss = true
		own := acquireShard(t, newStore(t, kv, StoreConfig{}), c)
		if err := own.SettleLosses(t.Context(), 1); err != nil {
			t.Fatal(err)
		}
		_, head := commitNext(t, own, 1, 1)
		if err := own.SettleLosses(t.Context(), 0); err != nil {
			t.Fatal(err)
		}
		if st := sealedState(t, s, "s0"); st.Head != head || head.SettledLosses != 1 || head.NextObject != 2 {
			t.Fatalf("%+v, %+v", st.Head, head)
		}
	})
}

// TestSealingLimits: what is just within the limits is done, by etcd too, and what is beyond is refused and changes nothing.
func TestSealingLimits(t *testing.T) {
	t.Parallel()
	onAll(t, func(t *testing.T, kv KV) { //nolint:thelper // a case, not a helper: its own lines matter
		ctx := t.Context()
		s := newStore(t, kv, StoreConfig{})
		own := acquireShard(t, s, claimOf("s0", "b0", "w0"))
		if _, err := own.ReserveObjects(ctx, slices.Repeat([]string{KindPage}, MaxReserve+1)); !errors.Is(err, ErrTooLarge) {
			t.Fatal(err)
		}
		var segs []Segment
		pages := reserve(t, own, slices.Repeat([]string{KindPage}, MaxReserve)...)
		roots := reserve(t, own, KindRoot)
		for i := range uint64(62 + 31) {
			seg, _ := commitNext(t, own, 1+i, 1)
			segs = append(segs, seg)
		}
		cursors := make([]QueueCursor, 6000)
		for i := range cursors {
			cursors[i] = QueueCursor{Ordinal: uint32(MaxOrdinal - len(cursors) + i), Offset: math.MaxUint64}
		}
		seg := segmentOf(reserve(t, own, KindSegment)[0], 0, 94, 95)
		seg.Cursors = slices.Concat([]QueueCursor{}, cursors, cursors[:0])
		if err := commitOf(ctx, own, seg); err != nil {
			t.Fatal("6,000 cursors", err)
		}
		if have := sealedState(t, s, "s0").Segments[93]; !slices.Equal(have.Cursors, cursors) {
			t.Fatalf("%d cursors came back", len(have.Cursors))
		}
		seg = segmentOf(reserve(t, own, KindSegment)[0], 0, 95, 96)
		for i := range uint32(1000) {
			seg.Cursors = append(seg.Cursors, QueueCursor{Ordinal: MaxOrdinal - 8000 + i, Offset: math.MaxUint64})
		}
		seg.Cursors = append(seg.Cursors, cursors...)
		before := sealedState(t, s, "s0")
		if err := commitOf(ctx, own, seg); !errors.Is(err, ErrTooLarge) {
			t.Fatal("7,000 cursors", err)
		}
		// 62 operations: 61 go and one record comes; 63 are refused.
		if err := own.ReplaceSegments(ctx, segs[:62], nil, ""); !errors.Is(err, ErrTooLarge) {
			t.Fatal(err)
		}
		if diff := cmp.Diff(before, sealedState(t, s, "s0")); diff != "" {
			t.Fatal(diff)
		}
		if err := own.ReplaceSegments(ctx, segs[:61], nil, "retention"); err != nil {
			t.Fatal(err)
		}
		segs = segs[61:] // 32 are left
		var out []Segment
		for _, u := range reserve(t, own, slices.Repeat([]string{KindSegment}, 28)...) {
			out = append(out, segmentOf(u, 1, segs[0].FirstLSN, segs[4].EndLSN))
		}
		if err := own.ReplaceSegments(ctx, segs[:6], out, ""); !errors.Is(err, ErrTooLarge) {
			t.Fatal(err)
		}
		if err := own.ReplaceSegments(ctx, segs[:5], out, "merge"); err != nil { // 2 × 28 + 5 + 1
			t.Fatal(err)
		}
		segs = slices.Concat(out, segs[5:]) // 28 + 27
		intents := []uint64{roots[0].Object}
		for _, p := range pages {
			intents = append(intents, p.Object)
		}
		next := ManifestPointer{Object: roots[0].Object, Epoch: 1, Size: 1, EndLSN: 95, Segments: 30}
		if _, err := own.CommitManifest(ctx, nil, next, segs[:31], intents, nil, ""); !errors.Is(err, ErrTooLarge) {
			t.Fatal(err)
		}
		if _, err := own.CommitManifest(ctx, nil, next, segs[:30], intents, nil, ""); err != nil { // 1 + 30 + 29
			t.Fatal(err)
		}
		if st := sealedState(t, s, "s0"); len(st.Segments) != 26 || len(st.Uploads) != 1 || st.Uploads[0].Object != seg.Object {
			t.Fatalf("%d segments, uploads %v", len(st.Segments), st.Uploads)
		}
	})
}

func commitOf(ctx context.Context, own *Ownership, seg Segment) error {
	_, err := own.CommitSegment(ctx, seg, headOf(seg))
	return err
}

// TestTrims: chunks are merged, never lowered, and written together only as far as a transaction reaches.
func TestTrims(t *testing.T) {
	t.Parallel()
	onAll(t, func(t *testing.T, kv KV) { //nolint:thelper // a case, not a helper: its own lines matter
		f := newFaultKV(kv, 1)
		s := newStore(t, f, StoreConfig{})
		own := acquireShard(t, s, claimOf("s0", "b0", "w0"))
		want := map[uint32]uint64{}
		for chunk := range uint32(2*trimChunks + 1) {
			for q := range uint32(ChunkQueues) {
				if ordinal := chunk<<ChunkBits | q; ordinal > 0 {
					want[ordinal] = math.MaxInt64 - uint64(ordinal)
				}
			}
		}
		want[MaxOrdinal] = math.MaxInt64
		before := f.txns.Load()
		if err := own.PutTrims(t.Context(), want); err != nil {
			t.Fatal(err)
		}
		if n := f.txns.Load() - before; n != 6 { // three transactions, each after a reading
			t.Errorf("%d transactions", n)
		}
		before = f.txns.Load()
		if err := own.PutTrims(t.Context(), map[uint32]uint64{1: 1, 2: 0, 5 << ChunkBits: 77, MaxOrdinal - 1: 0}); err != nil {
			t.Fatal(err)
		}
		if n := f.txns.Load() - before; n != 1 {
			t.Errorf("%d transactions to change nothing", n)
		}
		if err := own.PutTrims(t.Context(), map[uint32]uint64{1: math.MaxInt64, 3: 5, MaxOrdinal - 1: 9}); err != nil {
			t.Fatal(err)
		}
		want[1], want[MaxOrdinal-1] = math.MaxInt64, 9
		if diff := cmp.Diff(want, sealedState(t, s, "s0").Trims); diff != "" {
			t.Fatal(diff)
		}
		if err := own.PutTrims(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
	})
}

// TestSealedStateIsOneRead: whatever is committed while the state is read in pages, what is read fits together; the history of a read that takes long may
// be compacted beneath it.
func TestSealedStateIsOneRead(t *testing.T) {
	t.Parallel()
	for _, b := range backends() {
		t.Run(b.name, func(t *testing.T) {
			t.Parallel()
			kv, compact := b.open(t)
			s := newStore(t, kv, StoreConfig{})
			own := acquireShard(t, s, claimOf("s0", "b0", "w0"))
			var segs []Segment
			for i := range uint64(sealedPage + 20) {
				seg, _ := commitNext(t, own, 1+i, 1)
				segs = append(segs, seg)
			}
			paged := &pagedKV{KV: kv}
			reader := newStore(t, paged, StoreConfig{})
			for round := range 20 {
				paged.between = func() {
					// While the reader is between two pages: the first segments become one, the next is committed, and the trims move.
					out := segmentOf(reserve(t, own, KindSegment)[0], 1, segs[0].FirstLSN, segs[1].EndLSN)
					if err := own.ReplaceSegments(t.Context(), segs[:2], []Segment{out}, ""); err != nil {
						t.Error(err)
					}
					next, head := commitNext(t, own, segs[len(segs)-1].EndLSN, 1)
					segs = append(append([]Segment{out}, segs[2:]...), next)
					if err := own.PutTrims(t.Context(), map[uint32]uint64{1: head.LSN}); err != nil {
						t.Error(err)
					}
					if round%5 == 4 {
						compact(head.Revision)
					}
				}
				st, err := reader.SealedState(t.Context(), "s0")
				if err != nil {
					t.Fatal(err)
				}
				checkTogether(t, st, uint64(sealedPage+20))
			}
			if paged.calls < 20 {
				t.Errorf("%d changes between pages", paged.calls)
			}
		})
	}
}

// checkTogether checks a state that was committed without gaps, and trimmed to each committed LSN.
func checkTogether(t *testing.T, st *SealedState, least uint64) {
	t.Helper()
	lsn := uint64(1)
	for _, seg := range st.Segments {
		if seg.FirstLSN != lsn {
			t.Fatalf("segment %d begins at LSN %d, not %d", seg.Object, seg.FirstLSN, lsn)
		}
		lsn = seg.EndLSN
	}
	trim, ok := st.Trims[1]
	if !ok {
		trim = least + 1
	}
	if st.Head.LSN != lsn || trim != lsn || lsn < least || st.Head.NextObject <= st.Head.Object {
		t.Fatalf("head %+v, segments up to LSN %d, trim %d", st.Head, lsn, trim)
	}
}

// pagedKV does something after the first page of a range of one shard's keys.
type pagedKV struct {
	KV
	between func()
	calls   int
}

func (p *pagedKV) Range(ctx context.Context, r RangeRequest) (RangeResult, error) {
	if strings.HasSuffix(r.Prefix, "/s0/") && r.Rev != 0 { // and not the store's own views, which read anew when they are behind
		if f := p.between; f != nil {
			p.between = nil
			p.calls++
			f()
		}
	}
	return p.KV.Range(ctx, r)
}
