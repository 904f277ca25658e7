package seal

import (
	"slices"
	"time"

	"github.com/varvemq/varve/metadata"
)

// Status is how sealing stands.
type Status struct {
	Head metadata.SealHead
	// Backlog is how many bytes of the log are durable and not known to be in segments.
	Backlog int64
	// Oldest is how long the oldest of them has been durable, as far as this process has seen.
	Oldest time.Duration
	// Err is what fails at present and is tried again, or what has ended sealing; nil if all is well. Step says where, and Since when it began.
	Err   error
	Step  string
	Since time.Time
}

// Status returns how sealing stands.
func (s *Sealer) Status() Status {
	durable := s.cfg.Source.Durable()
	s.observe(durable)
	s.mu.Lock()
	defer s.mu.Unlock()
	st := Status{Head: s.head}
	if durable > s.from {
		st.Backlog = int64(durable - s.from)
	}
	if oldest, some := s.seen.oldest(s.from); some {
		st.Oldest = time.Since(oldest)
	}
	for what, f := range s.failures {
		if st.Err == nil || f.since.Before(st.Since) {
			st.Err, st.Step, st.Since = f.err, string(what), f.since
		}
	}
	select {
	case <-s.dead:
		st.Err, st.Step = s.fate, ""
	default:
	}
	return st
}

// failure is a step that fails.
type failure struct {
	class class
	since time.Time
	err   error
}

// failed notes a fault that is waited out. It is logged when it is new, or of another class than the one before.
func (s *Sealer) failed(what step, c class, err error) {
	s.metrics.failed(c)
	s.mu.Lock()
	f, again := s.failures[what]
	if !again {
		f = &failure{since: time.Now()}
		s.failures[what] = f
	}
	same := f.class == c
	f.class, f.err = c, err
	s.mu.Unlock()
	if !same {
		s.cfg.Logger.Warn("sealing cannot go on; tried again", "shard", s.cfg.Shard, "step", string(what), "class", string(c), "error", err)
	}
}

// succeeded notes that a step does not fail any more.
func (s *Sealer) succeeded(what step) {
	s.mu.Lock()
	f, failing := s.failures[what]
	delete(s.failures, what)
	s.mu.Unlock()
	if failing {
		s.cfg.Logger.Info("sealing goes on", "shard", s.cfg.Shard, "step", string(what), "after", time.Since(f.since).Round(time.Millisecond))
	}
}

// sightings says when positions were first seen to be durable, in order.
type sightings []sighting

type sighting struct {
	at  time.Time
	pos uint64
}

// maxSightings bounds the sightings that are kept; of more than that every other one is forgotten.
const maxSightings = 1024

// observe notes how far the log is durable.
func (s *Sealer) observe(durable uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := len(s.seen)
	if durable <= s.from || n > 0 && durable <= s.seen[n-1].pos {
		return
	}
	if n == maxSightings {
		for i := range n / 2 { // what was seen at the first of two times was durable at it
			s.seen[i] = sighting{s.seen[2*i].at, s.seen[2*i+1].pos}
		}
		s.seen = s.seen[:n/2]
	}
	s.seen = append(s.seen, sighting{time.Now(), durable})
}

// above forgets what was seen of positions up to pos.
func (v sightings) above(pos uint64) sightings {
	return slices.DeleteFunc(v, func(s sighting) bool { return s.pos <= pos })
}

// oldest returns when something above pos was first seen.
func (v sightings) oldest(pos uint64) (time.Time, bool) {
	for _, s := range v {
		if s.pos > pos {
			return s.at, true
		}
	}
	return time.Time{}, false
}
