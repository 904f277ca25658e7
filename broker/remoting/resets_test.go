package remoting

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/varvemq/varve/metadata"
)

// set records a reset of a group with one live consumer, "a".
func (r *pendingResets) set(group string, ordinal uint32, offset int64) {
	a := []string{"a"}
	r.settle(r.begin(group, map[uint32]int64{ordinal: offset}, a), a)
}

func TestPendingResets(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newPendingResets()
		if _, ok := r.take("g", 1); ok || !r.mayCommit("g", 1, 5, "a") {
			t.Error("something is pending from the start")
		}
		r.set("g", 1, 3)
		if r.mayCommit("g", 1, 9, "a") || r.mayCommit("g", 1, 3, "a") || !r.mayCommit("g", 2, 9, "a") || !r.mayCommit("h", 1, 9, "a") {
			t.Error("commits before anybody was told")
		}
		if r.mayCommit("g", 1, 9, "") || !r.mayCommit("g", 1, 9, "b") {
			t.Error("commits of a stranger, and of one that came after the reset")
		}
		if off, ok := r.take("g", 1); !ok || off != 3 {
			t.Errorf("told %d, %v", off, ok)
		}
		if _, ok := r.take("g", 1); ok {
			t.Error("told twice")
		}
		if r.mayCommit("g", 1, 9, "a") || r.mayCommit("g", 1, 9, "") || !r.mayCommit("g", 1, 9, "b") {
			t.Error("commits within the grace")
		}
		time.Sleep(resetGrace)
		if !r.mayCommit("g", 1, 9, "a") || r.count.Load() != 0 {
			t.Error("a consumer that never acknowledged the reset is refused for ever")
		}
		r.set("g", 1, 3)
		r.announce("g", 1, 8, "a") // what it has read is of before
		if r.mayCommit("g", 1, 9, "a") {
			t.Error("a consumer that has not read the new offset may commit")
		}
		r.announce("g", 1, 3, "a")
		if !r.mayCommit("g", 1, 4, "a") || !r.mayCommit("g", 1, 3, "a") || r.count.Load() != 0 {
			t.Error("a consumer that has read the new offset may not commit")
		}
		r.set("g", 1, 3)
		r.set("h", 7, 4)
		r.forgetGroup("g")
		r.forgetQueues([]metadata.OrdinalRange{{First: 5, Count: 2}})
		if r.count.Load() != 1 {
			t.Errorf("%d resets are pending, want 1", r.count.Load())
		}
		r.forgetQueues([]metadata.OrdinalRange{{First: 5, Count: 3}})
		if r.count.Load() != 0 {
			t.Error("a reset of a deleted topic is pending")
		}
	})
}

// TestResetBeingStored: until the new offset is there, nobody can know of it.
func TestResetBeingStored(t *testing.T) {
	t.Parallel()
	r := newPendingResets()
	begun := r.begin("g", map[uint32]int64{1: 3}, nil)
	r.announce("g", 1, 3, "a")
	if r.mayCommit("g", 1, 9, "a") || r.mayCommit("g", 1, 3, "") {
		t.Error("a commit while the reset is stored")
	}
	r.settle(begun, []string{"a"}) // came meanwhile
	if r.mayCommit("g", 1, 9, "a") || !r.mayCommit("g", 1, 9, "b") {
		t.Error("commits after a reset that a consumer came into")
	}
	again := r.begin("g", map[uint32]int64{1: 5}, nil)
	r.settle(begun, nil) // late, of before
	if off, ok := r.take("g", 1); !ok || off != 5 {
		t.Errorf("told %d, %v", off, ok)
	}
	r.settle(again, nil)
	if !r.mayCommit("g", 1, 9, "") || r.count.Load() != 0 {
		t.Error("a reset without consumers is pending")
	}
}

// TestResetsAreDropped: none stays for ever, whatever becomes of the consumers.
func TestResetsAreDropped(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newPendingResets()
		members := []string{"a"}
		sweepFor := func(d time.Duration) {
			for range d / resetSweep {
				time.Sleep(resetSweep)
				r.sweep(func(string) []string { return members })
			}
		}
		r.set("g", 1, 3)
		sweepFor(time.Hour)
		if r.mayCommit("g", 1, 9, "a") {
			t.Error("a consumer that lives and has not asked was not waited for")
		}
		members = []string{"b"}
		sweepFor(resetPatience - resetSweep)
		if r.count.Load() != 1 {
			t.Error("a consumer whose connection broke was not waited for")
		}
		sweepFor(2 * resetSweep)
		if r.count.Load() != 0 {
			t.Error("the reset stays though its consumers have gone")
		}
		members = []string{"a"}
		r.set("g", 1, 3)
		r.take("g", 1)
		sweepFor(resetGrace)
		if r.count.Load() != 0 {
			t.Error("the reset stays though a consumer was told")
		}
	})
}
