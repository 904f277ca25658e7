package remoting

import (
	"sync"
	"sync/atomic"
	"time"
)

const (
	windowSlot  = 10 * time.Second
	windowSlots = 64 // a little more than ten minutes
	// maxRates bounds the topics and groups whose rates are remembered.
	maxRates = 16384
	// rateMinSpan: two looks closer together than this give the same rate.
	rateMinSpan = time.Second
)

// counters counts what producers have sent and consumers were given since the start of the process, as the runtime information shows it.
// Nothing depends on them.
type counters struct {
	clock    func() time.Time
	started  time.Time
	puts     traffic
	gets     traffic
	midnight atomic.Int64 // unix seconds: when the next day begins, local time

	mu    sync.Mutex // guards rates and the days' beginnings in puts and gets
	rates map[string]*rateSample
}

// traffic is one direction.
type traffic struct {
	messages, bytes  atomic.Int64
	window           [windowSlots]slot
	today, yesterday int64 // messages when the day began
}

// slot counts the messages of ten seconds. A count that races with the slot's reuse may be lost.
type slot struct{ epoch, n atomic.Int64 }

type rateSample struct {
	at    time.Time
	total int64
	rate  float64
}

func newCounters(clock func() time.Time) *counters {
	now := clock()
	c := &counters{clock: clock, started: now, rates: map[string]*rateSample{}}
	c.midnight.Store(nextMidnight(now))
	return c
}

func nextMidnight(t time.Time) int64 {
	return time.Date(t.Year(), t.Month(), t.Day()+1, 0, 0, 0, 0, t.Location()).Unix()
}

// put counts messages that were stored.
func (c *counters) put(messages, bytes int) { c.add(&c.puts, messages, bytes) }

// get counts messages that were handed to a consumer.
func (c *counters) get(messages, bytes int) { c.add(&c.gets, messages, bytes) }

func (c *counters) add(t *traffic, messages, bytes int) {
	now := c.clock()
	c.turnDay(now)
	t.messages.Add(int64(messages))
	t.bytes.Add(int64(bytes))
	epoch := now.Unix() / int64(windowSlot/time.Second)
	s := &t.window[epoch%windowSlots]
	if old := s.epoch.Load(); old != epoch && s.epoch.CompareAndSwap(old, epoch) {
		s.n.Store(0)
	}
	s.n.Add(int64(messages))
}

// turnDay notes the totals at the first look after midnight.
func (c *counters) turnDay(now time.Time) {
	if now.Unix() < c.midnight.Load() {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if now.Unix() < c.midnight.Load() {
		return
	}
	for _, t := range []*traffic{&c.puts, &c.gets} {
		t.yesterday, t.today = t.today, t.messages.Load()
	}
	c.midnight.Store(nextMidnight(now))
}

// perSecond returns the messages per second over the last span, or since the start if that is shorter.
func (c *counters) perSecond(t *traffic, span time.Duration) float64 {
	now := c.clock()
	first := now.Add(-span).Unix()/int64(windowSlot/time.Second) + 1
	last := now.Unix() / int64(windowSlot/time.Second)
	var n int64
	for i := range t.window {
		if e := t.window[i].epoch.Load(); e >= first && e <= last {
			n += t.window[i].n.Load()
		}
	}
	covered := now.Sub(time.Unix(first*int64(windowSlot/time.Second), 0))
	covered = max(min(covered, now.Sub(c.started)), time.Second)
	return float64(n) / covered.Seconds()
}

// totals are the messages of one direction: at the last but one midnight, at the last, and now.
func (c *counters) totals(t *traffic) (yesterday, today, now int64) {
	c.turnDay(c.clock())
	c.mu.Lock()
	defer c.mu.Unlock()
	return t.yesterday, t.today, t.messages.Load()
}

// rate returns how fast a total grows, from this look at it and the one before. The first look gives zero: per topic nothing is counted as
// messages pass, what is asked for is derived from the queues' offsets.
func (c *counters) rate(key string, total int64) float64 {
	now := c.clock()
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.rates[key]
	switch {
	case s == nil:
		if len(c.rates) >= maxRates {
			clear(c.rates)
		}
		c.rates[key] = &rateSample{at: now, total: total}
		return 0
	case now.Sub(s.at) < rateMinSpan:
		return s.rate
	}
	s.rate = max(0, float64(total-s.total)/now.Sub(s.at).Seconds())
	s.at, s.total = now, total
	return s.rate
}
