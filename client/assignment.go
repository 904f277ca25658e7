package client

import (
	"context"
	"errors"
	"sync"
	"time"
)

// assignment is a queue that this member consumes: what was fetched of it, what
// was handled, and what may be committed.
type assignment struct {
	c      *PushConsumer
	sub    *subscription
	queue  Queue
	cancel context.CancelFunc // ends fetching
	ended  chan struct{}      // closed when fetching has ended
	wake   chan struct{}      // has an element if there may be room

	mu sync.Mutex
	// All are guarded by mu.
	pending   []*slot // fetched, in order; the first is not handled
	next      int64   // where to fetch next
	located   bool    // next is valid
	bytes     int     // of pending messages that are not handled
	committed int64   // as the broker knows it, -1 if unknown
	era       int     // grows when the offset is moved; older slots do not count
	abort     context.CancelFunc
	dropped   bool
	running   int           // handlers at work
	quiet     chan struct{} // closed when dropped and running is zero
	lockUntil time.Time     // orderly only
	giveUp    context.CancelFunc
	handling  context.Context //nolint:containedctx // of the handlers of this queue; release ends it
}

// slot is a fetched message.
type slot struct {
	offset  int64
	bytes   int
	era     int
	handled bool
}

func newAssignment(c *PushConsumer, sub *subscription, q Queue) *assignment {
	return &assignment{
		c: c, sub: sub, queue: q, committed: -1, ended: make(chan struct{}),
		wake: make(chan struct{}, 1), quiet: make(chan struct{}), lockUntil: time.Now().Add(lockValid),
	}
}

// start begins to fetch. Handlers outlive ctx.
func (a *assignment) start(ctx, after context.Context) {
	ctx, a.cancel = context.WithCancel(ctx)
	a.handling, a.giveUp = context.WithCancel(after)
	started := a.c.core.life.run(func(context.Context) {
		defer close(a.ended)
		a.loop(ctx)
	})
	if !started {
		close(a.ended)
	}
}

// loop fetches until ctx ends.
func (a *assignment) loop(ctx context.Context) {
	pause := minBackoff
	for ctx.Err() == nil {
		err := a.step(ctx)
		if err == nil {
			pause = minBackoff
			continue
		}
		if ctx.Err() != nil {
			return
		}
		a.c.core.cfg.logger.Warn("fetch again", "group", a.c.group, "topic", a.sub.topic, "queue", a.queue.ID, "error", err)
		a.c.core.routes.invalidate(a.sub.topic)
		sleep(ctx, pause)
		pause = min(2*pause, maxBackoff)
	}
}

// step locates the queue's start, or fetches once and hands over what came.
func (a *assignment) step(ctx context.Context) error {
	if err := a.locate(ctx); err != nil {
		return err
	}
	if err := a.space(ctx); err != nil {
		return err
	}
	got, era, err := a.fetch(ctx)
	if err != nil {
		return err
	}
	if got == nil {
		return nil // the offset was moved meanwhile
	}
	if got.moved {
		a.c.core.cfg.logger.Warn("offset moved by broker", "group", a.c.group, "topic", a.sub.topic,
			"queue", a.queue.ID, "next", got.next)
		a.moveTo(got.next)
		return a.commit(ctx)
	}
	slots := a.track(got, era)
	if a.c.cfg.orderly {
		return a.handleInOrder(ctx, got.messages, slots)
	}
	for i, m := range got.messages {
		select {
		case a.c.jobs <- job{a: a, m: m, slot: slots[i]}:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// locate finds out where to begin.
func (a *assignment) locate(ctx context.Context) error {
	a.mu.Lock()
	located := a.located
	a.mu.Unlock()
	if located {
		return nil
	}
	offset, known, err := a.begin(ctx)
	if err != nil {
		return err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.located {
		a.next, a.located = offset, true
		if known {
			a.committed = offset
		}
	}
	return nil
}

// begin returns the group's progress, or where it is to begin without any.
func (a *assignment) begin(ctx context.Context) (offset int64, known bool, err error) {
	c := a.c
	from := c.beginAt(a.sub.topic, a.queue)
	if c.cfg.broadcasting {
		if offset, ok := c.local.get(a.sub.topic, a.queue); ok {
			return offset, true, nil
		}
	} else {
		// With zero a broker would send a new group to the first message of a young topic, wherever it wants to begin.
		offset, err = c.core.committed(ctx, c.group, a.sub.topic, a.queue, from.kind == atFirst)
		if err == nil {
			return offset, true, nil
		}
		if codeOf(err) != CodeQueryNotFound {
			return 0, false, err
		}
	}
	offset, err = c.core.locate(ctx, a.sub.topic, a.queue, from)
	return offset, false, err
}

// fetch pulls once. It returns nil if the offset was moved meanwhile.
func (a *assignment) fetch(ctx context.Context) (*pulled, int, error) {
	route, err := a.c.core.routes.get(ctx, a.sub.topic)
	if err != nil {
		return nil, 0, err
	}
	addr, err := route.addr(a.queue)
	if err != nil {
		return nil, 0, err
	}
	pullCtx, abort := context.WithCancel(ctx)
	defer abort()
	cfg := a.c.cfg
	a.mu.Lock()
	era, next := a.era, a.next
	a.abort = abort
	a.mu.Unlock()
	got, err := a.c.core.pull(pullCtx, addr, &pullRequest{
		group: a.c.group, sub: a.sub, queue: a.queue, offset: next,
		max: min(cfg.pullBatch, cfg.bufferMessages), maxBytes: min(cfg.pullBytes, cfg.bufferBytes), suspend: cfg.suspend,
	})
	a.mu.Lock()
	moved := a.era != era
	a.mu.Unlock()
	if moved {
		return nil, era, nil // the answer, or its failure, no longer matters
	}
	return got, era, err
}

// track records what was fetched.
func (a *assignment) track(got *pulled, era int) []*slot {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.era == era {
		a.next = got.next
	}
	slots := make([]*slot, len(got.messages))
	for i, m := range got.messages {
		s := &slot{offset: m.Offset, bytes: len(m.Body), era: era}
		slots[i] = s
		if a.era == era {
			a.pending = append(a.pending, s)
			a.bytes += s.bytes
		}
	}
	return slots
}

// space waits until less than the buffer's size is waiting.
func (a *assignment) space(ctx context.Context) error {
	for {
		a.mu.Lock()
		full := len(a.pending) >= a.c.cfg.bufferMessages || a.bytes >= a.c.cfg.bufferBytes
		a.mu.Unlock()
		if !full {
			return nil
		}
		select {
		case <-a.wake:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// moveTo forgets what was fetched and goes on at another offset.
func (a *assignment) moveTo(offset int64) {
	a.mu.Lock()
	a.era++
	a.pending, a.bytes = nil, 0
	a.next, a.located, a.committed = offset, true, -1
	abort := a.abort
	a.mu.Unlock()
	if abort != nil {
		abort()
	}
	a.signal()
}

func (a *assignment) signal() {
	select {
	case a.wake <- struct{}{}:
	default:
	}
}

// enter counts a handler. It reports false if the message is not to be handled
// any more.
func (a *assignment) enter(s *slot) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.dropped || s.era != a.era {
		return false
	}
	a.running++
	return true
}

// exit undoes enter.
func (a *assignment) exit() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.running--
	a.quietLocked()
}

func (a *assignment) quietLocked() {
	if a.dropped && a.running == 0 {
		select {
		case <-a.quiet:
		default:
			close(a.quiet)
		}
	}
}

// handled marks a message as done with.
func (a *assignment) handled(s *slot) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if s.handled || s.era != a.era {
		return
	}
	s.handled = true
	a.bytes -= s.bytes
	n := 0
	for n < len(a.pending) && a.pending[n].handled {
		n++
	}
	clear(a.pending[:n])
	a.pending = a.pending[n:]
	a.signal()
}

// commit tells the broker how far the group is, if that has changed.
func (a *assignment) commit(ctx context.Context) error {
	a.mu.Lock()
	offset, era := a.next, a.era
	if len(a.pending) > 0 {
		offset = a.pending[0].offset
	}
	same := !a.located || offset == a.committed
	a.mu.Unlock()
	if same {
		return nil
	}
	if a.c.cfg.broadcasting {
		a.c.local.set(a.sub.topic, a.queue, offset)
	} else if err := a.c.core.commit(ctx, a.c.group, a.sub.topic, a.queue, offset); err != nil {
		return err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.era == era {
		a.committed = offset
	}
	return nil
}

// release stops fetching, waits for the running handlers, commits, and unlocks.
func (a *assignment) release(ctx context.Context) {
	cfg := a.c.cfg
	a.mu.Lock()
	a.dropped = true
	a.quietLocked()
	a.mu.Unlock()
	a.cancel()
	patience := time.NewTimer(cfg.shutdownTimeout)
	defer patience.Stop()
	select {
	case <-a.quiet:
	case <-patience.C:
		a.c.core.cfg.logger.Warn("handler given up", "group", a.c.group, "topic", a.sub.topic, "queue", a.queue.ID)
	}
	a.giveUp()
	<-a.ended
	for pause := 100 * time.Millisecond; ; pause *= 2 {
		err := a.commit(ctx)
		if err == nil {
			break
		}
		if pause > time.Second || !Retriable(err) || errors.Is(err, ErrNoRoute) {
			a.c.core.cfg.logger.Warn("progress not committed", "group", a.c.group, "topic", a.sub.topic,
				"queue", a.queue.ID, "error", err)
			break
		}
		time.Sleep(pause)
	}
	if cfg.orderly {
		a.c.unlock(ctx, topicQueue{a.sub.topic, a.queue})
	}
}
