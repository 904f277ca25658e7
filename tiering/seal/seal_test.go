package seal

import (
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/varvemq/varve/internal/vfs"
	"github.com/varvemq/varve/metadata"
	"github.com/varvemq/varve/tiering/catalog"
	"github.com/varvemq/varve/tiering/objstore"
	"github.com/varvemq/varve/tiering/segment"
)

// TestSeal: random records of random queues, over several epochs, are in the segments, byte for byte, dense and in order.
func TestSeal(t *testing.T) {
	t.Parallel()
	for i := range 25 {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			t.Parallel()
			rng := seed(t)
			w := newWorld(t, newTopics(rng, 1+rng.IntN(12)))
			limit := int64(recordOverhead + rng.IntN(20_000))
			for range 1 + rng.IntN(4) {
				b := w.start(t, w.kv, func(c *Config) { c.Bytes = limit })
				for range 1 + rng.IntN(3) {
					w.wal.fill(t, rng, rng.IntN(60), rng.IntN(2000))
					head := w.sealAll(t, b)
					if lsn, trimmed := w.wal.saidSealed(); head.Object > 0 && (lsn != head.LSN || trimmed != head.Position) {
						t.Errorf("the log was told LSN %d and position %d; the head is %+v", lsn, trimmed, head)
					}
				}
				added := b.catalog.list()
				for i := range added {
					if i > 0 && added[i].FirstLSN != added[i-1].EndLSN {
						t.Errorf("the catalog got LSN %d after %d", added[i].FirstLSN, added[i-1].EndLSN)
					}
				}
				b.stop(t)
				if rng.IntN(3) == 0 { // an epoch may begin above the LSNs of the one before
					w.wal.next += rng.Uint64N(50)
				}
			}
		})
	}
}

// TestCutLimits: a segment takes as much as it may, never a part of a record, and more than it may only if that is one record.
func TestCutLimits(t *testing.T) {
	t.Parallel()
	rng := seed(t)
	w := newWorld(t, newTopics(rng, 1))
	q := w.wal.topics.queues[w.wal.topics.ordinals()[0]]
	one := func() Record {
		hole := Hole{Ordinal: q.Ordinal, Base: q.next, Count: 1}
		q.next++
		return Record{Batches: []Batch{q.batch(t, rng, 1, 0)}, Holes: []Hole{hole}}
	}
	sample := one()
	size := uint64(recordOverhead + len(sample.Batches[0].Messages))
	b := w.start(t, w.kv, func(c *Config) { c.Bytes = int64(3*size + size/2) })
	w.wal.append(sample)
	for range 6 {
		w.wal.append(one())
	}
	big := Record{Batches: []Batch{q.batch(t, rng, 50, 100)}}
	w.wal.append(big)
	w.wal.append(one())
	w.wal.sync()
	w.sealAll(t, b)
	var got []uint64
	for _, seg := range w.check(t).Segments {
		got = append(got, seg.EndLSN-seg.FirstLSN)
	}
	if diff := cmp.Diff([]uint64{3, 3, 1, 1, 1}, got); diff != "" {
		t.Error(diff)
	}
	b.stop(t)
}

// TestCursorLimit: a segment's cursors fit into its value in etcd.
func TestCursorLimit(t *testing.T) {
	t.Parallel()
	topics := &modelTopics{queues: map[uint32]*modelQueue{}}
	for i := range uint32(10_000) {
		topics.queues[i+1] = &modelQueue{Queue: segment.Queue{Ordinal: i + 1, Topic: "t"}, state: QueueLive}
	}
	w := newWorld(t, topics)
	b := w.start(t, w.kv, func(c *Config) { c.Bytes = 64 << 20 })
	for i := range uint32(10_000) {
		w.wal.append(Record{Cursors: []metadata.QueueCursor{{Ordinal: i/10*10 + 1, Offset: uint64(i)}, {Ordinal: i + 1, Offset: uint64(i)}}})
	}
	w.wal.sync()
	w.sealAll(t, b)
	segs := w.check(t).Segments
	for i := range segs {
		if n := len(segs[i].Cursors); n > maxCursors || i < len(segs)-1 && n < maxCursors-1 {
			t.Errorf("segment %d of %d has %d cursors", i, len(segs), n)
		}
	}
	if len(segs) != 3 {
		t.Errorf("%d segments", len(segs))
	}
	b.stop(t)
}

// TestEmptyCuts: what is not of the shard makes no segment, and records of which nothing is kept make one that says so.
func TestEmptyCuts(t *testing.T) {
	t.Parallel()
	rng := seed(t)
	topics := newTopics(rng, 2)
	w := newWorld(t, topics)
	ordinals := topics.ordinals()
	topics.queues[ordinals[1]].state = QueueDeleted
	b := w.start(t, w.kv, nil)
	w.sealAll(t, b)
	w.wal.skip(1000)
	w.wal.sync()
	w.sealAll(t, b)
	if st := w.check(t); st.Head.NextObject != 1 || b.Status().Backlog != 0 {
		t.Errorf("%+v, %+v", st.Head, b.Status())
	}
	w.wal.append(Record{Batches: []Batch{topics.queues[ordinals[1]].batch(t, rng, 3, 100)}, Cursors: []metadata.QueueCursor{{Ordinal: ordinals[1], Offset: 7}}})
	w.wal.skip(10)
	w.wal.sync()
	w.sealAll(t, b)
	if st := w.check(t); len(st.Segments) != 1 || st.Segments[0].Queues != 0 || st.Segments[0].Cursors != nil {
		t.Errorf("%+v", st.Segments)
	}
	b.stop(t)
}

// TestUnknownQueues: a queue that nobody knows is kept under what its messages say.
func TestUnknownQueues(t *testing.T) {
	t.Parallel()
	rng := seed(t)
	topics := newTopics(rng, 3)
	w := newWorld(t, topics)
	var queues []*modelQueue
	for i, o := range topics.ordinals() {
		q := topics.queues[o]
		q.state, q.ExtentBase, q.next = QueueUnknown, uint64(i)<<36, uint64(i)<<36+5
		queues = append(queues, q)
	}
	queues[1].next = 1 << 60 // only a hole, far beyond the first extent
	queues[1].ExtentBase = 1 << 60
	w.wal.append(Record{
		Batches: []Batch{queues[0].batch(t, rng, 2, 10)},
		Holes:   []Hole{{Ordinal: queues[1].Ordinal, Base: queues[1].next, Count: 9}, {Ordinal: queues[2].Ordinal, Base: queues[2].next, Count: 2}},
	})
	queues[2].next += 2
	w.wal.append(Record{Batches: []Batch{queues[2].batch(t, rng, 2, 10)}})
	w.wal.sync()
	b := w.start(t, w.kv, nil)
	w.sealAll(t, b)
	seg := w.check(t).Segments[0]
	r, err := segment.Open(t.Context(), &objstore.Object{Store: w.mem, Key: b.keyOf(&seg)}, seg.Size, segment.Expect{})
	if err != nil {
		t.Fatal(err)
	}
	var got []segment.Queue
	for info, err := range r.Queues(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, info.Queue)
	}
	want := []segment.Queue{
		{Ordinal: queues[0].Ordinal, Topic: queues[0].Topic, QueueID: queues[0].QueueID},
		{Ordinal: queues[1].Ordinal, ExtentBase: 1 << 60},
		{Ordinal: queues[2].Ordinal, Topic: queues[2].Topic, QueueID: queues[2].QueueID, ExtentBase: 2 << 36},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	b.stop(t)
}

// TestDisorder: records that do not follow what is committed end sealing, and nothing is committed of them.
func TestDisorder(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		change func(w *modelWAL, b *broker)
		says   string
	}{
		{"a gap", func(w *modelWAL, _ *broker) { w.records[1].LSN = 9 }, "LSNs [2, 9) are missing"},
		{"a gap behind what is sealed", func(w *modelWAL, b *broker) {
			w.records[0].LSN, w.records[1].LSN, b.epoch = 2, 3, 1
		}, "LSNs [1, 2) are missing"},
		{"twice", func(w *modelWAL, _ *broker) { w.records[1].LSN = 1 }, "LSN 1 at position"},
		{"an epoch that falls", func(w *modelWAL, _ *broker) { w.records[1].Epoch = 0 }, "of epoch 0"},
		{"an epoch above ours", func(w *modelWAL, _ *broker) { w.records[1].Epoch = 2 }, "above our own, 1"},
		{"a gap in a queue", func(w *modelWAL, _ *broker) { w.records[1].Batches[0].Base += 2 }, "offset"},
		{"a damaged message", func(w *modelWAL, _ *broker) { w.records[1].Batches[0].Messages[20] ^= 1 }, "offset"},
		{"a damaged message of an unknown queue", func(w *modelWAL, _ *broker) {
			w.topics.queues[w.records[1].Batches[0].Ordinal].state = QueueUnknown
			w.records[0].Batches[0].Messages[5] ^= 1
		}, "magic"},
		{"a hole beyond the extent", func(w *modelWAL, _ *broker) {
			w.records[1] = Record{LSN: 2, Epoch: 1, Pos: w.records[1].Pos, End: w.records[1].End, Holes: []Hole{{Ordinal: w.records[0].Batches[0].Ordinal, Base: 1 << 62, Count: 1}}}
		}, "offset"},
		{"a failing log", func(w *modelWAL, _ *broker) { w.scan = func() error { return errInjected } }, "injected"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			rng := seed(t)
			topics := newTopics(rng, 1)
			w := newWorld(t, topics)
			b := w.start(t, w.kv, nil)
			q := topics.queues[topics.ordinals()[0]]
			for range 2 {
				w.wal.append(Record{Batches: []Batch{q.batch(t, rng, 2, 100)}})
			}
			w.wal.sync()
			tt.change(w.wal, b)
			stop := running(t, b.Sealer)
			_, err := b.Seal(t.Context())
			if err == nil || !strings.Contains(err.Error(), tt.says) {
				t.Fatalf("%v, want %q", err, tt.says)
			}
			if strings.Contains(err.Error(), "LSN ") && !errors.Is(err, ErrOrder) {
				t.Errorf("%v is no ErrOrder", err)
			}
			if again := stop(); again == nil || again.Error() != err.Error() {
				t.Errorf("Run ended with %v", again)
			}
			if st := b.Status(); st.Err == nil {
				t.Error("the status has no error")
			}
			if st := w.state(t); st.Head.LSN != 1 || len(st.Segments) > 0 {
				t.Errorf("%+v", st)
			}
			b.stop(t)
		})
	}
}

// TestPositionLost: with a head that was restored, records that are sealed already are passed over, and nothing is trimmed on its strength alone.
func TestPositionLost(t *testing.T) {
	t.Parallel()
	rng := seed(t)
	w := newWorld(t, newTopics(rng, 3))
	b := w.start(t, w.kv, nil)
	w.wal.fill(t, rng, 30, 500)
	w.sealAll(t, b)
	b.stop(t)
	w.wal.trimmed = 0
	b = w.start(t, w.kv, func(c *Config) { c.Head.Position, c.Head.PositionLost = 0, true })
	w.wal.fill(t, rng, 30, 500)
	w.sealAll(t, b)
	b.stop(t)
}

// TestTriggers: by bytes, by age, by a kick, on demand, and not without a reason.
func TestTriggers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		rng := seed(t)
		w := newWorld(t, newTopics(rng, 3))
		b := w.start(t, w.kv, func(c *Config) { c.Bytes, c.Age = 100_000, time.Minute })
		stop := running(t, b.Sealer)
		segments := func() int { synctest.Wait(); return len(b.catalog.list()) }
		want := func(what string, n int) {
			t.Helper()
			if got := segments(); got != n {
				t.Errorf("%s: %d segments, want %d", what, got, n)
			}
		}
		time.Sleep(time.Hour)
		want("nothing", 0)
		w.wal.fill(t, rng, 10, 100)
		time.Sleep(59 * time.Second)
		want("after 59 s", 0)
		if st := b.Status(); st.Backlog != int64(w.wal.pos) || st.Oldest < 58*time.Second || st.Err != nil {
			t.Errorf("%+v", st)
		}
		w.wal.fill(t, rng, 10, 100)
		time.Sleep(2 * time.Second)
		want("after 61 s", 1)
		if st := b.Status(); st.Backlog != 0 || st.Oldest != 0 || st.Head.LSN != 21 {
			t.Errorf("%+v", st)
		}
		for w.wal.pos-w.wal.durable < 350_000 {
			w.wal.random(t, rng, 4000)
		}
		w.wal.sync()
		time.Sleep(time.Second)
		n := segments()
		if st := b.Status(); st.Backlog >= 100_000 || n < 4 {
			t.Errorf("by bytes: %d segments, %+v", n, st)
		}
		time.Sleep(61 * time.Second)
		if st := b.Status(); st.Backlog != 0 || segments() > n+1 {
			t.Errorf("the rest by age: %d segments, %+v", segments(), st)
		}
		n = segments()

		// Kicks: at once, and then one for all within 250 ms.
		began := time.Now()
		for i := range 8 {
			w.wal.fill(t, rng, 1, 100)
			b.Kick()
			time.Sleep(50 * time.Millisecond)
			if got := segments(); i == 0 && got != n+1 {
				t.Errorf("%d segments after a kick", got)
			}
		}
		time.Sleep(250 * time.Millisecond)
		if got := segments() - n; got < 2 || got > 1+int(time.Since(began)/kickInterval) || b.Status().Backlog != 0 {
			t.Errorf("%d segments for 8 kicks in %v", got, time.Since(began))
		}
		n = segments()
		b.Kick()
		time.Sleep(time.Second)
		want("a kick for nothing", n)

		// On demand, by several at once.
		w.wal.fill(t, rng, 300, 4000)
		var wg sync.WaitGroup
		for range 5 {
			wg.Go(func() {
				if head, err := b.Seal(t.Context()); err != nil || head.LSN != w.wal.end() {
					t.Errorf("%+v, %v", head, err)
				}
			})
		}
		wg.Wait()
		w.check(t)
		if err := stop(); err != nil {
			t.Error(err)
		}
		b.stop(t)
	})
}

// TestOrder: what happens after a commit, in which order, and what a failure of it holds up.
func TestOrder(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		rng := seed(t)
		w := newWorld(t, newTopics(rng, 2))
		var mu sync.Mutex
		var events []string
		note := func(format string, args ...any) {
			mu.Lock()
			defer mu.Unlock()
			events = append(events, fmt.Sprintf(format, args...))
		}
		take := func() []string {
			synctest.Wait()
			mu.Lock()
			defer mu.Unlock()
			defer func() { events = nil }()
			return events
		}
		var fail error // guarded by mu
		failing := func() error {
			mu.Lock()
			defer mu.Unlock()
			return fail
		}
		set := func(err error) {
			mu.Lock()
			defer mu.Unlock()
			fail = err
		}
		b := w.start(t, w.kv, func(c *Config) {
			c.Catalog = added{c.Catalog, func() { note("add") }}
			c.OnCommit = func(rev int64) error {
				if st := w.state(t); rev != st.Head.Revision {
					t.Errorf("remember %d, the head is at %d", rev, st.Head.Revision)
				}
				note("remember")
				return failing()
			}
		})
		w.wal.sealed = func(lsn, pos uint64) error { note("sealed %d %d", lsn, pos); return failing() }
		stop := running(t, b.Sealer)
		expect := func(what string, want ...string) {
			t.Helper()
			if diff := cmp.Diff(want, take()); diff != "" {
				t.Errorf("%s: %s", what, diff)
			}
		}
		time.Sleep(time.Second)
		expect("start", "sealed 1 0")
		w.wal.fill(t, rng, 1, 10)
		first := w.sealAll(t, b)
		expect("commit", "remember", "add", fmt.Sprintf("sealed %d %d", first.LSN, first.Position))
		set(errInjected)
		w.wal.fill(t, rng, 1, 10)
		second := w.sealAll(t, b)
		// What waits for the commit is told of it; the log is not trimmed.
		expect("commit that is not remembered", "remember", "add", fmt.Sprintf("sealed %d %d", second.LSN, first.Position))
		if st := b.Status(); !errors.Is(st.Err, errInjected) {
			t.Errorf("%+v", st)
		}
		set(nil)
		time.Sleep(settleInterval + poll)
		expect("again", "remember", fmt.Sprintf("sealed %d %d", second.LSN, second.Position))
		time.Sleep(2 * settleInterval)
		expect("no more")
		if st := b.Status(); st.Err != nil {
			t.Errorf("%+v", st)
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
		b.stop(t)
		w.wal.sealed = nil
	})
}

type added struct {
	Catalog

	note func()
}

func (a added) Add(r catalog.Recent) { a.note(); a.Catalog.Add(r) }

// TestCatalog: the catalog that was told of each segment is the one that a start reads from etcd and the bucket.
func TestCatalog(t *testing.T) {
	t.Parallel()
	rng := seed(t)
	w := newWorld(t, newTopics(rng, 8))
	open := func() *catalog.Catalog {
		c, err := catalog.Open(t.Context(), catalog.Config{Bucket: w.mem, Cluster: testCluster, Shard: testShard}, w.state(t))
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	told := open()
	b := w.start(t, w.kv, func(c *Config) { c.Catalog, c.Bytes = told, 5000 })
	for range 3 {
		w.wal.fill(t, rng, 40, 500)
		w.sealAll(t, b)
		read := open()
		if diff := cmp.Diff(slices.Collect(read.Queues()), slices.Collect(told.Queues())); diff != "" {
			t.Error(diff)
		}
		noRevision := cmpopts.IgnoreFields(metadata.Segment{}, "Revision")
		if diff := cmp.Diff(read.Recent(), told.Recent(), noRevision, cmpopts.EquateEmpty()); diff != "" {
			t.Error(diff)
		}
		want, _ := w.wal.expected(w.wal.end())
		for ordinal, pieces := range want {
			last := &pieces[len(pieces)-1]
			first, end, ok := told.Bounds(ordinal)
			if !ok || first != pieces[0].base || end != last.base+last.count {
				t.Errorf("queue %d: [%d, %d), %t, want [%d, %d)", ordinal, first, end, ok, pieces[0].base, last.base+last.count)
			}
		}
	}
	b.stop(t)
}

// TestRunSettles: the commit of an earlier process, which has trimmed nothing, is told to the log at the start.
func TestRunSettles(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		rng := seed(t)
		w := newWorld(t, newTopics(rng, 2))
		b := w.start(t, w.kv, nil)
		w.wal.fill(t, rng, 20, 1000)
		head := w.sealAll(t, b)
		b.stop(t)
		w.wal.lsn, w.wal.trimmed = 0, 0
		b = w.start(t, w.kv, nil)
		stop := running(t, b.Sealer)
		synctest.Wait()
		if lsn, pos := w.wal.saidSealed(); lsn != head.LSN || pos != head.Position {
			t.Errorf("LSN %d, position %d, want %+v", lsn, pos, head)
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
		b.stop(t)
	})
}

// TestSmooth: uploads are spread, unless the log is filling up.
func TestSmooth(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		pressure int64
		least    time.Duration
		most     time.Duration
	}{{1 << 30, 8 * time.Second, 12 * time.Second}, {100_000, 0, 8 * time.Second}} {
		synctest.Test(t, func(t *testing.T) {
			rng := seed(t)
			w := newWorld(t, newTopics(rng, 2))
			b := w.start(t, w.kv, func(c *Config) { c.Bytes, c.UploadRate, c.Pressure = 10_000, 10_000, tt.pressure })
			for w.wal.pos < 105_000 {
				w.wal.random(t, rng, 1000)
			}
			w.wal.sync()
			began := time.Now()
			stop := running(t, b.Sealer)
			for b.Status().Backlog > 10_000 {
				time.Sleep(10 * time.Millisecond)
			}
			if took := time.Since(began); took < tt.least || took > tt.most {
				t.Errorf("pressure %d: %v", tt.pressure, took)
			}
			if err := stop(); err != nil {
				t.Error(err)
			}
			b.stop(t)
		})
	}
}

// TestSpoolDamage: a spool file that does not hold what was written is not uploaded, but written again.
func TestSpoolDamage(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		rng := seed(t)
		w := newWorld(t, newTopics(rng, 2))
		var damaged atomic.Int64
		b := w.start(t, w.kv, func(c *Config) { c.FS = damagedFS{FS: c.FS, times: 2, seen: &damaged} })
		w.wal.fill(t, rng, 10, 1000)
		w.sealAll(t, b)
		if n := damaged.Load(); n < 2 {
			t.Errorf("damaged %d times", n)
		}
		b.stop(t)
	})
}

// damagedFS flips a bit in what is read, so many times.
type damagedFS struct {
	vfs.FS

	times int64
	seen  *atomic.Int64
}

func (d damagedFS) Create(name string) (vfs.File, error) {
	f, err := d.FS.Create(name)
	return &damagedFile{f, d}, err
}

type damagedFile struct {
	vfs.File

	d damagedFS
}

func (f *damagedFile) ReadAt(b []byte, off int64) (int, error) {
	n, err := f.File.ReadAt(b, off)
	if n > 0 && f.d.seen.Add(1) <= f.d.times {
		b[n/2] ^= 4
	}
	return n, err
}

// TestSpoolLost: a spool file that cannot be read any more is given up, with what was built behind it: the records are sealed under other numbers.
func TestSpoolLost(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name    string
		bytes   int64
		intents int
	}{{"one segment", 1 << 20, 1}, {"and one behind it", 2 << 10, 2}} {
		synctest.Test(t, func(t *testing.T) {
			rng := seed(t)
			w := newWorld(t, newTopics(rng, 2))
			b := w.start(t, w.kv, func(c *Config) { c.FS, c.Bytes = &lostFS{FS: c.FS}, tt.bytes })
			w.wal.fill(t, rng, 30, 400)
			w.sealAll(t, b)
			st := w.check(t)
			if st.Segments[0].Object != uint64(tt.intents)+1 || len(st.Uploads) != tt.intents {
				t.Errorf("%s: first %+v, %+v", tt.name, st.Segments[0], st.Uploads)
			}
			if names, err := w.disk.List(testSpool); err != nil || len(names) > 0 {
				t.Errorf("%s: %q, %v", tt.name, names, err)
			}
			b.stop(t)
		})
	}
}

// lostFS fails the second read of the first file, which is the upload.
type lostFS struct {
	vfs.FS

	files atomic.Int64
}

func (l *lostFS) Create(name string) (vfs.File, error) {
	f, err := l.FS.Create(name)
	if l.files.Add(1) > 1 || err != nil {
		return f, err
	}
	return &lostFile{File: f}, nil
}

type lostFile struct {
	vfs.File

	from0 int
}

func (f *lostFile) ReadAt(b []byte, off int64) (int, error) {
	if off == 0 {
		f.from0++
	}
	if f.from0 > 1 {
		return 0, errInjected
	}
	return f.File.ReadAt(b, off)
}

// TestMemory: a segment is never in memory as a whole. (Not parallel: what others allocate counts.)
func TestMemory(t *testing.T) {
	rng := seed(t)
	topics := newTopics(rng, 1)
	w := newWorld(t, topics)
	q := topics.queues[topics.ordinals()[0]]
	q.compression = segment.Uncompressed
	for w.wal.pos < 24<<20 {
		w.wal.append(Record{Batches: []Batch{q.batch(t, rng, 20, 20_000)}})
	}
	w.wal.sync()
	dir := t.TempDir()
	b := w.start(t, w.kv, func(c *Config) {
		c.Bytes, c.FS, c.SpoolDir, c.Bucket = 64<<20, vfs.OS(), dir, &sink{buf: make([]byte, 1<<16)}
	})
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	if _, err := b.Seal(t.Context()); err != nil {
		t.Fatal(err)
	}
	runtime.ReadMemStats(&after)
	if n := after.TotalAlloc - before.TotalAlloc; n > 8<<20 || w.state(t).Segments[0].Size < 23<<20 {
		t.Errorf("%d bytes were allocated for a segment of %d", n, w.state(t).Segments[0].Size)
	}
	b.stop(t)
}

func TestMetrics(t *testing.T) {
	t.Parallel()
	rng := seed(t)
	w := newWorld(t, newTopics(rng, 2))
	reg := prometheus.NewPedanticRegistry()
	b := w.start(t, w.kv, func(c *Config) { c.Registerer, c.Bytes = reg, 1<<20 })
	w.wal.fill(t, rng, 10, 100)
	w.sealAll(t, b)
	w.wal.fill(t, rng, 1, 100)
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			got[f.GetName()] += m.GetCounter().GetValue() + m.GetGauge().GetValue()
		}
	}
	seg := w.check(t).Segments[0]
	for name, want := range map[string]float64{
		"varve_seal_segments_total": 1, "varve_seal_messages_total": float64(seg.Messages), "varve_seal_raw_bytes_total": float64(seg.RawBytes),
		"varve_seal_stored_bytes_total": float64(seg.Size), "varve_seal_backlog_bytes": float64(b.Status().Backlog),
	} {
		if got[name] != want {
			t.Errorf("%s is %v, want %v", name, got[name], want)
		}
	}
	if _, err := New(b.cfg); err == nil {
		t.Error("metrics are registered twice")
	}
	b.stop(t)
}

func TestValidate(t *testing.T) {
	t.Parallel()
	err := Config{Bytes: -1}.Validate()
	for _, want := range []string{"own: missing", "bucket: missing", "bytes: negative", "head: no LSN", "cluster: missing"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v does not say %q", err, want)
		}
	}
	w := newWorld(t, newTopics(seed(t), 1))
	b := w.start(t, w.kv, nil)
	cfg := b.cfg
	cfg.Head.WALUUID, cfg.Shard = "another", "other"
	if err := cfg.Validate(); err == nil || !strings.Contains(err.Error(), `WAL "another"`) || !strings.Contains(err.Error(), `shard: "other"`) {
		t.Error(err)
	}
	b.stop(t)
}

var _ io.Writer = (*spool)(nil)
