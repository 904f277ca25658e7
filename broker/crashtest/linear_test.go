package crashtest

import (
	"context"
	"fmt"
	"hash/maphash"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/varvemq/varve/broker/brokertest"
	"github.com/varvemq/varve/client"
)

const (
	linearTopic   = "linear"
	linearQueues  = 4    // each has a history of its own
	linearWriters = 4    // of a queue; each leaves at most one unknown outcome at a kill
	linearReaders = 2    // of a queue
	linearOps     = 2500 // at which a queue's history ends, on average
	linearShort   = 1000 // the same in a short run
	checkTimeout  = 60 * time.Second
)

// log is the model's state: how many messages there are, and a hash of all of them in order.
type log struct {
	tail int64
	hash uint64
}

func (l log) plus(body string) log {
	h := l.hash ^ 0xcbf29ce484222325
	for i := range len(body) {
		h = (h ^ uint64(body[i])) * 0x100000001b3
	}
	return log{tail: l.tail + 1, hash: h}
}

// input is an operation on a queue: an append if it has a body, else a read of everything.
type input struct {
	queue int
	body  string
}

// output is what an operation returned.
type output struct {
	unknown bool  // an append that may have happened
	offset  int64 // of an append
	read    log   // what a read has read
}

// model returns the sequential specification: an append returns the tail, a read returns all there is.
func model() porcupine.Model {
	mseed := maphash.MakeSeed()
	m := porcupine.NondeterministicModel{
		Partition: func(history []porcupine.Operation) [][]porcupine.Operation {
			parts := map[int][]porcupine.Operation{}
			for _, op := range history {
				q := op.Input.(input).queue
				parts[q] = append(parts[q], op)
			}
			var all [][]porcupine.Operation
			for _, p := range parts {
				all = append(all, p)
			}
			return all
		},
		Init: func() []any { return []any{log{}} },
		Step: func(state, in, out any) []any {
			s, i, o := state.(log), in.(input), out.(output)
			switch {
			case i.body == "" && o.read == s:
				return []any{s}
			case i.body == "":
				return nil
			case o.unknown:
				return []any{s, s.plus(i.body)}
			case o.offset == s.tail:
				return []any{s.plus(i.body)}
			default:
				return nil
			}
		},
		Hash: func(state any) uint64 { return maphash.Comparable(mseed, state.(log)) },
	}
	return m.ToModel()
}

// history collects operations.
type history struct {
	began time.Time

	mu  sync.Mutex // guards ops
	ops []porcupine.Operation
}

func (h *history) now() int64 { return time.Since(h.began).Nanoseconds() }

func (h *history) add(op porcupine.Operation) {
	h.mu.Lock()
	h.ops = append(h.ops, op)
	h.mu.Unlock()
}

func (h *history) len() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.ops)
}

// settle gives the appends of unknown outcome an end: from now on a new process serves what there is.
func (h *history) settle() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for i := range h.ops {
		if op := &h.ops[i]; op.Return < 0 {
			op.Return = h.now()
		}
	}
}

// TestLinearizable records what clients do and see while the broker's power is cut again and again, and has porcupine
// check that there is an order of it all in which each queue is a log.
func TestLinearizable(t *testing.T) {
	t.Parallel()
	n := seed(t)
	rng := rand.New(rand.NewPCG(n, 3))
	rounds, ops := 1, linearShort
	if n := number(t, envKills, 3); n >= longRun {
		rounds, ops = n/3, linearOps
	}
	total, unknowns, kills := 0, 0, 0
	var last []porcupine.Operation
	for round := range rounds {
		h := newHost(t, "varve-powercut", "--flush", "sync")
		p := h.Start()
		createTopic(t, p, linearTopic, linearQueues)
		hist := &history{began: time.Now()}
		for hist.len() < ops*linearQueues && !t.Failed() {
			life(t, h, hist, rng)
			kills++
			h.Start()
			hist.settle()
		}
		ctx, cancel := context.WithTimeout(t.Context(), stepTimeout)
		r := readerOf(t, h.Running())
		for q := range linearQueues {
			if !readOnce(ctx, r, hist, 0, q) {
				t.Errorf("queue %d cannot be read", q)
			}
		}
		cancel()
		_ = r.Close()
		h.Kill()
		last = hist.ops
		total += len(last)
		for _, op := range last {
			if op.Output.(output).unknown {
				unknowns++
			}
		}
		if got := porcupine.CheckOperationsTimeout(model(), last, checkTimeout); got != porcupine.Ok {
			t.Errorf("histories of round %d: %s", round, got)
		}
	}
	t.Logf("%d histories with %d operations, %d of them of unknown outcome, and %d kills", rounds*linearQueues, total, unknowns, kills)
	if t.Failed() {
		return
	}
	for _, name := range []string{"exchanged offsets", "lost append", "stale read", "content changed", "phantom"} {
		if got := porcupine.CheckOperationsTimeout(model(), plant(t, name, last), checkTimeout); got != porcupine.Illegal {
			t.Errorf("a history with a planted fault (%s): %s", name, got)
		}
	}
}

// life lets clients work until the broker is killed.
func life(t *testing.T, h *brokertest.Host, hist *history, rng *rand.Rand) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), stepTimeout)
	defer cancel()
	p := h.Running()
	var wg sync.WaitGroup
	id := 0
	for q := range linearQueues {
		for range linearWriters {
			producer, client := producerOf(t, p), id
			id++
			defer func() { _ = producer.Close() }()
			wg.Go(func() { appendUntilKilled(ctx, producer, hist, client, q) })
		}
		for range linearReaders {
			r, client, pause := readerOf(t, p), id, time.Duration(5+rng.IntN(20))*time.Millisecond
			id++
			defer func() { _ = r.Close() }()
			wg.Go(func() {
				for readOnce(ctx, r, hist, client, q) {
					time.Sleep(pause)
				}
			})
		}
	}
	for end := hist.len() + 20 + rng.IntN(1500); hist.len() < end && ctx.Err() == nil; {
		time.Sleep(time.Millisecond)
	}
	if ctx.Err() != nil {
		t.Errorf("too few operations within %v", stepTimeout)
	}
	h.Kill()
	cancel()
	wg.Wait()
}

func appendUntilKilled(ctx context.Context, p *client.Producer, hist *history, id, queue int) {
	for n := 0; ; n++ {
		in := input{queue: queue, body: fmt.Sprintf("%d/%d/%d", hist.now(), id, n)}
		call := hist.now()
		r, err := p.Send(ctx, &client.Message{Topic: linearTopic, Queue: &client.Queue{ID: queue}, Body: []byte(in.body)})
		switch {
		case client.OutcomeUnknown(err):
			hist.add(porcupine.Operation{ClientId: id, Input: in, Call: call, Output: output{unknown: true}, Return: -1})
			return
		case err == nil:
			hist.add(porcupine.Operation{ClientId: id, Input: in, Call: call, Output: output{offset: r.Offset}, Return: hist.now()})
		case ctx.Err() != nil:
			return
		}
	}
}

// readOnce reads a queue from its beginning to its end. It reports whether that was possible.
func readOnce(ctx context.Context, r *client.Reader, hist *history, id, queue int) bool {
	var l log
	call := hist.now()
	err := readAll(ctx, r, linearTopic, queue, 0, func(m *client.MessageExt) {
		if m.Offset != l.tail {
			l.hash = 0 // no log has that
		}
		l = l.plus(string(m.Body))
	})
	if err != nil {
		return false
	}
	hist.add(porcupine.Operation{ClientId: id, Input: input{queue: queue}, Call: call, Output: output{read: l}, Return: hist.now()})
	return true
}

// plant returns the history with a fault.
func plant(t *testing.T, name string, ops []porcupine.Operation) []porcupine.Operation {
	t.Helper()
	ops = slices.Clone(ops)
	isRead := func(op porcupine.Operation) bool { return op.Input.(input).body == "" }
	pick := func(fits func(porcupine.Operation) bool) int {
		for i := len(ops) / 2; i < len(ops); i++ {
			if fits(ops[i]) {
				return i
			}
		}
		t.Fatalf("%s: no operation to change", name)
		return 0
	}
	first := pick(func(op porcupine.Operation) bool { return !isRead(op) && !op.Output.(output).unknown })
	queue := ops[first].Input.(input).queue
	switch name {
	case "exchanged offsets":
		second := pick(func(op porcupine.Operation) bool {
			return !isRead(op) && !op.Output.(output).unknown && op.Input.(input).queue == queue && op.Call > ops[first].Return
		})
		ops[first].Output, ops[second].Output = ops[second].Output, ops[first].Output
	case "lost append":
		ops[first].Output = output{offset: ops[first].Output.(output).offset + 1}
	case "stale read": // an old read's result is given to a read after a later append
		old := pick(func(op porcupine.Operation) bool { return isRead(op) && op.Input.(input).queue == queue })
		later := len(ops) - linearQueues + queue // the last read of the queue
		ops[later].Output = ops[old].Output
	case "content changed":
		r := pick(isRead)
		l := ops[r].Output.(output).read
		ops[r].Output = output{read: log{tail: l.tail, hash: l.hash + 1}}
	case "phantom":
		r := pick(isRead)
		l := ops[r].Output.(output).read
		ops[r].Output = output{read: l.plus("nobody sent this")}
	}
	return ops
}
