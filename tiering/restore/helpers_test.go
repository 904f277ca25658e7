package restore

import (
	"bytes"
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/varvemq/varve/internal/message"
	"github.com/varvemq/varve/internal/vfs"
	"github.com/varvemq/varve/metadata"
	"github.com/varvemq/varve/tiering/catalog"
	"github.com/varvemq/varve/tiering/guard"
	"github.com/varvemq/varve/tiering/objstore"
	"github.com/varvemq/varve/tiering/segment"
	"github.com/varvemq/varve/tiering/snapshot"
)

const testShard = "broker-a"

// world is a broker's view of its storage: a data directory with an embedded etcd, and a bucket.
type world struct {
	wal string // "": wal-1

	dir     string
	bucket  *objstore.Mem
	cluster uuid.UUID
	etcd    *metadata.Embedded
	store   *metadata.Store
	own     *metadata.Ownership
	next    map[uint32]uint64 // next offset, by ordinal
	sent    map[string]bool   // messages in committed segments
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{dir: t.TempDir(), bucket: objstore.NewMem(), cluster: uuid.New(), next: map[uint32]uint64{}, sent: map[string]bool{}}
	w.put(t, "cluster-id", []byte(w.cluster.String()+"\n"))
	if err := os.WriteFile(filepath.Join(w.dir, "cluster-id"), []byte(w.cluster.String()+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	w.open(t)
	if _, err := w.store.EnsureClusterID(t.Context(), w.cluster); err != nil {
		t.Fatal(err)
	}
	w.acquire(t)
	return w
}

func (w *world) open(t *testing.T) {
	t.Helper()
	var err error
	w.etcd, err = metadata.OpenEmbedded(t.Context(), metadata.EmbedConfig{Dir: filepath.Join(w.dir, "etcd"), UnsafeNoFsync: true})
	if err != nil {
		t.Fatal(err)
	}
	if w.store, err = w.etcd.Open(t.Context(), metadata.StoreConfig{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.close(t) })
}

func (w *world) close(t *testing.T) {
	t.Helper()
	if err := w.store.Close(); err != nil {
		t.Error(err)
	}
	if err := w.etcd.Close(); err != nil {
		t.Error(err)
	}
}

// lose loses etcd.
func (w *world) lose(t *testing.T) {
	t.Helper()
	w.close(t)
	if err := os.RemoveAll(filepath.Join(w.dir, "etcd")); err != nil {
		t.Fatal(err)
	}
}

// acquire does what a start does.
func (w *world) acquire(t *testing.T) {
	t.Helper()
	var err error
	w.own, err = w.store.AcquireShard(t.Context(), metadata.ShardClaim{Shard: testShard, Broker: "b", WALUUID: cmp.Or(w.wal, "wal-1"), AcceptTailLoss: w.wal != "", AdvertisedAddr: "h:1", LeaseExempt: true})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.own.BindWAL(t.Context()); err != nil {
		t.Fatal(err)
	}
	rec, _ := w.store.Shard(testShard)
	mark := guard.Epoch{
		Cluster: w.cluster, Shard: testShard, Epoch: w.own.Epoch(), Revision: w.revision(t), Broker: "b", WAL: cmp.Or(w.wal, "wal-1"), Claim: rec.Claim, CreatedMs: 1,
	}
	if err := guard.MarkEpoch(t.Context(), w.bucket, mark); err != nil {
		t.Fatal(err)
	}
	if err := guard.PruneEpochs(t.Context(), w.bucket, testShard, w.own.Epoch()); err != nil {
		t.Fatal(err)
	}
	w.remember(t)
}

// restart ends the ownership, and takes the shard again.
func (w *world) restart(t *testing.T) {
	t.Helper()
	if err := w.own.Release(t.Context(), false); err != nil {
		t.Fatal(err)
	}
	w.acquire(t)
}

func (w *world) remember(t *testing.T) {
	t.Helper()
	err := guard.Remember(vfs.OS(), w.dir, guard.Remembered{Cluster: w.cluster, Revision: w.revision(t), Shard: testShard, Epoch: w.own.Epoch()})
	if err != nil {
		t.Fatal(err)
	}
}

func (w *world) revision(t *testing.T) int64 {
	t.Helper()
	rev, err := w.store.Revision(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return rev
}

func (w *world) put(t *testing.T, key string, b []byte) {
	t.Helper()
	if err := objstore.PutBytes(t.Context(), w.bucket, key, b, objstore.PutOptions{}); err != nil {
		t.Fatal(err)
	}
}

func (w *world) topic(t *testing.T, name string, queues int32) *metadata.Topic {
	t.Helper()
	topic, err := w.store.CreateTopic(t.Context(), w.own, metadata.Topic{Name: name, ReadQueues: queues, WriteQueues: queues, Perm: 6})
	if err != nil {
		t.Fatal(err)
	}
	return topic
}

func (w *world) state(t *testing.T) *metadata.SealedState {
	t.Helper()
	st, err := w.store.SealedState(t.Context(), testShard)
	if err != nil {
		t.Fatal(err)
	}
	return st
}

func (w *world) reserve(t *testing.T, kinds ...string) []metadata.Upload {
	t.Helper()
	ups, err := w.own.ReserveObjects(t.Context(), kinds)
	if err != nil {
		t.Fatal(err)
	}
	return ups
}

// queueOf is a queue of a topic.
type queueOf struct {
	topic *metadata.Topic
	id    int32
}

// build makes a segment of level 0 that follows a head: two messages for each queue.
func (w *world) build(t *testing.T, up metadata.Upload, head metadata.SealHead, queues ...queueOf) ([]byte, segment.Summary, []string) {
	t.Helper()
	var out bytes.Buffer
	sw, err := segment.NewWriter(&out, segment.Config{
		Identity: segment.Identity{Cluster: w.cluster, Shard: testShard, Epoch: up.Epoch, Sequence: up.Object}, FirstLSN: head.LSN, EndLSN: head.LSN + 5, Previous: head.FooterCRC,
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.SortFunc(queues, func(a, b queueOf) int {
		x, _ := a.topic.Ordinal(a.id)
		y, _ := b.topic.Ordinal(b.id)
		return int(x) - int(y)
	})
	var ids []string
	for _, q := range queues {
		ordinal, ok := q.topic.Ordinal(q.id)
		if !ok {
			t.Fatalf("topic %s has no queue %d", q.topic.Name, q.id)
		}
		sq := segment.Queue{Ordinal: ordinal, QueueID: q.id, Incarnation: q.topic.Incarnation, Topic: q.topic.Name}
		if err := sw.Queue(sq, segment.Uncompressed); err != nil {
			t.Fatal(err)
		}
		for offset := w.next[ordinal]; offset < w.next[ordinal]+2; offset++ {
			phys, err := message.PhysicalOffset(ordinal, offset)
			if err != nil {
				t.Fatal(err)
			}
			id := fmt.Sprintf("%s/%d/%d/%d", q.topic.Name, q.topic.Incarnation, q.id, offset)
			ids = append(ids, id)
			m := message.Append(nil, &message.Fields{
				Topic: q.topic.Name, QueueID: q.id, QueueOffset: int64(offset), PhysicalOffset: phys, StoreTimestamp: 1_700_000_000_000 + int64(head.LSN),
				BornHost: netip.MustParseAddrPort("10.0.0.1:1"), StoreHost: netip.MustParseAddrPort("10.0.0.1:1"), Body: []byte(id),
			})
			if err := sw.Append(offset, 1, m); err != nil {
				t.Fatal(err)
			}
		}
	}
	sum, err := sw.Finish()
	if err != nil {
		t.Fatal(err)
	}
	return out.Bytes(), sum, ids
}

// commit seals two messages of each queue into a segment under an intent.
func (w *world) commit(t *testing.T, up metadata.Upload, queues ...queueOf) metadata.Segment {
	t.Helper()
	head := w.state(t).Head
	b, sum, ids := w.build(t, up, head, queues...)
	w.put(t, catalog.ObjectKey(testShard, up.Epoch, up.Object, metadata.KindSegment), b)
	seg := catalog.SegmentOf(&sum.Footer, int64(len(b)))
	next := metadata.SealHead{LSN: seg.EndLSN, WALUUID: "wal-1", Position: 100 * seg.EndLSN, Epoch: up.Epoch, FooterCRC: seg.FooterCRC, Object: up.Object}
	if _, err := w.own.CommitSegment(t.Context(), seg, next); err != nil {
		t.Fatal(err)
	}
	for _, q := range queues {
		ordinal, _ := q.topic.Ordinal(q.id)
		w.next[ordinal] += 2
	}
	for _, id := range ids {
		w.sent[id] = true
	}
	w.remember(t)
	return seg
}

func (w *world) seal(t *testing.T, queues ...queueOf) metadata.Segment {
	t.Helper()
	return w.commit(t, w.reserve(t, metadata.KindSegment)[0], queues...)
}

func (w *world) snapshot(t *testing.T) snapshot.Info {
	t.Helper()
	k, err := snapshot.New(snapshot.Config{
		Source: w.etcd, Bucket: w.bucket, Cluster: w.cluster, Shard: testShard, Epoch: w.own.Epoch(), FS: vfs.OS(), SpoolDir: t.TempDir(), Valid: func() bool { return true },
	})
	if err != nil {
		t.Fatal(err)
	}
	info, err := k.Take(t.Context())
	if err != nil || info.Size == 0 {
		t.Fatal(info, err)
	}
	return info
}

func (w *world) config() Config {
	return Config{Bucket: w.bucket, FS: vfs.OS(), DataDir: w.dir, Now: func() time.Time { return time.UnixMilli(77) }, UnsafeNoFsync: true}
}

// restore restores and opens etcd again.
func (w *world) restore(t *testing.T, cfg Config) *Report {
	t.Helper()
	report, err := Run(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	w.open(t)
	return report
}

// listed returns the messages in the segments that etcd lists, each of which must be intact and be listed as it is.
func (w *world) listed(t *testing.T) map[string]bool {
	t.Helper()
	got := map[string]bool{}
	for _, s := range w.state(t).Segments {
		id := segment.Identity{Cluster: w.cluster, Shard: testShard, Epoch: s.Epoch, Sequence: s.Object}
		src := &objstore.Object{Store: w.bucket, Key: catalog.ObjectKey(testShard, s.Epoch, s.Object, metadata.KindSegment)}
		r, err := segment.Open(t.Context(), src, s.Size, segment.Expect{Identity: &id, FooterCRC: s.FooterCRC})
		if err != nil {
			t.Fatal(err)
		}
		if f := r.Footer(); f.FirstLSN != s.FirstLSN || f.EndLSN != s.EndLSN || f.Messages != s.Messages || f.MaxStore != s.MaxStore || f.Queues != s.Queues || f.RawBytes != s.RawBytes {
			t.Errorf("segment %d is listed as %+v, but is %+v", s.Object, s, f)
		}
		for q, err := range r.Queues(t.Context()) {
			if err != nil {
				t.Fatal(err)
			}
			for ref, err := range r.Blocks(t.Context(), q.Ordinal, q.First) {
				if err != nil {
					t.Fatal(err)
				}
				b, err := r.ReadBlock(t.Context(), &ref, nil)
				if err != nil {
					t.Fatal(err)
				}
				for rest := b.Messages; len(rest) > 0; {
					var v message.View
					if v, rest, err = message.Next(rest); err != nil {
						t.Fatal(err)
					}
					id := string(v.Body())
					if got[id] {
						t.Errorf("%s is listed twice", id)
					}
					got[id] = true
				}
			}
		}
	}
	return got
}

func (w *world) checkListed(t *testing.T) {
	t.Helper()
	if got := w.listed(t); !maps.Equal(got, w.sent) {
		t.Errorf("listed: %v\nsealed: %v", slices.Sorted(maps.Keys(got)), slices.Sorted(maps.Keys(w.sent)))
	}
}
