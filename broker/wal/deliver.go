package wal

import (
	"fmt"
	"time"
)

// delivery is what the committer hands to the delivery goroutine.
type delivery struct {
	group *group
	stage Stage
	err   error
	last  bool     // the group's last delivery
	full  *logFile // instead of a group: all of the file's records have been delivered
}

// deliverLoop calls the waiters, in the order of the WAL.
func (w *WAL) deliverLoop() error {
	// Close does not wait for ever on a fence that waits for ownership.
	defer w.stopFenceLater()()
	for d := range w.delivery {
		if d.full != nil {
			w.enqueueSeal(d.full)
			continue
		}
		w.deliver(d)
		if d.last {
			w.recycle(d.group)
		}
	}
	w.endSeals()
	return nil
}

func (w *WAL) deliver(d delivery) {
	g := d.group
	err := d.err
	if err == nil {
		err = w.failed()
	}
	if err == nil && g.has(d.stage) {
		if err = w.cfg.Fence(w.fenceCtx); err != nil {
			w.fail(fmt.Errorf("fence: %w", err))
			err = w.failed()
		}
	}
	for i := range g.waiters {
		e := &g.waiters[i]
		switch {
		case e.waiter == nil:
		case err != nil:
			stage := e.notify & -e.notify // the first that is still due
			waiter := e.waiter
			*e = entry{}
			waiter.Reached(stage, err)
		case e.notify&d.stage != 0:
			waiter := e.waiter
			if e.notify &^= d.stage; e.notify == 0 {
				e.waiter = nil
			}
			waiter.Reached(d.stage, nil)
		}
	}
}

func (g *group) has(stage Stage) bool {
	for i := range g.waiters {
		if g.waiters[i].notify&stage != 0 {
			return true
		}
	}
	return false
}

// recycle gives the group's room back, and its slices to the next one.
func (w *WAL) recycle(g *group) {
	if g.bytes > 0 {
		w.room.release(g.bytes)
	}
	g.reset()
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.free) < deliveryQueue {
		w.free = append(w.free, g)
	}
}

// stopFenceLater ends the fence's context some time after Close has begun; the returned function ends the waiting.
func (w *WAL) stopFenceLater() func() {
	done := make(chan struct{})
	w.workers.Go(func() error {
		select {
		case <-done:
			return nil
		case <-w.stopping:
		}
		t := time.NewTimer(closeGrace)
		defer t.Stop()
		select {
		case <-done:
		case <-t.C:
			w.fenceStop()
		}
		return nil
	})
	return func() { close(done) }
}
