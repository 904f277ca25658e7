package queue

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/varvemq/varve/internal/message"
	"github.com/varvemq/varve/internal/vfs"
)

// Queues of the model. What a queue takes decides what a power cut may cost.
const (
	syncQueue  = 1 // sync, and WAIT=false
	asyncQueue = 2
	mixedQueue = 3
)

// modelOp is an operation whose outcome the model follows.
type modelOp struct {
	op      Op
	id      uint64
	done    chan error
	settled bool
	acked   bool
}

// modelMessage is a message as the model believes it stands in a queue.
type modelMessage struct {
	offset uint64
	id     uint64
	op     *modelOp
}

// model knows what was appended since the beginning, and what of it must be found.
type model struct {
	rng     *rand.Rand
	nextID  uint64
	queues  map[uint32][]modelMessage
	ops     []*modelOp
	cursors map[uint32]map[uint64]*modelOp // of which operation a cursor is
	seen    map[uint32]uint64              // visible ends that were read
	seenCur map[uint32]uint64
	min     map[uint32]uint64
	power   bool // how the last life ended
}

// TestCrash: random operations, ended by a kill or a power cut at a random disk operation, again and again: what was
// acknowledged or visible is found exactly once, in order, at its offset; operations are found as a whole or not at all.
func TestCrash(t *testing.T) {
	t.Parallel()
	seeds, base := 60, rand.Uint64()
	if s := os.Getenv("VARVE_SEED"); s != "" {
		base, _ = strconv.ParseUint(s, 10, 64)
		seeds = 1
	} else if os.Getenv("VARVE_LONG") != "" {
		seeds = 2000
	}
	for i := range seeds {
		seed := base + uint64(i)
		t.Run(strconv.FormatUint(seed, 10), func(t *testing.T) {
			t.Parallel()
			m := &model{
				rng: rand.New(rand.NewPCG(seed, 1)), queues: map[uint32][]modelMessage{}, seen: map[uint32]uint64{},
				cursors: map[uint32]map[uint64]*modelOp{}, seenCur: map[uint32]uint64{}, min: map[uint32]uint64{},
			}
			fs := vfs.NewCrash(nil)
			for life := range 6 {
				var err error
				if fs, err = m.live(fs, life); err != nil {
					t.Fatalf("VARVE_SEED=%d, life %d: %v", seed, life, err)
				}
			}
		})
	}
}

// live runs one process, from its recovery to its end, and returns what that leaves.
func (m *model) live(fs *vfs.Crash, life int) (*vfs.Crash, error) {
	cfg := testConfig(fs)
	cfg.WAL.SyncBytes = 32 << 10
	cfg.WAL.BootID = "same"
	if m.power {
		cfg.WAL.BootID = strconv.Itoa(life)
	}
	l, err := Open(context.Background(), cfg)
	if err != nil {
		return nil, err
	}
	defer l.Close()
	if err := m.check(l); err != nil {
		return nil, err
	}
	if l.Recovery().MachineLost {
		queues := []*Queue{l.Queue(asyncQueue), l.Queue(mixedQueue)}
		if err := l.SkipAfterLoss(context.Background(), queues); err != nil {
			return nil, err
		}
	}
	stop := 1 + m.rng.IntN(60)
	partial := m.rng.IntN(4000)
	if m.rng.IntN(4) > 0 {
		fs.SetHook(func(op vfs.Op) vfs.Fate {
			if op.N < stop {
				return vfs.Fate{}
			}
			if op.N == stop {
				time.Sleep(time.Millisecond) // so that whoever looks now sees too much, if there is something to see
			}
			return vfs.Fate{Stop: true, Partial: partial}
		})
	}
	for range 10 + m.rng.IntN(120) {
		if err := m.act(l); err != nil {
			if errors.Is(err, errModel) {
				return nil, err
			}
			break // the disk has stopped
		}
	}
	for q := range m.queues {
		if err := m.look(l, q); err != nil {
			return nil, err
		}
	}
	var next *vfs.Crash
	if m.power = m.rng.IntN(2) == 0; m.power {
		next = fs.Crash(m.rng)
	} else {
		next = fs.Kill()
	}
	m.settle()
	return next, nil
}

var errModel = errors.New("broken guarantee")

// act does something at random.
func (m *model) act(l *Log) error {
	switch n := m.rng.IntN(20); {
	case n < 15:
		return m.append(l)
	case n < 18:
		return m.look(l, 1+m.rng.Uint32N(3))
	case n < 19:
		m.settle()
		return nil
	default:
		q := l.Queue(syncQueue)
		if q.Max() < 10 {
			return nil
		}
		files := l.WAL().Files()
		err := l.TrimTo(context.Background(), files[m.rng.IntN(len(files))].Base)
		for o := range m.queues {
			m.min[o] = max(m.min[o], l.Queue(o).Min())
		}
		return err
	}
}

func (m *model) append(l *Log) error {
	o := &modelOp{id: m.nextID, done: make(chan error, 1)}
	o.op.Done = func(_ *Op, err error) { o.done <- err }
	ordinal := 1 + m.rng.Uint32N(3)
	switch {
	case ordinal == syncQueue || ordinal == mixedQueue && m.rng.IntN(2) == 0:
		o.op.Sync = m.rng.IntN(3) > 0
		o.op.AckWritten = !o.op.Sync
	}
	ordinals := []uint32{ordinal}
	if m.rng.IntN(4) == 0 && !o.op.Sync && !o.op.AckWritten {
		ordinals = append(ordinals, mixedQueue, asyncQueue)
	}
	for _, ord := range ordinals {
		b := Batch{Queue: l.Queue(ord), Count: 1 + m.rng.IntN(4)}
		for range b.Count {
			m.nextID++
			b.Messages = append(b.Messages, msg("T", m.nextID, m.rng.IntN(1500), props(int(m.nextID))...)...)
		}
		o.op.Batches = append(o.op.Batches, b)
	}
	if m.rng.IntN(4) == 0 {
		o.op.Cursors = []Cursor{{Queue: l.Queue(ordinal), Offset: m.nextID}}
	}
	if err := l.Append(context.Background(), &o.op); err != nil {
		return err
	}
	m.ops = append(m.ops, o)
	for i := range o.op.Batches {
		b := &o.op.Batches[i]
		for j, v := range mustViews(b.Messages) {
			m.queues[b.Queue.ordinal] = append(m.queues[b.Queue.ordinal], modelMessage{
				offset: b.BaseOffset + uint64(j), id: idOf(v), op: o,
			})
		}
	}
	for _, c := range o.op.Cursors {
		if m.cursors[c.Queue.ordinal] == nil {
			m.cursors[c.Queue.ordinal] = map[uint64]*modelOp{}
		}
		m.cursors[c.Queue.ordinal][c.Offset] = o
	}
	if m.rng.IntN(3) == 0 {
		err := <-o.done
		o.settled, o.acked = true, err == nil
		return err
	}
	return nil
}

func mustViews(b []byte) (vs []message.View) {
	if err := eachMessage(b, func(v message.View) { vs = append(vs, v) }); err != nil {
		panic(err)
	}
	return vs
}

// settle takes in what has been acknowledged.
func (m *model) settle() {
	for _, o := range m.ops {
		if o.settled {
			continue
		}
		select {
		case err := <-o.done:
			o.settled, o.acked = true, err == nil
		default:
		}
	}
}

// look reads what is visible of a queue, compares it, and remembers that it was seen.
func (m *model) look(l *Log, ordinal uint32) error {
	q := l.Queue(ordinal)
	hi := q.Max()
	if err := m.compare(l, ordinal); err != nil && errors.Is(err, errModel) {
		return err
	}
	m.seen[ordinal] = max(m.seen[ordinal], hi)
	if c, ok := q.Cursor(); ok {
		m.seenCur[ordinal] = max(m.seenCur[ordinal], c)
	}
	return nil
}

// compare reads a queue from its first offset: each message must be the one the model has at that offset, with none left
// out.
func (m *model) compare(l *Log, ordinal uint32) error {
	q := l.Queue(ordinal)
	want := m.queues[ordinal]
	off := q.Min()
	i := 0
	for i < len(want) && want[i].offset < off {
		i++
	}
	for {
		b, res, err := l.Read(context.Background(), q, ReadRequest{Offset: off, MaxMessages: 1 + m.rng.IntN(50)}, nil)
		if err != nil {
			return err
		}
		for _, v := range mustViews(b) {
			if i == len(want) || uint64(v.QueueOffset()) != want[i].offset || idOf(v) != want[i].id {
				return fmt.Errorf("%w: queue %d, offset %d: id %d is not expected", errModel, ordinal, v.QueueOffset(), idOf(v))
			}
			i++
		}
		off = res.Next
		if i < len(want) && want[i].offset < off {
			return fmt.Errorf("%w: queue %d: offset %d was skipped: %+v", errModel, ordinal, want[i].offset, res)
		}
		if res.Status == NoMessage {
			return nil
		}
	}
}

// check compares what a recovery has found with what must be there, and forgets what is rightly lost.
func (m *model) check(l *Log) error {
	for ordinal, want := range m.queues {
		q := l.Queue(ordinal)
		end := q.Max()
		if q.Min() > m.min[ordinal] {
			return fmt.Errorf("%w: queue %d begins at %d, trimmed to %d", errModel, ordinal, q.Min(), m.min[ordinal])
		}
		if (!m.power || ordinal == syncQueue) && end < m.seen[ordinal] {
			return fmt.Errorf("%w: queue %d ends at %d, %d was visible", errModel, ordinal, end, m.seen[ordinal])
		}
		keep := 0
		for _, w := range want {
			if w.offset < end {
				keep++
				continue
			}
			if must := w.op.acked && (!m.power || w.op.op.Sync); must {
				return fmt.Errorf("%w: queue %d: offset %d was acknowledged, the end is %d", errModel, ordinal, w.offset, end)
			}
		}
		m.queues[ordinal] = want[:keep]
		if err := m.compare(l, ordinal); err != nil {
			return err
		}
		m.seen[ordinal] = end
		if err := m.checkCursor(q); err != nil {
			return err
		}
	}
	for _, o := range m.ops {
		found := map[bool]bool{}
		for i := range o.op.Batches {
			b := &o.op.Batches[i]
			found[b.BaseOffset+uint64(b.Count) <= l.Queue(b.Queue.ordinal).Max()] = true
		}
		if len(found) > 1 {
			return fmt.Errorf("%w: operation %d was torn", errModel, o.id)
		}
	}
	m.ops = nil
	return nil
}

// checkCursor: a cursor that was seen is found again, or a later one.
func (m *model) checkCursor(q *Queue) error {
	c, _ := q.Cursor()
	if (!m.power || q.ordinal == syncQueue) && c < m.seenCur[q.ordinal] {
		return fmt.Errorf("%w: queue %d: cursor %d, %d was visible", errModel, q.ordinal, c, m.seenCur[q.ordinal])
	}
	for at, o := range m.cursors[q.ordinal] {
		if at > c && o.acked && (!m.power || o.op.Sync) {
			return fmt.Errorf("%w: queue %d: cursor %d, %d was acknowledged", errModel, q.ordinal, c, at)
		}
	}
	delete(m.cursors, q.ordinal)
	m.seenCur[q.ordinal] = c
	return nil
}
