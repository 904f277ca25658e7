package maintain

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"iter"
	"log/slog"
	"math"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/varvemq/varve/internal/vfs"
	"github.com/varvemq/varve/metadata"
	"github.com/varvemq/varve/tiering/catalog"
	"github.com/varvemq/varve/tiering/manifest"
	"github.com/varvemq/varve/tiering/objstore"
)

// firstOf returns a queue's first offset.
func (w *world) firstOf(ordinal uint32) uint64 {
	first, _, _ := w.cat.Bounds(ordinal)
	return first
}

// TestRetentionAge: a run goes when the newest message of its whole segment is older than the topic allows, and not a millisecond before.
func TestRetentionAge(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1)
		w.topics.policies[1] = Policy{MaxAge: time.Hour}
		began := time.Now()
		w.seal(4, 5, 12)
		first := w.queue(4).next
		time.Sleep(10 * time.Minute)
		w.seal(4, 12)
		for _, step := range []struct {
			at          time.Duration
			four, other uint64
		}{
			{time.Hour, 0, 0},
			{time.Hour + time.Millisecond, first, w.queue(5).next},
			{time.Hour + 10*time.Minute, first, w.queue(5).next},
			{time.Hour + 10*time.Minute + time.Millisecond, w.queue(4).next, w.queue(5).next},
		} {
			time.Sleep(time.Until(began.Add(step.at)))
			w.pass()
			w.check()
			if four, other := w.firstOf(4), w.firstOf(5); four != step.four || other != step.other || w.firstOf(12) != 0 {
				t.Errorf("after %v: first offsets %d, %d, %d, want %d, %d, 0", step.at, four, other, w.firstOf(12), step.four, step.other)
			}
		}
		if st := w.state(); st.Trims[4] != w.queue(4).next || st.Trims[5] != w.queue(5).next {
			t.Errorf("etcd has the trims %v", st.Trims)
		}
	})
}

// TestRetentionBytes: of a topic's queues together the newest runs stay, as many as have the bytes it may have, and not one more.
func TestRetentionBytes(t *testing.T) {
	t.Parallel()
	seed := seedOf(t)
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, seed)
		const limit = 24 * kib
		w.topics.policies[2] = Policy{MaxBytes: limit}
		queues := []uint32{8, 9, 10, 11}
		moves := 0
		for range 60 {
			w.sealRandom()
			time.Sleep(time.Minute)
			queues := queues
			if w.queue(11).cursor > 0 { // it is kept by its cursor
				queues = queues[:3]
			}
			before := map[uint32]uint64{}
			for _, ordinal := range queues {
				before[ordinal] = w.firstOf(ordinal)
			}
			w.allow()
			if err := w.m.retention(t.Context()); err != nil { // a merge would change the number of bytes
				t.Fatal(err)
			}
			var runs []catalog.Located
			var kept uint64
			moved := false
			for _, ordinal := range queues {
				first := w.firstOf(ordinal)
				moved = moved || first > before[ordinal]
				for at, err := range w.cat.Since(t.Context(), ordinal, math.MinInt64) {
					if err != nil {
						t.Fatal(err)
					}
					if at.First < first {
						t.Errorf("queue %d: the first offset %d is within %+v", ordinal, first, at.Run)
					}
					runs, kept = append(runs, at), kept+at.Bytes
				}
			}
			if moved {
				moves++
				oldest := slices.MinFunc(runs, func(a, b catalog.Located) int {
					return cmp.Or(cmp.Compare(a.EndLSN, b.EndLSN), cmp.Compare(a.Object, b.Object), cmp.Compare(a.First, b.First))
				})
				if kept < limit || oneSegment(runs, &oldest) && kept-oldest.Bytes >= limit {
					t.Errorf("%d bytes are kept, the oldest run has %d, the limit is %d", kept, oldest.Bytes, limit)
				}
			}
			w.pass()
			w.check()
		}
		if moves < 5 {
			t.Errorf("first offsets were moved %d times", moves)
		}
	})
}

// oneSegment reports whether a run is the only one of its segment: of several any may count as the oldest.
func oneSegment(runs []catalog.Located, r *catalog.Located) bool {
	n := 0
	for i := range runs {
		if runs[i].Object == r.Object {
			n++
		}
	}
	return n == 1
}

// TestRetentionCursor: a queue with a cursor keeps exactly what its reader has not consumed, whatever its topic's policy.
func TestRetentionCursor(t *testing.T) {
	t.Parallel()
	seed := seedOf(t)
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, seed)
		w.topics.policies[0] = Policy{MaxAge: time.Minute}
		moved := false
		for range 40 {
			w.seal(3, 2)
			w.pass()
			w.check()
			if q := w.queue(3); q.cursor > 0 {
				moved = true
				if got := w.firstOf(3); got != q.cursor {
					t.Fatalf("first offset %d, cursor %d", got, q.cursor)
				}
			}
		}
		if !moved {
			t.Error("the cursor has not moved")
		}
	})
}

// TestClockMoves: when the wall clock is moved nothing expires any more, and garbage is kept for the grace period of the other clock.
func TestClockMoves(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 3)
		var lines bytes.Buffer
		var jump time.Duration
		w.edit = func(c *Config) {
			c.Now = func() time.Time { return time.Now().Add(jump) }
			c.Logger = slog.New(slog.NewTextHandler(&lines, nil))
		}
		w.reopen()
		w.topics.policies[1] = Policy{MaxAge: time.Hour}
		for range 5 {
			w.seal(1, 4, 5)
		}
		w.pass() // merges: there is garbage
		if len(w.state().Garbage) == 0 {
			t.Fatal("no garbage: the test is not what it says")
		}
		jump = 24 * time.Hour
		before := len(keysOf(t, w.mem))
		for range 3 {
			time.Sleep(2 * time.Minute)
			w.pass()
		}
		if w.firstOf(4) != 0 || len(keysOf(t, w.mem)) != before {
			t.Errorf("first offset %d, %d objects of %d, after the clock was moved", w.firstOf(4), len(keysOf(t, w.mem)), before)
		}
		if n := strings.Count(lines.String(), "retention stops"); n != 1 {
			t.Errorf("it was said %d times:\n%s", n, lines.String())
		}
		time.Sleep(2 * time.Hour)
		w.pass()
		w.check()
		if w.firstOf(4) != 0 || len(keysOf(t, w.mem)) >= before {
			t.Errorf("first offset %d, %d objects of %d, after the grace period", w.firstOf(4), len(keysOf(t, w.mem)), before)
		}
	})
}

// TestSweep: what waits to be deleted waits for the grace period, for a snapshot of etcd, for the lease; intents of this epoch wait for the next.
func TestSweep(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 4)
		w.leased = true
		var snapshot int64
		var late time.Duration
		w.edit = func(c *Config) {
			c.DeleteBefore = func() int64 { return snapshot }
			c.Clock = func() time.Duration { return w.clock() + late }
			c.Now = func() time.Time { return time.Now().Add(late) }
		}
		w.reopen()
		for range 5 {
			w.seal(1, 4, 5)
		}
		w.pass()
		ups, err := w.own.ReserveObjects(t.Context(), []string{metadata.KindSegment})
		if err != nil {
			t.Fatal(err)
		}
		orphan := catalog.ObjectKey(testShard, ups[0].Epoch, ups[0].Object, metadata.KindSegment)
		if err := objstore.PutBytes(t.Context(), w.mem, orphan, []byte("x"), objstore.PutOptions{}); err != nil {
			t.Fatal(err)
		}
		count := func() (garbage, intents, objects int) {
			st := w.state()
			return len(st.Garbage), len(st.Uploads), len(keysOf(t, w.mem))
		}
		want := func(what string, garbage, intents, objects int) {
			t.Helper()
			if g, i, o := count(); g != garbage || i != intents || o != objects {
				t.Errorf("%s: %d records of garbage, %d intents, %d objects, want %d, %d, %d", what, g, i, o, garbage, intents, objects)
			}
		}
		want("at first", 1, 1, 7)
		time.Sleep(59 * time.Minute)
		snapshot = time.Now().UnixMilli()
		w.pass()
		want("before the grace period has passed", 1, 1, 7)
		snapshot = w.start.UnixMilli()
		time.Sleep(2 * time.Minute)
		w.pass()
		want("without a snapshot", 1, 1, 7)
		snapshot = time.Now().UnixMilli()
		late = time.Hour // beyond the lease, for this process
		if err := w.tryPass(); !errors.Is(err, metadata.ErrUnavailable) {
			t.Errorf("without a lease: %v", err)
		}
		want("without a lease", 1, 1, 7)
		late = 0
		time.Sleep(2 * time.Minute)
		w.pass()
		want("then", 0, 1, 2)
		time.Sleep(2 * time.Hour)
		w.pass()
		want("an intent of this epoch", 0, 1, 2)
		w.reopen()
		snapshot = time.Now().UnixMilli()
		w.pass()
		want("in the next epoch", 0, 0, 1)
		w.check()
	})
}

// TestListedGarbage: a record that names what is listed deletes nothing, and is noticed.
func TestListedGarbage(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 5)
		w.limits.roll.due = 2
		w.limits.small = kib
		w.reopen()
		for range 4 {
			w.seal(1, 4, 5)
		}
		w.pass() // rolls
		for range 3 {
			w.seal(1, 4, 5)
		}
		st := w.state()
		s := &st.Segments[1]
		root, _ := w.cat.Root()
		err := w.m.change(t.Context(), &edit{why: "a fault", rows: w.m.rowsOf(root), garbage: []metadata.GarbageObject{
			{Object: s.Object, Epoch: s.Epoch, Kind: metadata.KindSegment, FirstLSN: s.FirstLSN, EndLSN: s.EndLSN},
		}})
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(3 * time.Hour)
		w.pass()
		key := catalog.ObjectKey(testShard, s.Epoch, s.Object, metadata.KindSegment)
		if _, err := w.mem.Head(t.Context(), key); err != nil {
			t.Error(err)
		}
		if n := w.count("kept_listed_objects"); n != 1 {
			t.Errorf("noticed %v times", n)
		}
	})
}

// TestManifestInEtcdIsAnother: nothing is deleted when etcd names another manifest than the one in memory.
func TestManifestInEtcdIsAnother(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 6)
		w.limits.roll.due = 2
		w.limits.small = kib
		w.reopen()
		for range 4 {
			w.seal(1, 4, 5)
		}
		w.pass()
		_, behind := w.load(w.own, w.store)
		root, _ := w.cat.Root()
		if err := w.m.change(t.Context(), &edit{why: "behind its back", rows: w.m.rowsOf(root)}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(3 * time.Hour)
		before := len(keysOf(t, w.mem))
		if err := behind.Pass(t.Context()); !errors.Is(err, metadata.ErrConflict) {
			t.Errorf("%v, want a conflict", err)
		}
		if got := len(keysOf(t, w.mem)); got != before {
			t.Errorf("%d objects of %d", got, before)
		}
	})
}

// TestGivenUp: a merge that fails for the disk leaves neither files nor intents when maintenance goes on.
func TestGivenUp(t *testing.T) {
	t.Parallel()
	for _, kind := range []vfs.OpKind{vfs.OpCreate, vfs.OpWrite} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, 13)
			for range 9 {
				w.seal(1, 4, 5)
			}
			failed := false
			w.fs.SetHook(func(op vfs.Op) vfs.Fate {
				if op.Kind != kind || failed {
					return vfs.Fate{}
				}
				failed = true
				return vfs.Fate{Err: vfs.ErrInjected}
			})
			if err := w.tryPass(); !errors.Is(err, vfs.ErrInjected) {
				t.Errorf("operation %d: %v", kind, err)
			}
			if n := len(w.state().Uploads); n != 1 {
				t.Errorf("operation %d: %d intents", kind, n)
			}
			w.pass()
			w.check()
			if st := w.state(); len(st.Uploads) > 0 || len(w.spoolFiles()) > 0 || w.did().merges == 0 {
				t.Errorf("operation %d: intents %+v, files %v, %+v", kind, st.Uploads, w.spoolFiles(), w.did())
			}
		})
	}
}

// stuck is a job that cannot be finished.
type stuck struct{}

func (stuck) run(context.Context, *Maintainer) error { return metadata.ErrUnavailable }
func (stuck) String() string                         { return "a commit of unknown outcome" }

// TestUnknownOutcome: while a commit may or may not have been applied nothing is deleted, and nothing else is changed.
func TestUnknownOutcome(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 12)
		for range 9 {
			w.seal(1, 4, 5)
		}
		w.pass()
		time.Sleep(3 * time.Hour)
		for range 9 {
			w.seal(1, 4, 5)
		}
		w.m.job = stuck{}
		before, rev := len(keysOf(t, w.mem)), w.state().Revision
		if err := w.tryPass(); !errors.Is(err, metadata.ErrUnavailable) {
			t.Errorf("%v", err)
		}
		if got, now := len(keysOf(t, w.mem)), w.state().Revision; got != before || now != rev {
			t.Errorf("%d objects of %d, revision %d after %d", got, before, now, rev)
		}
		w.m.job = nil
		w.pass()
		w.check()
		if got := len(keysOf(t, w.mem)); got >= before {
			t.Errorf("%d objects of %d: there was nothing to delete", got, before)
		}
	})
}

// TestTombstone: a deleted topic's tombstone goes when nothing that is listed has its queues, and their rows with it.
func TestTombstone(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 7)
		w.limits.small, w.limits.roll.due, w.limits.unlist.segments = 2*kib, 2, 1
		w.reopen()
		for range 4 {
			w.seal(8, 9) // long enough to stay as they are
		}
		w.pass()
		if root, _ := w.cat.Root(); root == nil || len(root.Queues) != 2 {
			t.Fatalf("root %+v: the test is not what it says", root)
		}
		w.seal(1)
		w.topics.dead[2] = true
		for range 4 {
			time.Sleep(15 * time.Minute)
			w.pass()
			w.check()
		}
		if !w.topics.gone[2] {
			t.Error("the tombstone stands")
		}
		root, _ := w.cat.Root()
		for _, row := range root.Queues {
			if row.Ordinal == 8 || row.Ordinal == 9 {
				t.Errorf("the root has %+v", row)
			}
		}
		if fresh, _ := w.load(w.own, w.store); fresh != nil {
			for row := range fresh.Queues() {
				if row.Ordinal >= 8 {
					t.Errorf("a start finds %+v", row)
				}
			}
		}
	})
}

// TestDamagedInput: a segment that cannot be read keeps neither others nor itself from the manifest.
func TestDamagedInput(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 8)
		for range 6 {
			w.seal(1, 4, 5)
		}
		s := w.state().Segments[2]
		key := catalog.ObjectKey(testShard, s.Epoch, s.Object, metadata.KindSegment)
		b, err := objstore.ReadAll(t.Context(), w.mem, key, s.Size)
		if err != nil {
			t.Fatal(err)
		}
		whole := bytes.Clone(b)
		b[100] ^= 1
		put := func(b []byte) {
			if err := objstore.PutBytes(t.Context(), w.mem, key, b, objstore.PutOptions{}); err != nil {
				t.Fatal(err)
			}
		}
		put(b)
		w.pass()
		if n := w.count("failed_merges"); n != 1 {
			t.Errorf("%v merges have failed", n)
		}
		for range 60 {
			w.seal(1, 4, 5)
		}
		w.pass()
		if d := w.did(); d.merges == 0 || d.rolled == 0 {
			t.Errorf("%+v: one damaged segment keeps all from their way", d)
		}
		put(whole)
		w.check()
	})
}

// unlistable is a store that must not be listed.
type unlistable struct {
	objstore.Store
	t *testing.T
}

func (u unlistable) List(ctx context.Context, prefix string) iter.Seq2[objstore.Info, error] {
	u.t.Error("a list of the bucket")
	return u.Store.List(ctx, prefix)
}

// TestPassRequests: what merging and rolling cost in requests.
func TestPassRequests(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 10)
		bucket := &counting{Store: unlistable{w.mem, t}}
		w.edit = func(c *Config) { c.Bucket = bucket }
		w.limits = testLimits()
		w.limits.small, w.limits.shortRun, w.limits.output, w.limits.input, w.limits.segments = kib, mib, 4*mib, 8*mib, 48
		w.reopen()
		w.size, w.largest = 6000, 12
		for range 16 {
			w.seal(1, 2, 4, 5, 6, 7, 8, 9, 10, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22)
		}
		var large, total int64
		for _, s := range w.cat.Recent() {
			total += s.Size
			if s.Size > wholeBytes {
				large++
			}
		}
		w.pass()
		d := w.did()
		inputs := int64(w.count("compaction_inputs"))
		if d.merges == 0 || large == 0 || inputs > 16 {
			t.Fatalf("%+v, %d inputs, %d large: the test is not what it says", d, inputs, large)
		}
		outputs := int64(w.count("compaction_outputs"))
		if got := bucket.gets.Load(); got > inputs+large {
			t.Errorf("%d GETs for %d inputs, %d of them large", got, inputs, large)
		}
		if got, most := bucket.puts.Load(), outputs+2*int64(d.rolled); got > most || outputs > total/(2*mib)+1 {
			t.Errorf("%d PUTs for %d outputs of %d bytes", got, outputs, total)
		}
		if bucket.heads.Load() > 0 {
			t.Errorf("%d HEADs", bucket.heads.Load())
		}
		w.check()
	})
}

// lockedBuffer is a buffer of log lines.
type lockedBuffer struct {
	mu sync.Mutex // guards b
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) count(s string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.b.String(), s)
}

// TestRun: an outage is said once when it begins and once when it has ended; a loss of the shard ends it.
func TestRun(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 11)
		lines := &lockedBuffer{}
		w.edit = func(c *Config) { c.Logger = slog.New(slog.NewTextHandler(lines, nil)) }
		w.reopen()
		for range 5 {
			w.seal(1, 4, 5)
		}
		w.faults.arm(1, outage)
		ended := make(chan error, 1)
		go func() { ended <- w.m.Run(t.Context()) }()
		time.Sleep(30 * time.Minute)
		if fails, ok := lines.count("maintenance of the sealed history fails"), lines.count("goes on"); fails != 1 || ok != 0 || w.m.Err() == nil {
			t.Errorf("in an outage: said %d times, its end %d times, %v", fails, ok, w.m.Err())
		}
		w.faults.disarm()
		time.Sleep(30 * time.Minute)
		if fails, ok := lines.count("maintenance of the sealed history fails"), lines.count("goes on"); fails != 1 || ok != 1 || w.m.Err() != nil {
			t.Errorf("after it: said %d times, its end %d times, %v", fails, ok, w.m.Err())
		}
		if w.count("compactions") != 1 {
			t.Error("nothing was merged")
		}
		w.check()
		w.open() // another owner
		select {
		case err := <-ended:
			t.Errorf("it has ended at once: %v", err)
		default:
		}
		if err := <-ended; !errors.Is(err, metadata.ErrFenced) {
			t.Errorf("%v, want a loss of the shard", err)
		}
	})
}

// TestRows: what a root's rows take over from segments.
func TestRows(t *testing.T) {
	t.Parallel()
	alive := func(uint32) bool { return false }
	r := rows{}
	seg := func(object uint64, last []int64, cursors []metadata.QueueCursor, runs ...manifest.Run) *catalog.Recent {
		return &catalog.Recent{Segment: metadata.Segment{Object: object, MaxStore: 99, Cursors: cursors}, Runs: runs, LastStores: last}
	}
	run := func(ordinal uint32, first, end uint64) manifest.Run {
		return manifest.Run{Ordinal: ordinal, First: first, End: end, Bytes: end - first}
	}
	r.roll(seg(1, []int64{10, 20}, nil, run(1, 5, 10), run(2, 0, 7)), alive)
	r.roll(seg(2, []int64{0}, []metadata.QueueCursor{{Ordinal: 1, Offset: 8}, {Ordinal: 9, Offset: 0}}, run(1, 10, 30)), alive)
	r.roll(seg(3, nil, []metadata.QueueCursor{{Ordinal: 1, Offset: 6}}, run(3, 4, 5)), func(ordinal uint32) bool { return ordinal == 3 })
	r.unlist(&manifest.PageSegment{Runs: []manifest.Run{run(2, 0, 7), run(3, 4, 5)}}, func(uint32) uint64 { return 7 })
	r.unlist(&manifest.PageSegment{Runs: []manifest.Run{run(1, 5, 10)}}, func(uint32) uint64 { return 12 })
	want := []manifest.QueueRow{
		{Ordinal: 1, First: 12, End: 30, LastStore: 10, Cursor: 7, Bytes: 20},
		{Ordinal: 2, First: 7, End: 7, LastStore: 20},
		{Ordinal: 9, Cursor: 1},
	}
	got := r.sorted()
	if len(got) != len(want) {
		t.Fatalf("%+v", got)
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("%+v, want %+v", got[i], want[i])
		}
	}
}
