package group

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

type manualClock struct{ now time.Time }

func (c *manualClock) read() time.Time { return c.now }

func (c *manualClock) add(d time.Duration) { c.now = c.now.Add(d) }

func newClock() *manualClock { return &manualClock{now: time.Unix(1_700_000_000, 0)} }

func nobody(string) bool { return false }

func TestLockLeaseAndHandOver(t *testing.T) {
	t.Parallel()
	clock := newClock()
	l := NewLocks(clock.read, nobody)
	q0, q1 := QueueID{"t", 0}, QueueID{"t", 1}

	if diff := cmp.Diff([]QueueID{q0, q1}, l.Lock("g", "a", []QueueID{q0, q1})); diff != "" {
		t.Errorf("a's locks (-want +got):\n%s", diff)
	}
	if got := l.Lock("g", "b", []QueueID{q0, q1}); len(got) != 0 {
		t.Errorf("b holds %v", got)
	}
	if got := l.Lock("other", "b", []QueueID{q0}); len(got) != 1 {
		t.Error("groups must not share locks")
	}
	l.Unlock("g", "b", []QueueID{q0}) // not b's
	l.Unlock("g", "a", []QueueID{q1})
	if got := l.Lock("g", "b", []QueueID{q0, q1}); !slices.Equal(got, []QueueID{q1}) {
		t.Errorf("b holds %v after the hand-over of queue 1", got)
	}

	clock.add(59 * time.Second)
	if got := l.Lock("g", "b", []QueueID{q0}); len(got) != 0 {
		t.Error("a's lock ended before its lease")
	}
	if owner, ok := l.Holder("g", q0); !ok || owner != "a" {
		t.Errorf("holder %q %v", owner, ok)
	}
	l.Lock("g", "a", []QueueID{q0}) // renewed
	clock.add(59 * time.Second)
	if got := l.Lock("g", "b", []QueueID{q0}); len(got) != 0 {
		t.Error("a's renewed lock ended before its lease")
	}
	clock.add(time.Second)
	if _, ok := l.Holder("g", q0); ok {
		t.Error("a lock outlived its lease")
	}
	if got := l.Lock("g", "b", []QueueID{q0}); len(got) != 1 {
		t.Error("a lock could not be taken over after its lease")
	}
	l.Forget("g")
	if _, ok := l.Holder("g", q0); ok {
		t.Error("a forgotten group holds a lock")
	}
}

// TestNoLockWhileAnOlderOneMayBeTrusted: after a start the table is empty, but a client goes on trusting what it held.
func TestNoLockWhileAnOlderOneMayBeTrusted(t *testing.T) {
	t.Parallel()
	clock := newClock()
	l := NewLocks(clock.read, func(group string) bool { return group == "old" })
	q := []QueueID{{"t", 0}}
	if len(l.Lock("old", "a", q)) != 0 {
		t.Error("a group of before the start got a lock at once")
	}
	if len(l.Lock("new", "a", q)) != 1 {
		t.Error("a new group has to wait for nothing")
	}
	clock.add(LockTrust)
	if len(l.Lock("old", "b", q)) != 1 {
		t.Error("no lock after the time for which clients trust theirs")
	}
}

func TestRunOutLocksAreDropped(t *testing.T) {
	t.Parallel()
	clock := newClock()
	l := NewLocks(clock.read, nobody)
	l.Lock("gone", "a", []QueueID{{"t", 0}, {"t", 1}})
	clock.add(LockLease)
	l.Lock("g", "a", []QueueID{{"t", 0}})
	if len(l.groups) != 1 {
		t.Errorf("%d groups are kept, want 1", len(l.groups))
	}
}

// TestLocksAgainstModel: at no time do two clients hold a queue, by the rule that a client holds it for a lease after it was last granted, unless it gave it up.
func TestLocksAgainstModel(t *testing.T) {
	t.Parallel()
	seed := uint64(time.Now().UnixNano())
	rng := rand.New(rand.NewPCG(seed, 2))
	t.Logf("seed %d", seed)
	clock := newClock()
	l := NewLocks(clock.read, nobody)
	type held struct {
		client string
		until  time.Time
	}
	want := map[QueueID]held{}
	clients := []string{"a", "b", "c"}
	for step := range 20_000 {
		client := clients[rng.IntN(len(clients))]
		var queues []QueueID
		for id := range int32(5) {
			if rng.IntN(2) == 0 {
				queues = append(queues, QueueID{"t", id})
			}
		}
		switch rng.IntN(4) {
		case 0:
			clock.add(time.Duration(rng.IntN(40)) * time.Second)
		case 1:
			l.Unlock("g", client, queues)
			for _, q := range queues {
				if want[q].client == client {
					delete(want, q)
				}
			}
		default:
			var grant []QueueID
			for _, q := range queues {
				if h, ok := want[q]; !ok || h.client == client || !clock.now.Before(h.until) {
					want[q] = held{client, clock.now.Add(LockLease)}
					grant = append(grant, q)
				}
			}
			if got := l.Lock("g", client, queues); !slices.Equal(got, grant) {
				t.Fatalf("step %d: %s was granted %v, want %v", step, client, got, grant)
			}
		}
		for id := range int32(5) {
			q := QueueID{"t", id}
			h, ok := want[q]
			ok = ok && clock.now.Before(h.until)
			owner, got := l.Holder("g", q)
			if got != ok || (ok && owner != h.client) {
				t.Fatalf("step %d: queue %d is held by %q (%v), want %q (%v)", step, id, owner, got, h.client, ok)
			}
		}
	}
}
