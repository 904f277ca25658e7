package tiertest

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/varvemq/varve/broker/brokertest"
	"github.com/varvemq/varve/client"
	"github.com/varvemq/varve/tiering/objstore/faulty"
)

// TestKill kills a broker under load while it seals, merges and deletes all the time, again and again: what was acknowledged is there, once, at its offset;
// in the end metadata, bucket and log agree, and nothing is left over.
func TestKill(t *testing.T) {
	t.Parallel()
	t.Run("slow store", func(t *testing.T) {
		t.Parallel()
		s := newProxied(t, 15*time.Millisecond, func(n int, r *http.Request) faulty.Fault {
			switch { // the health of S3 on an ordinary day
			case r.Method == http.MethodPut && n%11 == 0:
				return faulty.LostAnswer
			case n%37 == 0:
				return faulty.ServerError
			case r.Method == http.MethodGet && n%41 == 0:
				return faulty.ResetBody
			default:
				return faulty.None
			}
		})
		newCampaign(t, s, "--etcd", startEtcd(t).URL, "--lease-ttl", "3s").run(number(t, envKills, shortKills))
	})
	t.Run("embedded etcd", func(t *testing.T) {
		t.Parallel()
		newCampaign(t, newStore(t)).run(number(t, envKills, shortKills))
	})
}

// TestMovedUnderLoad stops a broker in order under load and takes its disk away, again and again: it has sealed all that it acknowledged, and the next one needs no
// word, even if its start was killed a few times.
func TestMovedUnderLoad(t *testing.T) {
	t.Parallel()
	for name, args := range map[string][]string{"external etcd": {"--etcd", startEtcd(t).URL, "--lease-ttl", "3s"}, "embedded etcd": nil} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newCampaign(t, newStore(t), args...)
			c.moves = true
			c.run(max(2, number(t, envKills, shortKills)/2))
		})
	}
}

const (
	delayLevel = 1 // a second
	briefly    = 1500 * time.Millisecond
	workers    = 8
)

// The queues of a campaign, by their index in the ledger.
const (
	queuesKept = 4 // 0 to 3 are of topic crash
	queueObj   = queuesKept
	queueBrief = queueObj + 1
	queueDelay = queueBrief + 1
	queuesAll  = queueDelay + 1
)

// campaign is a series of kills under load, on one data directory.
type campaign struct {
	*brokertest.Host

	t       *testing.T
	store   *store
	rng     *rand.Rand
	ledger  *ledger
	ends    [queuesAll]int64
	checked int
	kills   int
	starts  int  // kills while it started
	moves   bool // the broker is not killed but stopped, and its disk is lost
}

func newCampaign(t *testing.T, s *store, args ...string) *campaign {
	t.Helper()
	n := seed(t)
	c := &campaign{t: t, store: s, rng: rand.New(rand.NewPCG(n, 1)), ledger: newLedger(n)}
	args = append(args, "--object-store", s.url, "--seal-bytes", "32KiB", "--seal-age", "100ms", "--delete-grace", "1s", "--wal-limit", "64MiB", "--wal-hot", "256KiB", "--cold-cache", "1MiB")
	c.Host = brokertest.NewHost(t, varve(t), args...)
	c.Start()
	at := c.at()
	at.createTopic(t, "crash", queuesKept, nil)
	at.createTopic(t, "object", 1, map[string]string{"durability": "object"})
	at.createTopic(t, "brief", 1, map[string]string{"retention.ms": fmt.Sprint(briefly.Milliseconds())})
	at.createTopic(t, "delayed", 1, nil)
	for q := range queuesKept {
		c.ledger.queue("crash", q, 0)
	}
	c.ledger.queue("object", 0, 0)
	c.ledger.queue("brief", 0, briefly)
	c.ledger.queue("delayed", 0, 0)
	return c
}

func (c *campaign) at() place { return place(c.Running().Namesrv) }

// run kills the broker so many times, and checks everything at the end.
func (c *campaign) run(kills int) {
	c.t.Helper()
	most := 600 * time.Millisecond
	if kills > shortKills {
		most = 2 * time.Second
	}
	slowest := time.Duration(0)
	for range kills {
		c.round(50*time.Millisecond + time.Duration(c.rng.Int64N(int64(most))))
		c.interrupt()
		slowest = max(slowest, c.Start().Ready)
		c.sweep(c.kills%10 == 0)
		c.ledger.report(c.t, fmt.Sprint("kill ", c.kills))
		if c.t.Failed() {
			return
		}
	}
	c.awaitDelayed()
	c.sweep(true)
	c.ledger.report(c.t, "the end")
	c.at().cli(c.t, "seal")
	c.clean()
	segments := c.store.segments(c.t)
	c.sweep(true) // of what is left after all merges
	c.ledger.report(c.t, "after everything was sealed, merged and swept")
	all, ok := c.ledger.sent()
	c.t.Logf("%d kills under load and %d of starts; %d messages, %d acknowledged; %d segments in the end; the slowest start took %v", c.kills, c.starts, all, ok, segments,
		slowest.Round(time.Millisecond))
	c.Stop()
}

// round is one life of the broker under load, up to its kill after so much of traffic.
func (c *campaign) round(traffic time.Duration) {
	c.t.Helper()
	ctx, cancel := context.WithCancel(c.t.Context())
	defer cancel()
	at := c.at()
	var wg sync.WaitGroup
	var flows atomic.Int64
	for i := range workers {
		p := at.producer(c.t)
		defer func() { _ = p.Close() }()
		rng := rand.New(rand.NewPCG(c.rng.Uint64(), uint64(i)))
		wg.Go(func() { c.send(ctx, p, rng, &flows) })
	}
	r := at.reader(c.t)
	for q := range queuesAll {
		if q != queueBrief { // it may lose what is due
			wg.Go(func() { c.follow(ctx, r, q, c.ends[q]) })
		}
	}
	wg.Go(func() { c.follow(ctx, r, c.rng.IntN(queuesKept), 0) }) // through cold history
	eventually(c.t, stepTimeout, "sends are answered", func() bool { return flows.Load() > workers })
	time.Sleep(traffic)
	if c.moves {
		c.Stop()
		loseDisk(c.t, c.Host)
	} else {
		c.Kill()
	}
	c.kills++
	cancel()
	wg.Wait()
	_ = r.Close()
}

// send sends until the broker is dead.
func (c *campaign) send(ctx context.Context, p *client.Producer, rng *rand.Rand, flows *atomic.Int64) {
	for ctx.Err() == nil {
		queue, count := rng.IntN(queuesKept), 1
		switch x := rng.IntN(100); {
		case x < 5:
			queue = queueObj
		case x < 15:
			queue = queueBrief
		case x < 20:
			queue = queueDelay
		case x < 40:
			count = 2 + rng.IntN(20)
		}
		first, bodies := c.ledger.begin(queue, count, queue == queueDelay)
		messages := make([]*client.Message, count)
		v := &c.ledger.queues[queue]
		for i, b := range bodies {
			messages[i] = &client.Message{Topic: v.topic, Body: b, Queue: &client.Queue{ID: v.id}}
			if queue == queueDelay {
				messages[i].DelayLevel = delayLevel
			}
		}
		var results []client.SendResult
		var err error
		if count > 1 {
			results, err = p.SendBatch(ctx, messages)
		} else {
			results = make([]client.SendResult, 1)
			results[0], err = p.Send(ctx, messages[0])
		}
		switch c.ledger.end(first, results, err) {
		case unknown:
			return
		case refused:
			time.Sleep(5 * time.Millisecond)
		default:
			flows.Add(1)
		}
	}
}

// follow reads a queue as it grows.
func (c *campaign) follow(ctx context.Context, r *client.Reader, queue int, from int64) {
	v := &c.ledger.queues[queue]
	s, err := r.Open(ctx, v.topic, client.AtOffset(from), client.OnQueue(client.Queue{ID: v.id}))
	if err != nil {
		return // the kill came first
	}
	defer func() { _ = s.Close() }()
	for {
		m, err := s.Next(ctx)
		if err != nil {
			if ctx.Err() == nil {
				c.ledger.add("queue %d of %s: reading at offset %d: %v", v.id, v.topic, from, err)
			}
			return
		}
		from = c.ledger.observe(queue, from, m)
	}
}

// interrupt kills the broker now and then while it starts, at any moment up to the one at which it is ready.
func (c *campaign) interrupt() {
	c.t.Helper()
	for c.rng.IntN(3) == 0 {
		_, ready := c.Launch()
		select {
		case <-time.After(time.Duration(c.rng.Int64N(int64(700 * time.Millisecond)))):
		case <-ready:
		}
		c.Kill()
		c.starts++
	}
}

// sweep reads all queues, what is new or everything, and compares.
func (c *campaign) sweep(everything bool) {
	c.t.Helper()
	firsts := make([]int64, queuesAll)
	if everything {
		c.checked = 0
		c.ends = [queuesAll]int64{}
	}
	r := c.at().reader(c.t)
	var wg sync.WaitGroup
	for q := range queuesAll {
		wg.Go(func() {
			v := &c.ledger.queues[q]
			next := c.ends[q]
			err := readQueue(c.t.Context(), r, v.topic, v.id, next, func(m *client.MessageExt) error {
				next = c.ledger.observe(q, next, m)
				return nil
			})
			if err != nil {
				c.ledger.add("reading at offset %d: %v", next, err)
				return
			}
			first, end := c.at().bounds(c.t, v.topic, v.id)
			firsts[q] = first
			if q != queueDelay { // more may arrive at any time
				c.ledger.ended(q, first, next, end)
			}
			c.ends[q] = next
		})
	}
	wg.Wait()
	_ = r.Close()
	c.ledger.check(c.checked, firsts)
	c.checked, _ = c.ledger.sent()
}

// awaitDelayed waits until all delayed messages have arrived, and then for as long as a second copy of the last ones might still take.
func (c *campaign) awaitDelayed() {
	c.t.Helper()
	for give := time.Now().Add(15 * time.Second); ; time.Sleep(100 * time.Millisecond) {
		c.sweep(false)
		count, example := c.ledger.missingDelayed()
		if count == 0 {
			break
		}
		if time.Now().After(give) {
			c.t.Errorf("%d acknowledged delayed messages have not arrived, such as message %d", count, example)
			break
		}
	}
	time.Sleep(500 * time.Millisecond)
}

// clean waits until nothing waits to be deleted, and finds the storage in order.
func (c *campaign) clean() {
	c.t.Helper()
	external := slices.Contains(c.Args, "--etcd")
	if external { // the embedded etcd's garbage is kept until the next backup
		eventually(c.t, stepTimeout, "garbage is deleted", func() bool {
			return c.Running().Metric(c.t, "varve_maintain_garbage_objects", "") == 0 && slices.Equal(listed(c.t, c.at()), inBucket(c.t, c.store))
		})
	}
	out, err := c.at().tryCLI(c.t, "fsck", "--deep")
	if err != nil || external && strings.Contains(out, "orphan") {
		c.t.Errorf("fsck: %v\n%s", err, out)
	}
}

// listed returns the keys of all segments that metadata lists.
func listed(t testing.TB, at place) []string {
	t.Helper()
	keys := map[string]bool{}
	for line := range strings.Lines(at.cli(t, "segment", "list", "--max", "0", "-o", "json")) {
		var s struct{ Key string }
		must(t, json.Unmarshal([]byte(line), &s))
		keys[s.Key] = true
	}
	return slices.Sorted(maps.Keys(keys))
}

// inBucket returns the keys of all segments that are there.
func inBucket(t testing.TB, s *store) []string {
	t.Helper()
	objects := s.list(t)
	maps.DeleteFunc(objects, func(key string, _ int64) bool { return !strings.HasSuffix(key, ".seg") })
	return slices.Sorted(maps.Keys(objects))
}
