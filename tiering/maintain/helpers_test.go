package maintain

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/uuid"

	"github.com/varvemq/varve/internal/message"
	"github.com/varvemq/varve/metadata"
	"github.com/varvemq/varve/tiering/catalog"
	"github.com/varvemq/varve/tiering/objstore"
	"github.com/varvemq/varve/tiering/segment"
)

const testShard = "broker-a"

func testCluster() uuid.UUID { return uuid.UUID{1, 2, 3, 15: 9} }

// seedOf returns a seed, which is shown if the test fails; VARVE_SEED sets it.
func seedOf(t *testing.T) uint64 {
	t.Helper()
	seed := rand.Uint64()
	if s := os.Getenv("VARVE_SEED"); s != "" {
		var err error
		if seed, err = strconv.ParseUint(s, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("VARVE_SEED=%d", seed)
	return seed
}

func newRand(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 1)) }

// piece is a batch or a hole of a queue.
type piece struct {
	base, count uint64
	hole        bool
	raw         []byte
}

// queueOf is what segments say of a queue.
func queueOf(ordinal uint32) segment.Queue {
	return segment.Queue{Ordinal: ordinal, Topic: fmt.Sprintf("topic-%d", ordinal/4), QueueID: int32(ordinal % 4), Incarnation: uint64(ordinal/4 + 1)}
}

// batchOf makes count messages from an offset on, with bodies of up to size bytes.
func batchOf(tb testing.TB, rng *rand.Rand, ordinal uint32, base, count uint64, size int, ms int64) piece {
	tb.Helper()
	q := queueOf(ordinal)
	p := piece{base: base, count: count}
	for i := range count {
		phys, err := message.PhysicalOffset(ordinal, base+i)
		if err != nil {
			tb.Fatal(err)
		}
		body := make([]byte, size/2+rng.IntN(size/2+1))
		for j := range len(body) / 2 {
			body[j] = byte(rng.Uint32())
		}
		host := netip.MustParseAddrPort("10.0.0.1:10911")
		f := message.Fields{
			Topic: q.Topic, QueueID: q.QueueID, QueueOffset: int64(base + i), PhysicalOffset: phys, BornTimestamp: ms, BornHost: host, StoreTimestamp: ms, StoreHost: host, Body: body,
		}
		f.Properties = message.AppendProperty(f.Properties, message.PropertyUniqKey, fmt.Sprintf("%016X", rng.Uint64()))
		p.raw = message.Append(p.raw, &f)
	}
	return p
}

// holeOf declares offsets lost.
func holeOf(base, count uint64) piece { return piece{base: base, count: count, hole: true} }

// contents are the pieces of some queues.
type contents map[uint32][]piece

// writeSegment writes a segment of level 0.
func writeSegment(tb testing.TB, cfg segment.Config, have contents, ordinals []uint32) ([]byte, segment.Summary) {
	tb.Helper()
	var out bytes.Buffer
	w, err := segment.NewWriter(&out, cfg)
	if err != nil {
		tb.Fatal(err)
	}
	for _, ordinal := range ordinals {
		if err := w.Queue(queueOf(ordinal), segment.Compression(ordinal%3)-1); err != nil {
			tb.Fatal(err)
		}
		for _, p := range have[ordinal] {
			if p.hole {
				err = w.Hole(p.base, p.count)
			} else {
				err = w.Append(p.base, uint32(p.count), p.raw)
			}
			if err != nil {
				tb.Fatal(err)
			}
		}
	}
	s, err := w.Finish()
	if err != nil {
		tb.Fatal(err)
	}
	return out.Bytes(), s
}

func segmentConfig(object, epoch, first, end uint64, level uint8) segment.Config {
	return segment.Config{
		Identity: segment.Identity{Cluster: testCluster(), Shard: testShard, Epoch: epoch, Sequence: object}, FirstLSN: first, EndLSN: end, Created: 1, Level: level,
	}
}

// putSegment puts a segment into the bucket.
func putSegment(tb testing.TB, bucket objstore.Store, b []byte, s *segment.Summary) metadata.Segment {
	tb.Helper()
	f := &s.Footer
	key := catalog.ObjectKey(testShard, f.Epoch, f.Sequence, metadata.KindSegment)
	if err := objstore.PutBytes(tb.Context(), bucket, key, b, objstore.PutOptions{IfNoneMatch: true}); err != nil {
		tb.Fatal(err)
	}
	return catalog.SegmentOf(f, s.Size)
}

// counting counts requests.
type counting struct {
	objstore.Store
	gets, puts, heads, deletes atomic.Int64
	bytes                      atomic.Int64
}

func (c *counting) Get(ctx context.Context, key string, off, n int64) (io.ReadCloser, error) {
	c.gets.Add(1)
	r, err := c.Store.Get(ctx, key, off, n)
	if err != nil {
		return nil, err
	}
	return countingBody{r, c}, nil
}

type countingBody struct {
	io.ReadCloser
	c *counting
}

func (b countingBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.c.bytes.Add(int64(n))
	return n, err
}

func (c *counting) Put(ctx context.Context, key string, r io.ReadSeeker, size int64, opts objstore.PutOptions) error {
	c.puts.Add(1)
	return c.Store.Put(ctx, key, r, size, opts)
}

func (c *counting) Head(ctx context.Context, key string) (objstore.Info, error) {
	c.heads.Add(1)
	return c.Store.Head(ctx, key)
}

func (c *counting) Delete(ctx context.Context, keys ...string) error {
	c.deletes.Add(1)
	return c.Store.Delete(ctx, keys...)
}

// keysOf lists a bucket.
func keysOf(tb testing.TB, bucket objstore.Store) []string {
	tb.Helper()
	var out []string
	for info, err := range bucket.List(tb.Context(), "") {
		if err != nil {
			tb.Fatal(err)
		}
		if !strings.HasPrefix(info.Key, ".") {
			out = append(out, info.Key)
		}
	}
	return out
}
