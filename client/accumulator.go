package client

import (
	"context"
	"sync"
	"time"

	"github.com/varvemq/varve/internal/message"
)

// accumulator gathers the messages of SendAsync in batches. Each lane (a topic,
// or a queue of one) has a few batches in flight at most; what comes meanwhile
// fills the next batch. It bounds what is in flight in all.
type accumulator struct {
	p        *Producer
	ids      *message.IDGenerator // nil: batches carry no ids
	finished chan *batch          // to the goroutine that calls the functions
	workers  sync.WaitGroup
	caller   sync.WaitGroup

	mu sync.Mutex
	// All are guarded by mu.
	lanes    map[laneKey]*lane
	last     *lane // the lane used last
	messages int   // in flight
	bytes    int   // in flight
	room     chan struct{}
	epoch    *epoch // the one that new messages belong to
	epochs   []*epoch
	closed   bool
}

// laneKey is what the messages of a batch have in common.
type laneKey struct {
	topic  string
	pin    pin // with the key resolved to a queue
	noWait bool
}

// lane is a sequence of batches. Its fields are guarded by accumulator.mu.
type lane struct {
	key  laneKey
	open *batch   // being filled, nil if there is none
	full []*batch // filled, waiting for their turn
	busy int      // batches in flight
	max  int      // of busy
}

// epoch counts the messages taken between two calls of flush.
type epoch struct {
	left   int
	sealed bool
	done   chan struct{}
}

func newAccumulator(p *Producer) *accumulator {
	a := &accumulator{p: p, finished: make(chan *batch, 256), lanes: make(map[laneKey]*lane)}
	if p.cfg.batchIDs {
		a.ids = p.core.ids
	}
	a.newEpochLocked()
	a.caller.Go(a.callLoop)
	return a
}

func (a *accumulator) newEpochLocked() {
	a.epoch = &epoch{done: make(chan struct{})}
	a.epochs = append(a.epochs, a.epoch)
}

// add takes a checked message.
func (a *accumulator) add(ctx context.Context, m *Message, done func(SendResult, error)) error {
	key := laneKey{topic: m.Topic, noWait: m.NoWait}
	var err error
	if key.pin, err = a.place(ctx, m); err != nil {
		return err
	}
	size := messageSize(m)
	a.mu.Lock()
	defer a.mu.Unlock()
	if err := a.roomLocked(ctx, size); err != nil {
		return err
	}
	if m.DelayLevel != 0 || !m.DeliverAt.IsZero() {
		return a.addAloneLocked(m, done)
	}
	l := a.laneLocked(key)
	if l.open != nil && (len(l.open.buf)+size > a.p.cfg.batchBytes || len(l.open.done) >= a.p.cfg.batchMessages) {
		l.full = append(l.full, l.open)
		l.open = nil
	}
	b := l.open
	if b == nil {
		b = newBatch(time.Now())
	}
	was := len(b.buf)
	if b.buf, b.ids, err = appendItem(b.buf, b.ids, m, a.ids, b.born); err != nil {
		if l.open == nil {
			b.recycle()
			a.dropIdleLocked(l)
		}
		return err
	}
	l.open = b
	a.takeLocked(b, len(b.buf)-was, done)
	if l.busy < l.max {
		a.startLocked(l)
	}
	return nil
}

// place resolves the message's queue, asking for the topic's route if it has to.
func (a *accumulator) place(ctx context.Context, m *Message) (pin, error) {
	r := a.p.core.routes.cached(m.Topic)
	if r == nil {
		var err error
		if r, err = a.p.core.sendRoute(ctx, m.Topic); err != nil {
			return pin{}, err
		}
	}
	if m.Queue == nil && m.ShardingKey == "" {
		return pin{}, nil
	}
	q, err := a.p.sender.choose(r, &outgoing{topic: m.Topic, pin: pinOf(m)}, "")
	return pin{queue: q, exact: true}, err
}

// messageSize estimates the bytes of a message in a batch.
func messageSize(m *Message) int {
	n := itemOverhead + len(m.Body) + len(m.Tag) + len(m.ShardingKey) + 64
	for _, k := range m.Keys {
		n += len(k) + 1
	}
	for k, v := range m.Properties {
		n += len(k) + len(v) + 2
	}
	return n
}

// roomLocked waits until the message may be in flight. It unlocks meanwhile.
func (a *accumulator) roomLocked(ctx context.Context, size int) error {
	for !a.closed && (a.messages >= a.p.cfg.maxInFlightMsgs || a.messages > 0 && a.bytes+size > a.p.cfg.maxInFlightBytes) {
		if a.p.cfg.nonBlocking {
			return ErrBufferFull
		}
		if a.room == nil {
			a.room = make(chan struct{})
		}
		room := a.room
		a.mu.Unlock()
		select {
		case <-room:
			a.mu.Lock()
		case <-ctx.Done():
			a.mu.Lock()
			return ctx.Err()
		}
	}
	if a.closed {
		return ErrClosed
	}
	return nil
}

func (a *accumulator) laneLocked(key laneKey) *lane {
	if a.last != nil && a.last.key == key {
		return a.last
	}
	l := a.lanes[key]
	if l == nil {
		l = &lane{key: key, max: 1}
		if key.pin.free() {
			if l.max = a.p.cfg.batchesInFlight; a.p.cfg.batchMessages == 1 {
				l.max = a.p.cfg.maxInFlightMsgs
			}
		}
		a.lanes[key] = l
	}
	a.last = l
	return l
}

// dropIdleLocked forgets a lane with nothing in it.
func (a *accumulator) dropIdleLocked(l *lane) {
	if l.busy > 0 || l.open != nil || len(l.full) > 0 {
		return
	}
	delete(a.lanes, l.key)
	if a.last == l {
		a.last = nil
	}
}

// takeLocked counts a message that was added to b.
func (a *accumulator) takeLocked(b *batch, size int, done func(SendResult, error)) {
	b.done = append(b.done, done)
	b.size += size
	b.count(a.epoch)
	a.epoch.left++
	a.messages++
	a.bytes += size
}

// addAloneLocked sends a message that cannot be part of a batch.
func (a *accumulator) addAloneLocked(m *Message, done func(SendResult, error)) error {
	out, id, err := a.p.single(m)
	if err != nil {
		return err
	}
	b := newBatch(time.Now())
	b.buf = append(b.buf, m.Body...)
	b.ids = append(b.ids, id...)
	if out.sysFlag == 0 {
		out.body = b.buf
	}
	b.out = out
	a.takeLocked(b, len(out.body)+len(out.props), done)
	a.workers.Add(1)
	if !a.p.core.life.run(func(ctx context.Context) {
		defer a.workers.Done()
		a.send(ctx, b)
		a.finished <- b
	}) {
		a.workers.Done()
		a.settleLocked(b)
		return ErrClosed
	}
	return nil
}

// startLocked begins to send the lane's next batch.
func (a *accumulator) startLocked(l *lane) {
	b := l.nextLocked()
	l.busy++
	a.workers.Add(1)
	a.p.core.life.run(func(ctx context.Context) { // closed is set before the life ends, so it runs
		defer a.workers.Done()
		for b != nil {
			b.out = a.p.batchRequest(l.key, b)
			a.send(ctx, b)
			a.finished <- b
			a.mu.Lock()
			if b = l.nextLocked(); b == nil {
				l.busy--
				a.dropIdleLocked(l)
			}
			a.mu.Unlock()
		}
	})
}

// nextLocked takes the lane's next batch.
func (l *lane) nextLocked() *batch {
	if len(l.full) > 0 {
		b := l.full[0]
		l.full[0] = nil
		l.full = l.full[1:]
		return b
	}
	b := l.open
	l.open = nil
	return b
}

// send sends a batch and keeps the answer in it.
func (a *accumulator) send(ctx context.Context, b *batch) {
	start := time.Now()
	b.answer, b.err = a.p.sender.deliver(ctx, b.out)
	if hook := a.p.core.cfg.hooks.BatchSent; hook != nil {
		hook(b.out.topic, len(b.done), b.size, time.Since(start), b.err)
	}
}

// callLoop settles finished batches and calls the messages' functions.
func (a *accumulator) callLoop() {
	for b := range a.finished {
		a.mu.Lock()
		a.messages -= len(b.done)
		a.bytes -= b.size
		if a.room != nil {
			close(a.room)
			a.room = nil
		}
		a.mu.Unlock()
		b.call()
		a.mu.Lock()
		a.endEpochsLocked(b)
		a.mu.Unlock()
		b.recycle()
	}
}

// settleLocked undoes takeLocked.
func (a *accumulator) settleLocked(b *batch) {
	a.messages -= len(b.done)
	a.bytes -= b.size
	a.endEpochsLocked(b)
}

// endEpochsLocked counts the messages of a batch as done.
func (a *accumulator) endEpochsLocked(b *batch) {
	for _, c := range b.epochs {
		c.epoch.left -= c.n
		if c.epoch.sealed && c.epoch.left == 0 {
			close(c.epoch.done)
		}
	}
}

// flush waits for all messages taken so far.
func (a *accumulator) flush(ctx context.Context) error {
	a.mu.Lock()
	if e := a.epoch; e.left > 0 {
		e.sealed = true
		a.newEpochLocked()
	}
	var wait []*epoch
	keep := a.epochs[:0]
	for _, e := range a.epochs {
		if e.sealed && e.left == 0 {
			continue
		}
		keep = append(keep, e)
		if e.sealed {
			wait = append(wait, e)
		}
	}
	a.epochs = keep
	a.mu.Unlock()
	for _, e := range wait {
		select {
		case <-e.done:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// close refuses new messages and waits for the old ones.
func (a *accumulator) close(ctx context.Context) error {
	a.mu.Lock()
	a.closed = true
	if a.room != nil {
		close(a.room)
		a.room = nil
	}
	a.mu.Unlock()
	return a.flush(ctx)
}

// wait waits for the goroutines. Call it after the connections were closed.
func (a *accumulator) wait() {
	a.workers.Wait()
	close(a.finished)
	a.caller.Wait()
}
