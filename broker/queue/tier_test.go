package queue

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"sort"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/varvemq/varve/internal/filter"
	"github.com/varvemq/varve/internal/message"
	"github.com/varvemq/varve/internal/vfs"
	"github.com/varvemq/varve/tiering/catalog"
	"github.com/varvemq/varve/tiering/coldread"
	"github.com/varvemq/varve/tiering/manifest"
)

// fakeTier has blocks of messages, as the sealer would have made them.
type fakeTier struct {
	mu     sync.Mutex
	blocks map[uint32][]coldread.Block // by offset
	first  map[uint32]uint64
	read   map[uint64]bool // first offsets of blocks that were read
}

func newFakeTier() *fakeTier {
	return &fakeTier{blocks: map[uint32][]coldread.Block{}, first: map[uint32]uint64{}, read: map[uint64]bool{}}
}

func (f *fakeTier) Block(_ context.Context, ordinal uint32, offset uint64, tags []int64) (coldread.Block, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if offset < f.first[ordinal] {
		return coldread.Block{}, catalog.ErrTrimmed
	}
	bs := f.blocks[ordinal]
	i := sort.Search(len(bs), func(i int) bool { return bs[i].End > offset })
	if i == len(bs) {
		return coldread.Block{}, catalog.ErrBeyond
	}
	b := bs[i]
	if tags != nil && !b.Hole && !slices.ContainsFunc(tags, func(h int64) bool { return slices.Contains(tagHashes(b.Messages), h) }) {
		return coldread.Block{First: b.First, End: b.End, Skipped: true}, nil
	}
	f.read[b.First] = true
	return b, nil
}

func tagHashes(b []byte) (hashes []int64) {
	for ; len(b) > 0; b = b[len(nextView(b)):] {
		tag, _ := nextView(b).Property(message.PropertyTags)
		hashes = append(hashes, message.TagHash(tag))
	}
	return hashes
}

func (f *fakeTier) OffsetByTime(_ context.Context, ordinal uint32, ms int64) (uint64, bool, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, b := range f.blocks[ordinal] {
		for m := b.Messages; len(m) > 0; m = m[len(nextView(m)):] {
			if v := nextView(m); v.StoreTimestamp() >= ms && uint64(v.QueueOffset()) >= f.first[ordinal] {
				return uint64(v.QueueOffset()), true, nil
			}
		}
	}
	return 0, false, nil
}

func (f *fakeTier) ByKey(_ context.Context, hash uint64, _, _ int64, yield func(uint32, uint64, message.View) bool) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	for ordinal, bs := range f.blocks {
		for _, b := range slices.Backward(bs) {
			vs := slices.Collect(func(yield func(message.View) bool) {
				for m := b.Messages; len(m) > 0; m = m[len(nextView(m)):] {
					if !yield(nextView(m)) {
						return
					}
				}
			})
			for _, v := range slices.Backward(vs) {
				if slices.Contains(appendKeys(nil, v), uint32(hash>>32)) && !yield(ordinal, uint64(v.QueueOffset()), v) {
					return nil
				}
			}
		}
	}
	return nil
}

// seal copies a queue's messages into blocks.
func (f *fakeTier) seal(tb testing.TB, l *Log, q *Queue, rnd *rand.Rand) {
	tb.Helper()
	for from, to := uint64(0), q.Max(); from < to; {
		n := 1 + rnd.IntN(12)
		b, res, err := l.Read(context.Background(), q, ReadRequest{Offset: from, MaxMessages: min(n, int(to-from)), MaxBytes: 1 << 30}, nil)
		if err != nil {
			tb.Fatal(err)
		}
		f.mu.Lock()
		end := from
		if vs := views(tb, b); len(vs) > 0 {
			end = uint64(vs[len(vs)-1].QueueOffset()) + 1
			f.blocks[q.Ordinal()] = append(f.blocks[q.Ordinal()], coldread.Block{First: from, End: end, Messages: b})
		}
		if res.Next > end { // a read passes over a hole behind its messages
			f.blocks[q.Ordinal()] = append(f.blocks[q.Ordinal()], coldread.Block{First: end, End: res.Next, Hole: true})
		}
		f.mu.Unlock()
		from = res.Next
	}
}

func (f *fakeTier) rows(queues ...*Queue) (rows []manifest.QueueRow) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, q := range queues {
		bs := f.blocks[q.Ordinal()]
		if len(bs) == 0 {
			continue
		}
		row := manifest.QueueRow{Ordinal: q.Ordinal(), First: max(bs[0].First, f.first[q.Ordinal()]), End: bs[len(bs)-1].End, LastStore: q.LastStoreTime()}
		if c, ok := q.Cursor(); ok {
			row.Cursor = c + 1
		}
		rows = append(rows, row)
	}
	return rows
}

// tierClock moves on by a millisecond each time it is asked.
func tierClock() func() time.Time {
	var ms atomic.Int64
	return func() time.Time { return time.UnixMilli(1_000_000 + ms.Add(1)) }
}

// sealedLog is a log of which some queues' beginnings were sealed and trimmed.
func sealedLog(t *testing.T, fs vfs.FS, seed uint64) (*Log, *fakeTier, []*Queue) {
	t.Helper()
	rnd := rand.New(rand.NewPCG(seed, 1))
	cfg := testConfig(fs)
	cfg.Clock = tierClock()
	l := openLog(t, cfg)
	tier := newFakeTier()
	if err := l.Attach(tier, nil); err != nil {
		t.Fatal(err)
	}
	queues := []*Queue{l.Queue(1), l.Queue(2), l.Queue(3)}
	for i := 0; closedFiles(l) < 6; i++ {
		q := queues[rnd.IntN(len(queues))]
		tag := string(rune('A' + i/40%3)) // long stretches with one tag
		m := msg("T", uint64(i), rnd.IntN(1500), append(props(i), message.PropertyTags, tag)...)
		put(t, l, q, false, m)
		if i == 50 {
			if err := l.SkipTo(t.Context(), queues[:1], func(*Queue) uint64 { return queues[0].Max() + 1000 }); err != nil {
				t.Fatal(err)
			}
		}
	}
	return l, tier, queues
}

// want reads a whole queue by offset, holes passed over.
func want(t *testing.T, l *Log, q *Queue) map[uint64]string {
	t.Helper()
	all := map[uint64]string{}
	for off := q.Min(); off < q.Max(); {
		b, res, err := l.Read(t.Context(), q, ReadRequest{Offset: off, MaxMessages: 7}, nil)
		if err != nil {
			t.Fatal(err)
		}
		if res.Status != Found && res.Status != NoMatch {
			t.Fatalf("queue %d at %d: %+v", q.Ordinal(), off, res)
		}
		for _, v := range views(t, b) {
			all[uint64(v.QueueOffset())] = string(v)
		}
		off = res.Next
	}
	return all
}

func TestReadAcrossTiers(t *testing.T) {
	t.Parallel()
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 2))
	fs := vfs.NewCrash(nil)
	l, tier, queues := sealedLog(t, fs, seed)
	before := make([]map[uint64]string, len(queues))
	for i, q := range queues {
		before[i] = want(t, l, q)
		tier.seal(t, l, q, rnd)
	}
	files := l.WAL().Files()
	if err := l.TrimTo(t.Context(), files[len(files)-3].Base); err != nil {
		t.Fatal(err)
	}
	check := func(l *Log) {
		t.Helper()
		cold := 0
		for i := range queues {
			q := l.Queue(uint32(i + 1))
			if q.Min() != 0 || !l.Cold(q, 0) || l.Cold(q, q.Max()) {
				t.Fatalf("queue %d: first %d, cold %v", q.Ordinal(), q.Min(), l.Cold(q, 0))
			}
			got := want(t, l, q)
			if len(got) != len(before[i]) {
				t.Fatalf("queue %d: %d messages, not %d", q.Ordinal(), len(got), len(before[i]))
			}
			for off, m := range before[i] {
				if got[off] != m {
					t.Fatalf("queue %d: offset %d is another message", q.Ordinal(), off)
				}
				if l.Cold(q, off) {
					cold++
				}
				v := message.View(m)
				if b, err := l.ByPhysical(t.Context(), v.PhysicalOffset(), nil); err != nil || string(b) != m {
					t.Fatal(off, err)
				}
				if ms, err := l.StoreTime(t.Context(), q, off); err != nil || ms != v.StoreTimestamp() {
					t.Fatal(off, ms, err)
				}
				if at, err := l.OffsetByTime(t.Context(), q, v.StoreTimestamp(), false); err != nil || at != off {
					t.Fatalf("time of offset %d: %d, %v", off, at, err)
				}
				key := v.Fields().Properties
				id := message.PropertyString(key, message.PropertyUniqKey)
				if b, n, err := l.ByKey(t.Context(), KeyQuery{Topic: "T", Key: id, Unique: true}, nil); err != nil || n != 1 || string(b) != m {
					t.Fatal(id, n, err)
				}
			}
		}
		if cold == 0 {
			t.Fatal("nothing is cold")
		}
	}
	check(l)
	if off, err := l.OffsetByTime(t.Context(), queues[0], 1, false); err != nil || off != 0 {
		t.Error(off, err)
	}
	_, n, err := l.ByKey(t.Context(), KeyQuery{Topic: "T", Key: "all", Max: 1 << 20, MaxBytes: 1 << 30}, nil)
	if total := len(before[0]) + len(before[1]) + len(before[2]); err != nil || n != total {
		t.Errorf("%d of %d messages with a key that is in both tiers, %v", n, total, err)
	}

	// The same after a restart with this log, and with none.
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	rows := tier.rows(queues...)
	again := openLog(t, testConfig(fs))
	if err := again.Attach(tier, rows); err != nil {
		t.Fatal(err)
	}
	check(again)
	empty := openLog(t, testConfig(vfs.NewCrash(nil)))
	if err := empty.Attach(tier, rows); err != nil {
		t.Fatal(err)
	}
	for i := range queues {
		q := empty.Queue(uint32(i + 1))
		if got := want(t, empty, q); len(got) != len(before[i]) || q.Max() != queues[i].Max() {
			t.Fatalf("queue %d: %d messages, end %d", q.Ordinal(), len(got), q.Max())
		}
		if b := put(t, empty, q, true, msg("T", 1, 10)); b.BaseOffset != queues[i].Max() || b.StoreTime < rows[i].LastStore {
			t.Fatalf("%+v", b)
		}
	}
}

func TestFilteredReadSkipsBlocks(t *testing.T) {
	t.Parallel()
	l, tier, queues := sealedLog(t, vfs.NewCrash(nil), 7)
	q := queues[1]
	tier.seal(t, l, q, rand.New(rand.NewPCG(1, 1)))
	tags, err := filter.ParseTags("B")
	if err != nil {
		t.Fatal(err)
	}
	read := func() (ids []uint64) {
		for off := uint64(0); off < q.Max(); {
			b, res, err := l.Read(t.Context(), q, ReadRequest{Offset: off, MaxMessages: 5, Filter: tags}, nil)
			if err != nil || res.Next <= off {
				t.Fatal(res, err)
			}
			for _, v := range views(t, b) {
				ids = append(ids, idOf(v))
			}
			off = res.Next
		}
		return ids
	}
	before := read()
	if len(tier.read) != 0 {
		t.Fatal("the log reads from segments what it has")
	}
	files := l.WAL().Files()
	if err := l.TrimTo(t.Context(), files[len(files)-2].Base); err != nil {
		t.Fatal(err)
	}
	if got := read(); !slices.Equal(got, before) {
		t.Errorf("%v, not %v", got, before)
	}
	cold, with := 0, 0
	for _, b := range tier.blocks[2] {
		has := slices.Contains(tagHashes(b.Messages), message.TagHash("B"))
		if tier.read[b.First] && !has {
			t.Errorf("the block at %d was read, which has none of the tag", b.First)
		}
		if l.Cold(q, b.First) {
			cold++
			if has {
				with++
			}
		}
	}
	if len(tier.read) == 0 || with == 0 || with == cold {
		t.Errorf("%d blocks were read, %d of %d cold ones have the tag: nothing is shown", len(tier.read), with, cold)
	}
}

func TestRaiseFirst(t *testing.T) {
	t.Parallel()
	l, tier, queues := sealedLog(t, vfs.NewCrash(nil), 8)
	q := queues[2]
	tier.seal(t, l, q, rand.New(rand.NewPCG(1, 1)))
	l.RaiseFirst(map[uint32]uint64{3: 20, 77: 5})
	if q.Min() != 20 {
		t.Fatal(q.Min())
	}
	if _, res, err := l.Read(t.Context(), q, ReadRequest{Offset: 19}, nil); err != nil || res.Status != OffsetTooSmall || res.Next != 20 {
		t.Fatal(res, err)
	}
	l.RaiseFirst(map[uint32]uint64{3: 10}) // never lower
	files := l.WAL().Files()
	if err := l.TrimTo(t.Context(), files[len(files)-2].Base); err != nil || q.Min() != 20 {
		t.Fatal(q.Min(), err)
	}
	if got := want(t, l, q); len(got) != int(q.Max())-20 {
		t.Fatalf("%d messages", len(got))
	}
	if ms, err := l.EarliestStoreTime(t.Context(), q); err != nil || ms <= 0 {
		t.Fatal(ms, err)
	}
	l.RaiseFirst(map[uint32]uint64{3: q.Max() + 100}) // not beyond the end
	if q.Min() != q.Max() {
		t.Fatal(q.Min(), q.Max())
	}
	if _, res, err := l.Read(t.Context(), q, ReadRequest{Offset: q.Max()}, nil); err != nil || res.Status != NoMessage {
		t.Fatal(res, err)
	}
}

func TestAttachRefusesGaps(t *testing.T) {
	t.Parallel()
	fs := vfs.NewCrash(nil)
	l, tier, queues := sealedLog(t, fs, 9)
	rnd := rand.New(rand.NewPCG(1, 1))
	for _, q := range queues {
		tier.seal(t, l, q, rnd)
	}
	files := l.WAL().Files()
	if err := l.TrimTo(t.Context(), files[len(files)-3].Base); err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	rows := tier.rows(queues...)
	for name, change := range map[string]func(*manifest.QueueRow){
		"sealed too little": func(r *manifest.QueueRow) { r.End = 3 },
		"sealed more":       func(r *manifest.QueueRow) { r.End += 10 },
		"not sealed at all": func(r *manifest.QueueRow) { r.Ordinal = 99 },
	} {
		changed := slices.Clone(rows)
		change(&changed[1])
		again := openLog(t, testConfig(fs))
		var gap *GapError
		if err := again.Attach(tier, changed); !errors.As(err, &gap) || gap.Ordinal != 2 {
			t.Errorf("%s: %v", name, err)
		}
		if err := again.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestTrimToTierUnderReaders reads whole queues again and again while the log is trimmed beneath: no gap, no duplicate, no error.
func TestTrimToTierUnderReaders(t *testing.T) {
	t.Parallel()
	l, tier, queues := sealedLog(t, vfs.NewCrash(nil), 10)
	rnd := rand.New(rand.NewPCG(1, 1))
	n := make([]int, len(queues))
	for i, q := range queues {
		n[i] = len(want(t, l, q))
		tier.seal(t, l, q, rnd)
	}
	var wg sync.WaitGroup
	var done atomic.Bool
	for i, q := range queues {
		wg.Go(func() {
			for !done.Load() {
				got, last := 0, int64(-1)
				for off := uint64(0); off < q.Max(); {
					b, res, err := l.Read(t.Context(), q, ReadRequest{Offset: off, MaxMessages: 3}, nil)
					if err != nil {
						t.Errorf("queue %d at %d: %v", q.Ordinal(), off, err)
						return
					}
					for m := b; len(m) > 0; m = m[len(nextView(m)):] {
						if o := nextView(m).QueueOffset(); o <= last {
							t.Errorf("offset %d after %d", o, last)
						} else {
							last = o
						}
						got++
					}
					off = res.Next
				}
				if got != n[i] {
					t.Errorf("queue %d: %d messages, not %d", q.Ordinal(), got, n[i])
					return
				}
			}
		})
	}
	for _, f := range l.WAL().Files() {
		if err := l.TrimTo(t.Context(), f.Base); err != nil {
			t.Error(err)
		}
		time.Sleep(5 * time.Millisecond)
	}
	done.Store(true)
	wg.Wait()
}

// TestObjectClass: records of class object appear in order, when their LSNs are in segments, and not before.
func TestObjectClass(t *testing.T) {
	t.Parallel()
	l := openLog(t, testConfig(vfs.NewCrash(nil)))
	kicked := make(chan struct{}, 100)
	l.sealed.kick = func() { kicked <- struct{}{} }
	obj, local := l.Queue(1), l.Queue(2)
	type result struct {
		name string
		err  error
	}
	results := make(chan result, 20)
	add := func(name string, q *Queue, set func(*Op)) {
		t.Helper()
		op := &Op{Batches: []Batch{{Queue: q, Messages: msg("T", 0, 10), Count: 1}}, Sync: true, Done: func(_ *Op, err error) { results <- result{name, err} }}
		set(op)
		if err := l.Append(t.Context(), op); err != nil {
			t.Fatal(err)
		}
	}
	next := func(want string) {
		t.Helper()
		select {
		case r := <-results:
			if r.name != want || r.err != nil {
				t.Fatalf("%q was acknowledged, %v; want %q", r.name, r.err, want)
			}
		case <-time.After(10 * time.Second):
			t.Fatalf("%q is not acknowledged", want)
		}
	}
	add("object 0", obj, func(op *Op) { op.Object = true })
	<-kicked
	add("local", local, func(*Op) {})
	next("local") // another queue does not wait
	add("behind", obj, func(*Op) {})
	add("written", obj, func(op *Op) { op.Object, op.AckWritten = true, true })
	next("written")
	add("durable", obj, func(op *Op) { op.Object, op.AckDurable = true, true })
	next("durable")
	if obj.Max() != 0 || local.Max() != 1 {
		t.Fatal(obj.Max(), local.Max())
	}
	l.sealed.commit(2) // LSN 1 alone
	next("object 0")
	if obj.Max() != 1 {
		t.Fatal(obj.Max())
	}
	l.sealed.commit(100)
	next("behind")
	if obj.Max() != 4 || l.sealed.waiting() {
		t.Fatal(obj.Max())
	}
	add("sealed already", obj, func(op *Op) { op.Object = true }) // its LSN is below 100
	next("sealed already")
	l.sealed.sealed = 0
	add("never", obj, func(op *Op) { op.Object = true })
	eventually(t, "it waits", l.sealed.waiting)
	l.sealed.oldest.Store(time.Now().Add(-time.Minute).UnixNano())
	op := &Op{Batches: []Batch{{Queue: obj, Messages: msg("T", 0, 10), Count: 1}}, Object: true}
	if err := l.AppendWait(t.Context(), op); !errors.Is(err, ErrSealStalled) {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if r := <-results; r.name != "never" || !errors.Is(r.err, ErrClosed) {
		t.Fatal(r)
	}
}

// TestObjectClassOrder: many senders, of both classes, and commits at any moment: each queue appears in order.
func TestObjectClassOrder(t *testing.T) {
	t.Parallel()
	l := openLog(t, testConfig(vfs.NewCrash(nil)))
	queues := []*Queue{l.Queue(1), l.Queue(2)}
	var senders, others sync.WaitGroup
	var stop atomic.Bool
	for g := range 8 {
		senders.Go(func() {
			rnd := rand.New(rand.NewPCG(uint64(g), 3))
			for range 200 {
				op := &Op{Sync: rnd.IntN(2) == 0, Object: rnd.IntN(3) == 0, Batches: []Batch{{Queue: queues[rnd.IntN(2)], Messages: msg("T", 0, 10), Count: 1}}}
				if err := l.AppendWait(t.Context(), op); err != nil {
					t.Error(err)
					return
				}
				if b := op.Batches[0]; b.Queue.Max() <= b.BaseOffset {
					t.Errorf("offset %d was acknowledged, the end is %d", b.BaseOffset, b.Queue.Max())
				}
			}
		})
	}
	others.Go(func() {
		for !stop.Load() {
			l.sealed.commit(l.w().NextLSN(1))
			time.Sleep(time.Millisecond)
		}
	})
	others.Go(func() {
		var last [2]uint64
		for !stop.Load() {
			for i, q := range queues {
				if m := q.Max(); m < last[i] {
					t.Errorf("the end fell from %d to %d", last[i], m)
				} else {
					last[i] = m
				}
			}
		}
	})
	senders.Wait()
	stop.Store(true)
	others.Wait()
	if sum := queues[0].Max() + queues[1].Max(); sum != 1600 {
		t.Error(sum)
	}
}
