package seal

import (
	"bytes"
	"context"
	"slices"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/varvemq/varve/internal/vfs"
	"github.com/varvemq/varve/metadata"
	"github.com/varvemq/varve/tiering/catalog"
	"github.com/varvemq/varve/tiering/objstore"
	"github.com/varvemq/varve/tiering/segment"
)

const (
	testShard = "broker-a"
	testSpool = "data/spool"
)

var testCluster = uuid.MustParse("7d444840-9dc0-11d1-b245-5ffdce74fad2")

// recents is a Catalog.
type recents struct {
	mu  sync.Mutex // guards all
	all []catalog.Recent
}

func (r *recents) Add(c catalog.Recent) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.all = append(r.all, c)
}

func (r *recents) list() []catalog.Recent {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.all)
}

// world is what outlives a broker: etcd, the bucket, the log and the disk.
type world struct {
	kv   *metadata.Memory
	mem  *objstore.Mem
	wal  *modelWAL
	disk *vfs.Crash
}

func newWorld(tb testing.TB, topics *modelTopics) *world {
	tb.Helper()
	kv := metadata.NewMemory()
	tb.Cleanup(func() {
		if err := kv.Close(); err != nil {
			tb.Error(err)
		}
	})
	return &world{kv: kv, mem: objstore.NewMem(), wal: newWAL(topics), disk: vfs.NewCrash(nil)}
}

// broker is one life of a broker.
type broker struct {
	*Sealer

	own     *metadata.Ownership
	store   *metadata.Store
	catalog *recents
}

// start begins the next epoch and opens a sealer. change may change its configuration.
func (w *world) start(tb testing.TB, kv metadata.KV, change func(*Config)) *broker {
	tb.Helper()
	ctx := tb.Context()
	store, err := metadata.NewStore(ctx, kv, metadata.StoreConfig{})
	if err != nil {
		tb.Fatal(err)
	}
	own, err := store.AcquireShard(ctx, metadata.ShardClaim{
		Shard: testShard, Broker: "b0", WALUUID: w.wal.uuid, AdvertisedAddr: "127.0.0.1:10911", LeaseExempt: true,
	})
	if err != nil {
		tb.Fatal(err)
	}
	head, err := own.BindWAL(ctx)
	if err != nil {
		tb.Fatal(err)
	}
	w.wal.begin(own.Epoch(), head.LSN)
	b := &broker{own: own, store: store, catalog: &recents{}}
	cfg := Config{
		Own: own, Bucket: w.mem, Catalog: b.catalog, Source: w.wal, Topics: w.wal.topics, Cluster: testCluster, Shard: testShard, FS: w.disk, SpoolDir: testSpool, Head: head,
		Bytes: 8 << 10,
	}
	if change != nil {
		change(&cfg)
	}
	if b.Sealer, err = New(cfg); err != nil {
		tb.Fatal(err)
	}
	if names, err := b.cfg.FS.List(b.cfg.SpoolDir); err != nil || len(names) > 0 {
		tb.Fatalf("after the start the spool has %q, %v", names, err)
	}
	return b
}

// stop ends the life without giving anything up.
func (b *broker) stop(tb testing.TB) {
	tb.Helper()
	if err := b.store.Close(); err != nil {
		tb.Error(err)
	}
}

// state reads what etcd has.
func (w *world) state(tb testing.TB) *metadata.SealedState {
	tb.Helper()
	store, err := metadata.NewStore(tb.Context(), w.kv, metadata.StoreConfig{})
	if err != nil {
		tb.Fatal(err)
	}
	defer store.Close()
	st, err := store.SealedState(tb.Context(), testShard)
	if err != nil {
		tb.Fatal(err)
	}
	return st
}

// check compares etcd and the bucket with the log: what is committed is there, whole, once and in order; what else is there has an intent.
func (w *world) check(tb testing.TB) *metadata.SealedState {
	tb.Helper()
	ctx := tb.Context()
	st := w.state(tb)
	pieces, cursors := map[uint32][]piece{}, map[uint32]uint64{}
	next, previous, listed := uint64(1), uint32(0), map[string]bool{}
	for i := range st.Segments {
		seg := &st.Segments[i]
		if seg.FirstLSN != next || seg.EndLSN <= seg.FirstLSN {
			tb.Fatalf("segment %d has LSNs [%d, %d), %d is next", seg.Object, seg.FirstLSN, seg.EndLSN, next)
		}
		next = seg.EndLSN
		key := catalog.ObjectKey(testShard, seg.Epoch, seg.Object, metadata.KindSegment)
		listed[key] = true
		r, err := segment.Open(ctx, &objstore.Object{Store: w.mem, Key: key}, seg.Size, segment.Expect{
			Identity: &segment.Identity{Cluster: testCluster, Shard: testShard, Epoch: seg.Epoch, Sequence: seg.Object}, FooterCRC: seg.FooterCRC,
		})
		if err == nil {
			err = segment.Verify(ctx, r)
		}
		if err != nil {
			tb.Fatalf("segment %d: %v", seg.Object, err)
		}
		f := r.Footer()
		if f.FirstLSN != seg.FirstLSN || f.EndLSN != seg.EndLSN || f.Previous != previous || f.Messages != seg.Messages || f.RawBytes != seg.RawBytes ||
			f.Queues != seg.Queues || f.MinStore != seg.MinStore || f.MaxStore != seg.MaxStore || f.Level != 0 || f.EtcdRevision == 0 {
			tb.Fatalf("segment %d: footer %+v of %+v after crc %08x", seg.Object, f, seg, previous)
		}
		previous = f.CRC
		read(tb, r, pieces)
		for _, c := range seg.Cursors {
			cursors[c.Ordinal] = c.Offset
		}
	}
	if next != st.Head.LSN {
		tb.Fatalf("segments end at LSN %d, the head is at %d", next, st.Head.LSN)
	}
	w.compare(tb, st.Head.LSN, pieces, cursors)
	w.orphans(tb, st, listed)
	if _, trimmed := w.wal.saidSealed(); trimmed > st.Head.Position {
		tb.Fatalf("the log was trimmed below %d, the commit is at %d", trimmed, st.Head.Position)
	}
	return st
}

// read adds what a segment has, a piece for each block.
func read(tb testing.TB, r *segment.Reader, pieces map[uint32][]piece) {
	tb.Helper()
	ctx := tb.Context()
	for info, err := range r.Queues(ctx) {
		if err != nil {
			tb.Fatal(err)
		}
		for ref, err := range r.Blocks(ctx, info.Ordinal, info.First) {
			if err != nil {
				tb.Fatal(err)
			}
			b, err := r.ReadBlock(ctx, &ref, nil)
			if err != nil {
				tb.Fatal(err)
			}
			pieces[info.Ordinal] = append(pieces[info.Ordinal], piece{ordinal: info.Ordinal, hole: ref.Hole, base: ref.Base, count: uint64(ref.Count), messages: b.Messages})
		}
	}
}

// flat joins adjacent pieces of messages.
func flat(pieces []piece) (out []piece) {
	for i := range pieces {
		p := pieces[i]
		if n := len(out); n > 0 && out[n-1].hole == p.hole && out[n-1].base+out[n-1].count == p.base {
			last := &out[n-1]
			last.count += p.count
			last.messages = append(bytes.Clone(last.messages), p.messages...)
			continue
		}
		p.messages = bytes.Clone(p.messages)
		out = append(out, p)
	}
	return out
}

func (w *world) compare(tb testing.TB, lsn uint64, pieces map[uint32][]piece, cursors map[uint32]uint64) {
	tb.Helper()
	want, wantCursors := w.wal.expected(lsn)
	if diff := cmp.Diff(wantCursors, cursors); diff != "" {
		tb.Fatalf("cursors: %s", diff)
	}
	if len(want) != len(pieces) {
		tb.Fatalf("%d queues, want %d", len(pieces), len(want))
	}
	for ordinal := range want {
		got, want := flat(pieces[ordinal]), flat(want[ordinal])
		same := slices.EqualFunc(got, want, func(a, b piece) bool {
			return a.hole == b.hole && a.base == b.base && a.count == b.count && bytes.Equal(a.messages, b.messages)
		})
		if !same {
			tb.Fatalf("queue %d (%+v): %d pieces, want %d", ordinal, w.wal.topics.queues[ordinal], len(got), len(want))
		}
	}
}

// orphans checks that objects that are not listed have an intent.
func (w *world) orphans(tb testing.TB, st *metadata.SealedState, listed map[string]bool) {
	tb.Helper()
	intents := map[string]bool{}
	for _, u := range st.Uploads {
		intents[catalog.ObjectKey(testShard, u.Epoch, u.Object, u.Kind)] = true
	}
	for info, err := range w.mem.List(tb.Context(), "") {
		if err != nil {
			tb.Fatal(err)
		}
		if !listed[info.Key] && !intents[info.Key] {
			tb.Errorf("object %s is not listed and has no intent", info.Key)
		}
		if listed[info.Key] && intents[info.Key] {
			tb.Errorf("object %s is listed and has an intent", info.Key)
		}
	}
}

// sealAll seals what there is, and checks that it was.
func (w *world) sealAll(tb testing.TB, b *broker) metadata.SealHead {
	tb.Helper()
	head, err := b.Seal(tb.Context())
	if err != nil {
		tb.Fatal(err)
	}
	st := w.check(tb)
	if st.Head.LSN != w.wal.end() || head.LSN != st.Head.LSN || head.Position != st.Head.Position {
		tb.Fatalf("sealed up to LSN %d (etcd: %d), the log ends at %d", head.LSN, st.Head.LSN, w.wal.end())
	}
	return head
}

// running runs a sealer until the function that is returned ends it, which returns what Run returned.
func running(tb testing.TB, s *Sealer) (stop func() error) {
	tb.Helper()
	ctx, cancel := context.WithCancel(tb.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	return func() error {
		cancel()
		return <-done
	}
}
