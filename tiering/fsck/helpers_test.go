package fsck

import (
	"bytes"
	"context"
	"fmt"
	"hash/crc32"
	"maps"
	"net/netip"
	"slices"
	"testing"

	"github.com/google/uuid"

	"github.com/varvemq/varve/internal/message"
	"github.com/varvemq/varve/metadata"
	"github.com/varvemq/varve/tiering/catalog"
	"github.com/varvemq/varve/tiering/guard"
	"github.com/varvemq/varve/tiering/manifest"
	"github.com/varvemq/varve/tiering/objstore"
	"github.com/varvemq/varve/tiering/segment"
)

const (
	testShard = "broker-a"
	ownEpoch  = 3
)

// spec is a segment to be made.
type spec struct {
	object, epoch uint64
	level         uint8
	first, end    uint64 // LSNs
	follows       uint64 // number of the segment whose crc it names
	runs          []manifest.Run

	listed manifest.Entry // as it was made
}

// plan is a shard's sealed history, to be made: segments 1 and 2 were merged to 3 and 4, which page 5 of root 6 lists; 7 and 8 are in etcd.
type plan struct {
	segs    map[uint64]*spec
	paged   []uint64 // in page 5
	recent  []uint64
	runs    map[uint64][]manifest.Run // that the page says, if others than the segments'
	rows    []manifest.QueueRow
	garbage []uint64
	trims   map[uint32]uint64
	lsn     uint64
}

func newPlan() *plan {
	return &plan{
		segs: map[uint64]*spec{
			1: {object: 1, epoch: 1, first: 1, end: 11, runs: []manifest.Run{{Ordinal: 1, First: 0, End: 4}, {Ordinal: 2, First: 0, End: 2}}},
			2: {object: 2, epoch: 1, first: 11, end: 21, follows: 1, runs: []manifest.Run{{Ordinal: 1, First: 4, End: 6}}},
			3: {object: 3, epoch: 1, level: 1, first: 1, end: 21, runs: []manifest.Run{{Ordinal: 1, First: 0, End: 6}}},
			4: {object: 4, epoch: 1, level: 1, first: 1, end: 21, runs: []manifest.Run{{Ordinal: 2, First: 0, End: 2}}},
			7: {object: 7, epoch: 2, first: 21, end: 31, follows: 2, runs: []manifest.Run{{Ordinal: 1, First: 6, End: 8}, {Ordinal: 3, First: 0, End: 3}}},
			8: {object: 8, epoch: 3, first: 31, end: 36, follows: 7, runs: []manifest.Run{{Ordinal: 2, First: 2, End: 5}}},
		},
		paged: []uint64{3, 4}, recent: []uint64{7, 8}, garbage: []uint64{1, 2}, trims: map[uint32]uint64{}, runs: map[uint64][]manifest.Run{}, lsn: 36,
		rows: []manifest.QueueRow{{Ordinal: 1, First: 0, End: 6, LastStore: 1}, {Ordinal: 2, First: 0, End: 2, LastStore: 1}},
	}
}

// world is a plan carried out.
type world struct {
	cluster uuid.UUID
	bucket  *objstore.Mem
	st      *metadata.SealedState
	keys    map[uint64]string
	wal     *WALInfo
}

func build(t *testing.T, p *plan) *world {
	t.Helper()
	w := &world{
		cluster: uuid.UUID{7}, bucket: objstore.NewMem(), keys: map[uint64]string{},
		st: &metadata.SealedState{
			Head:  metadata.SealHead{NextObject: 12, LSN: p.lsn, WALUUID: "w", Position: 5000, Epoch: 3, Object: 8},
			Trims: p.trims, Revision: 99,
		},
		wal: &WALInfo{UUID: "w", First: 4000, End: 6000},
	}
	w.put(t, "cluster-id", []byte(w.cluster.String()))
	for epoch := uint64(2); epoch <= ownEpoch; epoch++ {
		err := guard.MarkEpoch(t.Context(), w.bucket, guard.Epoch{Cluster: w.cluster, Shard: testShard, Epoch: epoch, Revision: 1, Claim: "c"})
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, object := range slices.Sorted(maps.Keys(p.segs)) {
		w.segment(t, p, p.segs[object])
	}
	w.manifest(t, p)
	for _, object := range p.recent {
		e := p.segs[object].listed
		w.st.Segments = append(w.st.Segments, metadata.Segment{
			Object: e.Object, Epoch: e.Epoch, Level: e.Level, Size: e.Size, FooterCRC: e.FooterCRC, FirstLSN: e.FirstLSN, EndLSN: e.EndLSN,
			MinStore: e.MinStore, MaxStore: e.MaxStore, Messages: e.Messages, RawBytes: e.RawBytes,
		})
	}
	if len(p.garbage) > 0 {
		g := metadata.Garbage{Why: "merged"}
		for _, object := range p.garbage {
			g.Objects = append(g.Objects, metadata.GarbageObject{Object: object, Epoch: 1, Kind: metadata.KindSegment})
		}
		w.st.Garbage = append(w.st.Garbage, g)
	}
	return w
}

func (w *world) put(t *testing.T, key string, b []byte) {
	t.Helper()
	if err := objstore.PutBytes(t.Context(), w.bucket, key, b, objstore.PutOptions{}); err != nil {
		t.Fatal(err)
	}
}

func (w *world) get(t *testing.T, key string) []byte {
	t.Helper()
	b, err := objstore.ReadAll(t.Context(), w.bucket, key, 1<<30)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func (w *world) drop(t *testing.T, key string) {
	t.Helper()
	if err := w.bucket.Delete(t.Context(), key); err != nil {
		t.Fatal(err)
	}
}

func (w *world) segment(t *testing.T, p *plan, s *spec) {
	t.Helper()
	previous := uint32(0)
	if s.follows != 0 {
		previous = p.segs[s.follows].listed.FooterCRC
	}
	var out bytes.Buffer
	sw, err := segment.NewWriter(&out, segment.Config{
		Identity: segment.Identity{Cluster: w.cluster, Shard: testShard, Epoch: s.epoch, Sequence: s.object}, FirstLSN: s.first, EndLSN: s.end, Previous: previous, Level: s.level,
	})
	if err != nil {
		t.Fatal(err)
	}
	host := netip.MustParseAddrPort("10.0.0.1:1")
	for _, r := range s.runs {
		if err := sw.Queue(segment.Queue{Ordinal: r.Ordinal, Topic: "t", Incarnation: 1, QueueID: int32(r.Ordinal)}, segment.Uncompressed); err != nil {
			t.Fatal(err)
		}
		for offset := r.First; offset < r.End; offset++ {
			phys, err := message.PhysicalOffset(r.Ordinal, offset)
			if err != nil {
				t.Fatal(err)
			}
			m := message.Append(nil, &message.Fields{
				Topic: "t", QueueID: int32(r.Ordinal), QueueOffset: int64(offset), PhysicalOffset: phys, StoreTimestamp: int64(1000 + offset), BornHost: host, StoreHost: host,
				Body: fmt.Appendf(nil, "%d/%d", r.Ordinal, offset),
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
	f := sum.Footer
	s.listed = manifest.Entry{
		Object: s.object, Epoch: s.epoch, Level: s.level, Size: sum.Size, FooterCRC: f.CRC, FirstLSN: f.FirstLSN, EndLSN: f.EndLSN, MinStore: f.MinStore, MaxStore: f.MaxStore,
		Messages: f.Messages, RawBytes: f.RawBytes,
	}
	w.keys[s.object] = catalog.ObjectKey(testShard, s.epoch, s.object, metadata.KindSegment)
	w.put(t, w.keys[s.object], out.Bytes())
}

func (w *world) manifest(t *testing.T, p *plan) {
	t.Helper()
	if len(p.paged) == 0 {
		return
	}
	var segs []manifest.PageSegment
	for _, object := range p.paged {
		s := p.segs[object]
		runs := s.runs
		if other, ok := p.runs[object]; ok {
			runs = other
		}
		segs = append(segs, manifest.PageSegment{Entry: s.listed, Runs: runs})
	}
	b, ref, err := manifest.EncodePage(manifest.PageIdentity{Cluster: w.cluster, Shard: testShard, Epoch: 1, Object: 5}, segs)
	if err != nil {
		t.Fatal(err)
	}
	w.keys[5] = catalog.ObjectKey(testShard, 1, 5, metadata.KindPage)
	w.put(t, w.keys[5], b)
	r := manifest.Root{
		Cluster: w.cluster, Shard: testShard, Epoch: 1, Object: 6, EndLSN: ref.EndLSN, Pages: []manifest.PageRef{ref}, Queues: p.rows,
	}
	b = r.Encode()
	w.keys[6] = catalog.ObjectKey(testShard, 1, 6, metadata.KindRoot)
	w.put(t, w.keys[6], b)
	w.st.Manifest = &metadata.ManifestPointer{
		Object: 6, Epoch: 1, Size: int64(len(b)), CRC: crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)), EndLSN: ref.EndLSN, Segments: uint64(len(segs)),
	}
}

func (w *world) input() Input {
	return Input{
		Bucket: w.bucket, Cluster: w.cluster, Shard: testShard, Epoch: ownEpoch, WAL: func() *WALInfo { return w.wal },
		Read: func(context.Context) (*metadata.SealedState, error) { return w.st, nil },
	}
}

// found is what the tests compare of a finding.
type found struct {
	Severity Severity
	Kind     Kind
	Key      string
}

func check(t *testing.T, in Input) (*Report, []found) {
	t.Helper()
	r, err := Run(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	var out []found
	for _, f := range r.Findings {
		t.Logf("%s %s %s: %s", f.Severity, f.Kind, f.Key, f.Detail)
		out = append(out, found{f.Severity, f.Kind, f.Key})
	}
	return r, out
}
