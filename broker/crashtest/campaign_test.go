package crashtest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/varvemq/varve/broker/brokertest"
	"github.com/varvemq/varve/client"
)

const (
	mainTopic    = "crash"
	delayedTopic = "crash-delayed"
	group        = "crash-group"

	delayLevel  = 1
	delayMillis = 1000

	killAfterMin   = 50 * time.Millisecond // of traffic
	killAfterMax   = 1500 * time.Millisecond
	killAfterShort = 500 * time.Millisecond // the same in a short run
	longRun        = 10                     // kills that make a run a long one

	// commitLag is how old a confirmed offset may be and yet be lost: the second over which offsets are coalesced, and
	// the time etcd may take to write them on a machine whose processors are all busy.
	commitLag = 1200 * time.Millisecond

	stepTimeout = 60 * time.Second // for any step that waits for the broker
)

// mode is how a campaign is run.
type mode struct {
	program string
	flush   string
	rules   rules
	queues  int
	workers int
	orderly bool // the broker is not killed but stopped
	changes bool // the flush mode is another one at each start
}

// campaign is a series of kills under load, on one data directory.
type campaign struct {
	*brokertest.Host

	t      *testing.T
	mode   mode
	rng    *rand.Rand
	ledger *ledger

	ends     []cursor // of each queue after the last restart
	floor    []int64  // committed offsets that may not fall back any more, -1 if none
	tried    []int64  // the highest offset that was committed
	checked  int      // messages that the checks after the restarts have covered
	kills    int      // all
	inFlight int      // kills during which sends were under way
	delays   bool     // delayed messages are sent in this round
	starts   int      // kills while the broker started
	commits  int      // confirmed commits
	restarts duration // how long the broker took to be ready
}

// duration is a largest and a total.
type duration struct{ max, sum time.Duration }

func (d *duration) add(x time.Duration) { d.max, d.sum = max(d.max, x), d.sum+x }

func newCampaign(t *testing.T, m mode) *campaign {
	t.Helper()
	n := seed(t)
	c := &campaign{
		t: t, Host: newHost(t, m.program, "--flush", m.flush), mode: m,
		rng: rand.New(rand.NewPCG(n, 1)), ledger: newLedger(n, m.queues, m.rules),
		ends: make([]cursor, m.queues), floor: make([]int64, m.queues), tried: make([]int64, m.queues),
	}
	for q := range m.queues {
		c.floor[q] = -1
	}
	p := c.Start()
	createTopic(t, p, mainTopic, m.queues)
	createTopic(t, p, delayedTopic, 1)
	a := adminOf(t, p)
	defer func() { _ = a.Close() }()
	if err := a.CreateGroup(t.Context(), group, 0); err != nil {
		t.Fatal(err)
	}
	return c
}

// run kills the broker so many times, and checks everything at the end.
func (c *campaign) run(kills int) {
	c.t.Helper()
	last := killAfterMax
	if kills < longRun {
		last = killAfterShort
	}
	for range kills {
		c.round(killAfterMin + time.Duration(c.rng.Int64N(int64(last-killAfterMin))))
		c.change()
		c.interrupt()
		began := time.Now()
		p := c.Start()
		c.restarts.add(time.Since(began))
		c.sweep(p, c.ends)
		c.ledger.check(c.checked)
		c.checked = c.ledger.sent()
		c.checkCommitted(p)
		if c.report(); c.t.Failed() {
			return
		}
	}
	c.awaitDelayed()
	c.sweep(c.Running(), make([]cursor, c.mode.queues))
	c.ledger.check(0)
	c.report()
	t := c.ledger.tally()
	c.t.Logf("%d kills, %d with sends in flight, and %d while it started; %d requests; acknowledged %d, of these lost as the mode allows %d; outcome unknown %d, of these stored %d; refused %d; "+
		"read back %d; delayed %d; holes %d; commits of offsets %d; restart %v on average, %v at most",
		c.kills, c.inFlight, c.starts, t.requests, t.acked, t.vanished, t.unknown, t.unknownStored, t.refused,
		t.read, t.delayed, t.holes, c.commits, (c.restarts.sum / time.Duration(kills)).Round(time.Millisecond), c.restarts.max.Round(time.Millisecond))
	if 2*c.inFlight < c.kills && !c.mode.orderly {
		c.t.Errorf("only %d of %d kills had sends in flight", c.inFlight, c.kills)
	}
}

// report makes the ledger's faults those of the test.
func (c *campaign) report() {
	c.t.Helper()
	faults := c.ledger.found()
	for i, f := range faults {
		if i == 20 {
			c.t.Errorf("and %d more", len(faults)-i)
			break
		}
		c.t.Errorf("kill %d: %s", c.kills, f)
	}
}

// round is one life of the broker under load, up to its kill after so much of traffic.
func (c *campaign) round(traffic time.Duration) {
	c.t.Helper()
	ctx, cancel := context.WithCancel(c.t.Context())
	defer cancel()
	p := c.Running()
	// Every delayed message is synced, and all that was written before it: in mode async it would hide what mode async does.
	c.delays = c.mode.flush == "sync" || !c.mode.changes && c.rng.IntN(3) == 0
	var wg sync.WaitGroup
	flows := make(chan struct{}, c.mode.workers)
	lost := make(chan int, c.mode.workers)
	for i := range c.mode.workers {
		if i%4 == 0 {
			producer := producerOf(c.t, p)
			defer func() { _ = producer.Close() }()
			for range min(4, c.mode.workers-i) {
				w := &worker{campaign: c, producer: producer, rng: rand.New(rand.NewPCG(c.rng.Uint64(), 2)), last: make([]int64, c.mode.queues)}
				wg.Go(func() { lost <- w.run(ctx, flows) })
			}
		}
	}
	positions := make([]int64, c.mode.queues)
	var mu sync.Mutex // guards positions
	reader := readerOf(c.t, p)
	defer func() { _ = reader.Close() }()
	for q := range c.mode.queues {
		at := c.ends[q]
		positions[q] = at.next
		wg.Go(func() {
			c.follow(ctx, reader, q, at, func(n int64) {
				mu.Lock()
				positions[q] = n
				mu.Unlock()
			})
		})
	}
	admin := adminOf(c.t, p)
	defer func() { _ = admin.Close() }()
	confirmed := make([][]commit, c.mode.queues)
	wg.Go(func() {
		c.commit(ctx, admin, confirmed, func(q int) int64 {
			mu.Lock()
			defer mu.Unlock()
			return positions[q]
		})
	})
	select {
	case <-flows:
	case <-time.After(stepTimeout):
		c.t.Errorf("no send was answered within %v", stepTimeout)
	}
	time.Sleep(traffic)
	killed := time.Now()
	if c.mode.orderly {
		c.Stop()
	} else {
		c.Kill()
	}
	c.kills++
	cancel()
	wg.Wait()
	close(lost)
	n := 0
	for l := range lost {
		n += l
	}
	if n > 0 {
		c.inFlight++
	}
	for q, list := range confirmed {
		c.commits += len(list)
		for _, one := range list {
			c.tried[q] = max(c.tried[q], one.offset)
			if killed.Sub(one.at) > commitLag {
				c.floor[q] = max(c.floor[q], one.offset)
			}
		}
	}
}

// change lets the next broker have the other flush mode.
func (c *campaign) change() {
	if !c.mode.changes {
		return
	}
	if c.mode.flush = "sync"; c.Args[1] == "sync" {
		c.mode.flush = "async"
	}
	c.Args[1] = c.mode.flush
}

// interrupt kills the broker now and then while it starts, at any moment up to the one at which it is ready.
func (c *campaign) interrupt() {
	c.t.Helper()
	for !c.mode.orderly && c.rng.IntN(3) == 0 {
		_, ready := c.Launch()
		select {
		case <-time.After(time.Duration(c.rng.Int64N(int64(400 * time.Millisecond)))):
		case <-ready:
		}
		c.Kill()
		c.starts++
	}
}

// worker is one sending goroutine.
type worker struct {
	*campaign

	producer *client.Producer
	rng      *rand.Rand
	last     []int64 // offset of the last acknowledged message in each queue, + 1
}

// run sends until the broker is dead, and returns the number of sends whose outcome is unknown.
func (w *worker) run(ctx context.Context, flows chan<- struct{}) (lost int) {
	said := false
	for ctx.Err() == nil {
		switch w.send(ctx) {
		case unknown:
			return lost + 1
		case refused:
			select {
			case <-time.After(time.Millisecond):
			case <-ctx.Done():
			}
		default:
			if !said {
				said = true
				flows <- struct{}{}
			}
		}
	}
	return lost
}

func (w *worker) send(ctx context.Context) outcome {
	k, queue, count := waiting, w.rng.IntN(w.mode.queues), 1
	switch x := w.rng.IntN(100); {
	case x < 15:
		k = noWait
	case x < 35:
		count = 2 + w.rng.IntN(30)
	case x < 40 && w.delays:
		k, queue = delayed, 0
	}
	first, bodies := w.ledger.begin(k, queue, count)
	messages := make([]*client.Message, count)
	for i, b := range bodies {
		messages[i] = &client.Message{Topic: mainTopic, Body: b, Queue: &client.Queue{ID: queue}, NoWait: k == noWait}
		if k == delayed {
			messages[i].Topic, messages[i].DelayLevel = delayedTopic, delayLevel
		}
	}
	var results []client.SendResult
	var err error
	if count > 1 {
		results, err = w.producer.SendBatch(ctx, messages)
	} else {
		results = make([]client.SendResult, 1)
		results[0], err = w.producer.Send(ctx, messages[0])
	}
	out := w.ledger.end(first, results, err)
	if out == acked && k != delayed {
		if results[0].Offset < w.last[queue] {
			w.t.Errorf("a message got offset %d of queue %d, the one sent before it by the same goroutine %d", results[0].Offset, queue, w.last[queue]-1)
		}
		w.last[queue] = results[count-1].Offset + 1
	}
	return out
}

// follow reads a queue as it grows.
func (c *campaign) follow(ctx context.Context, r *client.Reader, queue int, at cursor, moved func(int64)) {
	s, err := r.Open(ctx, mainTopic, client.AtOffset(at.next), client.OnQueue(client.Queue{ID: queue}))
	if err != nil {
		return // the kill came first
	}
	defer func() { _ = s.Close() }()
	for {
		m, err := s.Next(ctx)
		if err != nil {
			if ctx.Err() == nil {
				c.t.Errorf("queue %d: reading at offset %d: %v", queue, at.next, err)
			}
			return
		}
		c.ledger.observe(queue, &at, m)
		moved(at.next)
	}
}

// commit is a committed offset that was confirmed.
type commit struct {
	at     time.Time
	offset int64
}

// commit commits the progress of the readers.
func (c *campaign) commit(ctx context.Context, a *client.Admin, confirmed [][]commit, position func(queue int) int64) {
	for {
		for q := range confirmed {
			offset := position(q)
			if err := a.CommitOffset(ctx, group, mainTopic, client.Queue{ID: q}, offset); err != nil {
				if client.OutcomeUnknown(err) || ctx.Err() != nil {
					confirmed[q] = append(confirmed[q], commit{at: time.Now().Add(time.Hour), offset: offset})
					return
				}
				continue // the broker is dying
			}
			confirmed[q] = append(confirmed[q], commit{at: time.Now(), offset: offset})
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
			return
		}
	}
}

func (c *campaign) checkCommitted(p *brokertest.Process) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), stepTimeout)
	defer cancel()
	a := adminOf(c.t, p)
	defer func() { _ = a.Close() }()
	for q := range c.mode.queues {
		got, err := a.CommittedOffset(ctx, group, mainTopic, client.Queue{ID: q})
		if errors.Is(err, client.ErrNotFound) {
			got, err = -1, nil
		}
		switch {
		case err != nil:
			c.t.Errorf("kill %d: committed offset of queue %d: %v", c.kills, q, err)
		case got < c.floor[q]:
			c.t.Errorf("kill %d: queue %d: the committed offset fell back to %d, %d was confirmed more than %v before the kill", c.kills, q, got, c.floor[q], commitLag)
		case got > c.tried[q]:
			c.t.Errorf("kill %d: queue %d: the committed offset is %d, at most %d was committed", c.kills, q, got, c.tried[q])
		}
		c.floor[q] = max(c.floor[q], got) // it was in etcd: now it may not fall back at all
	}
}

// sweep reads all queues from the given offsets to their ends.
func (c *campaign) sweep(p *brokertest.Process, from []cursor) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), stepTimeout)
	defer cancel()
	c.ledger.beginSweep()
	a, r := adminOf(c.t, p), readerOf(c.t, p)
	defer func() { _, _ = a.Close(), r.Close() }()
	var wg sync.WaitGroup
	for q := range c.mode.queues {
		wg.Go(func() {
			end, err := a.MaxOffset(ctx, mainTopic, client.Queue{ID: q})
			if err != nil {
				c.t.Errorf("kill %d: max offset of queue %d: %v", c.kills, q, err)
				return
			}
			at := from[q]
			err = readAll(ctx, r, mainTopic, q, at.next, func(m *client.MessageExt) { c.ledger.observe(q, &at, m) })
			if err != nil {
				c.t.Errorf("kill %d: reading queue %d at offset %d: %v", c.kills, q, at.next, err)
				return
			}
			c.ledger.endQueue(q, &at, end)
			c.ends[q] = at
		})
	}
	wg.Wait()
}

// readAll reads a queue from an offset to its present end.
func readAll(ctx context.Context, r *client.Reader, topic string, queue int, from int64, take func(*client.MessageExt)) error {
	s, err := r.Open(ctx, topic, client.AtOffset(from), client.OnQueue(client.Queue{ID: queue}), client.UntilEnd())
	if err != nil {
		return err
	}
	defer func() { _ = s.Close() }()
	for {
		m, err := s.Next(ctx)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("next: %w", err)
		}
		take(m)
	}
}

// awaitDelayed reads the topic of delayed messages until all that were acknowledged have arrived, and then for as long
// as a second copy of the last ones might still take.
func (c *campaign) awaitDelayed() {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), stepTimeout)
	defer cancel()
	r := readerOf(c.t, c.Running())
	defer func() { _ = r.Close() }()
	next := int64(0)
	read := func() {
		err := readAll(ctx, r, delayedTopic, 0, next, func(m *client.MessageExt) {
			if m.Offset != next && !c.mode.rules.tailMayVanish {
				c.t.Errorf("delayed topic: offset %d follows %d", m.Offset, next-1)
			}
			next = m.Offset + 1
			c.ledger.observeDelayed(m)
		})
		if err != nil {
			c.t.Errorf("delayed topic: reading at offset %d: %v", next, err)
		}
	}
	for give := time.Now().Add(delayMillis*time.Millisecond + 10*time.Second); ; {
		read()
		count, example := c.ledger.missingDelayed()
		if count == 0 {
			break
		}
		if time.Now().After(give) {
			c.t.Errorf("%d acknowledged delayed messages have not arrived, such as message %d", count, example)
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	time.Sleep(delayMillis / 2 * time.Millisecond)
	read()
}
