package fsck

import (
	"context"
	"errors"
	"hash/crc32"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/varvemq/varve/metadata"
	"github.com/varvemq/varve/tiering/catalog"
	"github.com/varvemq/varve/tiering/objstore"
)

func crcOf(b []byte) uint32 { return crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)) }

func (w *world) repair() RepairInput {
	return RepairInput{
		Bucket: w.bucket, Cluster: w.cluster, Shard: testShard, Epoch: ownEpoch, Valid: func() bool { return true }, Grace: time.Hour,
		Now:  func() time.Time { return time.Now().Add(2 * time.Hour) },
		Read: func(context.Context) (*metadata.SealedState, error) { return w.st, nil },
	}
}

func TestRepair(t *testing.T) {
	t.Parallel()
	w := build(t, newPlan())
	for _, kind := range []string{metadata.KindSegment, metadata.KindPage} {
		object(kind, 2, 9)(t, w, nil)
	}
	object(metadata.KindSegment, 3, 10)(t, w, nil) // of the present epoch
	w.st.Uploads = []metadata.Upload{{Object: 11, Epoch: 2, Kind: metadata.KindSegment}}
	object(metadata.KindSegment, 2, 11)(t, w, nil) // sweeping's
	before := w.bucketKeys(t)
	r, _ := check(t, w.input())
	deleted, err := Repair(t.Context(), w.repair(), r.Orphans)
	want := []string{catalog.ObjectKey(testShard, 2, 9, metadata.KindPage), catalog.ObjectKey(testShard, 2, 9, metadata.KindSegment)}
	slices.Sort(deleted)
	slices.Sort(want)
	if diff := cmp.Diff(want, deleted); diff != "" || err != nil {
		t.Error(diff, err)
	}
	left := slices.DeleteFunc(before, func(key string) bool { return slices.Contains(want, key) })
	if diff := cmp.Diff(left, w.bucketKeys(t)); diff != "" {
		t.Error(diff)
	}
	if again, err := Repair(t.Context(), w.repair(), r.Orphans); len(again) != 0 || err != nil {
		t.Errorf("again: %v, %v", again, err)
	}
}

// TestRepairLeaves: whatever stands on the list of orphans, what may be needed stays.
func TestRepairLeaves(t *testing.T) {
	t.Parallel()
	seg := metadata.KindSegment
	for _, c := range []struct {
		name   string
		kind   string
		epoch  uint64
		object uint64
		change func(*testing.T, *world, *RepairInput)
		want   error
	}{
		{name: "a listed segment", kind: seg, epoch: 2, object: 7},
		{name: "a segment in the manifest", kind: seg, epoch: 1, object: 3},
		{name: "the root", kind: metadata.KindRoot, epoch: 1, object: 6},
		{name: "a page", kind: metadata.KindPage, epoch: 1, object: 5},
		{name: "an object of the owner's epoch", kind: seg, epoch: 3, object: 9},
		{name: "a number that was never handed out", kind: seg, epoch: 2, object: 12},
		{name: "garbage", kind: seg, epoch: 1, object: 1},
		{name: "an upload", kind: seg, epoch: 2, object: 9, change: func(_ *testing.T, w *world, _ *RepairInput) {
			w.st.Uploads = []metadata.Upload{{Object: 9, Epoch: 2, Kind: seg}}
		}},
		{name: "a young object", kind: seg, epoch: 2, object: 9, change: func(_ *testing.T, _ *world, in *RepairInput) { in.Now = time.Now }},
		{name: "one that was listed since", kind: seg, epoch: 2, object: 9, change: func(_ *testing.T, w *world, _ *RepairInput) {
			w.st.Segments = append(w.st.Segments, metadata.Segment{Object: 9, Epoch: 2})
		}},
		{name: "without the shard", kind: seg, epoch: 2, object: 9, want: ErrNotOwner, change: func(_ *testing.T, _ *world, in *RepairInput) {
			in.Valid = func() bool { return false }
		}},
		{name: "with a page that cannot be read", kind: seg, epoch: 1, object: 3, want: objstore.ErrNotFound, change: func(t *testing.T, w *world, _ *RepairInput) { //nolint:thelper // a case
			w.drop(t, w.keys[5])
		}},
		{name: "with a root that cannot be read", kind: seg, epoch: 1, object: 3, want: errOther, change: func(t *testing.T, w *world, _ *RepairInput) { //nolint:thelper // a case
			changed(6, flip(3))(t, w, nil)
		}},
		{name: "without etcd", kind: seg, epoch: 2, object: 9, want: context.DeadlineExceeded, change: func(_ *testing.T, _ *world, in *RepairInput) {
			in.Read = func(context.Context) (*metadata.SealedState, error) { return nil, context.DeadlineExceeded }
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := build(t, newPlan())
			if _, err := w.bucket.Head(t.Context(), catalog.ObjectKey(testShard, c.epoch, c.object, c.kind)); err != nil {
				object(c.kind, c.epoch, c.object)(t, w, nil)
			}
			in := w.repair()
			if c.change != nil {
				c.change(t, w, &in)
			}
			before := w.bucketKeys(t)
			o := Orphan{Key: catalog.ObjectKey(testShard, c.epoch, c.object, c.kind), Kind: c.kind, Epoch: c.epoch, Object: c.object}
			deleted, err := Repair(t.Context(), in, []Orphan{o})
			if len(deleted) > 0 || !errors.Is(err, c.want) {
				t.Errorf("deleted %v, %v", deleted, err)
			}
			if diff := cmp.Diff(before, w.bucketKeys(t)); diff != "" {
				t.Error(diff)
			}
		})
	}
	t.Run("another object than the list says", func(t *testing.T) {
		t.Parallel()
		w := build(t, newPlan())
		object(seg, 2, 9)(t, w, nil)
		o := Orphan{Key: w.keys[7], Kind: seg, Epoch: 2, Object: 9}
		if deleted, err := Repair(t.Context(), w.repair(), []Orphan{o}); len(deleted) > 0 || err != nil {
			t.Errorf("deleted %v, %v", deleted, err)
		}
	})
}
