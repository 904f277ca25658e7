package catalog

import (
	"bytes"
	"hash/crc32"
	"maps"
	"math/rand/v2"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"testing"

	"github.com/google/uuid"

	"github.com/varvemq/varve/internal/message"
	"github.com/varvemq/varve/metadata"
	"github.com/varvemq/varve/tiering/manifest"
	"github.com/varvemq/varve/tiering/objstore"
	"github.com/varvemq/varve/tiering/segment"
)

const testShard = "s0"

var testCluster = uuid.MustParse("6f1c0000-0000-4000-8000-000000000001")

// seed returns a generator whose seed is shown if the test fails, and can be given in VARVE_SEED.
func seed(tb testing.TB) *rand.Rand {
	tb.Helper()
	n := rand.Uint64()
	if s := os.Getenv("VARVE_SEED"); s != "" {
		var err error
		if n, err = strconv.ParseUint(s, 10, 64); err != nil {
			tb.Fatal(err)
		}
	}
	tb.Logf("seed %d", n)
	return rand.New(rand.NewPCG(n, 1))
}

// part is what a test segment has of a queue.
type part struct {
	ordinal    uint32
	first, end uint64
	store      int64 // of the last message; 0: a hole
}

// store is a bucket with the keys of etcd beside it.
type store struct {
	tb     testing.TB
	bucket *objstore.Mem
	next   uint64 // object number
	state  metadata.SealedState
	cache  int64 // bytes of the catalogs' page cache; 0: the default
}

func newStore(tb testing.TB) *store {
	tb.Helper()
	return &store{tb: tb, bucket: objstore.NewMem(), next: 1, state: metadata.SealedState{Trims: map[uint32]uint64{}}}
}

func (s *store) number() uint64 {
	s.next++
	return s.next - 1
}

func (s *store) config() Config {
	return Config{Bucket: s.bucket, Cluster: testCluster, Shard: testShard, PageCache: s.cache}
}

// open opens a catalog of what is listed.
func (s *store) open() *Catalog {
	s.tb.Helper()
	c, err := Open(s.tb.Context(), s.config(), &s.state)
	if err != nil {
		s.tb.Fatal(err)
	}
	return c
}

// segment writes a segment and lists it in etcd.
func (s *store) segment(level uint8, firstLSN, endLSN uint64, parts []part, cursors ...metadata.QueueCursor) (metadata.Segment, segment.Summary) {
	s.tb.Helper()
	object := s.number()
	var out bytes.Buffer
	w, err := segment.NewWriter(&out, segment.Config{
		Identity: segment.Identity{Cluster: testCluster, Shard: testShard, Epoch: 1, Sequence: object}, FirstLSN: firstLSN, EndLSN: endLSN, Level: level,
	})
	if err != nil {
		s.tb.Fatal(err)
	}
	for i, p := range parts {
		var err error
		if i == 0 || parts[i-1].ordinal != p.ordinal {
			err = w.Queue(segment.Queue{Ordinal: p.ordinal, Topic: "t", Incarnation: 1, Keys: segment.KeysNone}, segment.Uncompressed)
		}
		if err == nil && p.store == 0 {
			err = w.Hole(p.first, p.end-p.first)
		} else if err == nil {
			err = w.Append(p.first, uint32(p.end-p.first), messages(s.tb, &p))
		}
		if err != nil {
			s.tb.Fatal(err)
		}
	}
	sum, err := w.Finish()
	if err != nil {
		s.tb.Fatal(err)
	}
	s.put(object, metadata.KindSegment, out.Bytes())
	seg := SegmentOf(&sum.Footer, sum.Size)
	seg.Cursors = cursors
	s.state.Segments = append(s.state.Segments, seg)
	return seg, sum
}

func messages(tb testing.TB, p *part) []byte {
	tb.Helper()
	host := netip.MustParseAddrPort("10.0.0.1:10911")
	var out []byte
	for o := p.first; o < p.end; o++ {
		phys, err := message.PhysicalOffset(p.ordinal, o)
		if err != nil {
			tb.Fatal(err)
		}
		out = message.Append(out, &message.Fields{
			Topic: "t", QueueOffset: int64(o), PhysicalOffset: phys, BornHost: host, StoreTimestamp: p.store - int64(p.end-o-1), StoreHost: host, Body: []byte("x"),
		})
	}
	return out
}

func (s *store) put(object uint64, kind string, b []byte) {
	s.tb.Helper()
	if err := objstore.PutBytes(s.tb.Context(), s.bucket, ObjectKey(testShard, 1, object, kind), b, objstore.PutOptions{IfNoneMatch: true}); err != nil {
		s.tb.Fatal(err)
	}
}

func (s *store) remove(object uint64, kind string) {
	s.tb.Helper()
	if err := s.bucket.Delete(s.tb.Context(), ObjectKey(testShard, 1, object, kind)); err != nil {
		s.tb.Fatal(err)
	}
}

// unlist takes segments out of etcd.
func (s *store) unlist(objects []uint64) {
	s.state.Segments = slices.DeleteFunc(s.state.Segments, func(m metadata.Segment) bool { return slices.Contains(objects, m.Object) })
}

// page writes a page.
func (s *store) page(segs []manifest.PageSegment) manifest.PageRef {
	s.tb.Helper()
	b, ref, err := manifest.EncodePage(manifest.PageIdentity{Cluster: testCluster, Shard: testShard, Epoch: 1, Object: s.number()}, segs)
	if err != nil {
		s.tb.Fatal(err)
	}
	s.put(ref.Object, metadata.KindPage, b)
	return ref
}

// root writes a root and lists it in etcd.
func (s *store) root(pages []manifest.PageRef, rows map[uint32]manifest.QueueRow) (*manifest.Root, metadata.ManifestPointer) {
	s.tb.Helper()
	r := &manifest.Root{Cluster: testCluster, Shard: testShard, Epoch: 1, Object: s.number(), Pages: slices.Clone(pages)}
	ptr := metadata.ManifestPointer{Object: r.Object, Epoch: 1}
	for i := range pages {
		r.EndLSN = max(r.EndLSN, pages[i].EndLSN)
		ptr.Segments += uint64(pages[i].Segments)
	}
	for _, o := range slices.Sorted(maps.Keys(rows)) {
		r.Queues = append(r.Queues, rows[o])
	}
	if err := r.Validate(); err != nil {
		s.tb.Fatal(err)
	}
	b := r.Encode()
	s.put(r.Object, metadata.KindRoot, b)
	ptr.Size, ptr.CRC, ptr.EndLSN = int64(len(b)), crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)), r.EndLSN
	s.state.Manifest = &ptr
	return r, ptr
}
