package remoting

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/varvemq/varve/metadata"
)

func TestCounters(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 5, 1, 23, 59, 0, 0, time.Local)
	c := newCounters(func() time.Time { return now })
	for range 30 {
		c.put(10, 1000)
		now = now.Add(time.Second)
	}
	if got := c.perSecond(&c.puts, time.Minute); got < 9 || got > 11 {
		t.Errorf("%.2f messages per second, want about 10", got)
	}
	now = now.Add(40 * time.Second) // past midnight
	c.put(1, 1)
	if y, d, n := c.totals(&c.puts); y != 0 || d != 301 && d != 300 || n != 301 {
		t.Errorf("totals %d %d %d", y, d, n)
	}
	now = now.Add(24 * time.Hour)
	if y, d, n := c.totals(&c.puts); y == 0 || d != 301 || n != 301 {
		t.Errorf("totals %d %d %d a day later", y, d, n)
	}
	if got := c.perSecond(&c.puts, 10*time.Minute); got != 0 {
		t.Errorf("%.2f messages per second after a day of silence", got)
	}
}

func TestRates(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_700_000_000, 0)
	c := newCounters(func() time.Time { return now })
	if got := c.rate("a", 100); got != 0 {
		t.Errorf("first rate %.1f", got)
	}
	now = now.Add(10 * time.Second)
	if got := c.rate("a", 200); got != 10 {
		t.Errorf("rate %.1f, want 10", got)
	}
	if got := c.rate("a", 1_000_000); got != 10 {
		t.Errorf("rate %.1f right after, want 10", got)
	}
	now = now.Add(10 * time.Second)
	if got := c.rate("a", 0); got != 0 {
		t.Errorf("rate %.1f of a total that fell", got)
	}
}

func TestPendingResets(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newPendingResets()
		if _, ok := r.take("g", 1); ok || !r.mayCommit("g", 1, 5) {
			t.Error("something is pending from the start")
		}
		r.set("g", 1, 3)
		if r.mayCommit("g", 1, 9) || r.mayCommit("g", 1, 3) || !r.mayCommit("g", 2, 9) || !r.mayCommit("h", 1, 9) {
			t.Error("commits before anybody was told")
		}
		if off, ok := r.take("g", 1); !ok || off != 3 {
			t.Errorf("told %d, %v", off, ok)
		}
		if _, ok := r.take("g", 1); ok {
			t.Error("told twice")
		}
		if r.mayCommit("g", 1, 9) {
			t.Error("a commit of before the reset")
		}
		time.Sleep(resetGrace)
		if !r.mayCommit("g", 1, 9) || r.count.Load() != 0 {
			t.Error("a consumer that never acknowledged the reset is refused for ever")
		}
		r.set("g", 1, 3)
		r.announce("g", 1)
		if !r.mayCommit("g", 1, 3) || !r.mayCommit("g", 1, 4) {
			t.Error("a consumer that has read the new offset may not commit")
		}
		r.set("g", 1, 3)
		r.set("h", 7, 3)
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
