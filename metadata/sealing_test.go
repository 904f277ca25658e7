package metadata

import (
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
