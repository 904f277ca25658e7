package segment

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"sync/atomic"
	"testing"

	"github.com/varvemq/varve/internal/message"
)

// memory is a Source that counts.
type memory struct {
	b     []byte
	gets  atomic.Int64
	bytes atomic.Int64
}

func (m *memory) Get(_ context.Context, off int64, n int) ([]byte, error) {
	m.gets.Add(1)
	if off < 0 || off > int64(len(m.b)) {
		return nil, fmt.Errorf("get at %d of %d", off, len(m.b))
	}
	b := bytes.Clone(m.b[off:min(int64(len(m.b)), off+int64(n))])
	m.bytes.Add(int64(len(b)))
	return b, nil
}

var (
	hostA = netip.MustParseAddrPort("10.0.0.1:10911")
	hostB = netip.MustParseAddrPort("[2001:db8::7]:10911")
)

// msg is what the tests vary in a message.
type msg struct {
	tag, uniq, keys string
	body            []byte
	store           int64
	host            netip.AddrPort
}

// stored returns a message as a broker stores it at an offset of a queue.
func stored(tb testing.TB, q *Queue, offset uint64, m *msg) []byte {
	tb.Helper()
	phys, err := message.PhysicalOffset(q.Ordinal, offset-q.ExtentBase)
	if err != nil {
		tb.Fatal(err)
	}
	f := message.Fields{
		Topic: q.Topic, QueueID: q.QueueID, QueueOffset: int64(offset), PhysicalOffset: phys, BornTimestamp: m.store - 1, BornHost: hostA,
		StoreTimestamp: m.store, StoreHost: m.host, Body: m.body,
	}
	for _, p := range [][2]string{{message.PropertyTags, m.tag}, {message.PropertyUniqKey, m.uniq}, {message.PropertyKeys, m.keys}} {
		if p[1] != "" {
			f.Properties = message.AppendProperty(f.Properties, p[0], p[1])
		}
	}
	return message.Append(nil, &f)
}

// piece is a batch or a hole of the model.
type piece struct {
	base  uint64
	count uint64
	hole  bool
	msgs  []msg
	raw   []byte
}

// modelQueue is a queue of the model.
type modelQueue struct {
	Queue
	pieces []piece
}

func (q *modelQueue) first() uint64 { return q.pieces[0].base }

func (q *modelQueue) end() uint64 {
	p := &q.pieces[len(q.pieces)-1]
	return p.base + p.count
}

// shape says how random a model is.
type shape struct {
	queues, pieces, batch, body int
	noise                       float64 // part of the bodies that lz4 cannot shrink
	holes                       float64
}

// build makes a model.
func build(tb testing.TB, rng *rand.Rand, s shape) []modelQueue {
	tb.Helper()
	queues := make([]modelQueue, 0, s.queues)
	ordinal := uint32(rng.IntN(3))
	for range s.queues {
		ordinal += 1 + uint32(rng.IntN(1+rng.IntN(50)))
		q := modelQueue{Queue: Queue{
			Ordinal: ordinal, Topic: fmt.Sprintf("topic-%d", rng.IntN(5)), QueueID: int32(rng.IntN(16)), Incarnation: uint64(rng.IntN(1000)), Keys: KeyMode(rng.IntN(3)),
			ExtentBase: uint64(rng.IntN(2)) * rng.Uint64N(1<<40),
		}}
		next := q.ExtentBase + rng.Uint64N(1<<30)
		store := int64(1_700_000_000_000) + rng.Int64N(1_000_000)
		for range 1 + rng.IntN(s.pieces) {
			p := piece{base: next}
			if p.hole = rng.Float64() < s.holes; p.hole {
				p.count = 1 + rng.Uint64N(1000)
				if len(q.pieces) == 3 {
					p.count += 1 << 32
				}
			} else {
				store += rng.Int64N(100)
				for range 1 + rng.IntN(s.batch) {
					m := randomMessage(rng, s, store, len(p.msgs))
					p.raw = append(p.raw, stored(tb, &q.Queue, next+uint64(len(p.msgs)), &m)...)
					p.msgs = append(p.msgs, m)
				}
				p.count = uint64(len(p.msgs))
			}
			next += p.count
			q.pieces = append(q.pieces, p)
		}
		queues = append(queues, q)
	}
	return queues
}

func randomMessage(rng *rand.Rand, s shape, store int64, i int) msg {
	m := msg{store: store, host: hostA, body: make([]byte, rng.IntN(s.body+1))}
	if rng.Float64() < s.noise {
		for j := range m.body {
			m.body[j] = byte(rng.Uint32())
		}
	} else {
		copy(m.body, bytes.Repeat([]byte("all work and no play "), len(m.body)/21+1))
	}
	if rng.IntN(50) == 0 {
		m.host = hostB
	}
	if rng.IntN(3) > 0 {
		m.tag = fmt.Sprintf("tag%d", rng.IntN(1+rng.IntN(80)))
	}
	if rng.IntN(4) > 0 {
		m.uniq = fmt.Sprintf("7F000001%016X%04d", rng.Uint64(), i)
	}
	for range rng.IntN(3) {
		m.keys += fmt.Sprintf("order-%d ", rng.IntN(1000))
	}
	return m
}

func testConfig() Config {
	return Config{
		Identity: Identity{Cluster: [16]byte{1, 2, 3, 15: 9}, Shard: "broker-a", Epoch: 3, Sequence: 42}, FirstLSN: 100, EndLSN: 250, EtcdRevision: 77,
		Created: 1_700_000_000_000, Previous: 0xdeadbeef,
	}
}

// write writes a model.
func write(tb testing.TB, cfg Config, queues []modelQueue) ([]byte, Summary) {
	tb.Helper()
	var out bytes.Buffer
	w, err := NewWriter(&out, cfg)
	if err != nil {
		tb.Fatal(err)
	}
	for i := range queues {
		q := &queues[i]
		if err := w.Queue(q.Queue, Compression(q.Ordinal%5)-1); err != nil {
			tb.Fatal(err)
		}
		for j := range q.pieces {
			p := &q.pieces[j]
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
	if s.Size != int64(out.Len()) || s.CRC != crcOf(out.Bytes()) {
		tb.Fatalf("summary: %d bytes, crc %08x", s.Size, s.CRC)
	}
	return out.Bytes(), s
}

// open opens a segment in memory.
func open(tb testing.TB, b []byte) (*Reader, *memory) {
	tb.Helper()
	src := &memory{b: b}
	r, err := Open(tb.Context(), src, int64(len(b)), Expect{})
	if err != nil {
		tb.Fatal(err)
	}
	return r, src
}

// seed returns a generator whose seed is shown if the test fails.
func seed(tb testing.TB) *rand.Rand {
	tb.Helper()
	n := rand.Uint64()
	tb.Logf("seed %d", n)
	return rand.New(rand.NewPCG(n, 1))
}

// check compares all that a reader says with the model.
func check(tb testing.TB, rng *rand.Rand, r *Reader, queues []modelQueue) {
	tb.Helper()
	ctx := tb.Context()
	var infos []QueueInfo
	for info, err := range r.Queues(ctx) {
		if err != nil {
			tb.Fatal(err)
		}
		infos = append(infos, info)
	}
	if len(infos) != len(queues) {
		tb.Fatalf("%d queues, want %d", len(infos), len(queues))
	}
	for i := range queues {
		q := &queues[i]
		info, err := r.Queue(ctx, q.Ordinal)
		if err != nil || info != infos[i] || info.Queue != q.Queue || info.First != q.first() || info.End != q.end() {
			tb.Fatalf("queue %+v, %v: %+v, %+v", q.Queue, err, info, infos[i])
		}
		checkQueue(tb, rng, r, q)
	}
}

func checkQueue(tb testing.TB, rng *rand.Rand, r *Reader, q *modelQueue) {
	tb.Helper()
	ctx := tb.Context()
	var want, got []byte
	var refs []BlockRef
	next := q.first()
	for e, err := range r.Blocks(ctx, q.Ordinal, next) {
		if err != nil {
			tb.Fatal(err)
		}
		b, err := r.ReadBlock(ctx, &e, nil)
		if err != nil || e.Base != next || (len(b.Messages) == 0) != e.Hole {
			tb.Fatalf("queue %d: block at offset %d, want %d: %v", q.Ordinal, e.Base, next, err)
		}
		checkTags(tb, &b)
		next = e.End()
		got = append(got, b.Messages...)
		refs = append(refs, e)
	}
	for i := range q.pieces {
		want = append(want, q.pieces[i].raw...)
	}
	if next != q.end() || !bytes.Equal(got, want) {
		tb.Fatalf("queue %d: %d bytes up to offset %d, want %d up to %d", q.Ordinal, len(got), next, len(want), q.end())
	}
	for range 5 {
		off := q.first() + rng.Uint64N(q.end()-q.first())
		e, err := r.FindOffset(ctx, q.Ordinal, off)
		if err != nil || e.Base > off || e.End() <= off {
			tb.Fatalf("queue %d, offset %d: %+v, %v", q.Ordinal, off, e, err)
		}
		ref := refs[rng.IntN(len(refs))]
		ms := ref.MinStore + rng.Int64N(100) - 50
		i := slices.IndexFunc(refs, func(e BlockRef) bool { return !e.Hole && e.MaxStore >= ms })
		e, err = r.FindTime(ctx, q.Ordinal, ms)
		if (err == nil) != (i >= 0) || i >= 0 && e.Base != refs[i].Base {
			tb.Fatalf("queue %d, time %d: %+v, %v, want %d", q.Ordinal, ms, e, err, i)
		}
	}
}

// checkTags checks that no filtered read loses a message.
func checkTags(tb testing.TB, b *Block) {
	tb.Helper()
	rest := b.Messages
	for len(rest) > 0 {
		v, r, err := message.Next(rest)
		if err != nil {
			tb.Fatal(err)
		}
		if !b.MayMatch([]int64{12345, v.TagHash()}) {
			tb.Fatalf("queue %d, offset %d: the block denies its tag", b.Ordinal, v.QueueOffset())
		}
		rest = r
	}
}
