package restore

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/varvemq/varve/internal/vfs"
	"github.com/varvemq/varve/metadata"
	"github.com/varvemq/varve/tiering/catalog"
	"github.com/varvemq/varve/tiering/guard"
	"github.com/varvemq/varve/tiering/objstore"
	"github.com/varvemq/varve/tiering/snapshot"
)

// TestRestore: etcd is lost some time after a snapshot. Every message in a committed segment is listed again, topics that were made meanwhile are there with their ordinals, and
// no number of any kind is handed out twice.
func TestRestore(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a := w.topic(t, "a", 2)
	w.seal(t, queueOf{a, 0}, queueOf{a, 1})
	w.restart(t)
	w.seal(t, queueOf{a, 1})
	early := w.reserve(t, metadata.KindSegment, metadata.KindSegment)
	info := w.snapshot(t)

	w.commit(t, early[1], queueOf{a, 0}) // its intent is in the snapshot
	b := w.topic(t, "b", 3)
	w.seal(t, queueOf{a, 0}, queueOf{b, 1}) // of b's queues 0 and 2 no segment says anything, but queue 0's ordinal follows
	w.reserve(t, metadata.KindSegment)      // a number that nothing came of
	w.restart(t)
	w.restart(t)
	last := w.seal(t, queueOf{b, 1}, queueOf{a, 1})
	orphans := w.reserve(t, metadata.KindPage, metadata.KindRoot)
	for _, up := range orphans {
		w.put(t, catalog.ObjectKey(testShard, up.Epoch, up.Object, up.Kind), []byte("not listed"))
	}
	never := w.topic(t, "never-sealed", 2)
	before := w.state(t)
	revision, epoch := w.revision(t), w.own.Epoch()
	w.lose(t)

	dry := w.config()
	dry.DryRun = true
	files := tree(t, w.dir)
	planned, err := Run(t.Context(), dry)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(files, tree(t, w.dir)); diff != "" {
		t.Errorf("a dry run left something: %s", diff)
	}
	report := w.restore(t, w.config())
	w.checkListed(t)
	planned.DryRun, planned.Revision = false, report.Revision
	if diff := cmp.Diff(planned, report); diff != "" {
		t.Errorf("the dry run said something else: %s", diff)
	}

	st := w.state(t)
	h := st.Head
	if h.LSN != before.Head.LSN || h.FooterCRC != last.FooterCRC || h.Object != last.Object || h.Epoch != last.Epoch || !h.PositionLost || h.WALUUID != "wal-1" {
		t.Errorf("head %+v, was %+v", h, before.Head)
	}
	if len(st.Uploads) > 0 || len(st.Garbage) > 0 {
		t.Errorf("%+v, %+v: they authorise deletions", st.Uploads, st.Garbage)
	}
	got, _ := w.store.Topic("b")
	if got == nil || got.Incarnation != b.Incarnation || got.Shard != testShard || got.Queues() != 2 || got.ReadQueues != 2 {
		t.Fatalf("topic b: %+v", got)
	}
	for id := range int32(2) {
		want, _ := b.Ordinal(id)
		if have, _ := got.Ordinal(id); have != want {
			t.Errorf("queue %d of b has the ordinal %d, not %d", id, have, want)
		}
	}
	if report.Snapshot != info || len(report.Shards) != 1 || len(report.Topics) != 1 || report.Topics[0].How != TopicNew || report.Revision <= revision {
		t.Errorf("%+v", report)
	}
	sh := report.Shards[0]
	if len(sh.Segments) != 3 || sh.FromLSN != 11 || sh.LSN != 26 || sh.Epoch != epoch || sh.Tail != metadata.TailDirty || sh.WAL != "wal-1" || len(sh.Orphans) != 2 || len(sh.Missing) != 0 {
		t.Errorf("%+v", sh)
	}
	w.goOn(t, before, epoch, b, never)
}

// goOn does what a start after the restoration does, and more, and finds nothing handed out twice.
func (w *world) goOn(t *testing.T, before *metadata.SealedState, epoch uint64, known ...*metadata.Topic) {
	t.Helper()
	rec, _ := w.store.Shard(testShard)
	st := w.state(t)
	remembered, err := guard.Recall(vfs.OS(), w.dir)
	if err != nil {
		t.Fatal(err)
	}
	err = guard.Check(t.Context(), guard.Input{
		Bucket: w.bucket, Cluster: w.cluster, Shard: testShard, ShardEpoch: rec.Epoch, ShardClaim: rec.Claim, State: st, EtcdRevision: st.Revision, Remembered: remembered,
	})
	if err != nil {
		t.Fatal(err)
	}
	w.acquire(t)
	if w.own.Epoch() != epoch+1 || w.own.TailLost() {
		t.Errorf("epoch %d after %d, tail lost: %v", w.own.Epoch(), epoch, w.own.TailLost())
	}
	if up := w.reserve(t, metadata.KindSegment)[0]; up.Object < before.Head.NextObject {
		t.Errorf("number %d is handed out again, %d was next", up.Object, before.Head.NextObject)
	}
	fresh := w.topic(t, "fresh", 4)
	for _, other := range known {
		if fresh.Incarnation <= other.Incarnation {
			t.Errorf("incarnation %d after %d", fresh.Incarnation, other.Incarnation)
		}
		for id := range other.Queues() {
			if o, _ := other.Ordinal(id); fresh.Ordinals[0].First <= o {
				t.Errorf("ordinals from %d on after %d", fresh.Ordinals[0].First, o)
			}
		}
	}
	w.seal(t, queueOf{fresh, 0})
	w.checkListed(t)
}

// tree returns the names of all files below a directory.
func tree(t *testing.T, dir string) []string {
	t.Helper()
	var names []string
	err := filepath.WalkDir(dir, func(path string, _ os.DirEntry, err error) error {
		if err == nil && filepath.Base(path) != "lock" {
			names = append(names, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// TestRestoreNothingFollowed: the place in the WAL stays known.
func TestRestoreNothingFollowed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a := w.topic(t, "a", 1)
	w.seal(t, queueOf{a, 0})
	w.snapshot(t)
	before := w.state(t)
	w.lose(t)
	if err := os.Mkdir(filepath.Join(w.dir, "etcd"), 0o700); err != nil { // an empty one does not count
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(w.dir, "etcd.restoring", "member", "wal"), 0o700); err != nil { // a crash has left it
		t.Fatal(err)
	}
	report := w.restore(t, w.config())
	w.checkListed(t)
	h := w.state(t).Head
	h.Revision = before.Head.Revision
	if h != before.Head || len(report.Shards[0].Segments) != 0 || len(report.Topics) != 0 {
		t.Errorf("%+v, was %+v: %+v", h, before.Head, report)
	}
	w.goOn(t, before, before.Head.Epoch, a)
}

// TestRestoreBeforeAnySeal: the snapshot knows neither the shard's head nor its topics, only the marks know the shard.
func TestRestoreBeforeAnySeal(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.snapshot(t)
	a := w.topic(t, "a", 1)
	for range 70 { // more than a window, but each within one of the last
		w.seal(t, queueOf{a, 0})
	}
	before := w.state(t)
	w.lose(t)
	report := w.restore(t, w.config())
	w.checkListed(t)
	if len(report.Shards[0].Segments) != 70 {
		t.Errorf("%+v", report.Shards[0])
	}
	w.goOn(t, before, 1, a)
}

func TestRestoreTopicsThatChanged(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	grown, replaced := w.topic(t, "grown", 1), w.topic(t, "replaced", 1)
	deleted := w.topic(t, "deleted", 1)
	w.seal(t, queueOf{grown, 0}, queueOf{replaced, 0}, queueOf{deleted, 0})
	if _, err := w.store.DeleteTopic(t.Context(), w.own, "deleted"); err != nil {
		t.Fatal(err)
	}
	w.snapshot(t)
	grown, err := w.store.UpdateTopic(t.Context(), w.own, "grown", func(t *metadata.Topic) error { t.ReadQueues, t.WriteQueues = 3, 3; return nil })
	if err != nil {
		t.Fatal(err)
	}
	var generations []*metadata.Topic
	for range 2 {
		if _, err := w.store.DeleteTopic(t.Context(), w.own, "replaced"); err != nil {
			t.Fatal(err)
		}
		again := w.topic(t, "replaced", 2)
		generations = append(generations, again)
		w.seal(t, queueOf{again, 1}, queueOf{grown, 2}, queueOf{deleted, 0}) // a record of a deleted topic may come late
	}
	before := w.state(t)
	w.lose(t)
	report := w.restore(t, w.config())
	w.checkListed(t)
	var hows []string
	for _, topic := range report.Topics {
		hows = append(hows, topic.Topic+": "+topic.How)
	}
	if diff := cmp.Diff([]string{"grown: " + TopicGrown, "replaced: " + TopicReplaced}, hows); diff != "" {
		t.Error(diff)
	}
	newest := generations[1]
	for _, want := range []*metadata.Topic{grown, newest} {
		got, ok := w.store.Topic(want.Name)
		if !ok || got.Incarnation != want.Incarnation || !slices.Equal(got.Ordinals, want.Ordinals) || got.ReadQueues != want.ReadQueues {
			t.Errorf("%+v, was %+v", got, want)
		}
	}
	if _, ok := w.store.Topic("deleted"); ok {
		t.Error("a deleted topic came back")
	}
	stones, err := w.store.ListTombstones(t.Context())
	if err != nil || !slices.ContainsFunc(stones, func(s *metadata.Tombstone) bool { return s.Incarnation == replaced.Incarnation }) || len(stones) != 2 {
		t.Errorf("%+v, %v", stones, err)
	}
	w.goOn(t, before, 1, grown, newest)
}

// TestRestoreRefuses: nothing is made, and the reason is said.
func TestRestoreRefuses(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		change func(*testing.T, *world, *Config, snapshot.Info)
		want   error
		says   string
	}{
		{"an etcd that is there", func(t *testing.T, w *world, _ *Config, _ snapshot.Info) { //nolint:thelper // a case
			if err := os.MkdirAll(filepath.Join(w.dir, "etcd", "member"), 0o700); err != nil {
				t.Fatal(err)
			}
		}, ErrExists, "move it away"},
		{"another cluster's directory", func(t *testing.T, w *world, _ *Config, _ snapshot.Info) { //nolint:thelper // a case
			if err := os.WriteFile(filepath.Join(w.dir, "cluster-id"), []byte(uuid.NewString()), 0o600); err != nil {
				t.Fatal(err)
			}
		}, ErrCluster, "the data directory"},
		{"a directory that remembers another cluster", func(t *testing.T, w *world, _ *Config, _ snapshot.Info) { //nolint:thelper // a case
			if err := os.Remove(filepath.Join(w.dir, guard.RememberedFile)); err != nil {
				t.Fatal(err)
			}
			if err := guard.Remember(vfs.OS(), w.dir, guard.Remembered{Cluster: uuid.New(), Revision: 1}); err != nil {
				t.Fatal(err)
			}
		}, ErrCluster, "remembers"},
		{"a bucket without an id", func(t *testing.T, w *world, _ *Config, _ snapshot.Info) { //nolint:thelper // a case
			if err := w.bucket.Delete(t.Context(), "cluster-id"); err != nil {
				t.Fatal(err)
			}
		}, ErrCluster, "right bucket"},
		{"another cluster's bucket", func(t *testing.T, w *world, _ *Config, _ snapshot.Info) { //nolint:thelper // a case
			w.put(t, "cluster-id", []byte(uuid.NewString()))
		}, ErrCluster, "the data directory"},
		{"another cluster's snapshot in a new directory", func(t *testing.T, w *world, cfg *Config, _ snapshot.Info) { //nolint:thelper // a case
			w.put(t, "cluster-id", []byte(uuid.NewString()))
			cfg.DataDir = t.TempDir()
		}, ErrCluster, "the snapshot"},
		{"another cluster's name", func(_ *testing.T, _ *world, cfg *Config, _ snapshot.Info) { cfg.ClusterName = "other" }, metadata.ErrNoClusterID, "--cluster"},
		{"no snapshot", func(t *testing.T, w *world, _ *Config, _ snapshot.Info) { //nolint:thelper // a case
			for obj, err := range w.bucket.List(t.Context(), snapshot.Prefix) {
				if err = errors.Join(err, w.bucket.Delete(t.Context(), obj.Key)); err != nil {
					t.Fatal(err)
				}
			}
		}, ErrNoSnapshot, "has none"},
		{"no snapshot of a revision", func(_ *testing.T, _ *world, cfg *Config, _ snapshot.Info) { cfg.Revision = 12345 }, ErrNoSnapshot, "12345"},
		{"a damaged snapshot", func(t *testing.T, w *world, _ *Config, i snapshot.Info) { //nolint:thelper // a case
			w.flip(t, i.Key())
		}, snapshot.ErrDamaged, "take it with --revision "},
		{"a damaged description", func(t *testing.T, w *world, _ *Config, i snapshot.Info) { //nolint:thelper // a case
			w.put(t, strings.TrimSuffix(i.Key(), "snap")+"json", []byte("{"))
		}, snapshot.ErrDamaged, "take it with --revision "},
		{"a damaged mark", func(t *testing.T, w *world, _ *Config, _ snapshot.Info) { //nolint:thelper // a case
			w.put(t, guard.EpochKey(testShard, 1), []byte("{"))
		}, guard.ErrCorrupt, "epochs/"},
		{"a segment that is gone", func(t *testing.T, w *world, _ *Config, _ snapshot.Info) { //nolint:thelper // a case
			w.dropObject(t, 2)
		}, objstore.ErrNotFound, "would not let shard broker-a start"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			a := w.topic(t, "a", 1)
			w.seal(t, queueOf{a, 0})
			w.snapshot(t)
			w.seal(t, queueOf{a, 0})
			info := w.snapshot(t)
			w.lose(t)
			cfg := w.config()
			c.change(t, w, &cfg, info)
			files := tree(t, w.dir)
			report, err := Run(t.Context(), cfg)
			if !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.says) || report != nil {
				t.Errorf("%v, %+v", err, report)
			}
			if diff := cmp.Diff(files, tree(t, w.dir)); diff != "" {
				t.Errorf("it left something: %s", diff)
			}
		})
	}
}

func (w *world) flip(t *testing.T, key string) {
	t.Helper()
	b, err := objstore.ReadAll(t.Context(), w.bucket, key, 1<<30)
	if err != nil {
		t.Fatal(err)
	}
	b[len(b)/2] ^= 1
	w.put(t, key, b)
}

func (w *world) dropObject(t *testing.T, number uint64) {
	t.Helper()
	for obj, err := range w.bucket.List(t.Context(), "") {
		if err != nil {
			t.Fatal(err)
		}
		if k, ok := catalog.ParseObjectKey(obj.Key); ok && k.Object == number {
			if err := w.bucket.Delete(t.Context(), obj.Key); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// TestRestoreOlder: the next older snapshot, by its revision; and the newest one although the upload of a newer one did not end.
func TestRestoreOlder(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a := w.topic(t, "a", 1)
	older := w.snapshot(t)
	w.seal(t, queueOf{a, 0})
	newer := w.snapshot(t)
	w.put(t, snapshot.Prefix+"00000000000fffff-0000000000000001.snap", []byte("half"))
	w.lose(t)
	dry := w.config()
	dry.DryRun = true
	report, err := Run(t.Context(), dry)
	if err != nil || report.Snapshot != newer || len(report.Skipped) != 1 || len(report.Shards[0].Segments) != 0 {
		t.Errorf("%+v, %v", report, err)
	}
	w.flip(t, newer.Key())
	cfg := w.config()
	cfg.Revision = older.Revision
	if report = w.restore(t, cfg); report.Snapshot != older || len(report.Shards[0].Segments) != 1 {
		t.Errorf("%+v", report)
	}
	w.checkListed(t)
}

func TestRestoreInALockedDirectory(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	lock, err := vfs.OS().Lock(filepath.Join(dir, "lock"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = lock.Close() }()
	if _, err := Run(t.Context(), Config{Bucket: objstore.NewMem(), FS: vfs.OS(), DataDir: dir}); !errors.Is(err, vfs.ErrLocked) {
		t.Error(err)
	}
}

// TestRestoreChoosesWhatWasCommitted: of two segments with the same place, that of the last epoch was; what cannot be read ends the chain.
func TestRestoreChoosesWhatWasCommitted(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a := w.topic(t, "a", 1)
	w.seal(t, queueOf{a, 0})
	w.snapshot(t)
	up := w.reserve(t, metadata.KindSegment)[0]
	b, _, _ := w.build(t, up, w.state(t).Head, queueOf{a, 0})
	w.put(t, catalog.ObjectKey(testShard, up.Epoch, up.Object, metadata.KindSegment), b) // uploaded, never committed
	w.restart(t)
	w.seal(t, queueOf{a, 0})
	ends := w.state(t).Head
	bad := w.reserve(t, metadata.KindSegment)[0]
	b, _, _ = w.build(t, bad, ends, queueOf{a, 0})
	b[len(b)-300] ^= 1
	w.put(t, catalog.ObjectKey(testShard, bad.Epoch, bad.Object, metadata.KindSegment), b)
	odd := w.reserve(t, metadata.KindSegment)[0]
	other := ends
	other.FooterCRC++
	b, _, _ = w.build(t, odd, other, queueOf{a, 0}) // it follows another one
	w.put(t, catalog.ObjectKey(testShard, odd.Epoch, odd.Object, metadata.KindSegment), b)
	before := w.state(t)
	w.lose(t)
	report := w.restore(t, w.config())
	w.checkListed(t)
	sh := report.Shards[0]
	if len(sh.Segments) != 1 || sh.Segments[0].Epoch != 2 || len(sh.Orphans) != 3 || len(sh.Damaged) != 1 || !strings.Contains(sh.Damaged[0], "crc") {
		t.Errorf("%+v", sh)
	}
	w.goOn(t, before, 2, a)
}

// TestRestoreToANewDirectory: the disk with the log is gone as well; the tail is dirty in a log that this broker has not.
func TestRestoreToANewDirectory(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a := w.topic(t, "a", 1)
	w.snapshot(t)
	w.seal(t, queueOf{a, 0})
	w.lose(t)
	w.dir = filepath.Join(t.TempDir(), "made", "by", "it")
	report := w.restore(t, w.config())
	w.checkListed(t)
	claim := metadata.ShardClaim{Shard: testShard, Broker: "c", WALUUID: "wal-2", LeaseExempt: true}
	if _, err := w.store.AcquireShard(t.Context(), claim); !errors.Is(err, metadata.ErrTailDirty) || report.Shards[0].Tail != metadata.TailDirty {
		t.Errorf("%v, %+v", err, report.Shards[0])
	}
}

// TestRestoreAfterAnotherLog: the shard went on in another log since the snapshot, after the loss of the first or an orderly move. That log is the one that goes on.
func TestRestoreAfterAnotherLog(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a := w.topic(t, "a", 1)
	w.seal(t, queueOf{a, 0})
	w.snapshot(t)
	w.wal = "wal-2"
	w.restart(t)
	w.seal(t, queueOf{a, 0})
	w.lose(t)
	report := w.restore(t, w.config())
	w.checkListed(t)
	if h := w.state(t).Head; h.WALUUID != "wal-2" || h.Position != 0 || !h.PositionLost || report.Shards[0].WAL != "wal-2" {
		t.Errorf("head %+v, report %+v", h, report.Shards[0])
	}
}

func TestOrdinals(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		have  []metadata.OrdinalRange
		seen  map[int32]uint32
		taken []uint32
		want  []metadata.OrdinalRange
	}{
		{"all queues", nil, map[int32]uint32{0: 5, 1: 6}, nil, []metadata.OrdinalRange{{Queue: 0, First: 5, Count: 2}}},
		{"only the last", nil, map[int32]uint32{3: 8}, nil, []metadata.OrdinalRange{{Queue: 0, First: 5, Count: 4}}},
		{"the first ones are another topic's", nil, map[int32]uint32{2: 8}, []uint32{7}, []metadata.OrdinalRange{{Queue: 0, First: 6, Count: 1}, {Queue: 1, First: 1000, Count: 1}, {Queue: 2, First: 8, Count: 1}}},
		{"there is no ordinal 0", nil, map[int32]uint32{2: 2}, nil, []metadata.OrdinalRange{{Queue: 0, First: 1000, Count: 1}, {Queue: 1, First: 1, Count: 2}}},
		{"created, then grown", nil, map[int32]uint32{1: 6, 3: 20}, nil, []metadata.OrdinalRange{{Queue: 0, First: 5, Count: 2}, {Queue: 2, First: 19, Count: 2}}},
		{"known, then grown", []metadata.OrdinalRange{{Queue: 0, First: 5, Count: 2}}, map[int32]uint32{3: 20}, nil, []metadata.OrdinalRange{{Queue: 0, First: 5, Count: 2}, {Queue: 2, First: 19, Count: 2}}},
		{"grown at the end", []metadata.OrdinalRange{{Queue: 0, First: 5, Count: 2}}, map[int32]uint32{2: 7}, nil, []metadata.OrdinalRange{{Queue: 0, First: 5, Count: 3}}},
	} {
		tp := &topics{known: map[uint32]struct{}{}}
		for _, o := range c.taken {
			tp.known[o] = struct{}{}
		}
		for _, o := range c.seen {
			tp.known[o] = struct{}{}
		}
		tp.know(c.have)
		fresh := uint64(1000)
		got := tp.ordinals(&metadata.Topic{Ordinals: c.have}, c.seen, &fresh)
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s: %s", c.name, diff)
		}
	}
}
