package coldread

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"iter"
	"math/rand/v2"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/varvemq/varve/internal/message"
	"github.com/varvemq/varve/tiering/catalog"
	"github.com/varvemq/varve/tiering/manifest"
	"github.com/varvemq/varve/tiering/objstore"
	"github.com/varvemq/varve/tiering/segment"
)

const shard = "shard-1"

var (
	cluster = [16]byte{1, 2, 3}
	host    = netip.MustParseAddrPort("10.0.0.1:10911")
)

// random returns a generator whose seed is printed.
func random(tb testing.TB) *rand.Rand {
	tb.Helper()
	seed := rand.Uint64()
	if s := os.Getenv("VARVE_SEED"); s != "" {
		var err error
		if seed, err = strconv.ParseUint(s, 10, 64); err != nil {
			tb.Fatal(err)
		}
	}
	tb.Logf("VARVE_SEED=%d", seed)
	return rand.New(rand.NewPCG(seed, 0))
}

// modelMessage is an offset of a queue; nil bytes are a hole.
type modelMessage struct {
	b     []byte
	store int64
	tag   int64
	key   string
}

// modelQueue has a queue's offsets from 0 on.
type modelQueue struct {
	segment.Queue
	messages []modelMessage
}

// concat returns the messages of [first, end).
func (q *modelQueue) concat(first, end uint64) []byte {
	var out []byte
	for _, m := range q.messages[first:end] {
		out = append(out, m.b...)
	}
	return out
}

// add appends a message.
func (q *modelQueue) add(tb testing.TB, store int64, tag, key string, body []byte) {
	tb.Helper()
	offset := uint64(len(q.messages))
	phys, err := message.PhysicalOffset(q.Ordinal, offset)
	if err != nil {
		tb.Fatal(err)
	}
	f := message.Fields{
		Topic: q.Topic, QueueID: q.QueueID, QueueOffset: int64(offset), PhysicalOffset: phys, BornTimestamp: store, BornHost: host, StoreTimestamp: store, StoreHost: host,
		Body: body,
	}
	if tag != "" {
		f.Properties = message.AppendProperty(f.Properties, message.PropertyTags, tag)
	}
	if key != "" {
		f.Properties = message.AppendProperty(f.Properties, message.PropertyKeys, key)
	}
	q.messages = append(q.messages, modelMessage{b: message.Append(nil, &f), store: store, tag: message.TagHash(tag), key: key})
}

// listed is a segment in the fake catalog.
type listed struct {
	manifest.Entry

	runs  []manifest.Run
	rec   catalog.Recent
	paged bool // in the manifest of the real catalog
}

// world is a shard: a model of its queues, and the segments that have them in a store, with the catalog's methods.
type world struct {
	tb         testing.TB
	store      objstore.Store // of readers
	bucket     objstore.Store // of writers
	queues     []*modelQueue
	blockBytes int
	level      segment.Compression
	next       uint64 // object
	lsn        uint64
	real       *catalog.Catalog // if there is one, it takes the place of the world

	mu      sync.Mutex // guards what follows
	segs    []listed   // replaced as a whole
	trims   map[uint32]uint64
	dead    map[uint32]bool
	readers map[uint64]*segment.Reader

	finds, gets, bytes atomic.Int64 // of blocks
	now, most          atomic.Int64 // GETs of blocks under way
	nowBytes, mostB    atomic.Int64
	onlyGet            bool                                                       // sources cannot read into memory of the caller's
	hook               func(ctx context.Context, object uint64, off int64, n int) // before a GET of blocks
}

var _ Catalog = (*world)(nil)

func newWorld(tb testing.TB, bucket objstore.Store) *world {
	tb.Helper()
	return &world{
		tb: tb, store: bucket, bucket: bucket, next: 1, lsn: 1, trims: map[uint32]uint64{}, dead: map[uint32]bool{}, readers: map[uint64]*segment.Reader{},
	}
}

func (w *world) queue(ordinal uint32) *modelQueue {
	for _, q := range w.queues {
		if q.Ordinal == ordinal {
			return q
		}
	}
	w.tb.Fatalf("no queue %d", ordinal)
	return nil
}

// write puts a segment of ranges of queues, by ordinal, into the bucket and returns its listing.
func (w *world) write(level uint8, first, end uint64, runs []manifest.Run) listed {
	w.tb.Helper()
	object := w.next
	w.next++
	var buf bytes.Buffer
	out, err := segment.NewWriter(&buf, segment.Config{
		Identity: segment.Identity{Cluster: cluster, Shard: shard, Epoch: 1, Sequence: object}, FirstLSN: first, EndLSN: end, Level: level, BlockBytes: w.blockBytes,
	})
	if err != nil {
		w.tb.Fatal(err)
	}
	for _, run := range runs {
		q := w.queue(run.Ordinal)
		err := out.Queue(q.Queue, w.level)
		for at := run.First; err == nil && at < run.End; at++ {
			if b := q.messages[at].b; b == nil {
				err = out.Hole(at, 1)
			} else {
				err = out.Append(at, 1, b)
			}
		}
		if err != nil {
			w.tb.Fatal(err)
		}
	}
	sum, err := out.Finish()
	if err != nil {
		w.tb.Fatal(err)
	}
	key := catalog.ObjectKey(shard, 1, object, "seg")
	if err := objstore.PutBytes(context.WithoutCancel(w.tb.Context()), w.bucket, key, buf.Bytes(), objstore.PutOptions{IfNoneMatch: true}); err != nil {
		w.tb.Fatal(err)
	}
	rec := catalog.RecentOf(catalog.SegmentOf(&sum.Footer, sum.Size), &sum)
	return listed{Entry: catalog.EntryOf(&rec.Segment), runs: runs, rec: rec}
}

// seal writes a segment with runs and lists it.
func (w *world) seal(runs ...manifest.Run) {
	w.tb.Helper()
	slices.SortFunc(runs, func(a, b manifest.Run) int { return cmp.Compare(a.Ordinal, b.Ordinal) })
	s := w.write(0, w.lsn, w.lsn+10, runs)
	w.lsn += 10
	w.mu.Lock()
	defer w.mu.Unlock()
	w.segs = append(slices.Clone(w.segs), s)
}

// compact replaces n segments from i on by one.
func (w *world) compact(i, n int) (in []listed) {
	w.tb.Helper()
	w.mu.Lock()
	in = slices.Clone(w.segs[i : i+n])
	w.mu.Unlock()
	of := map[uint32]manifest.Run{}
	for _, s := range in {
		for _, r := range s.runs {
			if old, ok := of[r.Ordinal]; ok {
				r.First = old.First
			}
			of[r.Ordinal] = r
		}
	}
	var runs []manifest.Run
	for _, r := range of {
		runs = append(runs, r)
	}
	slices.SortFunc(runs, func(a, b manifest.Run) int { return cmp.Compare(a.Ordinal, b.Ordinal) })
	out := w.write(1, in[0].FirstLSN, in[n-1].EndLSN, runs)
	out.paged = in[0].paged
	w.mu.Lock()
	defer w.mu.Unlock()
	w.segs = slices.Replace(slices.Clone(w.segs), i, i+n, out)
	w.replaced(in, &out)
	return in
}

// remove deletes the objects of segments.
func (w *world) remove(segs ...listed) {
	w.tb.Helper()
	for _, s := range segs {
		if err := w.bucket.Delete(context.WithoutCancel(w.tb.Context()), catalog.ObjectKey(shard, s.Epoch, s.Object, "seg")); err != nil {
			w.tb.Fatal(err)
		}
	}
}

func (w *world) snapshot() []listed {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.segs
}

// Bounds implements Catalog.
func (w *world) Bounds(ordinal uint32) (first, end uint64, ok bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.dead[ordinal] {
		return 0, 0, false
	}
	for _, s := range w.segs {
		for _, r := range s.runs {
			if r.Ordinal == ordinal {
				if !ok {
					first = r.First
				}
				end, ok = r.End, true
			}
		}
	}
	return max(first, w.trims[ordinal]), end, ok
}

// Find implements Catalog.
func (w *world) Find(_ context.Context, ordinal uint32, offset uint64) (manifest.Entry, manifest.Run, error) {
	w.finds.Add(1)
	first, end, ok := w.Bounds(ordinal)
	if !ok || offset >= end {
		return manifest.Entry{}, manifest.Run{}, fmt.Errorf("queue %d, offset %d: %w", ordinal, offset, catalog.ErrBeyond)
	}
	if offset < first {
		return manifest.Entry{}, manifest.Run{}, fmt.Errorf("queue %d, offset %d: %w", ordinal, offset, catalog.ErrTrimmed)
	}
	for _, s := range w.snapshot() {
		for _, r := range s.runs {
			if r.Ordinal == ordinal && r.First <= offset && offset < r.End {
				return s.Entry, r, nil
			}
		}
	}
	return manifest.Entry{}, manifest.Run{}, catalog.ErrTrimmed // it was trimmed between the two looks
}

// Since implements Catalog.
func (w *world) Since(_ context.Context, ordinal uint32, ms int64) iter.Seq2[catalog.Located, error] {
	return func(yield func(catalog.Located, error) bool) {
		begun := false
		for _, s := range w.snapshot() {
			for _, r := range s.runs {
				if r.Ordinal == ordinal && (begun || s.MaxStore >= ms) {
					if begun = true; !yield(catalog.Located{Entry: s.Entry, Run: r}, nil) {
						return
					}
				}
			}
		}
	}
}

// Entries implements Catalog.
func (w *world) Entries(_ context.Context, begin, end int64) iter.Seq2[manifest.Entry, error] {
	return func(yield func(manifest.Entry, error) bool) {
		for _, s := range slices.Backward(w.snapshot()) {
			if s.MaxStore >= begin && s.MinStore <= end && !yield(s.Entry, nil) {
				return
			}
		}
	}
}

// OpenSegment implements Catalog.
func (w *world) OpenSegment(ctx context.Context, e manifest.Entry) (*segment.Reader, error) {
	w.mu.Lock()
	r := w.readers[e.Object]
	w.mu.Unlock()
	if r != nil {
		return r, nil
	}
	id := segment.Identity{Cluster: cluster, Shard: shard, Epoch: e.Epoch, Sequence: e.Object}
	r, err := segment.Open(ctx, &objstore.Object{Store: w.store, Key: catalog.ObjectKey(shard, e.Epoch, e.Object, "seg")}, e.Size, segment.Expect{Identity: &id, FooterCRC: e.FooterCRC})
	if err != nil {
		return nil, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.readers[e.Object] = r
	return r, nil
}

// SegmentSource implements Catalog.
func (w *world) SegmentSource(e manifest.Entry) segment.Source {
	c := counted{w, e.Object, &objstore.Object{Store: w.store, Key: catalog.ObjectKey(shard, e.Epoch, e.Object, "seg")}}
	if w.onlyGet {
		return struct{ segment.Source }{c}
	}
	return c
}

// wholeSource is a source that can all.
type wholeSource interface {
	segment.Source
	intoSource
}

// counted counts GETs of blocks.
type counted struct {
	w      *world
	object uint64
	source wholeSource
}

// Get implements segment.Source.
func (c counted) Get(ctx context.Context, off int64, n int) ([]byte, error) {
	b := make([]byte, n)
	n, err := c.GetInto(ctx, off, b)
	return b[:n], err
}

// GetInto implements intoSource.
func (c counted) GetInto(ctx context.Context, off int64, b []byte) (int, error) {
	w, n := c.w, len(b)
	w.gets.Add(1)
	w.bytes.Add(int64(n))
	raise(&w.most, w.now.Add(1))
	raise(&w.mostB, w.nowBytes.Add(int64(n)))
	defer w.now.Add(-1)
	defer w.nowBytes.Add(-int64(n))
	if w.hook != nil {
		w.hook(ctx, c.object, off, n)
	}
	return c.source.GetInto(ctx, off, b)
}

func raise(most *atomic.Int64, v int64) {
	for old := most.Load(); v > old && !most.CompareAndSwap(old, v); old = most.Load() {
	}
}

// open makes a Reader that is closed at the end.
func (w *world) open(cfg Config) *Reader {
	w.tb.Helper()
	cfg.Catalog, cfg.Shard = w, shard
	if w.real != nil {
		cfg.Catalog = realCatalog{w.real, w}
	}
	if err := cfg.Validate(); err != nil {
		w.tb.Fatal(err)
	}
	r := New(cfg)
	w.tb.Cleanup(func() {
		if err := r.Close(); err != nil {
			w.tb.Error(err)
		}
	})
	return r
}

// check compares a block with the model; offset is what was asked for.
func (w *world) check(ordinal uint32, offset uint64, tags []int64, b *Block) error {
	q := w.queue(ordinal)
	if b.First > offset || b.End <= offset || b.End > uint64(len(q.messages)) {
		return fmt.Errorf("queue %d, offset %d: a block of [%d, %d)", ordinal, offset, b.First, b.End)
	}
	want, last := q.concat(b.First, b.End), int64(0)
	for _, m := range q.messages[b.First:b.End] {
		if b.Hole != (m.b == nil) && !b.Skipped {
			return fmt.Errorf("queue %d, offset %d: hole: %t", ordinal, offset, b.Hole)
		}
		last = max(last, m.store)
		if b.Skipped && m.b != nil && slices.Contains(tags, m.tag) {
			return fmt.Errorf("queue %d, [%d, %d): skipped with a message of the tags", ordinal, b.First, b.End)
		}
	}
	switch {
	case b.Skipped && (tags == nil || b.Messages != nil):
		return fmt.Errorf("queue %d, offset %d: skipped with tags %v, %d bytes", ordinal, offset, tags, len(b.Messages))
	case !b.Skipped && !bytes.Equal(b.Messages, want):
		return fmt.Errorf("queue %d, [%d, %d): %d bytes, want %d others", ordinal, b.First, b.End, len(b.Messages), len(want))
	case b.MaxStore != last:
		return fmt.Errorf("queue %d, [%d, %d): last store time %d, want %d", ordinal, b.First, b.End, b.MaxStore, last)
	case !b.Skipped && !b.Hole && b.StoreHost != host:
		return fmt.Errorf("store host %v", b.StoreHost)
	}
	return nil
}

// fill makes a world of queues with random messages, sealed in segments of random lengths.
func (w *world) fill(rng *rand.Rand, queues, segments, perRun, body int) {
	w.tb.Helper()
	for i := range queues {
		w.queues = append(w.queues, &modelQueue{Queue: segment.Queue{Ordinal: uint32(i*3 + 1), Topic: fmt.Sprintf("topic-%d", i), QueueID: int32(i)}})
	}
	for range segments {
		var runs []manifest.Run
		for _, q := range w.queues {
			first := uint64(len(q.messages))
			tag := rng.IntN(4) // tags come in stretches
			for range rng.IntN(perRun + 1) {
				if rng.IntN(30) == 0 {
					q.messages = append(q.messages, modelMessage{})
					continue
				}
				if rng.IntN(10) == 0 {
					tag = rng.IntN(4)
				}
				w.lsn++
				q.add(w.tb, int64(1000+w.lsn), [...]string{"", "a", "b", "c"}[tag], fmt.Sprintf("k%d", rng.IntN(50)), randomBody(rng, body))
			}
			if end := uint64(len(q.messages)); end > first {
				runs = append(runs, manifest.Run{Ordinal: q.Ordinal, First: first, End: end})
			}
		}
		if len(runs) > 0 {
			w.seal(runs...)
		}
	}
}

func randomBody(rng *rand.Rand, n int) []byte {
	b := make([]byte, rng.IntN(n+1))
	if rng.IntN(2) == 0 {
		for i := range b {
			b[i] = byte(rng.Uint32())
		}
	} else {
		copy(b, bytes.Repeat([]byte("all work and no play "), len(b)/21+1))
	}
	return b
}

// sealNext adds messages to the world's only queue, with random bodies, and seals them.
func (w *world) sealNext(n, body int, tag func(i int) string) {
	w.tb.Helper()
	if len(w.queues) == 0 {
		w.queues = []*modelQueue{{Queue: segment.Queue{Ordinal: 7, Topic: "t"}}}
	}
	q := w.queues[0]
	run := manifest.Run{Ordinal: q.Ordinal, First: uint64(len(q.messages))}
	noise := rand.NewChaCha8([32]byte{1})
	for i := range n {
		t := ""
		if tag != nil {
			t = tag(i)
		}
		b := make([]byte, body)
		_, _ = noise.Read(b) // it cannot fail
		q.add(w.tb, int64(1000+len(q.messages)), t, fmt.Sprintf("k%d", len(q.messages)), b)
	}
	run.End = uint64(len(q.messages))
	w.seal(run)
}

// sealRest seals what the only queue has got since.
func (w *world) sealRest() {
	w.tb.Helper()
	q := w.queues[0]
	_, first, _ := w.Bounds(q.Ordinal)
	w.seal(manifest.Run{Ordinal: q.Ordinal, First: first, End: uint64(len(q.messages))})
}
