package queue

import (
	"context"
	"math/rand/v2"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/varvemq/varve/broker/wal"
	"github.com/varvemq/varve/internal/message"
	"github.com/varvemq/varve/internal/vfs"
)

// TestOrderedReader: 64 producers on one queue, and a reader that waits for more at its end, sees every message once, in
// the order of offsets, each producer's in the order it sent them, and each acknowledged offset is where it was said.
func TestOrderedReader(t *testing.T) {
	t.Parallel()
	const producers = 64
	each := 100_000 / producers
	if os.Getenv("VARVE_LONG") != "" {
		each = 1_000_000 / producers
	}
	l := openLog(t, Config{WAL: wal.Config{Dir: t.TempDir(), FileSize: 4 << 20, TailBytes: 1 << 20}, Shard: wal.Shard{ID: 1, Epoch: 1}})
	q := l.Queue(1)
	offsets, found := make([][]uint64, producers), make([][]uint64, producers)
	var wg sync.WaitGroup
	for p := range producers {
		offsets[p], found[p] = make([]uint64, each), make([]uint64, each)
		wg.Go(func() {
			const window = 16
			free := make(chan *Op, window)
			for range window {
				free <- &Op{Done: func(op *Op, err error) {
					if err != nil {
						t.Error(err)
					}
					free <- op
				}, Batches: make([]Batch, 1)}
			}
			ops := make(map[*Op]int)
			take := func() *Op {
				op := <-free
				if i, ok := ops[op]; ok {
					offsets[p][i] = op.Batches[0].BaseOffset
				}
				return op
			}
			for i := range each {
				op := take()
				ops[op] = i
				op.Sync = i%64 == 0
				op.AckWritten = i%65 == 0
				op.Batches[0] = Batch{Queue: q, Messages: msg("T", uint64(p*each+i), 30), Count: 1}
				if err := l.Append(t.Context(), op); err != nil {
					t.Error(err)
					return
				}
			}
			for range window {
				take()
			}
		})
	}
	seen := make([]uint64, producers)
	woken := make(chan struct{}, 1)
	w := &Waiter{Wake: func(*Waiter, WakeReason) { woken <- struct{}{} }}
	var dst []byte
	for off := uint64(0); off < uint64(producers*each); {
		b, res, err := l.Read(t.Context(), q, ReadRequest{Offset: off, MaxMessages: 100}, dst[:0])
		dst = b
		switch {
		case err != nil:
			t.Fatal(err)
		case res.Status == NoMessage:
			if w.Offset = off; l.Wait(q, w) {
				<-woken
			}
			continue
		case res.Status != Found:
			t.Fatalf("%+v", res)
		}
		for len(b) > 0 {
			v := nextView(b)
			b = b[len(v):]
			id := idOf(v)
			p, i := id/uint64(each), id%uint64(each)
			if uint64(v.QueueOffset()) != off || seen[p] != i {
				t.Fatalf("offset %d has message %d of producer %d, after %d", v.QueueOffset(), i, p, seen[p])
			}
			found[p][i] = off
			seen[p]++
			off++
		}
	}
	wg.Wait()
	if q.Max() != uint64(producers*each) {
		t.Fatal(q.Max())
	}
	for p := range producers {
		if !slices.Equal(offsets[p], found[p]) {
			t.Fatalf("producer %d was told other offsets than its messages have", p)
		}
	}
}

// TestTrimUnderReaders: files are closed and trimmed below readers, who never see a gap nor an error but that they are too
// far behind.
func TestTrimUnderReaders(t *testing.T) {
	t.Parallel()
	l := openLog(t, testConfig(vfs.NewCrash(nil)))
	q := l.Queue(1)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	var behind, reads atomic.Int64
	for r := range 4 {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(r), 2))
			for off := uint64(0); ; {
				select {
				case <-stop:
					return
				default:
				}
				b, res, err := l.Read(context.Background(), q, ReadRequest{Offset: off, MaxMessages: 1 + rng.IntN(40)}, nil)
				if err != nil {
					t.Error(err)
					return
				}
				reads.Add(1)
				for _, v := range mustViews(b) {
					if uint64(v.QueueOffset()) != off || idOf(v) != off {
						t.Errorf("offset %d, id %d at %d", v.QueueOffset(), idOf(v), off)
						return
					}
					off++
				}
				switch res.Status {
				case OffsetTooSmall:
					behind.Add(1)
					off = res.Next
				case NoMessage:
					off = q.Min() // again, from as far back as there is
					if _, err := l.OffsetByTime(context.Background(), q, int64(rng.Uint64()>>20), false); err != nil {
						t.Error(err)
					}
					if _, _, err := l.ByKey(context.Background(), KeyQuery{Topic: "T", Key: "all", Max: 3}, nil); err != nil {
						t.Error(err)
					}
				default:
				}
			}
		})
	}
	for i := range 3000 {
		put(t, l, q, false, msg("T", uint64(i), 300, props(i)...))
		if i%50 == 0 {
			if err := l.TrimTo(t.Context(), l.WAL().Stats().Next-min(l.WAL().Stats().Next, 200<<10)); err != nil {
				t.Fatal(err)
			}
		}
	}
	close(stop)
	wg.Wait()
	if q.Min() == 0 || reads.Load() == 0 {
		t.Fatal("nothing was tried")
	}
	t.Logf("%d reads, %d times behind, first offset %d", reads.Load(), behind.Load(), q.Min())
}

// history collects what concurrent clients did to a queue, for porcupine.
type history struct {
	start time.Time
	mu    sync.Mutex
	ops   []porcupine.Operation
}

// chain is the state of the model: the number of messages, and a hash over their ids in order.
type chain struct {
	n    uint64
	hash uint64
}

func (c chain) add(id uint64) chain {
	h := c.hash ^ id
	h *= 0x9E3779B97F4A7C15
	return chain{n: c.n + 1, hash: h ^ h>>29}
}

type chainInput struct {
	append bool
	id     uint64
}

type chainOutput struct {
	unknown bool
	offset  uint64
	chain   chain
}

var chainModel = porcupine.Model{
	Init: func() any { return chain{} },
	Step: func(state, input, output any) (bool, any) {
		c, in, out := state.(chain), input.(chainInput), output.(chainOutput)
		if !in.append {
			return c == out.chain, c
		}
		return out.offset == c.n, c.add(in.id)
	},
	Equal: func(a, b any) bool { return a.(chain) == b.(chain) },
}

func (h *history) add(client int, in chainInput, call int64, out chainOutput) {
	op := porcupine.Operation{ClientId: client, Input: in, Call: call, Output: out, Return: h.now()}
	if out.unknown {
		op.Return = 1 << 62 // it may happen at any time from now on, or never
	}
	h.mu.Lock()
	h.ops = append(h.ops, op)
	h.mu.Unlock()
}

// settle decides what became of the appends of unknown outcome, by what is there in the end.
func (h *history) settle(all []message.View) {
	offsets := make(map[uint64]uint64)
	for i, v := range all {
		offsets[idOf(v)] = uint64(i)
	}
	h.ops = slices.DeleteFunc(h.ops, func(op porcupine.Operation) bool {
		_, there := offsets[op.Input.(chainInput).id]
		return op.Output.(chainOutput).unknown && !there
	})
	for i := range h.ops {
		if out := h.ops[i].Output.(chainOutput); out.unknown {
			h.ops[i].Output = chainOutput{offset: offsets[h.ops[i].Input.(chainInput).id]}
		}
	}
}

func (h *history) now() int64 { return time.Since(h.start).Nanoseconds() }

// TestLinearizable: appends and reads of a sync queue by concurrent clients, through power cuts, look like one list.
func TestLinearizable(t *testing.T) {
	t.Parallel()
	histories := 12
	if os.Getenv("VARVE_LONG") != "" {
		histories = 300
	}
	seed := rand.Uint64()
	for i := range histories {
		h := &history{start: time.Now()}
		rng := rand.New(rand.NewPCG(seed, uint64(i)))
		fs := vfs.NewCrash(nil)
		var client, id atomic.Int64
		lives := 4
		for life := range lives {
			l := openLog(t, testConfig(fs))
			var wg sync.WaitGroup
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
			for range 6 {
				wg.Go(func() { appendUntil(ctx, h, l, int(client.Add(1)), &id) })
			}
			for range 2 {
				wg.Go(func() { readUntil(ctx, h, l, int(client.Add(1))) })
			}
			if life == lives-1 {
				wg.Wait()
				h.settle(readAll(t, l, l.Queue(1), 0))
			} else {
				time.Sleep(time.Duration(rng.IntN(15)) * time.Millisecond)
				fs = fs.Crash(rng)
				wg.Wait()
			}
			cancel()
			_ = l.Close()
		}
		res := porcupine.CheckOperationsTimeout(chainModel, h.ops, 20*time.Second)
		if res != porcupine.Ok {
			t.Fatalf("seed %d, history %d of %d operations: %v", seed, i, len(h.ops), res)
		}
	}
}

// maxHistory bounds the operations of a client in one life.
const maxHistory = 60

func appendUntil(ctx context.Context, h *history, l *Log, client int, ids *atomic.Int64) {
	q := l.Queue(1)
	for range maxHistory {
		id := uint64(ids.Add(1))
		op := &Op{Sync: true, Batches: []Batch{{Queue: q, Messages: msg("T", id, 100), Count: 1}}}
		call := h.now()
		err := l.AppendWait(ctx, op)
		h.add(client, chainInput{append: true, id: id}, call, chainOutput{unknown: err != nil, offset: op.Batches[0].BaseOffset})
		if err != nil {
			return
		}
	}
}

// readUntil reads to the end, again and again. What it has read before it does not read again: that never changes.
func readUntil(ctx context.Context, h *history, l *Log, client int) {
	q := l.Queue(1)
	var c chain
	for range maxHistory {
		call := h.now()
		for {
			b, res, err := l.Read(ctx, q, ReadRequest{Offset: c.n, MaxMessages: 1000}, nil)
			if err != nil {
				return
			}
			if res.Status == NoMessage {
				break
			}
			for _, v := range mustViews(b) {
				c = c.add(idOf(v))
			}
		}
		h.add(client, chainInput{}, call, chainOutput{chain: c})
		time.Sleep(200 * time.Microsecond)
	}
}
