package tiertest

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/varvemq/varve/broker"
	"github.com/varvemq/varve/broker/brokertest"
	"github.com/varvemq/varve/client"
	"github.com/varvemq/varve/internal/remoting"
	"github.com/varvemq/varve/tiering/segment"
)

// section is a part of a segment: from a position to another.
type section struct{ from, to int64 }

// sectionsOf takes the positions from a segment's footer (docs/format/segment.md).
func sectionsOf(b []byte) map[string]section {
	size := int64(len(b))
	footer := b[size-512:]
	at := func(i int) int64 { return int64(binary.LittleEndian.Uint64(footer[i:])) }
	return map[string]section{
		segment.SectionBlock:  {0, at(136)},
		segment.SectionKeys:   {at(136), at(144)},
		segment.SectionBloom:  {at(144), at(152)},
		segment.SectionIndex:  {at(152), at(160)},
		segment.SectionRoot:   {at(160), size - 512},
		segment.SectionFooter: {size - 512, size},
	}
}

// TestBitFlips: one flipped bit in a segment, wherever it is, is found by the read that meets it and by `segment verify`, and named; everything else stays
// readable, in the broker that runs and in the one that starts.
func TestBitFlips(t *testing.T) {
	t.Parallel()
	n := seed(t)
	rng := rand.New(rand.NewPCG(n, 1))
	etcd, s := startEtcd(t), newDirStore(t)
	cfg := broker.Config{Etcd: []string{etcd.URL}, ObjectStore: s.dir, SealBytes: 16 << 20, WALLimit: 64 << 20, ColdCache: 1 << 20}
	c := newCorpus(n, 300, 3, "orders", "audit")
	b := brokertest.Start(t, cfg)
	at := place(b.Addrs.Namesrv)
	at.createTopic(t, "orders", 3, nil)
	at.createTopic(t, "audit", 3, map[string]string{"compression": "none"})
	for range 6 { // of 8 some would be merged, if the test takes long
		c.produce(t, at, 256<<10)
		sealNow(t, at)
	}
	segments := c.segments(t, at)
	if len(segments) != 6 {
		t.Fatalf("%d segments", len(segments))
	}
	must(t, b.Stop())
	_ = varve(t)
	cfg.DataDir = t.TempDir() // nothing is in a log
	for _, tt := range []struct {
		name string
		at   func(sec map[string]section) int64
		// what reads by offset find: nothing, one block, or that the whole segment is of no use
		blocks bool
		whole  bool
		keys   bool
	}{
		{name: "block header", at: func(map[string]section) int64 { return rng.Int64N(64) }, blocks: true},
		{name: "block payload", at: func(sec map[string]section) int64 { return 128 + rng.Int64N(sec[segment.SectionBlock].to-128) }, blocks: true},
		{name: segment.SectionKeys, at: within(rng, segment.SectionKeys), keys: true},
		{name: segment.SectionBloom, at: within(rng, segment.SectionBloom), keys: true},
		{name: segment.SectionIndex, at: within(rng, segment.SectionIndex), whole: true},
		{name: segment.SectionRoot, at: within(rng, segment.SectionRoot), whole: true},
		{name: segment.SectionFooter, at: within(rng, segment.SectionFooter), whole: true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			seg := segments[rng.IntN(len(segments)-1)] // not the newest: a start opens that
			where := s.flip(t, rng, seg.key, tt.at)
			b := brokertest.Start(t, cfg)
			at := place(b.Addrs.Namesrv)
			t.Logf("a bit of byte %d of %s", where, seg.key)
			unread := 0
			for topic := range c.topics {
				for queue := range c.queues {
					unread += c.readAround(t, at, topic, queue, &seg)
				}
			}
			switch {
			case tt.blocks && unread != 1, tt.whole && unread == 0, tt.keys && unread != 0:
				t.Errorf("%d queues cannot be read as a whole", unread)
			}
			out, err := at.tryCLI(t, "segment", "verify", fmt.Sprint(seg.object))
			if err == nil || !strings.Contains(out, "DAMAGED") {
				t.Errorf("segment verify: %v\n%s", err, out)
			}
			out, err = at.tryCLI(t, "fsck", "--deep")
			if err == nil || !strings.Contains(out, seg.key) {
				t.Errorf("fsck: %v\n%s", err, out)
			}
			must(t, b.Stop())
		})
	}
}

func within(rng *rand.Rand, name string) func(sec map[string]section) int64 {
	return func(sec map[string]section) int64 { return sec[name].from + rng.Int64N(sec[name].to-sec[name].from) }
}

// flip flips a bit of an object until the test ends, and returns where.
func (s *store) flip(t testing.TB, rng *rand.Rand, key string, at func(map[string]section) int64) int64 {
	t.Helper()
	path := filepath.Join(s.dir, filepath.FromSlash(key))
	good, err := os.ReadFile(path)
	must(t, err)
	t.Cleanup(func() { must(t, os.WriteFile(path, good, 0o600)) })
	bad, where := slices.Clone(good), at(sectionsOf(good))
	bad[where] ^= 1 << rng.IntN(8)
	must(t, os.WriteFile(path, bad, 0o600))
	return where
}

// sealedSegment is what a listed segment has.
type sealedSegment struct {
	key    string
	object uint64
	runs   map[[2]int][2]int64 // topic, queue → offsets [first, end)
}

// segments returns the listed segments, oldest first.
func (c *corpus) segments(t testing.TB, at place) (out []sealedSegment) {
	t.Helper()
	a, addr := at.brokerAdmin(t)
	list := ask[remoting.SegmentList](t, a, addr, remoting.ReqListSegments, map[string]string{"limit": "1000"})
	for _, info := range slices.Backward(list.Segments) {
		d := ask[remoting.SegmentDetail](t, a, addr, remoting.ReqInspectSegment, map[string]string{"object": fmt.Sprint(info.Object)})
		s := sealedSegment{key: d.Key, object: d.Object, runs: map[[2]int][2]int64{}}
		for _, q := range d.Queues {
			if topic := slices.Index(c.topics, q.Topic); topic >= 0 {
				s.runs[[2]int{topic, int(q.Queue)}] = [2]int64{int64(q.First), int64(q.End)}
			}
		}
		out = append(out, s)
	}
	return out
}

// readAround reads a queue whose messages in one segment may be unreadable, and returns 1 if some are. The rest must be there.
func (c *corpus) readAround(t testing.TB, at place, topic, queue int, seg *sealedSegment) (unread int) {
	t.Helper()
	next, end, run := int64(0), c.counts[topic][queue], seg.runs[[2]int{topic, queue}]
	read := func() error {
		return readQueue(t.Context(), at.reader(t), c.topics[topic], queue, next, func(m *client.MessageExt) error {
			if err := c.check(topic, queue, next, m); err != nil {
				t.Errorf("queue %d of %s: %v", queue, c.topics[topic], err)
			}
			next++
			return nil
		})
	}
	err := read()
	if err != nil {
		unread = 1
		if next < run[0] || next >= run[1] || !strings.Contains(err.Error(), seg.key) {
			t.Errorf("offset %d cannot be read; the damaged segment has [%d, %d): %v", next, run[0], run[1], err)
		}
		next = run[1]
		err = read()
	}
	if err != nil || next != end {
		t.Errorf("queue %d of %s: read to offset %d of %d: %v", queue, c.topics[topic], next, end, err)
	}
	return unread
}

// brokerAdmin returns an admin, and the address of the only broker.
func (at place) brokerAdmin(t testing.TB) (a *client.Admin, addr string) {
	t.Helper()
	a = at.admin(t)
	brokers, err := a.Brokers(t.Context())
	must(t, err)
	if len(brokers) != 1 {
		t.Fatalf("%d brokers", len(brokers))
	}
	return a, brokers[0].Addr
}

// ask makes one of Varve's own requests.
func ask[T any](t testing.TB, a *client.Admin, addr string, code int32, fields map[string]string) (answer T) {
	t.Helper()
	body, err := a.Request(t.Context(), "ask", addr, code, fields)
	must(t, err)
	must(t, json.Unmarshal(body, &answer))
	return answer
}

// sealNow seals what is there.
func sealNow(t testing.TB, at place) {
	t.Helper()
	a, addr := at.brokerAdmin(t)
	fields := map[string]string{}
	eventually(t, stepTimeout, "everything is sealed", func() bool {
		p := ask[remoting.SealProgress](t, a, addr, remoting.ReqSeal, fields)
		fields["lsn"] = fmt.Sprint(p.Target)
		return p.Done
	})
}
