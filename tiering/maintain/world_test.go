package maintain

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/varvemq/varve/internal/vfs"
	"github.com/varvemq/varve/metadata"
	"github.com/varvemq/varve/tiering/catalog"
	"github.com/varvemq/varve/tiering/manifest"
	"github.com/varvemq/varve/tiering/objstore"
	"github.com/varvemq/varve/tiering/segment"
)

// testLimits are a policy for small segments.
func testLimits() *limits {
	return &limits{
		small: 48 * kib, shortRun: 4 * kib, history: 16 * kib, input: 256 * kib, output: 64 * kib, segments: 12, cursors: 4096, fanIn: 4, closedRuns: 3, dead: 8 * kib,
		roll:   rollLimits{due: 8, hard: 40, atOnce: 6, segments: 16, bytes: 4 * mib, runs: 1 << 20, deadDue: 4, deadWait: 10 * time.Minute},
		unlist: unlistLimits{segments: 4, bytes: mib, wait: 10 * time.Minute, scans: 3, pages: 2, objects: 20},
		sizes:  time.Minute, finds: 5,
	}
}

// modelQueue is all that a queue ever had.
type modelQueue struct {
	ordinal   uint32
	pieces    []piece
	stores    []int64 // of pieces, 0 for holes
	next      uint64
	lastStore int64
	hasCursor bool
	cursor    uint64
	sealed    bool
	allowed   uint64 // to be the first offset
}

// modelTopics is what metadata knows of topics; a topic has four queues.
type modelTopics struct {
	mu       sync.Mutex // guards all below
	policies map[uint32]Policy
	dead     map[uint32]bool
	gone     map[uint32]bool // the tombstone was dropped
}

func (mt *modelTopics) Retention(ordinal uint32) (Policy, bool) {
	mt.mu.Lock()
	defer mt.mu.Unlock()
	p, ok := mt.policies[ordinal/4]
	p.Topic = fmt.Sprintf("topic-%d", ordinal/4)
	return p, ok && !mt.dead[ordinal/4] && !mt.gone[ordinal/4]
}

func (mt *modelTopics) Dead(ordinal uint32) bool {
	mt.mu.Lock()
	defer mt.mu.Unlock()
	return mt.dead[ordinal/4]
}

// tombstones are those that stand.
func (mt *modelTopics) tombstones(context.Context) ([]*metadata.Tombstone, error) {
	mt.mu.Lock()
	defer mt.mu.Unlock()
	var out []*metadata.Tombstone
	for _, topic := range slices.Sorted(maps.Keys(mt.dead)) {
		out = append(out, &metadata.Tombstone{Incarnation: uint64(topic + 1), Shard: testShard, Ordinals: []metadata.OrdinalRange{{First: 4 * topic, Count: 4}}})
	}
	return out, nil
}

func (mt *modelTopics) drop(_ context.Context, t *metadata.Tombstone) error {
	mt.mu.Lock()
	defer mt.mu.Unlock()
	topic := uint32(t.Incarnation - 1)
	delete(mt.dead, topic)
	mt.gone[topic] = true
	return nil
}

// world is a shard with its etcd, bucket, catalog and maintainer, and a model of what it has.
type world struct {
	t      *testing.T
	rng    *rand.Rand
	kv     *metadata.Memory
	mem    *objstore.Mem
	fs     *vfs.Crash
	faults *faults
	topics *modelTopics
	queues map[uint32]*modelQueue
	limits *limits
	edit   func(*Config)
	leased bool // the shard's lease is looked at
	start  time.Time

	store *metadata.Store
	own   *metadata.Ownership
	cat   *catalog.Catalog
	m     *Maintainer
	// metrics are those of m.
	metrics *prometheus.Registry
	before  did // by the maintainers before m

	lsn       uint64
	size      int    // of bodies
	largest   uint64 // messages of a batch
	trimmedTo map[uint32]uint64
	faulted   bool // something has failed in this epoch
}

func newWorld(t *testing.T, seed uint64) *world {
	t.Helper()
	w := &world{
		t: t, rng: newRand(seed), kv: metadata.NewMemory(), mem: objstore.NewMem(), fs: vfs.NewCrash(nil), faults: &faults{}, limits: testLimits(), start: time.Now(),
		topics: &modelTopics{policies: map[uint32]Policy{}, dead: map[uint32]bool{}, gone: map[uint32]bool{}},
		queues: map[uint32]*modelQueue{}, lsn: 1, size: 400, largest: 12, trimmedTo: map[uint32]uint64{},
	}
	w.open()
	return w
}

// clock is the boot clock of the world.
func (w *world) clock() time.Duration { return time.Since(w.start) }

// open takes the shard under a new epoch and reads what there is.
func (w *world) open() {
	w.t.Helper()
	ctx := w.t.Context()
	var err error
	if w.store, err = metadata.NewStore(ctx, faultKV{w.kv, w.faults}, metadata.StoreConfig{Clock: w.clock}); err != nil {
		w.t.Fatal(err)
	}
	store := w.store
	w.t.Cleanup(func() {
		if err := store.Close(); err != nil { // once more does no harm
			w.t.Error(err)
		}
	})
	claim := metadata.ShardClaim{Shard: testShard, Broker: "b", WALUUID: "w", AdvertisedAddr: "127.0.0.1:1", LeaseExempt: !w.leased}
	if w.own, err = w.store.AcquireShard(ctx, claim); err != nil {
		w.t.Fatal(err)
	}
	w.fs.SetHook(w.faults.hook)
	if err := w.fs.MkdirAll("spool"); err != nil {
		w.t.Fatal(err)
	}
	names, err := w.fs.List("spool")
	for i := 0; err == nil && i < len(names); i++ {
		err = w.fs.Remove("spool/" + names[i])
	}
	if err != nil {
		w.t.Fatal(err)
	}
	w.cat, w.m = w.load(w.own, w.store)
	w.faulted = false
}

// load makes a catalog and a maintainer of what etcd has.
func (w *world) load(own *metadata.Ownership, store *metadata.Store) (*catalog.Catalog, *Maintainer) {
	w.t.Helper()
	ctx := w.t.Context()
	st, err := store.SealedState(ctx, testShard)
	if err != nil {
		w.t.Fatal(err)
	}
	bucket := faultStore{w.mem, w.faults}
	cat, err := catalog.Open(ctx, catalog.Config{Bucket: bucket, Cluster: testCluster(), Shard: testShard}, st)
	if err != nil {
		w.t.Fatal(err)
	}
	if w.metrics != nil {
		w.before = w.total()
	}
	w.metrics = prometheus.NewRegistry()
	cfg := Config{
		Own: own, Meta: store, Bucket: bucket, Catalog: cat, Topics: w.topics, FS: w.fs, SpoolDir: "spool", Cluster: testCluster(), Shard: testShard,
		Clock: w.clock, Registerer: w.metrics, Tombstones: w.topics.tombstones, DropTombstone: w.topics.drop, limits: w.limits,
	}
	if w.edit != nil {
		w.edit(&cfg)
	}
	m, err := New(cfg)
	if err != nil {
		w.t.Fatal(err)
	}
	return cat, m
}

// reopen is a crash: what was in memory is lost.
func (w *world) reopen() {
	w.t.Helper()
	w.fs = w.fs.Kill()
	if err := w.store.Close(); err != nil {
		w.t.Fatal(err)
	}
	w.open()
}

func (w *world) queue(ordinal uint32) *modelQueue {
	q := w.queues[ordinal]
	if q == nil {
		q = &modelQueue{ordinal: ordinal, hasCursor: ordinal%4 == 3 && ordinal < 12}
		w.queues[ordinal] = q
	}
	return q
}

func (w *world) deadQueue(ordinal uint32) bool {
	return w.topics.dead[ordinal/4] || w.topics.gone[ordinal/4]
}

// seal writes and commits a segment of level 0 with a few batches of some queues.
func (w *world) seal(ordinals ...uint32) {
	w.t.Helper()
	have := contents{}
	now := time.Now().UnixMilli()
	var cursors []metadata.QueueCursor
	slices.Sort(ordinals)
	ordinals = slices.Compact(ordinals)
	ordinals = slices.DeleteFunc(ordinals, w.deadQueue)
	for _, ordinal := range ordinals {
		q := w.queue(ordinal)
		for range 1 + w.rng.IntN(3) {
			count := 1 + w.rng.Uint64N(w.largest)
			p, ms := holeOf(q.next, count), int64(0)
			if w.rng.IntN(6) > 0 || !q.sealed {
				p, ms = batchOf(w.t, w.rng, ordinal, q.next, count, w.size, now), now
				q.lastStore = now
			}
			q.sealed = true
			have[ordinal] = append(have[ordinal], p)
			q.pieces, q.stores, q.next = append(q.pieces, p), append(q.stores, ms), q.next+count
		}
	}
	for _, ordinal := range slices.Sorted(maps.Keys(w.queues)) {
		if q := w.queues[ordinal]; q.hasCursor && q.next > q.cursor && !w.deadQueue(ordinal) && w.rng.IntN(3) == 0 {
			q.cursor += 1 + w.rng.Uint64N(q.next-q.cursor)
			cursors = append(cursors, metadata.QueueCursor{Ordinal: ordinal, Offset: q.cursor})
		}
	}
	ctx := w.t.Context()
	ups, err := w.own.ReserveObjects(ctx, []string{metadata.KindSegment})
	if err != nil {
		w.t.Fatal(err)
	}
	end := w.lsn + 1 + w.rng.Uint64N(50)
	b, sum := writeSegment(w.t, segmentConfig(ups[0].Object, ups[0].Epoch, w.lsn, end, 0), have, ordinals)
	seg := putSegment(w.t, w.mem, b, &sum)
	seg.Cursors = cursors
	_, err = w.own.CommitSegment(ctx, seg, metadata.SealHead{LSN: end, Epoch: seg.Epoch, Object: seg.Object, FooterCRC: seg.FooterCRC})
	if err != nil {
		w.t.Fatal(err)
	}
	w.lsn = end
	w.cat.Add(catalog.RecentOf(seg, &sum))
}

// sealRandom seals with some of the queues, sometimes of one topic only.
func (w *world) sealRandom() {
	w.t.Helper()
	var ordinals []uint32
	for ordinal := uint32(1); ordinal <= modelQueues; ordinal++ {
		if w.rng.IntN(3) == 0 {
			ordinals = append(ordinals, ordinal)
		}
	}
	if w.rng.IntN(10) == 0 {
		ordinals = nil // operation records only
	}
	w.seal(ordinals...)
}

// pass makes a pass that must succeed.
func (w *world) pass() {
	w.t.Helper()
	if err := w.tryPass(); err != nil {
		w.t.Fatalf("pass: %v", err)
	}
}

func (w *world) tryPass() error {
	w.allow()
	return w.m.Pass(w.t.Context())
}

// state reads etcd.
func (w *world) state() *metadata.SealedState {
	w.t.Helper()
	st, err := w.store.SealedState(w.t.Context(), testShard)
	if err != nil {
		w.t.Fatal(err)
	}
	return st
}

// listed returns the keys of all objects that etcd and the manifest list, and all runs.
func (w *world) listed(st *metadata.SealedState) (map[string]bool, []manifest.Run) {
	w.t.Helper()
	ctx := w.t.Context()
	keys := map[string]bool{}
	var runs []manifest.Run
	for i := range st.Segments {
		s := &st.Segments[i]
		keys[catalog.ObjectKey(testShard, s.Epoch, s.Object, metadata.KindSegment)] = true
		src := &object{bucket: w.mem, key: catalog.ObjectKey(testShard, s.Epoch, s.Object, metadata.KindSegment), size: s.Size}
		r, err := segment.Open(ctx, src, s.Size, segment.Expect{FooterCRC: s.FooterCRC})
		if err != nil {
			w.t.Fatalf("segment %d that etcd lists: %v", s.Object, err)
		}
		have, err := queueRanges(ctx, r)
		if err != nil {
			w.t.Fatal(err)
		}
		runs = append(runs, have...)
	}
	if st.Manifest == nil {
		return keys, runs
	}
	key := catalog.ObjectKey(testShard, st.Manifest.Epoch, st.Manifest.Object, metadata.KindRoot)
	keys[key] = true
	b, err := objstore.ReadAll(ctx, w.mem, key, st.Manifest.Size)
	if err != nil {
		w.t.Fatalf("the root that etcd lists: %v", err)
	}
	root, err := manifest.DecodeRoot(b)
	if err != nil {
		w.t.Fatal(err)
	}
	var segments uint64
	paged := map[uint32]uint64{} // bytes in pages
	for _, ref := range root.Pages {
		key := catalog.ObjectKey(testShard, ref.Epoch, ref.Object, metadata.KindPage)
		keys[key] = true
		page, err := manifest.OpenPage(ctx, &object{bucket: w.mem, key: key, size: ref.Size}, ref)
		if err != nil {
			w.t.Fatalf("page %d that the root lists: %v", ref.Object, err)
		}
		segs, err := page.All(ctx)
		if err != nil {
			w.t.Fatal(err)
		}
		for i := range segs {
			keys[catalog.ObjectKey(testShard, segs[i].Epoch, segs[i].Object, metadata.KindSegment)] = true
			runs = append(runs, segs[i].Runs...)
			for _, r := range segs[i].Runs {
				paged[r.Ordinal] += r.Bytes
			}
			segments++
		}
	}
	for _, row := range root.Queues {
		if !w.deadQueue(row.Ordinal) && (row.Bytes != paged[row.Ordinal] || row.Bytes == 0 && row.First != row.End) {
			w.t.Errorf("row %+v, pages have %d bytes of the queue", row, paged[row.Ordinal])
		}
	}
	if segments != st.Manifest.Segments {
		w.t.Errorf("the pointer says %d segments, the pages have %d", st.Manifest.Segments, segments)
	}
	return keys, runs
}

// checkBucket compares the bucket with what etcd says: what is listed is there, and what is there is listed, garbage or meant to be written.
func (w *world) checkBucket() {
	w.t.Helper()
	st := w.state()
	listed, runs := w.listed(st)
	have := map[string]bool{}
	for _, key := range keysOf(w.t, w.mem) {
		have[key] = true
	}
	for key := range listed {
		if !have[key] {
			w.t.Errorf("%s is listed and not there", key)
		}
	}
	for i := range st.Garbage {
		for _, o := range st.Garbage[i].Objects {
			key := catalog.ObjectKey(testShard, o.Epoch, o.Object, o.Kind)
			if listed[key] {
				w.t.Errorf("%s is garbage and listed", key)
			}
			delete(have, key)
		}
	}
	for _, u := range st.Uploads {
		delete(have, catalog.ObjectKey(testShard, u.Epoch, u.Object, u.Kind))
	}
	for key := range have {
		if !listed[key] {
			w.t.Errorf("%s is there, and nothing says why", key)
		}
	}
	w.checkRuns(st, runs)
}

// checkRuns: offsets that can be read are in one listed run each; nothing else overlaps.
func (w *world) checkRuns(st *metadata.SealedState, runs []manifest.Run) {
	w.t.Helper()
	covered, err := cover(runs)
	if err != nil {
		w.t.Errorf("listed runs: %v", err)
		return
	}
	for _, ordinal := range slices.Sorted(maps.Keys(w.queues)) {
		q := w.queues[ordinal]
		if w.topics.gone[ordinal/4] {
			if slices.ContainsFunc(covered, func(r manifest.Run) bool { return r.Ordinal == ordinal }) {
				w.t.Errorf("queue %d: its tombstone is gone, and it is listed", ordinal)
			}
			continue
		}
		if w.deadQueue(ordinal) || !q.sealed {
			continue
		}
		first := st.Trims[ordinal]
		if first < q.next && !slices.ContainsFunc(covered, func(r manifest.Run) bool { return r.Ordinal == ordinal && r.First <= first && r.End == q.next }) {
			w.t.Errorf("queue %d: offsets [%d, %d) are not all listed", ordinal, first, q.next)
		}
	}
}

// check compares the world with the model, through the catalog and the bucket.
func (w *world) check() {
	w.t.Helper()
	w.checkBucket()
	rows := map[uint32]manifest.QueueRow{}
	for row := range w.cat.Queues() {
		rows[row.Ordinal] = row
	}
	for _, ordinal := range slices.Sorted(maps.Keys(w.queues)) {
		q := w.queues[ordinal]
		if w.deadQueue(ordinal) {
			if _, there := rows[ordinal]; there && w.topics.gone[ordinal/4] {
				w.t.Errorf("queue %d: its tombstone is gone, and it has a row", ordinal)
			}
			continue
		}
		if q.sealed {
			w.checkQueue(q, rows[ordinal])
		}
	}
	if w.t.Failed() {
		w.t.FailNow()
	}
}

func (w *world) checkQueue(q *modelQueue, row manifest.QueueRow) {
	w.t.Helper()
	first, end, ok := w.cat.Bounds(q.ordinal)
	switch {
	case !ok || end != q.next || first > end:
		w.t.Errorf("queue %d: bounds [%d, %d), %v, want the end %d", q.ordinal, first, end, ok, q.next)
		return
	case first < w.trimmedTo[q.ordinal]:
		w.t.Errorf("queue %d: the first offset fell from %d to %d", q.ordinal, w.trimmedTo[q.ordinal], first)
	case row.End != q.next || row.LastStore < q.lastStore:
		w.t.Errorf("queue %d: row %+v, want the end %d and last store time %d", q.ordinal, row, q.next, q.lastStore)
	case q.cursor > 0 && row.Cursor != q.cursor+1:
		w.t.Errorf("queue %d: row %+v, want cursor %d", q.ordinal, row, q.cursor)
	}
	w.trimmedTo[q.ordinal] = first
	if first > q.allowed {
		w.t.Errorf("queue %d: the first offset is %d, no policy has allowed more than %d", q.ordinal, first, q.allowed)
	}
	w.read(q, first)
}

// allow notes how far each queue's first offset may be moved by a pass now.
func (w *world) allow() {
	now := time.Now()
	for _, q := range w.queues {
		p := w.topics.policies[q.ordinal/4]
		to := uint64(0)
		switch {
		case q.cursor > 0:
			to = q.cursor
		case p.MaxBytes > 0:
			to = q.next // TestRetentionBytes looks closer
		case p.MaxAge > 0:
			to = q.next
			for i := range q.pieces {
				if q.stores[i] >= now.Add(-p.MaxAge).UnixMilli() {
					to = q.pieces[i].base
					break
				}
			}
		}
		q.allowed = max(q.allowed, to)
	}
}

// read reads a queue from its first offset on and compares every byte.
func (w *world) read(q *modelQueue, first uint64) {
	w.t.Helper()
	ctx := w.t.Context()
	var want, got []byte
	for i := range q.pieces {
		want = append(want, q.pieces[i].raw...)
	}
	for next := first; next < q.next; {
		e, run, err := w.cat.Find(ctx, q.ordinal, next)
		if err != nil {
			w.t.Errorf("queue %d, offset %d: %v", q.ordinal, next, err)
			return
		}
		r, err := w.cat.OpenSegment(ctx, e)
		if err != nil {
			w.t.Errorf("queue %d, offset %d: %v", q.ordinal, next, err)
			return
		}
		for ref, err := range r.Blocks(ctx, q.ordinal, next) {
			if err != nil {
				w.t.Fatal(err)
			}
			b, err := r.ReadBlock(ctx, &ref, nil)
			if err != nil {
				w.t.Fatalf("queue %d, offset %d, segment %d: %v", q.ordinal, next, e.Object, err)
			}
			got = append(got, b.Messages...)
			next = ref.End()
		}
		if next != run.End {
			w.t.Errorf("queue %d, segment %d: blocks up to %d, the run is %+v", q.ordinal, e.Object, next, run)
			return
		}
	}
	if !bytes.HasSuffix(want, got) {
		w.t.Errorf("queue %d, from offset %d on: other bytes", q.ordinal, first)
	}
	// A block that begins below the first offset is read as a whole: what was got may be more than what was asked for, never less.
	least := 0
	for i := range q.pieces {
		if q.pieces[i].base >= first {
			least += len(q.pieces[i].raw)
		}
	}
	if len(got) < least {
		w.t.Errorf("queue %d, from offset %d on: %d bytes, at least %d are due", q.ordinal, first, len(got), least)
	}
}

// spoolFiles returns what is in the spool.
func (w *world) spoolFiles() []string {
	return slices.DeleteFunc(w.fs.Names(), func(name string) bool { return !strings.HasPrefix(name, "spool/") })
}

// did is what a maintainer has done so far.
type did struct{ merges, rolled, unlisted, trimmed, deleted float64 }

func (w *world) did() did {
	w.t.Helper()
	return did{w.count("compactions"), w.count("rolled_segments"), w.count("unlisted_segments"), w.count("trimmed_queues"), w.count("deleted_objects")}
}

// total is what all maintainers have done so far.
func (w *world) total() did {
	w.t.Helper()
	a, b := w.before, w.did()
	return did{a.merges + b.merges, a.rolled + b.rolled, a.unlisted + b.unlisted, a.trimmed + b.trimmed, a.deleted + b.deleted}
}

// count returns a counter of the maintainer.
func (w *world) count(name string) float64 {
	w.t.Helper()
	families, err := w.metrics.Gather()
	if err != nil {
		w.t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == "varve_maintain_"+name+"_total" {
			return f.GetMetric()[0].GetCounter().GetValue()
		}
	}
	w.t.Fatalf("there is no counter %s", name)
	return 0
}
