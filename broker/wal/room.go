package wal

import (
	"context"
	"sync"
)

// room bounds the bytes that are reserved or appended and not yet written. Who waits is served in order.
type room struct {
	mu       sync.Mutex
	max      int64
	reserved int64     // guarded by mu
	pending  int64     // appended and not written; guarded by mu
	queue    []*waiter // guarded by mu
	err      error     // why nobody gets room any more; guarded by mu
}

type waiter struct {
	n     int64
	ready chan error
}

func (r *room) fitsLocked(n int64) bool {
	return r.reserved+r.pending == 0 || r.reserved+r.pending+n <= r.max
}

// reserve takes n bytes. admit, called under the lock with the bytes reserved so far, may refuse.
func (r *room) reserve(ctx context.Context, n int64, admit func(reserved int64) error) error {
	r.mu.Lock()
	if r.err != nil {
		defer r.mu.Unlock()
		return r.err
	}
	if err := admit(r.reserved + n); err != nil {
		r.mu.Unlock()
		return err
	}
	if len(r.queue) == 0 && r.fitsLocked(n) {
		r.reserved += n
		r.mu.Unlock()
		return nil
	}
	w := &waiter{n: n, ready: make(chan error, 1)}
	r.queue = append(r.queue, w)
	r.mu.Unlock()
	select {
	case err := <-w.ready:
		return err
	case <-ctx.Done():
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for i, q := range r.queue {
		if q == w {
			r.queue = append(r.queue[:i], r.queue[i+1:]...)
			r.serveLocked()
			return ctx.Err()
		}
	}
	// It was served at the same moment.
	if err := <-w.ready; err != nil {
		return err
	}
	r.reserved -= n
	r.serveLocked()
	return ctx.Err()
}

func (r *room) serveLocked() {
	for len(r.queue) > 0 && r.fitsLocked(r.queue[0].n) {
		w := r.queue[0]
		r.queue = r.queue[1:]
		r.reserved += w.n
		w.ready <- nil
	}
}

// unreserve gives back what was reserved and not appended.
func (r *room) unreserve(n int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.reserved = max(r.reserved-n, 0)
	r.serveLocked()
}

// consume turns a reservation into pending bytes.
func (r *room) consume(n int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.reserved = max(r.reserved-n, 0)
	r.pending += n
}

// release says that n pending bytes are written.
func (r *room) release(n int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.pending -= n
	r.serveLocked()
}

// fail refuses everybody from now on.
func (r *room) fail(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.err == nil {
		r.err = err
	}
	for _, w := range r.queue {
		w.ready <- r.err
	}
	r.queue = nil
}

func (r *room) usage() (reserved, pending int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.reserved, r.pending
}
