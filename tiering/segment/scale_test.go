package segment

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"runtime"
	"testing"
	"time"

	"github.com/varvemq/varve/internal/message"
)

// text fills b with what lz4 shrinks to about a half: words of a small vocabulary.
func text(rng *rand.Rand, b []byte) {
	words := []string{"order", "payment", "customer", "shipped", "pending", "warehouse", "quantity", "status", "region", "invoice", "accepted", "retry"}
	for i := 0; i < len(b); {
		i += copy(b[i:], words[rng.IntN(len(words))])
		i += copy(b[i:], fmt.Sprintf("=%d ", rng.IntN(100000)))
	}
}

// noise fills b with what nothing shrinks.
func noise(rng *rand.Rand, b []byte) {
	for i := range b {
		b[i] = byte(rng.Uint32())
	}
}

// stream is a batch of a queue that can be written again and again at other offsets.
type stream struct {
	q     Queue
	raw   []byte
	views []message.View
	next  uint64
}

func newStream(tb testing.TB, q Queue, msgs, body int, fill func(*rand.Rand, []byte)) *stream {
	tb.Helper()
	rng := rand.New(rand.NewPCG(uint64(q.Ordinal), 3))
	s := &stream{q: q}
	for i := range msgs {
		m := msg{tag: fmt.Sprintf("tag%d", i%4), uniq: fmt.Sprintf("7F000001%016X%08X", rng.Uint64(), i), keys: fmt.Sprintf("order-%d", rng.IntN(1<<30)), store: 1_700_000_000_000, host: hostA}
		m.body = make([]byte, body)
		fill(rng, m.body)
		s.raw = append(s.raw, stored(tb, &q, uint64(i), &m)...)
	}
	for rest := s.raw; len(rest) > 0; {
		v, after, err := message.Next(rest)
		if err != nil {
			tb.Fatal(err)
		}
		s.views, rest = append(s.views, v), after
	}
	return s
}

// batch returns the messages, moved to the next offsets.
func (s *stream) batch(tb testing.TB) (uint64, uint32, []byte) {
	tb.Helper()
	base := s.next
	for _, v := range s.views {
		phys, err := message.PhysicalOffset(s.q.Ordinal, s.next-s.q.ExtentBase)
		if err != nil {
			tb.Fatal(err)
		}
		v.PatchQueueOffset(int64(s.next))
		v.PatchPhysicalOffset(phys)
		v.PatchStoreTimestamp(1_700_000_000_000 + int64(s.next))
		s.next++
	}
	return base, uint32(len(s.views)), s.raw
}

// spool is a place to write to that can be read in parts.
type spool struct{ memory }

func (s *spool) Write(b []byte) (int, error) {
	s.b = append(s.b, b...)
	return len(b), nil
}

func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// TestManyQueues: a segment with 100,000 queues is opened with one request and read with few, and neither takes it into memory.
func TestManyQueues(t *testing.T) {
	queues := 100_000
	if testing.Short() || raceDetector {
		queues = 5000
	}
	s := newStream(t, Queue{Topic: "topic", Incarnation: 5}, 4, 100, text)
	out := &spool{memory{b: make([]byte, 0, 1100*queues)}}
	before := heap()
	w, err := NewWriter(out, testConfig())
	if err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	for i := range queues {
		s.q.Ordinal, s.q.QueueID, s.q.Topic, s.next = uint32(i*3), int32(i%100), fmt.Sprintf("topic-%d", i/100), uint64(i%1000)
		if err := w.Queue(s.q, Fast); err != nil {
			t.Fatal(err)
		}
		if err := w.Append(s.batch(t)); err != nil {
			t.Fatal(err)
		}
	}
	held := heap() - before
	sum, err := w.Finish()
	if err != nil {
		t.Fatal(err)
	}
	f := sum.Footer
	t.Logf("%d queues, %d messages: %.1f MB in %v; index %.2f MB, root %d bytes, keys and filter %.2f MB; the writer holds %.1f MB", f.Queues, f.Messages, float64(sum.Size)/1e6,
		time.Since(begin).Round(time.Millisecond), float64(f.rootPos-f.indexPos)/1e6, f.rootLen, float64(f.indexPos-f.keyPos)/1e6, float64(held)/1e6)
	runtime.KeepAlive(w)
	if limit := uint64(queues)*420 + 8<<20; held > limit {
		t.Errorf("the writer holds %d bytes, more than %d", held, limit)
	}
	before = heap()
	r, err := Open(t.Context(), &out.memory, sum.Size, Expect{})
	if err != nil {
		t.Fatal(err)
	}
	if gets, n := out.gets.Load(), out.bytes.Load(); gets != 1 || n > TailBytes {
		t.Errorf("opened with %d requests for %d bytes", gets, n)
	}
	rng := seed(t)
	const reads = 100
	for range reads {
		i := rng.IntN(queues)
		e, err := r.FindOffset(t.Context(), uint32(i*3), uint64(i%1000)+2)
		if err != nil {
			t.Fatal(err)
		}
		if b, err := r.ReadBlock(t.Context(), &e, nil); err != nil || e.Count != 4 || len(b.Messages) != len(s.raw) {
			t.Fatal(err)
		}
	}
	if gets := out.gets.Load(); gets > 1+2*reads {
		t.Errorf("%d requests for %d reads", gets, reads)
	}
	got := int64(heap()) - int64(before)
	runtime.KeepAlive(r)
	runtime.KeepAlive(sum)
	runtime.KeepAlive(w)
	t.Logf("the reader holds %.2f MB after %d reads with %d requests", float64(got)/1e6, reads, out.gets.Load()-1)
	if got > pageCacheBytes+1<<20 || r.MemoryBytes() > pageCacheBytes+1<<20 {
		t.Errorf("the reader holds %d bytes, says %d", got, r.MemoryBytes())
	}
	if err := Verify(t.Context(), r); err != nil {
		t.Error(err)
	}
}

// TestOneQueue: 64 MiB of one queue. The blocks are full, adjacent, and read back as one range.
func TestOneQueue(t *testing.T) {
	t.Parallel()
	s := newStream(t, Queue{Ordinal: 1, Topic: "topic"}, 900, 900, text)
	var out bytes.Buffer
	w, err := NewWriter(&out, testConfig())
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Queue(s.q, Fast); err != nil {
		t.Fatal(err)
	}
	want, raw := 64<<20, 0
	if raceDetector {
		want = 2 << 20
	}
	for raw < want {
		if err := w.Append(s.batch(t)); err != nil {
			t.Fatal(err)
		}
		raw += len(s.raw)
	}
	sum, err := w.Finish()
	if err != nil {
		t.Fatal(err)
	}
	f := sum.Footer
	t.Logf("%d blocks, %d messages, %.1f MB raw, %.1f MB; index %d bytes, root %d", f.Blocks, f.Messages, float64(raw)/1e6, float64(sum.Size)/1e6, f.rootPos-f.indexPos, f.rootLen)
	if f.RawBytes != uint64(raw) || f.Blocks > uint64(raw)/(MaxBlock-2000)+1 {
		t.Errorf("footer %+v", f)
	}
	r, src := open(t, out.Bytes())
	pos := int64(0)
	for e, err := range r.Blocks(t.Context(), 1, 0) {
		if err != nil || e.Pos != pos {
			t.Fatalf("block at %d, want %d: %v", e.Pos, pos, err)
		}
		b, err := r.Decode(&e, out.Bytes()[e.Pos:][:e.Size], nil)
		if err != nil || len(b.Messages) != e.Raw {
			t.Fatal(err)
		}
		pos += int64(e.Size)
	}
	if src.gets.Load() != 1 || pos != f.DataBytes() {
		t.Errorf("%d requests, blocks end at %d of %d", src.gets.Load(), pos, f.DataBytes())
	}
}

// TestIncompressible: what lz4 cannot shrink is stored as it is, found out early, and hardly grows.
func TestIncompressible(t *testing.T) {
	t.Parallel()
	rng := seed(t)
	random := make([]byte, MaxBlock/8)
	noise(rng, random)
	words := make([]byte, MaxBlock/8)
	text(rng, words)
	var c compressor
	for name, tc := range map[string]struct {
		raw   []byte
		codec byte
	}{
		"random": {random, codecNone}, "text": {words, codecLZ4}, "a byte": {random[:1], codecNone}, "nothing to gain": {random[:100], codecNone}, "zeros": {make([]byte, MaxBlock), codecLZ4},
		"random in the middle": {append(append(bytes.Clone(words[:100_000]), random[:50_000]...), words[:100_000]...), codecLZ4},
		"random at the start":  {append(bytes.Clone(random[:30_000]), words[:100_000]...), codecLZ4},
	} {
		for _, c.level = range []Compression{Fast, 1, 6} {
			b, codec := c.compress(tc.raw)
			if codec != tc.codec || codec == codecNone && len(b) != len(tc.raw) || codec == codecLZ4 && len(tc.raw) > len(b)*expansion+expansionSlack {
				t.Errorf("%s, level %d: codec %d, %d of %d bytes", name, c.level, codec, len(b), len(tc.raw))
			}
		}
		c.level = Uncompressed
		if b, codec := c.compress(tc.raw); codec != codecNone || &b[0] != &tc.raw[0] {
			t.Errorf("%s was compressed", name)
		}
	}
}

// TestCompressAlone: what a block becomes does not depend on the blocks before it.
func TestCompressAlone(t *testing.T) {
	t.Parallel()
	rng := seed(t)
	var used compressor
	for range 30 {
		b := make([]byte, 1+rng.IntN(100_000))
		text(rng, b)
		noise(rng, b[:rng.IntN(len(b))])
		used.level = Compression(rng.IntN(5))
		fresh := compressor{level: used.level}
		got, codec := used.compress(b)
		if want, c := fresh.compress(b); c != codec || !bytes.Equal(got, want) {
			t.Fatalf("%d bytes, level %d: a used compressor differs from a fresh one", len(b), used.level)
		}
	}
}

// TestBloomRate: of absent keys about one in a hundred passes the filter, whatever its size.
func TestBloomRate(t *testing.T) {
	t.Parallel()
	rng := seed(t)
	for _, n := range []int{1000, 500_000} {
		b := newBloom(n)
		for range n {
			b.add(rng.Uint32())
		}
		passed := 0
		for range 20_000 {
			block, bits := bloomPlace(rng.Uint32(), uint32(len(b)/bloomBlock))
			if bloomHas(b[int(block)*bloomBlock:], bits) {
				passed++
			}
		}
		t.Logf("%d keys: %.2f %% of absent keys pass", n, float64(passed)/200)
		if passed > 400 {
			t.Errorf("%d keys: %d of 20000 absent keys pass", n, passed)
		}
	}
}

// TestTooManyKeys: one message cannot make the index large, and its id is indexed whatever else it has.
func TestTooManyKeys(t *testing.T) {
	t.Parallel()
	q := modelQueue{Queue: Queue{Ordinal: 1, Topic: "t"}}
	m := msg{uniq: "THEID", store: 1, host: hostA}
	for i := range 1000 {
		m.keys += fmt.Sprintf("k%d k%d ", i, i)
	}
	q.pieces = []piece{{count: 1, msgs: []msg{m}, raw: stored(t, &q.Queue, 0, &m)}}
	b, sum := write(t, testConfig(), []modelQueue{q})
	if sum.Footer.Keys != MaxKeysPerMessage || sum.Footer.KeysLeftOut != 1001-MaxKeysPerMessage {
		t.Errorf("%d keys, %d left out", sum.Footer.Keys, sum.Footer.KeysLeftOut)
	}
	r, _ := open(t, b)
	checkKey(t, r, &q, 0, m.uniq, true)
	if err := Verify(t.Context(), r); err != nil {
		t.Error(err)
	}
}

func benchWrite(b *testing.B, keys KeyMode, c Compression, fill func(*rand.Rand, []byte)) {
	b.Helper()
	s := newStream(b, Queue{Ordinal: 1, Topic: "topic", Keys: keys}, 800, 1024, fill)
	var size int64
	const batches = 16
	b.SetBytes(int64(batches * len(s.raw)))
	b.ReportAllocs()
	for b.Loop() {
		w, err := NewWriter(io.Discard, testConfig())
		if err != nil {
			b.Fatal(err)
		}
		s.next = 0
		if err := w.Queue(s.q, c); err != nil {
			b.Fatal(err)
		}
		for range batches {
			if err := w.Append(s.batch(b)); err != nil {
				b.Fatal(err)
			}
		}
		sum, err := w.Finish()
		if err != nil {
			b.Fatal(err)
		}
		size = sum.Size
	}
	b.ReportMetric(float64(size)/float64(batches*len(s.raw)), "stored/raw")
}

func BenchmarkWrite(b *testing.B) {
	b.Run("text", func(b *testing.B) { benchWrite(b, KeysAll, Fast, text) })
	b.Run("text/no keys", func(b *testing.B) { benchWrite(b, KeysNone, Fast, text) })
	b.Run("text/uncompressed", func(b *testing.B) { benchWrite(b, KeysAll, Uncompressed, text) })
	b.Run("text/level 1", func(b *testing.B) { benchWrite(b, KeysAll, 1, text) })
	b.Run("text/level 4", func(b *testing.B) { benchWrite(b, KeysAll, 4, text) })
	b.Run("text/level 9", func(b *testing.B) { benchWrite(b, KeysAll, 9, text) })
	b.Run("random", func(b *testing.B) { benchWrite(b, KeysAll, Fast, noise) })
}

// BenchmarkCompress is lz4 alone, on the same bytes: what BenchmarkWrite is measured by.
func BenchmarkCompress(b *testing.B) {
	for _, tc := range []struct {
		name string
		fill func(*rand.Rand, []byte)
	}{{"text", text}, {"random", noise}} {
		b.Run(tc.name, func(b *testing.B) {
			s := newStream(b, Queue{Ordinal: 1, Topic: "topic"}, 800, 1024, tc.fill)
			var c compressor
			b.SetBytes(int64(len(s.raw)))
			for b.Loop() {
				c.shrinks(s.raw, minGain, Fast)
			}
		})
	}
}

// benchSegment is a segment of so many queues with full blocks or small ones.
func benchSegment(b *testing.B, queues, batches, msgs int, fill func(*rand.Rand, []byte)) (*Reader, []byte) {
	b.Helper()
	var out bytes.Buffer
	w, err := NewWriter(&out, testConfig())
	if err != nil {
		b.Fatal(err)
	}
	s := newStream(b, Queue{Topic: "topic"}, msgs, 1024, fill)
	for i := range queues {
		s.q.Ordinal, s.next = uint32(i), 0
		if err := w.Queue(s.q, Fast); err != nil {
			b.Fatal(err)
		}
		for range batches {
			if err := w.Append(s.batch(b)); err != nil {
				b.Fatal(err)
			}
		}
	}
	if _, err := w.Finish(); err != nil {
		b.Fatal(err)
	}
	r, _ := open(b, out.Bytes())
	return r, out.Bytes()
}

func BenchmarkReadBlock(b *testing.B) {
	for _, tc := range []struct {
		name string
		fill func(*rand.Rand, []byte)
	}{{"text", text}, {"random", noise}} {
		b.Run(tc.name, func(b *testing.B) {
			r, seg := benchSegment(b, 1, 4, 800, tc.fill)
			e, err := r.FindOffset(b.Context(), 0, 0)
			if err != nil {
				b.Fatal(err)
			}
			dst := make([]byte, MaxBlock)
			b.SetBytes(int64(e.Raw))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := r.Decode(&e, seg[e.Pos:][:e.Size], dst); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkFindOffset(b *testing.B) {
	for _, queues := range []int{1, 1000, 10_000} {
		b.Run(fmt.Sprintf("queues=%d", queues), func(b *testing.B) {
			r, _ := benchSegment(b, queues, 1, 3, text)
			i := 0
			b.ReportAllocs()
			for b.Loop() {
				i = (i + 7) % min(queues, 1000)
				if _, err := r.FindOffset(b.Context(), uint32(i), 1); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkLookup(b *testing.B) {
	r, _ := benchSegment(b, 10, 10, 1000, text)
	b.Run("absent", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			for range r.Lookup(b.Context(), 0x1234567812345678) {
				continue
			}
		}
	})
	b.Run("present", func(b *testing.B) {
		p, err := r.keyPage(b.Context(), 0)
		if err != nil {
			b.Fatal(err)
		}
		hash := p.at(100)
		b.ReportAllocs()
		for b.Loop() {
			n := 0
			for range r.Lookup(b.Context(), hash) {
				n++
				break
			}
			if n == 0 {
				b.Fatal("no hit")
			}
		}
	})
}
