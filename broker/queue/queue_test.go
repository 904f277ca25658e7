package queue

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/varvemq/varve/broker/wal"
	"github.com/varvemq/varve/internal/message"
	"github.com/varvemq/varve/internal/vfs"
)

func TestAppendAndRead(t *testing.T) {
	t.Parallel()
	l := openLog(t, testConfig(vfs.NewCrash(nil)))
	q, other := l.Queue(7), l.Queue(3)
	if b := put(t, l, q, true, msg("T", 0, 10), msg("T", 1, 20)); b.BaseOffset != 0 || b.StoreTime == 0 {
		t.Fatalf("%+v", b)
	}
	op := &Op{Batches: []Batch{
		{Queue: q, Messages: msg("T", 2, 8), Count: 1},
		{Queue: other, Messages: msg("U", 0, 8), Count: 1},
		{Queue: q, Messages: msg("T", 3, 8), Count: 1}, // the same queue again
	}, Cursors: []Cursor{{Queue: q, Offset: 2}}}
	if err := l.AppendWait(t.Context(), op); err != nil {
		t.Fatal(err)
	}
	if op.Batches[2].BaseOffset != 3 || q.Max() != 4 || other.Max() != 1 {
		t.Fatalf("%+v, max %d and %d", op.Batches, q.Max(), other.Max())
	}
	if c, ok := q.Cursor(); !ok || c != 2 {
		t.Fatal(c, ok)
	}
	for i, v := range readAll(t, l, q, 0) {
		if idOf(v) != uint64(i) || string(v.Topic()) != "T" {
			t.Fatal(i, v.Fields())
		}
	}
	if got := readAll(t, l, q, 3); len(got) != 1 {
		t.Fatal(len(got))
	}
	phys, _ := message.PhysicalOffset(7, 2)
	b, err := l.ByPhysical(t.Context(), phys, nil)
	if err != nil || idOf(b) != 2 {
		t.Fatal(b, err)
	}
	for _, phys := range []int64{-1, phys + 2, 1 << 50} {
		if _, err := l.ByPhysical(t.Context(), phys, nil); !errors.Is(err, ErrNotFound) {
			t.Fatal(err)
		}
	}
}

func TestEpoch(t *testing.T) {
	t.Parallel()
	cfg := testConfig(vfs.NewCrash(nil))
	for _, epoch := range []uint32{4, 4, 7} {
		cfg.Shard.Epoch = epoch
		l := openLog(t, cfg)
		q := l.Queue(1)
		put(t, l, q, true, msg("T", 0, 8))
		var x [1]extent
		if _, err := l.locate(q, q.Max()-1, x[:]); err != nil {
			t.Fatal(err)
		}
		if rec, err := l.WAL().Record(x[0].pos, x[0].length, nil); err != nil || rec.Shard != cfg.Shard {
			t.Fatal(rec.Shard, err)
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
	cfg.Shard.Epoch = 6
	if _, err := Open(t.Context(), cfg); err == nil {
		t.Fatal("an epoch of the past was accepted")
	}
}

func TestInvalidOps(t *testing.T) {
	t.Parallel()
	l := openLog(t, testConfig(vfs.NewCrash(nil)))
	m := msg("T", 0, 8)
	for name, op := range map[string]*Op{
		"empty":        {},
		"no messages":  {Batches: []Batch{{Queue: l.Queue(1)}}},
		"miscounted":   {Batches: []Batch{{Queue: l.Queue(1), Messages: m, Count: 2}}},
		"cut":          {Batches: []Batch{{Queue: l.Queue(1), Messages: m[:len(m)-1], Count: 1}}},
		"no queue":     {Batches: []Batch{{Messages: m, Count: 1}}},
		"other log":    {Batches: []Batch{{Queue: &Queue{}, Messages: m, Count: 1}}},
		"other cursor": {Cursors: []Cursor{{Queue: &Queue{}}}},
	} {
		if err := l.AppendWait(t.Context(), op); !errors.Is(err, ErrInvalidOp) {
			t.Errorf("%s: %v", name, err)
		}
	}
	big := &Op{Batches: []Batch{{Queue: l.Queue(1), Messages: msg("T", 0, 17<<10), Count: 1}}}
	if err := l.AppendWait(t.Context(), big); !errors.Is(err, wal.ErrTooLarge) {
		t.Error(err)
	}
	many := &Op{Cursors: make([]Cursor, 300)}
	for i := range many.Cursors {
		many.Cursors[i].Queue = l.Queue(1)
	}
	if err := l.AppendWait(t.Context(), many); !errors.Is(err, wal.ErrTooManyParts) {
		t.Error(err)
	}
	if b := put(t, l, l.Queue(1), true, m); b.BaseOffset != 0 {
		t.Error("a refused operation has used an offset")
	}
	l.Queue(1).next = message.MaxDelta
	end := &Op{Batches: []Batch{{Queue: l.Queue(1), Messages: append(m, m...), Count: 2}}}
	if err := l.AppendWait(t.Context(), end); !errors.Is(err, ErrExhausted) || l.Queue(1).next != message.MaxDelta {
		t.Error(err)
	}
}

func TestReadStatuses(t *testing.T) {
	t.Parallel()
	l := openLog(t, testConfig(vfs.NewCrash(nil)))
	q := l.Queue(1)
	never := l.Queue(2)
	for i := range 10 {
		tag := "a"
		if i == 7 {
			tag = "b"
		}
		put(t, l, q, false, msg("T", uint64(i), 100, message.PropertyTags, tag))
	}
	one := len(msg("T", 0, 100, message.PropertyTags, "a"))
	for _, tc := range []struct {
		name string
		q    *Queue
		req  ReadRequest
		want ReadResult
	}{
		{"never written", never, ReadRequest{}, ReadResult{Status: NoMessage}},
		{"never written, further", never, ReadRequest{Offset: 5}, ReadResult{Status: OffsetTooLarge}},
		{"at the end", q, ReadRequest{Offset: 10}, ReadResult{Status: NoMessage, Next: 10, Max: 10}},
		{"beyond", q, ReadRequest{Offset: 11}, ReadResult{Status: OffsetTooLarge, Next: 10, Max: 10}},
		{"all", q, ReadRequest{}, ReadResult{Status: Found, Next: 10, Max: 10, Count: 10}},
		{"three", q, ReadRequest{Offset: 2, MaxMessages: 3}, ReadResult{Status: Found, Next: 5, Max: 10, Count: 3}},
		{"bytes", q, ReadRequest{MaxBytes: 2*one + 1}, ReadResult{Status: Found, Next: 2, Max: 10, Count: 2}},
		{"at least one", q, ReadRequest{MaxBytes: 1}, ReadResult{Status: Found, Next: 1, Max: 10, Count: 1}},
		{"filter", q, ReadRequest{Filter: tagFilter{"b": true}}, ReadResult{Status: Found, Next: 10, Max: 10, Count: 1}},
		{"no match", q, ReadRequest{Filter: tagFilter{"c": true}}, ReadResult{Status: NoMatch, Next: 10, Max: 10}},
		{"scan", q, ReadRequest{MaxScan: 4, Filter: tagFilter{"b": true}}, ReadResult{Status: NoMatch, Next: 4, Max: 10}},
		{"scan, found", q, ReadRequest{Offset: 5, MaxScan: 4, Filter: tagFilter{"b": true}}, ReadResult{Status: Found, Next: 9, Max: 10, Count: 1}},
	} {
		dst := []byte("prefix")
		b, res, err := l.Read(t.Context(), tc.q, tc.req, dst)
		if err != nil || res != tc.want || string(b[:6]) != "prefix" {
			t.Errorf("%s: %+v, %v; want %+v", tc.name, res, err, tc.want)
		}
		if n := len(views(t, b[6:])); n != tc.want.Count {
			t.Errorf("%s: %d messages", tc.name, n)
		}
	}
}

func TestStoreHost(t *testing.T) {
	t.Parallel()
	cfg := testConfig(vfs.NewCrash(nil))
	for _, host := range []string{"10.0.0.1:10911", "10.0.0.2:10911", "[::1]:10911"} {
		cfg.StoreHost = netip.MustParseAddrPort(host)
		l := openLog(t, cfg)
		q := l.Queue(1)
		put(t, l, q, true, msg("T", 1, 8), msg("T", 2, 8), msg("T", 3, 8))
		for _, v := range readAll(t, l, q, 0) {
			if v.StoreHost() != cfg.StoreHost {
				t.Fatal(v.StoreHost())
			}
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestStoreTimes: times never go back, though the clock does.
func TestStoreTimes(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	now := int64(1000)
	set := func(ms int64) { mu.Lock(); now = ms; mu.Unlock() }
	cfg := testConfig(vfs.NewCrash(nil))
	cfg.Clock = func() time.Time { mu.Lock(); defer mu.Unlock(); return time.UnixMilli(now) }
	l := openLog(t, cfg)
	q := l.Queue(1)
	times := []int64{1000, 1000, 1005, 1005, 1005, 1010, 900, 1011}
	stored := []int64{1000, 1000, 1005, 1005, 1005, 1010, 1010, 1011}
	check := func(l *Log, name string) {
		t.Helper()
		q := l.Queue(1)
		for i, want := range stored {
			if ms, err := l.StoreTime(t.Context(), q, uint64(i)); err != nil || ms != want {
				t.Fatalf("%s: %d: %d, %v, want %d", name, i, ms, err, want)
			}
		}
		for _, tc := range []struct {
			ms           int64
			lower, upper uint64
		}{
			{0, 0, 0}, {999, 0, 0}, {1000, 0, 1}, {1001, 2, 1}, {1005, 2, 4}, {1006, 5, 4}, {1010, 5, 6}, {1011, 7, 7},
		} {
			if off, err := l.OffsetByTime(t.Context(), q, tc.ms, false); err != nil || off != tc.lower {
				t.Errorf("%s: lower %d: %d, %v, want %d", name, tc.ms, off, err, tc.lower)
			}
			if off, err := l.OffsetByTime(t.Context(), q, tc.ms, true); err != nil || off != tc.upper {
				t.Errorf("%s: upper %d: %d, %v, want %d", name, tc.ms, off, err, tc.upper)
			}
		}
		if off, err := l.OffsetByTime(t.Context(), q, 5000, false); err != nil || off != q.Max() {
			t.Errorf("%s: lower: %d, %v", name, off, err)
		}
		if off, err := l.OffsetByTime(t.Context(), q, 1<<63-1, true); err != nil || off != q.Max()-1 {
			t.Errorf("%s: upper: %d, %v", name, off, err)
		}
		if ms, err := l.EarliestStoreTime(t.Context(), q); err != nil || ms != 1000 {
			t.Errorf("%s: earliest %d, %v", name, ms, err)
		}
	}
	for i, ms := range times {
		set(ms)
		put(t, l, q, i%2 == 0, msg("T", uint64(i), 8))
	}
	check(l, "live")
	set(1020)
	fillFiles(t, l, l.Queue(2), 2)
	check(l, "closed")
	fillFiles(t, l, q, closedFiles(l)+1)
	check(l, "more")
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	l = openLog(t, cfg)
	check(l, "restarted")
	if ms, err := l.EarliestStoreTime(t.Context(), l.Queue(99)); err != nil || ms != -1 {
		t.Error(ms, err)
	}
	if off, err := l.OffsetByTime(t.Context(), l.Queue(99), 5, true); err != nil || off != 0 {
		t.Error(off, err)
	}
	set(1)
	if b := put(t, l, l.Queue(1), true, msg("T", 0, 8)); b.StoreTime != 1020 {
		t.Error("store time", b.StoreTime, "after a restart with the clock behind")
	}
}

func TestKeys(t *testing.T) {
	t.Parallel()
	cfg := testConfig(vfs.NewCrash(nil))
	l := openLog(t, cfg)
	q := l.Queue(1)
	n := 0
	more := func() {
		for range 50 {
			put(t, l, q, false, msg("T", uint64(n), 300, props(n)...), msg("U", uint64(n), 300, props(n)...))
			n++
		}
	}
	query := func(l *Log, kq KeyQuery, want ...uint64) {
		t.Helper()
		b, count, err := l.ByKey(t.Context(), kq, nil)
		if err != nil {
			t.Fatal(err)
		}
		var ids []uint64
		for _, v := range views(t, b) {
			ids = append(ids, idOf(v))
		}
		if count != len(want) || len(ids) != len(want) {
			t.Fatalf("%+v: %d: %v, want %v", kq, count, ids, want)
		}
		for i := range ids {
			if ids[i] != want[i] {
				t.Fatalf("%+v: %v, want %v", kq, ids, want)
			}
		}
	}
	check := func(l *Log) {
		t.Helper()
		last := uint64(n - 1)
		query(l, KeyQuery{Topic: "T", Key: "k3"}, 3)
		query(l, KeyQuery{Topic: "U", Key: "k3"}, 3)
		query(l, KeyQuery{Topic: "V", Key: "k3"})
		query(l, KeyQuery{Topic: "T", Key: "ID00003", Unique: true}, 3)
		query(l, KeyQuery{Topic: "T", Key: "ID00003"}, 3)
		query(l, KeyQuery{Topic: "T", Key: "k3", Unique: true})
		query(l, KeyQuery{Topic: "T", Key: "all", Max: 3}, last, last-1, last-2)
		ms, err := l.StoreTime(t.Context(), l.Queue(1), 6)
		if err != nil {
			t.Fatal(err)
		}
		query(l, KeyQuery{Topic: "T", Key: "k3", Begin: ms, End: ms}, 3)
		query(l, KeyQuery{Topic: "T", Key: "k3", End: ms - 1})
		query(l, KeyQuery{Topic: "T", Key: "k3", Begin: ms + 1})
	}
	more()
	check(l)
	for closedFiles(l) < 3 {
		more()
	}
	check(l)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	l = openLog(t, cfg)
	check(l)
	files := l.WAL().Files()
	if err := l.TrimTo(t.Context(), files[1].End); err != nil {
		t.Fatal(err)
	}
	query(l, KeyQuery{Topic: "T", Key: "k3"})
	query(l, KeyQuery{Topic: "T", Key: "all", Max: 1}, uint64(n-1))
}

func TestTrim(t *testing.T) {
	t.Parallel()
	cfg := testConfig(vfs.NewCrash(nil))
	l := openLog(t, cfg)
	q, idle := l.Queue(1), l.Queue(2)
	put(t, l, idle, true, msg("T", 0, 8), msg("T", 1, 8))
	cursor := &Op{Cursors: []Cursor{{Queue: idle, Offset: 1}}}
	if err := l.AppendWait(t.Context(), cursor); err != nil {
		t.Fatal(err)
	}
	fillFiles(t, l, q, 4)
	check := func(l *Log) {
		t.Helper()
		q, idle := l.Queue(1), l.Queue(2)
		if idle.Min() != 2 || idle.Max() != 2 {
			t.Fatalf("idle queue [%d, %d)", idle.Min(), idle.Max())
		}
		if c, ok := idle.Cursor(); !ok || c != 1 {
			t.Fatalf("cursor %d, %t", c, ok)
		}
		for _, off := range []uint64{0, q.Min() - 1} {
			_, res, err := l.Read(t.Context(), q, ReadRequest{Offset: off}, nil)
			if err != nil || res.Status != OffsetTooSmall || res.Next != q.Min() || q.Min() == 0 {
				t.Fatalf("%+v, %v", res, err)
			}
		}
		if got := readAll(t, l, q, q.Min()); uint64(len(got)) != q.Max()-q.Min() {
			t.Fatal(len(got))
		}
		if off, err := l.OffsetByTime(t.Context(), q, 0, false); err != nil || off != q.Min() {
			t.Fatal(off, err)
		}
	}
	if err := l.TrimTo(t.Context(), l.WAL().Stats().Next); err != nil {
		t.Fatal(err)
	}
	if s := l.WAL().Stats(); s.First == 0 {
		t.Fatal("nothing was trimmed")
	}
	check(l)
	for range 3 {
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		l = openLog(t, cfg)
		check(l)
		fillFiles(t, l, l.Queue(1), closedFiles(l)+2)
		if err := l.TrimTo(t.Context(), l.WAL().Stats().Next); err != nil {
			t.Fatal(err)
		}
		check(l)
	}
	if b := put(t, l, l.Queue(2), true, msg("T", 2, 8)); b.BaseOffset != 2 {
		t.Fatalf("offset %d was used before", b.BaseOffset)
	}
}

func TestDrop(t *testing.T) {
	t.Parallel()
	cfg := testConfig(vfs.NewCrash(nil))
	l := openLog(t, cfg)
	q := l.Queue(1)
	put(t, l, q, true, msg("T", 0, 8), msg("T", 1, 8))
	woken := make(chan WakeReason, 1)
	if !l.Wait(q, &Waiter{Offset: 2, Wake: func(_ *Waiter, r WakeReason) { woken <- r }}) {
		t.Fatal("no wait")
	}
	l.Drop([]uint32{1, 5})
	if r := <-woken; r != WakeDropped {
		t.Fatal(r)
	}
	for _, q := range []*Queue{q, l.Queue(1)} {
		op := &Op{Batches: []Batch{{Queue: q, Messages: msg("T", 0, 8), Count: 1}}}
		if err := l.AppendWait(t.Context(), op); !errors.Is(err, ErrDropped) {
			t.Fatal(err)
		}
		_, res, err := l.Read(t.Context(), q, ReadRequest{}, nil)
		if err != nil || res.Status != OffsetTooSmall || res.Next != 2 {
			t.Fatal(res, err)
		}
		if l.Wait(q, &Waiter{Offset: 2}) {
			t.Fatal("waiting for a dropped queue")
		}
	}
	fillFiles(t, l, l.Queue(2), 2)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	l = openLog(t, cfg)
	if got := readAll(t, l, l.Queue(1), 0); len(got) != 2 {
		t.Fatal(len(got))
	}
}

// gate holds operations of a kind on a file system.
type gate struct {
	mu   sync.Mutex
	kind vfs.OpKind
	open chan struct{}
}

func (g *gate) hold(kind vfs.OpKind) (release func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	open := make(chan struct{})
	g.kind, g.open = kind, open
	return sync.OnceFunc(func() { close(open) })
}

func (g *gate) hook(op vfs.Op) vfs.Fate {
	g.mu.Lock()
	kind, open := g.kind, g.open
	g.mu.Unlock()
	if op.Kind == kind {
		<-open
	}
	return vfs.Fate{}
}

// TestMixedModes: what is sent async behind something sync that is not durable yet waits for it, even if both are written
// in one group.
func TestMixedModes(t *testing.T) {
	t.Parallel()
	fs, g := vfs.NewCrash(nil), &gate{}
	cfg := testConfig(fs)
	cfg.WAL.SyncInterval, cfg.WAL.IdleMark = time.Hour, time.Hour
	l := openLog(t, cfg)
	q, free := l.Queue(1), l.Queue(2)
	put(t, l, q, true, msg("T", 0, 8))
	put(t, l, l.Queue(4), false, msg("T", 0, 8)) // the first of mode async waits for a sync
	eventually(t, "the WAL is at rest", func() bool { return l.WAL().Stats().Spares > 0 })
	time.Sleep(10 * time.Millisecond)
	writes := g.hold(vfs.OpWrite)
	defer writes()
	fs.SetHook(g.hook)
	var mu sync.Mutex
	var order []string
	var wg sync.WaitGroup
	send := func(name string, q *Queue, op *Op) {
		op.Batches = []Batch{{Queue: q, Messages: msg("T", 0, 8), Count: 1}}
		op.Done = func(_ *Op, err error) {
			if err != nil {
				t.Error(err)
			}
			mu.Lock()
			order = append(order, name)
			mu.Unlock()
			wg.Done()
		}
		wg.Add(1)
		if err := l.Append(t.Context(), op); err != nil {
			t.Error(err)
		}
	}
	got := func() []string { mu.Lock(); defer mu.Unlock(); return slices.Clone(order) }
	send("first", free, &Op{})
	time.Sleep(10 * time.Millisecond) // the committer is at its write: the rest makes one group
	send("late", q, &Op{AckWritten: true})
	send("async", q, &Op{})
	send("sync", free, &Op{Sync: true})
	send("free", l.Queue(3), &Op{})
	syncs := g.hold(vfs.OpSync)
	writes()
	defer syncs()
	eventually(t, "acks at written", func() bool { return len(got()) == 3 })
	if want := []string{"first", "late", "free"}; !slices.Equal(got(), want) || q.Max() != 1 || free.Max() != 1 || l.Queue(3).Max() != 1 {
		t.Error(got(), q.Max(), free.Max(), "before durable")
	}
	syncs()
	wg.Wait()
	if want := []string{"first", "late", "free", "async", "sync"}; !slices.Equal(got(), want) || q.Max() != 3 || free.Max() != 2 {
		t.Error(got(), q.Max(), free.Max())
	}
}

func TestSkipAfterLoss(t *testing.T) {
	t.Parallel()
	cfg := testConfig(vfs.NewCrash(nil))
	cfg.WAL.SyncBytes = 64 << 10
	l := openLog(t, cfg)
	q := l.Queue(1)
	put(t, l, q, false, msg("T", 0, 8), msg("T", 1, 8))
	fs := cfg.WAL.FS.(*vfs.Crash).Kill()
	_ = l.Close()
	cfg.WAL.FS, cfg.WAL.BootID = fs, "another"
	l = openLog(t, cfg)
	if r := l.Recovery(); !r.MachineLost || r.AsyncCap == 0 {
		t.Fatalf("%+v", r)
	}
	if err := l.SkipAfterLoss(context.Background(), []*Queue{l.Queue(1), l.Queue(2)}); err != nil {
		t.Fatal(err)
	}
	end := l.Queue(1).Max()
	if end < 100 {
		t.Fatal(end)
	}
	check := func(l *Log) {
		t.Helper()
		q := l.Queue(1)
		for _, off := range []uint64{2, 50, end - 1} {
			_, res, err := l.Read(t.Context(), q, ReadRequest{Offset: off}, nil)
			if err != nil || res.Status != NoMatch || res.Next != end {
				t.Fatalf("%d: %+v, %v", off, res, err)
			}
			if _, err := l.StoreTime(t.Context(), q, off); !errors.Is(err, ErrNotFound) {
				t.Fatal(err)
			}
		}
		_, res, err := l.Read(t.Context(), q, ReadRequest{}, nil)
		if err != nil || res.Status != Found || res.Count != 2 || res.Next != end {
			t.Fatalf("%+v, %v", res, err)
		}
		if got := readAll(t, l, q, end); len(got) != 1 || idOf(got[0]) != 2 {
			t.Fatal(len(got))
		}
		if off, err := l.OffsetByTime(t.Context(), q, 1<<62, false); err != nil || off != q.Max() {
			t.Fatal(off, err)
		}
	}
	put(t, l, l.Queue(1), true, msg("T", 2, 8))
	check(l)
	fillFiles(t, l, l.Queue(3), 2)
	check(l)
	for range 2 {
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		l = openLog(t, cfg)
		check(l)
		if l.Recovery().MachineLost {
			t.Fatal("reported again")
		}
	}
}

// TestKeyQueryIsBoundedInBytes: the newest messages come first, and one comes whatever its size.
func TestKeyQueryIsBoundedInBytes(t *testing.T) {
	t.Parallel()
	l := openLog(t, testConfig(vfs.NewCrash(nil)))
	q := l.Queue(1)
	for i := range 5 {
		put(t, l, q, false, msg("T", uint64(i), 300, message.PropertyKeys, "same"))
	}
	one, n, err := l.ByKey(t.Context(), KeyQuery{Topic: "T", Key: "same", MaxBytes: 1}, nil)
	if err != nil || n != 1 || idOf(nextView(one)) != 4 {
		t.Fatalf("%d messages, %v", n, err)
	}
	if _, n, err := l.ByKey(t.Context(), KeyQuery{Topic: "T", Key: "same", MaxBytes: 3 * len(one)}, nil); err != nil || n != 3 {
		t.Fatalf("%d messages, %v", n, err)
	}
}

// TestSkipTo: queues go on at the offset, however far away, those that are there already stay, and a repetition changes nothing.
func TestSkipTo(t *testing.T) {
	t.Parallel()
	cfg := testConfig(vfs.NewCrash(nil))
	l := openLog(t, cfg)
	put(t, l, l.Queue(1), true, msg("T", 0, 8))
	next := uint64(0)
	for _, losses := range []uint64{1, 2, 5, 31} {
		end := losses << 30
		for range 2 {
			if err := l.SkipTo(t.Context(), []*Queue{l.Queue(1), l.Queue(2)}, func(*Queue) uint64 { return end }); err != nil {
				t.Fatal(err)
			}
			if a, b := l.Queue(1).Max(), l.Queue(2).Max(); a != end || b != end {
				t.Fatalf("%d losses: %d, %d", losses, a, b)
			}
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
			l = openLog(t, cfg)
		}
		for range 2 {
			next++
			put(t, l, l.Queue(1), true, msg("T", next, 8))
			fillFiles(t, l, l.Queue(3), closedFiles(l)+1)
		}
		if got := readAll(t, l, l.Queue(1), end); len(got) != 2 || idOf(got[0]) != next-1 || got[0].QueueOffset() != int64(end) {
			t.Fatalf("%d losses: %d messages", losses, len(got))
		}
	}
	var ids []uint64
	for off, end := uint64(0), l.Queue(1).Max(); off < end; {
		b, res, err := l.Read(t.Context(), l.Queue(1), ReadRequest{Offset: off}, nil)
		if err != nil || res.Next <= off {
			t.Fatal(off, res, err)
		}
		for _, v := range views(t, b) {
			ids = append(ids, idOf(v))
		}
		off = res.Next
	}
	if want := []uint64{0, 1, 2, 3, 4, 5, 6, 7, 8}; !slices.Equal(ids, want) {
		t.Fatal(ids)
	}
}

// TestSkipWhenFull: a log at its limit can still be told where its queues go on.
func TestSkipWhenFull(t *testing.T) {
	t.Parallel()
	cfg := testConfig(vfs.NewCrash(nil))
	cfg.WAL.Limit = 1 << 20
	l := openLog(t, cfg)
	q := l.Queue(1)
	for size := 8000; size > 0; {
		b := Batch{Queue: q, Messages: msg("T", 0, size), Count: 1}
		switch err := l.AppendWait(t.Context(), &Op{Batches: []Batch{b}, Internal: true}); {
		case errors.Is(err, wal.ErrFull):
			size /= 2
		case err != nil:
			t.Fatal(err)
		}
	}
	fs := cfg.WAL.FS.(*vfs.Crash).Kill()
	_ = l.Close()
	cfg.WAL.FS, cfg.WAL.BootID = fs, "another"
	l = openLog(t, cfg)
	if !l.Recovery().MachineLost {
		t.Fatalf("%+v", l.Recovery())
	}
	end := l.Queue(1).Max()
	if err := l.SkipAfterLoss(t.Context(), []*Queue{l.Queue(1), l.Queue(2)}); err != nil {
		t.Fatal(err)
	}
	if err := l.SkipTo(t.Context(), []*Queue{l.Queue(1)}, func(*Queue) uint64 { return 1 << 30 }); err != nil {
		t.Fatal(err)
	}
	if got := l.Queue(1).Max(); got != 1<<30 || end == 0 {
		t.Fatal(got, end)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if l = openLog(t, cfg); l.Queue(1).Max() != 1<<30 || l.Recovery().MachineLost {
		t.Fatalf("%d, %+v", l.Queue(1).Max(), l.Recovery())
	}
}
