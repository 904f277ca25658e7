package guard

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/varvemq/varve/metadata"
	"github.com/varvemq/varve/tiering/catalog"
	"github.com/varvemq/varve/tiering/objstore"
	"github.com/varvemq/varve/tiering/segment"
)

func TestCheckPasses(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, c := range []struct {
		name   string
		change func(*Input)
	}{
		{"as it was left", func(*Input) {}},
		{"nothing is remembered", func(in *Input) { in.Remembered = nil }},
		{"etcd went on", func(in *Input) { in.EtcdRevision += 10 }},
		{"acquired without a mark: the owner ended in between", func(in *Input) { in.ShardEpoch++ }},
		{"remembered of another shard", func(in *Input) { in.Remembered.Shard, in.Remembered.Epoch = "other", 99 }},
		{"no cluster id to compare", func(in *Input) { in.Cluster = uuid.Nil }},
		{"a new shard", func(in *Input) {
			in.Shard, in.ShardEpoch, in.State = "new", 0, &metadata.SealedState{Head: metadata.SealHead{NextObject: 1, LSN: 1}}
		}},
		{"a new shard without a head", func(in *Input) { in.Shard, in.ShardEpoch, in.State = "new", 0, &metadata.SealedState{} }},
	} {
		in := w.input(t)
		c.change(&in)
		if err := Check(t.Context(), in); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

func TestCheckFindsAStaleEtcd(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		change func(*testing.T, *world, *Input)
		want   Stale
		where  string
	}{
		{"the directory remembers a higher revision", func(_ *testing.T, _ *world, in *Input) { in.Remembered.Revision++ }, StaleRevision, "data/remembered"},
		{"the directory remembers a higher epoch", func(_ *testing.T, _ *world, in *Input) { in.Remembered.Epoch++ }, StaleEpoch, "data/remembered"},
		{"a higher epoch is marked", func(_ *testing.T, _ *world, in *Input) { in.ShardEpoch, in.Remembered = 2, nil }, StaleEpoch, "/0000000000000003"},
		{"the shard's record is gone", func(_ *testing.T, _ *world, in *Input) { in.ShardEpoch, in.Remembered = 0, nil }, StaleEpoch, "/0000000000000003"},
		{"the mark has a higher revision", func(_ *testing.T, w *world, in *Input) { in.EtcdRevision, in.Remembered = w.mark.Revision-1, nil }, StaleRevision, "/0000000000000003"},
		{"a copy of the directory was there", func(_ *testing.T, _ *world, in *Input) { in.ShardClaim = uuid.NewString() }, StaleClaim, "/0000000000000003"},
		{"the next object is there", func(t *testing.T, w *world, in *Input) { //nolint:thelper // a case
			w.put(t, catalog.ObjectKey(testShard, 3, in.State.Head.NextObject, "seg"), []byte("x"))
		}, StaleObject, ".seg"},
		{"the last of those probed is there", func(t *testing.T, w *world, in *Input) { //nolint:thelper // a case
			w.put(t, catalog.ObjectKey(testShard, 3, in.State.Head.NextObject+ProbeObjects-1, "page"), []byte("x"))
		}, StaleObject, ".page"},
		{"a root", func(t *testing.T, w *world, in *Input) { //nolint:thelper // a case
			w.put(t, catalog.ObjectKey(testShard, 3, in.State.Head.NextObject+7, "root"), []byte("x"))
		}, StaleObject, ".root"},
		{"a copy of etcd from before the last commits", func(_ *testing.T, _ *world, in *Input) {
			in.State, in.Remembered = &metadata.SealedState{Head: metadata.SealHead{NextObject: 1, LSN: 1}}, nil
		}, StaleObject, ".seg"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			in := w.input(t)
			c.change(t, w, &in)
			before := keys(t, w.bucket)
			var stale *StaleError
			if err := Check(t.Context(), in); !errors.As(err, &stale) || stale.Stale != c.want || !strings.Contains(stale.Where, c.where) {
				t.Fatalf("%v, want a stale %s by %s", err, c.want, c.where)
			}
			for _, word := range []string{c.where, "varve metadata restore", "Nothing was changed", "etcd is older"} {
				if !strings.Contains(stale.Error(), word) {
					t.Errorf("%q does not say %q", stale, word)
				}
			}
			if !slices.Equal(before, keys(t, w.bucket)) {
				t.Error("something was changed")
			}
		})
	}
}

func TestCheckIgnoresNumbersThatProveNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	in := w.input(t)
	next := in.State.Head.NextObject
	w.put(t, catalog.ObjectKey(testShard, 3, next+ProbeObjects, "seg"), []byte("x")) // beyond those probed
	w.put(t, catalog.ObjectKey(testShard, 2, next, "seg"), []byte("x"))              // an older epoch's
	w.put(t, catalog.ObjectKey("other", 3, next, "seg"), []byte("x"))
	w.put(t, EpochPrefix(testShard)+"README", []byte("x")) // not a name of an epoch
	if err := Check(t.Context(), in); err != nil {
		t.Fatal(err)
	}
}

func keys(t *testing.T, bucket objstore.Store) []string {
	t.Helper()
	var out []string
	for info, err := range bucket.List(t.Context(), "") {
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, fmt.Sprint(info))
	}
	return out
}

func TestCheckFindsWhatIsMissing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	st := w.state(t)
	newest := st.Segments[1]
	segKey := catalog.ObjectKey(testShard, newest.Epoch, newest.Object, "seg")
	rootKey := catalog.ObjectKey(testShard, st.Manifest.Epoch, st.Manifest.Object, "root")
	whole, err := objstore.ReadAll(t.Context(), w.bucket, segKey, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	other := func(cluster uuid.UUID, object uint64) []byte {
		b, _ := build(t, cluster, newest.Epoch, object, newest.FirstLSN)
		return b
	}
	damaged := slices.Clone(whole)
	damaged[len(damaged)-100] ^= 1
	rebuilt, _ := build(t, w.cluster, newest.Epoch, newest.Object, newest.FirstLSN+1)
	for _, c := range []struct {
		name, kind, key string
		content         []byte // nil: delete
		wrapped         error
	}{
		{"no segment", "seg", segKey, nil, objstore.ErrNotFound},
		{"a shorter segment", "seg", segKey, whole[:len(whole)-1], segment.ErrIdentity},
		{"a damaged footer", "seg", segKey, damaged, nil},
		{"another number", "seg", segKey, other(w.cluster, newest.Object+1), segment.ErrIdentity},
		{"another cluster", "seg", segKey, other(uuid.New(), newest.Object), segment.ErrIdentity},
		{"another build", "seg", segKey, rebuilt, segment.ErrIdentity},
		{"no segment at all", "seg", segKey, make([]byte, len(whole)), segment.ErrTruncated},
		{"no root", "root", rootKey, nil, objstore.ErrNotFound},
		{"another root", "root", rootKey, []byte("a root of the manifesT"), ErrCorrupt},
		{"a shorter root", "root", rootKey, []byte("a root"), ErrCorrupt},
		{"a longer root", "root", rootKey, []byte("a root of the manifest "), ErrCorrupt},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			bucket := copyOf(t, w.bucket)
			if c.content == nil {
				if err := bucket.Delete(t.Context(), c.key); err != nil {
					t.Fatal(err)
				}
			} else if err := objstore.PutBytes(t.Context(), bucket, c.key, c.content, objstore.PutOptions{}); err != nil {
				t.Fatal(err)
			}
			in := w.input(t)
			in.Bucket = bucket
			var missing *MissingError
			if err := Check(t.Context(), in); !errors.As(err, &missing) || missing.Kind != c.kind || missing.Key != c.key || c.wrapped != nil && !errors.Is(err, c.wrapped) {
				t.Fatalf("%v, want the %s %s missing", err, c.kind, c.key)
			}
		})
	}
	t.Run("an older segment is for fsck", func(t *testing.T) {
		t.Parallel()
		bucket := copyOf(t, w.bucket)
		if err := bucket.Delete(t.Context(), catalog.ObjectKey(testShard, st.Segments[0].Epoch, st.Segments[0].Object, "seg")); err != nil {
			t.Fatal(err)
		}
		in := w.input(t)
		in.Bucket = bucket
		if err := Check(t.Context(), in); err != nil {
			t.Fatal(err)
		}
	})
}

func copyOf(t *testing.T, from objstore.Store) *objstore.Mem {
	t.Helper()
	to := objstore.NewMem()
	for info, err := range from.List(t.Context(), "") {
		if err != nil {
			t.Fatal(err)
		}
		b, err := objstore.ReadAll(t.Context(), from, info.Key, info.Size)
		if err == nil {
			err = objstore.PutBytes(t.Context(), to, info.Key, b, objstore.PutOptions{})
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return to
}

func TestCheckRefusesOtherClusters(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	in := w.input(t)
	in.Remembered.Cluster = uuid.New()
	if err := Check(t.Context(), in); !errors.Is(err, ErrCluster) {
		t.Errorf("the directory's: %v", err)
	}
	in = w.input(t)
	in.Cluster, in.Remembered = uuid.New(), nil
	if err := Check(t.Context(), in); !errors.Is(err, ErrCluster) {
		t.Errorf("the bucket's: %v", err)
	}
}

// TestCheckFresh: what a live owner has just written is no fault.
func TestCheckFresh(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	before := w.input(t)
	w.segment(t) // its number is beyond what was read before
	after := w.input(t)
	reads := 0
	err := CheckFresh(t.Context(), func(context.Context) (Input, error) {
		if reads++; reads == 1 {
			return before, nil
		}
		return after, nil
	})
	if err != nil || reads != 2 {
		t.Errorf("%v after %d reads", err, reads)
	}
	reads = 0
	var stale *StaleError
	if err := CheckFresh(t.Context(), func(context.Context) (Input, error) { reads++; return before, nil }); !errors.As(err, &stale) || reads != 2 {
		t.Errorf("%v after %d reads", err, reads)
	}
	broken := errors.New("no etcd")
	if err := CheckFresh(t.Context(), func(context.Context) (Input, error) { return Input{}, broken }); !errors.Is(err, broken) {
		t.Error(err)
	}
}

// failing fails every request for keys with a part.
type failing struct {
	objstore.Store
	part string
}

func (f failing) Head(ctx context.Context, key string) (objstore.Info, error) {
	if strings.Contains(key, f.part) {
		return objstore.Info{}, fmt.Errorf("%w: no answer", objstore.ErrTransient)
	}
	return f.Store.Head(ctx, key)
}

func TestCheckTellsAnOutageFromALoss(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	st := w.state(t)
	for _, part := range []string{
		catalog.ObjectKey(testShard, 3, st.Head.NextObject+3, "seg"),
		catalog.ObjectKey(testShard, 3, st.Segments[1].Object, "seg"),
		catalog.ObjectKey(testShard, 3, st.Manifest.Object, "root"),
	} {
		in := w.input(t)
		in.Bucket = failing{w.bucket, part}
		var stale *StaleError
		var missing *MissingError
		if err := Check(t.Context(), in); !objstore.Retriable(err) || errors.As(err, &stale) || errors.As(err, &missing) {
			t.Errorf("%s: %v", part, err)
		}
	}
}
