package guard

import (
	"bytes"
	"hash/crc32"
	"testing"

	"github.com/google/uuid"

	"github.com/varvemq/varve/metadata"
	"github.com/varvemq/varve/tiering/catalog"
	"github.com/varvemq/varve/tiering/objstore"
	"github.com/varvemq/varve/tiering/segment"
)

const testShard = "broker a/0" // has to be escaped

// world is a shard with two segments and a manifest, as an owner has left it.
type world struct {
	cluster uuid.UUID
	bucket  *objstore.Mem
	store   *metadata.Store
	own     *metadata.Ownership
	mark    Epoch
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{cluster: uuid.New(), bucket: objstore.NewMem()}
	var err error
	if w.store, err = metadata.NewStore(t.Context(), metadata.NewMemory(), metadata.StoreConfig{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.store.Close(); err != nil {
			t.Error(err)
		}
	})
	for range 3 { // three epochs, two of which keep their objects
		w.acquire(t)
	}
	w.segment(t)
	w.segment(t)
	w.root(t)
	return w
}

// acquire takes the shard under the next epoch and marks it.
func (w *world) acquire(t *testing.T) {
	t.Helper()
	if w.own != nil {
		if err := w.own.Release(t.Context(), true); err != nil {
			t.Fatal(err)
		}
	}
	var err error
	if w.own, err = w.store.AcquireShard(t.Context(), metadata.ShardClaim{Shard: testShard, Broker: "b", WALUUID: "w", LeaseExempt: true}); err != nil {
		t.Fatal(err)
	}
	rec, _ := w.store.Shard(testShard)
	w.mark = Epoch{
		Cluster: w.cluster, Shard: testShard, Epoch: w.own.Epoch(), Revision: w.revision(t), Broker: "b", WAL: "w", Claim: rec.Claim, CreatedMs: 1,
	}
	if err := MarkEpoch(t.Context(), w.bucket, w.mark); err != nil {
		t.Fatal(err)
	}
	if err := PruneEpochs(t.Context(), w.bucket, testShard, w.own.Epoch()); err != nil {
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

func (w *world) state(t *testing.T) *metadata.SealedState {
	t.Helper()
	s, err := w.store.SealedState(t.Context(), testShard)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func (w *world) reserve(t *testing.T, kind string) metadata.Upload {
	t.Helper()
	ups, err := w.own.ReserveObjects(t.Context(), []string{kind})
	if err != nil || len(ups) != 1 {
		t.Fatal(ups, err)
	}
	return ups[0]
}

func (w *world) put(t *testing.T, key string, b []byte) {
	t.Helper()
	if err := objstore.PutBytes(t.Context(), w.bucket, key, b, objstore.PutOptions{}); err != nil {
		t.Fatal(err)
	}
}

// build makes a segment of ten LSNs without queues.
func build(t *testing.T, cluster uuid.UUID, epoch, object, lsn uint64) ([]byte, segment.Footer) {
	t.Helper()
	var out bytes.Buffer
	sw, err := segment.NewWriter(&out, segment.Config{
		Identity: segment.Identity{Cluster: cluster, Shard: testShard, Epoch: epoch, Sequence: object}, FirstLSN: lsn, EndLSN: lsn + 10,
	})
	if err != nil {
		t.Fatal(err)
	}
	sum, err := sw.Finish()
	if err != nil {
		t.Fatal(err)
	}
	return out.Bytes(), sum.Footer
}

func (w *world) segment(t *testing.T) {
	t.Helper()
	up := w.reserve(t, "seg")
	head := w.state(t).Head
	b, foot := build(t, w.cluster, up.Epoch, up.Object, head.LSN)
	w.put(t, catalog.ObjectKey(testShard, up.Epoch, up.Object, "seg"), b)
	head.LSN, head.Epoch, head.Object, head.FooterCRC, head.WALUUID = foot.EndLSN, up.Epoch, up.Object, foot.CRC, "w"
	seg := metadata.Segment{Object: up.Object, Epoch: up.Epoch, Size: int64(len(b)), FooterCRC: foot.CRC, FirstLSN: foot.FirstLSN, EndLSN: foot.EndLSN}
	if _, err := w.own.CommitSegment(t.Context(), seg, head); err != nil {
		t.Fatal(err)
	}
}

func (w *world) root(t *testing.T) {
	t.Helper()
	up := w.reserve(t, "root")
	b := []byte("a root of the manifest")
	w.put(t, catalog.ObjectKey(testShard, up.Epoch, up.Object, "root"), b)
	ptr := metadata.ManifestPointer{Object: up.Object, Epoch: up.Epoch, Size: int64(len(b)), CRC: crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)), EndLSN: 1}
	if _, err := w.own.CommitManifest(t.Context(), nil, ptr, nil, []uint64{up.Object}, nil, ""); err != nil {
		t.Fatal(err)
	}
}

// input is what a start after this owner compares.
func (w *world) input(t *testing.T) Input {
	t.Helper()
	st := w.state(t)
	return Input{
		Bucket: w.bucket, Cluster: w.cluster, Shard: testShard, ShardEpoch: w.own.Epoch(), ShardClaim: w.mark.Claim, State: st, EtcdRevision: st.Revision, DataDir: "data",
		Remembered: &Remembered{Cluster: w.cluster, Revision: st.Revision, Shard: testShard, Epoch: w.own.Epoch()},
	}
}
