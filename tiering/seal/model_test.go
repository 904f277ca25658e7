package seal

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"sync"
	"testing"

	"github.com/varvemq/varve/internal/message"
	"github.com/varvemq/varve/metadata"
	"github.com/varvemq/varve/tiering/segment"
)

var testHost = netip.MustParseAddrPort("10.0.0.1:10911")

// modelQueue is a queue of the model.
type modelQueue struct {
	segment.Queue

	compression segment.Compression
	state       QueueState
	next        uint64
}

// modelTopics is a Topics.
type modelTopics struct {
	mu     sync.Mutex // guards all
	queues map[uint32]*modelQueue
}

func (m *modelTopics) Queue(ordinal uint32) (segment.Queue, segment.Compression, QueueState) {
	m.mu.Lock()
	defer m.mu.Unlock()
	q, ok := m.queues[ordinal]
	if !ok || q.state == QueueUnknown {
		return segment.Queue{}, segment.Fast, QueueUnknown
	}
	return q.Queue, q.compression, q.state
}

// modelWAL is a Source in memory, which outlives the sealers.
type modelWAL struct {
	topics *modelTopics

	mu      sync.Mutex // guards all
	uuid    string
	records []Record // deep copies
	next    uint64   // LSN
	pos     uint64   // end of the log
	durable uint64
	epoch   uint32
	trimmed uint64
	lsn     uint64 // said to be sealed
	scan    func() error
	sealed  func(lsn, pos uint64) error
}

func newWAL(topics *modelTopics) *modelWAL {
	return &modelWAL{topics: topics, uuid: "11111111-2222-3333-4444-555555555555", next: 1, epoch: 1}
}

func (w *modelWAL) WALUUID() string { return w.uuid }

func (w *modelWAL) Durable() uint64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.durable
}

func (w *modelWAL) Scan(ctx context.Context, from, to uint64, fn func(*Record) (bool, error)) error {
	w.mu.Lock()
	records, trimmed, durable, scan := w.records, w.trimmed, w.durable, w.scan
	w.mu.Unlock()
	if scan != nil {
		if err := scan(); err != nil {
			return err
		}
	}
	if from < trimmed || to > durable {
		return fmt.Errorf("scan of [%d, %d), but the log is [%d, %d)", from, to, trimmed, durable)
	}
	var rec Record
	for i := range records {
		r := &records[i]
		if r.Pos < from || r.End > to {
			continue
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		rec = Record{
			LSN: r.LSN, Pos: r.Pos, End: r.End, Epoch: r.Epoch, Batches: append(rec.Batches[:0], r.Batches...), Holes: append(rec.Holes[:0], r.Holes...),
			Cursors: append(rec.Cursors[:0], r.Cursors...),
		}
		more, err := fn(&rec)
		// What is reused is changed: nobody may have kept it.
		for j := range rec.Batches {
			rec.Batches[j] = Batch{Ordinal: 99, Base: 1 << 40}
		}
		for j := range rec.Holes {
			rec.Holes[j] = Hole{Ordinal: 98, Count: 1 << 50}
		}
		if err != nil || !more {
			return err
		}
	}
	return nil
}

func (w *modelWAL) Sealed(lsn, pos uint64) error {
	w.mu.Lock()
	sealed := w.sealed
	w.mu.Unlock()
	if sealed != nil {
		if err := sealed(lsn, pos); err != nil {
			return err
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.lsn, w.trimmed = max(w.lsn, lsn), max(w.trimmed, pos)
	return nil
}

func (w *modelWAL) saidSealed() (lsn, trimmed uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.lsn, w.trimmed
}

// end returns the LSN behind the last record.
func (w *modelWAL) end() uint64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	if n := len(w.records); n > 0 {
		return w.records[n-1].LSN + 1
	}
	return 1
}

// recordOverhead is the length of a record of the model without its messages.
const recordOverhead = 64

// append appends a record, which becomes durable with sync.
func (w *modelWAL) append(r Record) {
	w.mu.Lock()
	defer w.mu.Unlock()
	r.LSN, r.Epoch, r.Pos = w.next, w.epoch, w.pos
	n := uint64(recordOverhead)
	for i := range r.Batches {
		n += uint64(len(r.Batches[i].Messages))
	}
	r.End = r.Pos + n
	w.next++
	w.pos = r.End
	w.records = append(w.records, r)
}

// skip appends what is not of the shard.
func (w *modelWAL) skip(n uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.pos += n
}

func (w *modelWAL) sync() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.durable = w.pos
}

// begin begins an epoch, whose LSNs are at or above lsn.
func (w *modelWAL) begin(epoch, lsn uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.epoch, w.next = uint32(epoch), max(w.next, lsn)
}

// newTopics makes queues: some are of deleted topics, and some are not known.
func newTopics(rng *rand.Rand, n int) *modelTopics {
	m := &modelTopics{queues: map[uint32]*modelQueue{}}
	ordinal := uint32(0)
	for i := range n {
		ordinal += 1 + uint32(rng.IntN(40))
		q := &modelQueue{
			Queue:       segment.Queue{Ordinal: ordinal, Topic: fmt.Sprintf("topic-%d", rng.IntN(4)), QueueID: int32(rng.IntN(8)), Incarnation: uint64(rng.IntN(9))},
			compression: segment.Compression(rng.IntN(3) - 1), state: QueueLive,
		}
		switch {
		case i > 0 && rng.IntN(5) == 0:
			q.state = QueueDeleted
		case i > 0 && rng.IntN(5) == 0:
			q.state = QueueUnknown
			q.Incarnation = 0
		default:
			q.Keys = segment.KeyMode(rng.IntN(3))
		}
		if rng.IntN(2) == 0 {
			q.ExtentBase = rng.Uint64N(1 << 40)
		}
		q.next = q.ExtentBase + uint64(rng.IntN(2))*rng.Uint64N(1<<30)
		m.queues[ordinal] = q
	}
	return m
}

func (m *modelTopics) ordinals() []uint32 {
	var out []uint32
	for o := range m.queues {
		out = append(out, o)
	}
	slices.Sort(out)
	return out
}

// batch makes the next messages of a queue.
func (q *modelQueue) batch(tb testing.TB, rng *rand.Rand, count, body int) Batch {
	tb.Helper()
	b := Batch{Ordinal: q.Ordinal, Base: q.next, Count: uint32(count)}
	for i := range count {
		phys, err := message.PhysicalOffset(q.Ordinal, q.next-q.ExtentBase)
		if err != nil {
			tb.Fatal(err)
		}
		f := message.Fields{
			Topic: q.Topic, QueueID: q.QueueID, QueueOffset: int64(q.next), PhysicalOffset: phys, BornTimestamp: 1, BornHost: testHost,
			StoreTimestamp: 1_700_000_000_000 + rng.Int64N(1e6), StoreHost: testHost, Body: make([]byte, rng.IntN(body+1)),
			Properties: message.AppendProperty(nil, message.PropertyUniqKey, fmt.Sprintf("%016X%04d", rng.Uint64(), i)),
		}
		for j := range f.Body {
			f.Body[j] = byte(rng.IntN(1 + rng.IntN(256)))
		}
		b.Messages = message.Append(b.Messages, &f)
		q.next++
	}
	return b
}

// random appends a random record.
func (w *modelWAL) random(tb testing.TB, rng *rand.Rand, body int) {
	tb.Helper()
	ordinals := w.topics.ordinals()
	var r Record
	for range rng.IntN(4) {
		q := w.topics.queues[ordinals[rng.IntN(len(ordinals))]]
		switch rng.IntN(6) {
		case 0:
			n := 1 + rng.Uint64N(1000)
			r.Holes = append(r.Holes, Hole{Ordinal: q.Ordinal, Base: q.next, Count: n})
			q.next += n
		case 1:
			r.Cursors = append(r.Cursors, metadata.QueueCursor{Ordinal: q.Ordinal, Offset: rng.Uint64N(1000)})
		default:
			r.Batches = append(r.Batches, q.batch(tb, rng, 1+rng.IntN(5), body))
		}
	}
	w.append(r)
	if rng.IntN(3) == 0 {
		w.skip(rng.Uint64N(500))
	}
}

// fill appends random records, and makes them durable.
func (w *modelWAL) fill(tb testing.TB, rng *rand.Rand, records, body int) {
	tb.Helper()
	for range records {
		w.random(tb, rng, body)
	}
	w.sync()
}

// expected returns what segments must have of the records below an LSN: by queue its pieces in order, holes included, and cursors.
func (w *modelWAL) expected(lsn uint64) (map[uint32][]piece, map[uint32]uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	pieces, cursors := map[uint32][]piece{}, map[uint32]uint64{}
	for i := range w.records {
		r := &w.records[i]
		if r.LSN >= lsn {
			break
		}
		for _, b := range r.Batches {
			if w.topics.queues[b.Ordinal].state != QueueDeleted {
				pieces[b.Ordinal] = append(pieces[b.Ordinal], piece{ordinal: b.Ordinal, base: b.Base, count: uint64(b.Count), messages: b.Messages})
			}
		}
		for _, h := range r.Holes {
			if w.topics.queues[h.Ordinal].state != QueueDeleted {
				pieces[h.Ordinal] = append(pieces[h.Ordinal], piece{ordinal: h.Ordinal, hole: true, base: h.Base, count: h.Count})
			}
		}
		for _, c := range r.Cursors {
			if w.topics.queues[c.Ordinal].state != QueueDeleted {
				cursors[c.Ordinal] = c.Offset
			}
		}
	}
	// In a record holes come behind batches.
	for _, p := range pieces {
		slices.SortStableFunc(p, func(a, b piece) int { return int(int64(a.base) - int64(b.base)) })
	}
	return pieces, cursors
}

// seed returns a generator whose seed is shown if the test fails.
func seed(tb testing.TB) *rand.Rand {
	tb.Helper()
	n := rand.Uint64()
	tb.Logf("seed %d", n)
	return rand.New(rand.NewPCG(n, 1))
}

var errInjected = errors.New("injected")
