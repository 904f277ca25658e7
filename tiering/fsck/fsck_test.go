package fsck

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/varvemq/varve/metadata"
	"github.com/varvemq/varve/tiering/catalog"
	"github.com/varvemq/varve/tiering/guard"
	"github.com/varvemq/varve/tiering/manifest"
	"github.com/varvemq/varve/tiering/objstore"
	"github.com/varvemq/varve/tiering/objstore/faulty"
)

func TestNothingToFind(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*plan, *Input){
		"all is well": func(*plan, *Input) {},
		"deep":        func(_ *plan, in *Input) { in.Deep = true },
		"nothing in the manifest": func(p *plan, _ *Input) {
			p.paged, p.recent, p.garbage = nil, []uint64{1, 2, 7, 8}, []uint64{3, 4}
		},
		"an offset that was kept no longer": func(p *plan, _ *Input) {
			p.trims[2] = 3
			p.segs[8].runs[0].First = 3
		},
		"a trim beyond what there is": func(p *plan, _ *Input) { p.trims[1] = 1000 },
		"a queue whose messages in the manifest are gone": func(p *plan, _ *Input) {
			p.paged, p.garbage = []uint64{3}, []uint64{1, 2, 4}
			p.trims[2], p.rows[1].First = 2, 2
		},
		"a gap in a deleted topic": func(p *plan, in *Input) {
			p.segs[8].runs[0].First = 4
			in.Dead = func(ordinal uint32) bool { return ordinal == 2 }
		},
		"no log is known": func(_ *plan, in *Input) { in.WAL = nil },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p, in := newPlan(), Input{}
			change(p, &in)
			w := build(t, p)
			full := w.input()
			full.Deep, full.Dead = in.Deep, in.Dead
			var last, total int64
			full.Progress = func(n, of int64) { last, total = n, of }
			w.put(t, catalog.ObjectKey("other", 9, 9, metadata.KindSegment), []byte("another shard's"))
			r, got := check(t, full)
			if len(got) != 0 || len(r.Orphans) != 0 || r.Segments != len(p.paged)+len(p.recent) || r.Pending != len(p.garbage) || r.Revision != 99 || r.Bytes == 0 || r.Errors() != 0 {
				t.Errorf("%+v", r)
			}
			if want := int64(r.Segments + r.Pages); last != want || total < want {
				t.Errorf("checked %d of %d, there are %d", last, total, want)
			}
		})
	}
}

// TestFindings plants each fault and requires exactly its finding.
func TestFindings(t *testing.T) {
	t.Parallel()
	key := func(kind string, epoch, object uint64) string {
		return catalog.ObjectKey(testShard, epoch, object, kind)
	}
	seg, skipped := metadata.KindSegment, found{Warning, KindSkipped, ""}
	for _, c := range []struct {
		name  string
		plan  func(*plan)
		fault func(*testing.T, *world, *Input)
		want  []found
	}{
		{name: "a segment of etcd is gone", fault: dropped(7), want: []found{{Error, KindMissing, key(seg, 2, 7)}}},
		{name: "a segment of the manifest is gone", fault: dropped(3), want: []found{{Error, KindMissing, key(seg, 1, 3)}}},
		{name: "a segment is longer", fault: changed(3, func(b []byte) []byte { return append(b, 0) }), want: []found{{Error, KindSize, key(seg, 1, 3)}}},
		{name: "a segment is shorter", fault: changed(8, func(b []byte) []byte { return b[:len(b)-1] }), want: []found{
			{Error, KindSize, key(seg, 3, 8)}, {Error, KindDamaged, key(seg, 3, 8)},
		}},
		{name: "a footer is damaged", fault: changed(8, flip(-100)), want: []found{{Error, KindDamaged, key(seg, 3, 8)}}},
		{name: "an index is damaged", fault: changed(3, flip(-600)), want: []found{{Error, KindDamaged, key(seg, 1, 3)}}},
		{name: "a block is damaged", fault: func(t *testing.T, w *world, in *Input) { //nolint:thelper // a case
			in.Deep = true
			changed(4, flip(80))(t, w, in)
		}, want: []found{{Error, KindDamaged, key(seg, 1, 4)}}},
		{name: "another build of a segment", fault: func(t *testing.T, w *world, _ *Input) { //nolint:thelper // a case
			p := newPlan()
			p.segs[4].end++
			w.put(t, w.keys[4], build(t, p).get(t, w.keys[4]))
		}, want: []found{{Error, KindDamaged, key(seg, 1, 4)}}},
		{name: "another segment's bytes", fault: func(t *testing.T, w *world, _ *Input) { //nolint:thelper // a case
			w.put(t, w.keys[7], w.get(t, w.keys[8]))
		}, want: []found{{Error, KindSize, key(seg, 2, 7)}, {Error, KindDamaged, key(seg, 2, 7)}}},
		{name: "the root is gone", fault: dropped(6), want: []found{{Error, KindMissing, key("root", 1, 6)}, skipped}},
		{name: "the root is damaged", fault: changed(6, flip(40)), want: []found{{Error, KindDamaged, key("root", 1, 6)}, skipped}},
		{name: "the page is gone", fault: dropped(5), want: []found{{Error, KindMissing, key("page", 1, 5)}, skipped}},
		{name: "the page is damaged", fault: changed(5, flip(-40)), want: []found{{Error, KindDamaged, key("page", 1, 5)}, skipped}},
		{name: "etcd says something else of a segment", fault: func(_ *testing.T, w *world, _ *Input) { w.st.Segments[0].Messages++ }, want: []found{{Error, KindMismatch, key(seg, 2, 7)}}},
		{name: "the manifest says something else of a segment", plan: func(p *plan) {
			p.runs[4] = []manifest.Run{{Ordinal: 2, First: 0, End: 1}, {Ordinal: 9, First: 0, End: 1}}
			p.segs[8].runs = nil
			p.rows = []manifest.QueueRow{p.rows[0], {Ordinal: 2, End: 1, LastStore: 1}, {Ordinal: 9, End: 1, LastStore: 1}}
		}, want: []found{{Error, KindMismatch, key(seg, 1, 4)}}},
		{name: "etcd says something else of the manifest", fault: func(_ *testing.T, w *world, _ *Input) { w.st.Manifest.Segments++ }, want: []found{{Error, KindMismatch, key("root", 1, 6)}}},
		{name: "listed in both", plan: func(p *plan) { p.recent = []uint64{4, 7, 8} }, want: []found{
			{Error, KindListedTwice, key(seg, 1, 4)}, {Error, KindQueueOverlap, key(seg, 1, 4)},
		}},
		{name: "LSNs are missing", plan: func(p *plan) { p.recent, p.garbage = []uint64{8}, []uint64{1, 2, 7} }, want: []found{{Error, KindLSNGap, key(seg, 3, 8)}}},
		{name: "the newest LSNs are missing", plan: func(p *plan) { p.lsn++ }, want: []found{{Error, KindLSNGap, ""}}},
		{name: "the first LSNs are missing", plan: func(p *plan) {
			p.paged, p.recent, p.garbage = nil, []uint64{2, 7, 8}, []uint64{1, 3, 4}
			p.segs[8].runs[0].First, p.trims[1], p.trims[2] = 2, 4, 2
		}, want: []found{{Error, KindLSNGap, key(seg, 1, 2)}}},
		{name: "a gap within the manifest", plan: func(p *plan) {
			p.segs[3].end, p.segs[4].first = 9, 12
		}, want: []found{{Info, KindLSNGap, ""}}},
		{name: "LSNs are there twice", plan: func(p *plan) { p.segs[8].first = 30 }, want: []found{{Error, KindLSNOverlap, key(seg, 3, 8)}}},
		{name: "two merges overlap", plan: func(p *plan) { p.segs[4].first = 5 }, want: []found{{Error, KindLSNOverlap, key(seg, 1, 4)}}},
		{name: "beyond the head", plan: func(p *plan) { p.lsn = 35 }, want: []found{{Error, KindLSNOverlap, key(seg, 3, 8)}}},
		{name: "it follows another", plan: func(p *plan) { p.segs[8].follows = 1 }, want: []found{{Error, KindChain, key(seg, 3, 8)}}},
		{name: "offsets are missing", plan: func(p *plan) { p.segs[8].runs[0].First = 3 }, want: []found{{Error, KindQueueGap, key(seg, 3, 8)}}},
		{name: "offsets above the first kept are missing", plan: func(p *plan) {
			p.segs[8].runs[0].First, p.trims[2] = 4, 3
		}, want: []found{{Error, KindQueueGap, key(seg, 3, 8)}}},
		{name: "the first offsets are missing", plan: func(p *plan) { p.segs[7].runs[1].First = 1 }, want: []found{{Error, KindQueueGap, key(seg, 2, 7)}}},
		{name: "offsets are there twice", plan: func(p *plan) { p.segs[8].runs[0].First = 1 }, want: []found{{Error, KindQueueOverlap, key(seg, 3, 8)}}},
		{name: "a row ends elsewhere", plan: func(p *plan) { p.rows[0].End = 7 }, want: []found{{Error, KindQueueRow, key("root", 1, 6)}}},
		{name: "no row", plan: func(p *plan) { p.rows = p.rows[:1] }, want: []found{{Error, KindQueueRow, key("root", 1, 6)}}},
		{name: "a row of nothing", plan: func(p *plan) { p.rows = append(p.rows, manifest.QueueRow{Ordinal: 9, First: 0, End: 1}) }, want: []found{{Error, KindQueueRow, key("root", 1, 6)}}},
		{name: "an orphan", fault: object(seg, 2, 9), want: []found{{Warning, KindOrphan, key(seg, 2, 9)}}},
		{name: "an orphaned root", fault: object("root", 1, 10), want: []found{{Warning, KindOrphan, key("root", 1, 10)}}},
		{name: "an orphan of this epoch", fault: object(seg, 3, 9), want: []found{{Info, KindOrphan, key(seg, 3, 9)}}},
		{name: "a listed number of another epoch", fault: object(seg, 2, 8), want: []found{{Warning, KindOrphan, key(seg, 2, 8)}}},
		{name: "an upload that was given up", fault: func(t *testing.T, w *world, in *Input) { //nolint:thelper // a case
			w.st.Uploads = []metadata.Upload{{Object: 9, Epoch: 2, Kind: seg}, {Object: 10, Epoch: 3, Kind: seg}, {Object: 11, Epoch: 2, Kind: seg}}
			object(seg, 2, 9)(t, w, in)
			object(seg, 3, 10)(t, w, in) // under way
		}, want: []found{{Info, KindIntent, key(seg, 2, 9)}}},
		{name: "written while it runs", fault: object(seg, 3, 12), want: nil},
		{name: "a number that was never handed out", fault: object(seg, 2, 12), want: []found{{Error, KindStranger, key(seg, 2, 12)}}},
		{name: "a higher epoch", fault: object(seg, 4, 9), want: []found{{Error, KindStranger, key(seg, 4, 9)}}},
		{name: "a kind there is not", fault: object("sgm", 2, 9), want: []found{{Warning, KindUnknown, key("sgm", 2, 9)}}},
		{name: "somebody's object", fault: func(t *testing.T, w *world, _ *Input) { w.put(t, "holiday.jpg", nil) }, want: []found{{Warning, KindUnknown, "holiday.jpg"}}}, //nolint:thelper // a case
		{name: "listed, but garbage", plan: func(p *plan) { p.garbage = append(p.garbage, 4) }, want: []found{{Error, KindGarbageListed, key(seg, 1, 4)}}},
		{name: "listed, but an intent", fault: func(_ *testing.T, w *world, _ *Input) {
			w.st.Uploads = []metadata.Upload{{Object: 5, Epoch: 1, Kind: "page"}}
		}, want: []found{
			{Error, KindIntentListed, key("page", 1, 5)},
		}},
		{name: "a higher epoch is marked", fault: func(_ *testing.T, _ *world, in *Input) { in.Epoch = 2 }, want: []found{{Error, KindEpoch, guard.EpochKey(testShard, 3)}}, plan: func(p *plan) {
			p.segs[8].epoch = 2
		}},
		{name: "the owner's epoch is not marked", fault: func(t *testing.T, w *world, _ *Input) { w.drop(t, guard.EpochKey(testShard, 3)) }, want: []found{ //nolint:thelper // a case
			{Warning, KindEpoch, guard.EpochKey(testShard, 3)},
		}},
		{name: "a damaged mark", fault: func(t *testing.T, w *world, _ *Input) { w.put(t, guard.EpochKey(testShard, 2), []byte("{")) }, want: []found{ //nolint:thelper // a case
			{Error, KindDamaged, guard.EpochKey(testShard, 2)},
		}},
		{name: "another cluster's mark", fault: func(t *testing.T, w *world, _ *Input) { //nolint:thelper // a case
			w.drop(t, guard.EpochKey(testShard, 2))
			if err := guard.MarkEpoch(t.Context(), w.bucket, guard.Epoch{Cluster: uuid.New(), Shard: testShard, Epoch: 2, Revision: 1, Claim: "c"}); err != nil {
				t.Fatal(err)
			}
		}, want: []found{{Error, KindEpoch, guard.EpochKey(testShard, 2)}}},
		{name: "the log begins above the head", fault: wal(WALInfo{"w", 5001, 6000}), want: []found{{Error, KindWALGap, ""}}},
		{name: "the log ends below the head", fault: wal(WALInfo{"w", 0, 4999}), want: []found{{Error, KindWALGap, ""}}},
		{name: "another log", fault: wal(WALInfo{"other", 0, 9999}), want: []found{{Error, KindWALGap, ""}}},
		{name: "the position is lost", fault: func(_ *testing.T, w *world, _ *Input) { w.st.Head.PositionLost = true }, want: []found{skipped}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			p := newPlan()
			if c.plan != nil {
				c.plan(p)
			}
			w := build(t, p)
			in := w.input()
			if c.fault != nil {
				c.fault(t, w, &in)
			}
			before := len(w.bucketKeys(t))
			r, got := check(t, in)
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
			for _, f := range got {
				orphan := slices.ContainsFunc(r.Orphans, func(o Orphan) bool { return o.Key == f.Key })
				if orphan != (f.Kind == KindOrphan && f.Severity == Warning) {
					t.Errorf("%+v: to be repaired: %v", f, orphan)
				}
			}
			if before != len(w.bucketKeys(t)) {
				t.Error("something was changed")
			}
		})
	}
}

func dropped(object uint64) func(*testing.T, *world, *Input) {
	return func(t *testing.T, w *world, _ *Input) { //nolint:thelper // a case
		w.drop(t, w.keys[object])
	}
}

func changed(object uint64, change func([]byte) []byte) func(*testing.T, *world, *Input) {
	return func(t *testing.T, w *world, _ *Input) { //nolint:thelper // a case
		w.put(t, w.keys[object], change(w.get(t, w.keys[object])))
	}
}

// flip changes the bit at a position, from the end if that is negative.
func flip(at int) func([]byte) []byte {
	return func(b []byte) []byte {
		b[(at+len(b))%len(b)] ^= 1
		return b
	}
}

func object(kind string, epoch, number uint64) func(*testing.T, *world, *Input) {
	return func(t *testing.T, w *world, _ *Input) { //nolint:thelper // a case
		w.put(t, catalog.ObjectKey(testShard, epoch, number, kind), []byte("an object"))
	}
}

func wal(info WALInfo) func(*testing.T, *world, *Input) {
	return func(_ *testing.T, w *world, _ *Input) { w.wal = &info }
}

func (w *world) bucketKeys(t *testing.T) []string {
	t.Helper()
	var keys []string
	for info, err := range w.bucket.List(t.Context(), "") {
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, info.Key)
	}
	return keys
}

// TestAPageThatCannotBeReadHidesOrphans: what it lists must not be called an orphan.
func TestAPageThatCannotBeReadHidesOrphans(t *testing.T) {
	t.Parallel()
	for _, lost := range []uint64{5, 6} {
		w := build(t, newPlan())
		object(metadata.KindSegment, 2, 9)(t, w, nil)
		changed(lost, flip(40))(t, w, nil)
		if r, got := check(t, w.input()); len(r.Orphans) > 0 || slices.ContainsFunc(got, func(f found) bool { return f.Kind == KindOrphan }) {
			t.Errorf("without %d: %+v", lost, got)
		}
	}
}

// TestAnObjectThatGoesMeanwhile: it was unlisted and deleted while the check ran.
func TestAnObjectThatGoesMeanwhile(t *testing.T) {
	t.Parallel()
	for _, gone := range []uint64{4, 7} {
		before, p := build(t, newPlan()), newPlan()
		if gone == 4 {
			p.paged, p.rows[1].First, p.trims[2] = []uint64{3}, 2, 2
		} else {
			p.recent = []uint64{8}
		}
		after := build(t, p)
		after.st.Manifest.Object, after.st.Manifest.Epoch = 11, 2
		root := manifest.Root{Cluster: after.cluster, Shard: testShard, Epoch: 2, Object: 11, EndLSN: after.st.Manifest.EndLSN, Queues: p.rows}
		old, err := manifest.DecodeRoot(after.get(t, after.keys[6]))
		if err != nil {
			t.Fatal(err)
		}
		root.Pages = old.Pages
		root.Pages[0].Object, root.Pages[0].Epoch = 10, 2
		var segs []manifest.PageSegment
		for _, object := range p.paged {
			segs = append(segs, manifest.PageSegment{Entry: p.segs[object].listed, Runs: p.segs[object].runs})
		}
		b, ref, err := manifest.EncodePage(manifest.PageIdentity{Cluster: after.cluster, Shard: testShard, Epoch: 2, Object: 10}, segs)
		if err != nil {
			t.Fatal(err)
		}
		root.Pages = []manifest.PageRef{ref}
		before.put(t, catalog.ObjectKey(testShard, 2, 10, metadata.KindPage), b)
		b = root.Encode()
		before.put(t, catalog.ObjectKey(testShard, 2, 11, metadata.KindRoot), b)
		after.st.Manifest.Size, after.st.Manifest.CRC = int64(len(b)), crcOf(b)
		before.drop(t, before.keys[gone])

		in := before.input()
		reads := 0
		in.Read = func(context.Context) (*metadata.SealedState, error) {
			if reads++; reads == 1 {
				return before.st, nil
			}
			return after.st, nil
		}
		_, got := check(t, in)
		got = slices.DeleteFunc(got, func(f found) bool { return f.Kind == KindOrphan && f.Severity == Warning }) // the new root and page have numbers below NextObject here
		if len(got) != 0 || reads != 2 {
			t.Errorf("%d goes: %+v after %d reads", gone, got, reads)
		}
	}
}

func TestOutagesAreNoFindings(t *testing.T) {
	t.Parallel()
	w := build(t, newPlan())
	for n := 1; ; n++ {
		in, calls := w.input(), 0
		in.Concurrency = 1
		in.Bucket = faulty.New(w.bucket, faulty.Config{Plan: func(op faulty.Op) faulty.Fault {
			if calls = op.N; op.N == n {
				return faulty.ServerError
			}
			return faulty.None
		}})
		r, err := Run(t.Context(), in)
		if err == nil && calls < n {
			if n < 10 {
				t.Fatalf("%d calls", calls)
			}
			return
		}
		if !objstore.Retriable(err) || r != nil {
			t.Fatalf("call %d fails: %+v, %v", n, r, err)
		}
	}
}

func TestReadFails(t *testing.T) {
	t.Parallel()
	in, broken := build(t, newPlan()).input(), errors.New("no etcd")
	in.Read = func(context.Context) (*metadata.SealedState, error) { return nil, broken }
	if _, err := Run(t.Context(), in); !errors.Is(err, broken) || !strings.Contains(err.Error(), testShard) {
		t.Error(err)
	}
}

func TestTooManyFindings(t *testing.T) {
	t.Parallel()
	c := &checker{report: &Report{}}
	for range maxFindings + 7 {
		c.find(Info, KindUnknown, "k", "x")
	}
	if len(c.report.Findings) != maxFindings || c.report.Suppressed != 7 {
		t.Errorf("%d, %d", len(c.report.Findings), c.report.Suppressed)
	}
}
