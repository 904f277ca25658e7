package remoting

import (
	"context"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/varvemq/varve/metadata"
)

const (
	// resetGrace is how long commits of before a reset are refused after the group's consumer was told. A consumer that hears of a reset drops its queue,
	// waits ten seconds and then commits the new offset itself.
	resetGrace = 20 * time.Second
	// resetPatience is how long a reset waits for a consumer that has gone: its connection may have broken, and its next heartbeat come after 30 s.
	resetPatience = time.Minute
	// resetSweep is how often the resets that nobody waits for any more are dropped.
	resetSweep = 10 * time.Second
)

// pendingResets are the offsets that operators have set and that consumers have not heard of. The offsets themselves are stored beside them; what a
// restart loses is only the message to consumers that are live.
type pendingResets struct {
	count atomic.Int64 // entries of table, so that the common case takes no lock

	mu    sync.Mutex // guards table and its entries
	table map[resetKey]*pendingReset
}

type resetKey struct {
	group   string
	ordinal uint32
}

type pendingReset struct {
	offset int64
	stored bool                // the offset is in the store: who reads it there knows of the reset
	before map[string]struct{} // ids of the consumers that may go on from before the reset
	seen   time.Time           // when one of them was last there
	told   time.Time           // zero until a consumer was told
}

func newPendingResets() *pendingResets {
	return &pendingResets{table: map[resetKey]*pendingReset{}}
}

// begin records resets that are about to be stored. From now on no commit of these queues is taken in.
func (r *pendingResets) begin(group string, offsets map[uint32]int64, consumers []string) map[resetKey]*pendingReset {
	r.mu.Lock()
	defer r.mu.Unlock()
	begun := make(map[resetKey]*pendingReset, len(offsets))
	for ordinal, offset := range offsets {
		p := &pendingReset{offset: offset, before: map[string]struct{}{}}
		for _, id := range consumers {
			p.before[id] = struct{}{}
		}
		begun[resetKey{group, ordinal}] = p
	}
	maps.Copy(r.table, begun)
	r.countLocked()
	return begun
}

// settle says that the offsets of begun are stored. The consumers are those of now: they, too, may have read what was there before. Where there are none,
// then or now, nobody has to be told and nobody can report what is of before the reset.
func (r *pendingResets) settle(begun map[resetKey]*pendingReset, consumers []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for key, p := range begun {
		if r.table[key] != p {
			continue // reset again meanwhile
		}
		for _, id := range consumers {
			p.before[id] = struct{}{}
		}
		p.stored, p.seen = true, time.Now()
		if len(p.before) == 0 {
			delete(r.table, key)
		}
	}
	r.countLocked()
}

func (r *pendingResets) countLocked() { r.count.Store(int64(len(r.table))) }

// take returns the offset that the next pull of a queue must be told of, once.
func (r *pendingResets) take(group string, ordinal uint32) (uint64, bool) {
	if r.count.Load() == 0 {
		return 0, false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	p := r.table[resetKey{group, ordinal}]
	if p == nil || !p.told.IsZero() {
		return 0, false
	}
	p.told = time.Now()
	return uint64(p.offset), true
}

// announce records that a consumer has read an offset by itself. If it is the new one, it need not be told and what it commits is of after the reset.
func (r *pendingResets) announce(group string, ordinal uint32, offset int64, id string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	key := resetKey{group, ordinal}
	p := r.table[key]
	if p == nil || !p.stored || p.offset != offset {
		return
	}
	if p.told.IsZero() {
		p.told = time.Now()
	}
	if delete(p.before, id); len(p.before) == 0 {
		delete(r.table, key)
		r.countLocked()
	}
}

// mayCommit says whether a commit is of after the last reset. The commit of the new offset itself ends the reset. An id that is empty is of a client that
// is not known as a consumer of the group.
func (r *pendingResets) mayCommit(group string, ordinal uint32, offset int64, id string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	key := resetKey{group, ordinal}
	p := r.table[key]
	switch {
	case p == nil:
		return true
	case !p.stored:
		return false
	case p.told.IsZero() || (p.offset != offset && time.Since(p.told) < resetGrace):
		_, before := p.before[id]
		return id != "" && !before
	}
	delete(r.table, key)
	r.countLocked()
	return true
}

// sweep drops the resets of which a consumer was told long ago, and those whose consumers have gone for good.
func (r *pendingResets) sweep(consumers func(group string) []string) {
	if r.count.Load() == 0 {
		return
	}
	groups := map[string][]string{}
	r.mu.Lock()
	for key := range r.table {
		groups[key.group] = nil
	}
	r.mu.Unlock()
	for name := range groups {
		groups[name] = consumers(name)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	for key, p := range r.table {
		ids, asked := groups[key.group]
		if !p.stored || !asked {
			continue
		}
		if slices.ContainsFunc(ids, func(id string) bool { _, ok := p.before[id]; return ok }) {
			p.seen = now
		}
		if (!p.told.IsZero() && now.Sub(p.told) >= resetGrace) || now.Sub(p.seen) >= resetPatience {
			delete(r.table, key)
		}
	}
	r.countLocked()
}

// run sweeps until ctx ends.
func (r *pendingResets) run(ctx context.Context, consumers func(group string) []string) error {
	tick := time.NewTicker(resetSweep)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			r.sweep(consumers)
		case <-ctx.Done():
			return nil
		}
	}
}

// forgetGroup drops what is pending for a group.
func (r *pendingResets) forgetGroup(group string) {
	r.forget(func(key resetKey) bool { return key.group == group })
}

// forgetQueues drops what is pending for the queues of a deleted topic.
func (r *pendingResets) forgetQueues(ordinals []metadata.OrdinalRange) {
	r.forget(func(key resetKey) bool {
		return slices.ContainsFunc(ordinals, func(o metadata.OrdinalRange) bool {
			return key.ordinal >= o.First && key.ordinal-o.First < uint32(o.Count)
		})
	})
}

func (r *pendingResets) forget(gone func(resetKey) bool) {
	if r.count.Load() == 0 {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	maps.DeleteFunc(r.table, func(key resetKey, _ *pendingReset) bool { return gone(key) })
	r.countLocked()
}
