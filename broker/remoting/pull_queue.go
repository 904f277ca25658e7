package remoting

import (
	"context"
	"sync"

	"golang.org/x/sync/errgroup"
)

// pullQueue works off pulls with a fixed number of goroutines. Its list takes any number of pulls without memory of its own, so that
// the log's delivery goroutine never blocks when it wakes waiters.
type pullQueue struct {
	workers int
	cold    bool // its pulls may wait for object storage

	mu         sync.Mutex // guards the list
	ready      sync.Cond
	head, tail *pull
	closed     bool
}

// coldWorkers bounds the pulls that wait for object storage at a time.
const coldWorkers = 16

func newPullQueue(workers int) *pullQueue {
	p := &pullQueue{workers: workers}
	p.ready.L = &p.mu
	return p
}

func (pp *pullQueue) push(p *pull) {
	p.next = nil
	pp.mu.Lock()
	if pp.tail == nil {
		pp.head = p
	} else {
		pp.tail.next = p
	}
	pp.tail = p
	pp.mu.Unlock()
	pp.ready.Signal()
}

// pop blocks until there is a pull; nil means that the pool is closed.
func (pp *pullQueue) pop() *pull {
	pp.mu.Lock()
	defer pp.mu.Unlock()
	for pp.head == nil {
		if pp.closed {
			return nil
		}
		pp.ready.Wait()
	}
	p := pp.head
	if pp.head = p.next; pp.head == nil {
		pp.tail = nil
	}
	p.next = nil
	return p
}

func (pp *pullQueue) run(ctx context.Context) error {
	var g errgroup.Group
	for range pp.workers {
		g.Go(func() error {
			var buf []byte
			for {
				p := pp.pop()
				if p == nil {
					return nil
				}
				if buf = p.work(ctx, pp.cold, buf); cap(buf) > pullBufferKeep {
					buf = nil
				}
			}
		})
	}
	<-ctx.Done()
	pp.mu.Lock()
	pp.closed = true
	pp.mu.Unlock()
	pp.ready.Broadcast()
	return g.Wait()
}

// connPulls are the pulls of one connection.
type connPulls struct {
	mu       sync.Mutex // guards the fields below
	all      *pull      // every pull that is not answered
	n        int
	deferred *pull // wait for the peer to read
	ended    bool
}

// add takes a new pull in; false if there are too many.
func (cp *connPulls) add(p *pull) bool {
	cp.mu.Lock()
	defer cp.mu.Unlock()
	if cp.n >= maxHeldPulls || cp.ended {
		return false
	}
	p.heldPrev, p.heldNx = nil, cp.all
	if cp.all != nil {
		cp.all.heldPrev = p
	}
	cp.all = p
	cp.n++
	return true
}

func (cp *connPulls) remove(p *pull) {
	cp.mu.Lock()
	defer cp.mu.Unlock()
	if p.heldPrev != nil {
		p.heldPrev.heldNx = p.heldNx
	} else if cp.all == p {
		cp.all = p.heldNx
	}
	if p.heldNx != nil {
		p.heldNx.heldPrev = p.heldPrev
	}
	p.heldPrev, p.heldNx = nil, nil
	cp.n--
}

// ofGroup says whether a pull of a group is among them.
func (cp *connPulls) ofGroup(group string) bool {
	cp.mu.Lock()
	defer cp.mu.Unlock()
	for p := cp.all; p != nil; p = p.heldNx {
		if p.group == group {
			return true
		}
	}
	return false
}

func (cp *connPulls) closed() bool {
	cp.mu.Lock()
	defer cp.mu.Unlock()
	return cp.ended
}

// deferUntilRoom parks a pull until the connection's writer has caught up; false if the connection has ended.
func (cp *connPulls) deferUntilRoom(p *pull) bool {
	cp.mu.Lock()
	defer cp.mu.Unlock()
	if cp.ended {
		return false
	}
	p.next = cp.deferred
	cp.deferred = p
	return true
}

// resumePulls hands the parked pulls to the workers again. The writer calls it after each write.
func (c *conn) resumePulls() {
	c.pulls.mu.Lock()
	list := c.pulls.deferred
	if list == nil {
		c.pulls.mu.Unlock()
		return
	}
	c.pulls.deferred = nil
	c.pulls.mu.Unlock()
	for list != nil {
		p := list
		list = p.next
		c.srv.pulls.push(p)
	}
}

// dropPulls ends the pulls of a connection that is closed: those that wait are taken back, those with a worker end by themselves.
func (c *conn) dropPulls() {
	c.pulls.mu.Lock()
	c.pulls.ended = true
	c.pulls.deferred = nil
	var taken []*pull
	for p := c.pulls.all; p != nil; p = p.heldNx {
		if c.srv.deps.Log.Cancel(&p.waiter) {
			taken = append(taken, p)
		}
	}
	c.pulls.mu.Unlock()
	for _, p := range taken {
		p.done()
	}
}
