package remoting

import (
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/varvemq/varve/metadata"
)

// resetGrace is how long commits of before a reset are refused after the group's consumer was told. A consumer that hears of a reset drops its queue,
// waits ten seconds and then commits the new offset itself.
const resetGrace = 20 * time.Second

// pendingResets are the offsets that operators have set and that consumers have not heard of. The offsets themselves are stored before they come here; what a
// restart loses is only the message to consumers that are live.
type pendingResets struct {
	count atomic.Int64 // entries of table, so that the common case takes no lock

	mu    sync.Mutex // guards table
	table map[resetKey]*pendingReset
}

type resetKey struct {
	group   string
	ordinal uint32
}

type pendingReset struct {
	offset int64
	told   time.Time // zero until a consumer was told
}

func newPendingResets() *pendingResets {
	return &pendingResets{table: map[resetKey]*pendingReset{}}
}

// set records a reset.
func (r *pendingResets) set(group string, ordinal uint32, offset int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.table[resetKey{group, ordinal}] = &pendingReset{offset: offset}
	r.count.Store(int64(len(r.table)))
}

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

// announce records that a consumer has read the new offset by itself: it need not be told.
func (r *pendingResets) announce(group string, ordinal uint32) { _, _ = r.take(group, ordinal) }

// mayCommit says whether a commit is of after the last reset. The commit of the new offset itself ends the reset.
func (r *pendingResets) mayCommit(group string, ordinal uint32, offset int64) bool {
	if r.count.Load() == 0 {
		return true
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	key := resetKey{group, ordinal}
	p := r.table[key]
	switch {
	case p == nil:
		return true
	case p.told.IsZero(), p.offset != offset && time.Since(p.told) < resetGrace:
		return false
	}
	delete(r.table, key)
	r.count.Store(int64(len(r.table)))
	return true
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
	r.count.Store(int64(len(r.table)))
}
