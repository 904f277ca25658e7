package queue

import (
	"sync"
	"sync/atomic"
	"time"
)

// sealStall is how long the oldest record of class object may wait for a segment before sends of that class are refused.
const sealStall = 10 * time.Second

// sealQueue has the records that become visible when they are in a committed segment, in the order of the log. They are durable.
type sealQueue struct {
	mu       sync.Mutex
	list     []*pending // guarded by mu
	sealed   uint64     // LSN: all below are in segments; guarded by mu
	draining bool       // somebody is at it; guarded by mu
	closed   bool       // guarded by mu
	kick     func()     // tells the sealer that a record waits; guarded by mu

	oldest atomic.Int64 // since when the first of list waits, unix ns; 0: none does
}

// park takes a durable record in. If its segment is committed already it is published at once, behind those that are.
func (s *sealQueue) park(p *pending) {
	p.parked = time.Now()
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		p.reached(p.publish, ErrClosed)
		return
	}
	s.list = append(s.list, p)
	first := len(s.list) == 1
	if first {
		s.oldest.Store(p.parked.UnixNano())
	}
	kick := s.kick
	s.drainUnlock()
	if first && kick != nil {
		kick()
	}
}

// commit says that all records below an LSN are in segments.
func (s *sealQueue) commit(lsn uint64) {
	s.mu.Lock()
	s.sealed = max(s.sealed, lsn)
	s.drainUnlock()
}

// drainUnlock publishes what is in segments, with mu not held while it does, one goroutine at a time: so records of a queue appear in order.
func (s *sealQueue) drainUnlock() {
	if s.draining {
		s.mu.Unlock()
		return
	}
	s.draining = true
	for {
		n := 0
		for n < len(s.list) && s.list[n].at.LSN < s.sealed {
			n++
		}
		if n == 0 {
			break
		}
		ready := s.list[:n:n]
		s.list = s.list[n:]
		s.setOldestLocked()
		s.mu.Unlock()
		for _, p := range ready {
			p.reached(p.publish, nil)
		}
		s.mu.Lock()
	}
	s.draining = false
	s.mu.Unlock()
}

func (s *sealQueue) setOldestLocked() {
	if len(s.list) == 0 {
		s.list = nil
		s.oldest.Store(0)
		return
	}
	s.oldest.Store(s.list[0].parked.UnixNano())
}

// stalled reports whether the oldest record has waited for too long.
func (s *sealQueue) stalled() bool {
	at := s.oldest.Load()
	return at != 0 && time.Since(time.Unix(0, at)) > sealStall
}

// waiting reports whether a record waits for a segment.
func (s *sealQueue) waiting() bool { return s.oldest.Load() != 0 }

// kickIfWaiting tells the sealer of records that were not in the segment that it has just made.
func (s *sealQueue) kickIfWaiting() {
	s.mu.Lock()
	kick := s.kick
	s.mu.Unlock()
	if kick != nil && s.waiting() {
		kick()
	}
}

// close fails what waits: whether it is found after a restart is known to nobody who was not told before.
func (s *sealQueue) close() {
	s.mu.Lock()
	s.closed = true
	list := s.list
	s.list = nil
	s.setOldestLocked()
	s.mu.Unlock()
	for _, p := range list {
		p.reached(p.publish, ErrClosed)
	}
}
