package group

import (
	"maps"
	"sync"
	"time"
)

const (
	// LockLease is how long a lock outlives its last renewal (RocketMQ: rocketmq.broker.rebalance.lockMaxLiveTime).
	LockLease = 60 * time.Second
	// LockTrust is how long a client goes on trusting a lock that it could not renew.
	LockTrust = 30 * time.Second
)

// QueueID names a queue in a lock request.
type QueueID struct {
	Topic string
	Queue int32
}

// Locks is the table of queue locks that orderly consumers hold. A lock is renewed by locking again. The table is memory only, and a client trusts
// a lock for [LockTrust] after it was granted: so after a start nothing is granted for that long to a group that was there before,
// since another of its members may still be consuming under a lock that this table never saw.
type Locks struct {
	clock   func() time.Time
	trusted time.Time               // before this instant a client may trust a lock that this table never saw
	existed func(group string) bool // whether the group was there before this start

	mu     sync.Mutex // guards the fields below
	groups map[string]map[QueueID]*lock
	swept  time.Time // when locks that had run out were last dropped
}

type lock struct {
	owner   string
	renewed time.Time
}

// NewLocks makes an empty table. existed says whether a group was there before this start, and so may hold locks of an earlier table.
func NewLocks(clock func() time.Time, existed func(group string) bool) *Locks {
	if clock == nil {
		clock = time.Now
	}
	return &Locks{clock: clock, trusted: clock().Add(LockTrust), existed: existed, groups: map[string]map[QueueID]*lock{}}
}

// Lock locks or renews the queues for a client and returns those that it now holds.
func (l *Locks) Lock(group, clientID string, queues []QueueID) []QueueID {
	now := l.clock()
	if now.Before(l.trusted) && l.existed(group) {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sweepLocked(now)
	table := l.groups[group]
	if table == nil {
		table = map[QueueID]*lock{}
		l.groups[group] = table
	}
	held := make([]QueueID, 0, len(queues))
	for _, q := range queues {
		k := table[q]
		switch {
		case k == nil:
			table[q] = &lock{owner: clientID, renewed: now}
		case k.owner == clientID:
			k.renewed = now
		case now.Sub(k.renewed) >= LockLease:
			k.owner, k.renewed = clientID, now
		default:
			continue
		}
		held = append(held, q)
	}
	return held
}

// sweepLocked drops, once per lease, the locks that have run out: of clients that died, and of topics that are gone.
func (l *Locks) sweepLocked(now time.Time) {
	if now.Sub(l.swept) < LockLease {
		return
	}
	l.swept = now
	for group, table := range l.groups {
		maps.DeleteFunc(table, func(_ QueueID, k *lock) bool { return now.Sub(k.renewed) >= LockLease })
		if len(table) == 0 {
			delete(l.groups, group)
		}
	}
}

// Unlock gives up the queues that the client holds; others are left alone.
func (l *Locks) Unlock(group, clientID string, queues []QueueID) {
	l.mu.Lock()
	defer l.mu.Unlock()
	table := l.groups[group]
	for _, q := range queues {
		if k := table[q]; k != nil && k.owner == clientID {
			delete(table, q)
		}
	}
	if len(table) == 0 {
		delete(l.groups, group)
	}
}

// Forget drops all locks of a group: it was deleted.
func (l *Locks) Forget(group string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.groups, group)
}

// Holder returns the client that holds a queue's lock.
func (l *Locks) Holder(group string, q QueueID) (clientID string, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	k := l.groups[group][q]
	if k == nil || l.clock().Sub(k.renewed) >= LockLease {
		return "", false
	}
	return k.owner, true
}
