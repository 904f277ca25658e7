package remoting

import (
	"testing"
	"time"
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
