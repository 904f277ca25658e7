package tiertest

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/varvemq/varve/broker/brokertest"
	"github.com/varvemq/varve/client"
	"github.com/varvemq/varve/tiering/objstore"
)

const (
	lossStep = 1 << 30 // what offsets advance by at an accepted loss

	// commitLag is how long a confirmed offset may take to be in etcd: the second over which offsets are coalesced, and etcd's own time on a busy machine.
	commitLag = 1500 * time.Millisecond
)

// TestDisaster: a broker is killed and its machine with it. What was sealed is there on another one, byte-identical; what was not is a loss that has to be
// accepted, and a hole.
func TestDisaster(t *testing.T) {
	t.Parallel()
	size := int64(number(t, envDisaster, shortDisaster)) << 20
	etcd, bucket := startEtcd(t), newStore(t)
	args := []string{
		"--etcd", etcd.URL, "--object-store", bucket.url, "--lease-ttl", "3s", "--seal-bytes", fmt.Sprint(max(256<<10, size/85)), "--wal-limit", fmt.Sprint(max(64<<20, 2*size)),
		"--wal-hot", "1MiB", "--cold-cache", "4MiB",
	}
	c := newCorpus(seed(t), 1500, 8, "orders", "audit", "plain")
	first := brokertest.NewHost(t, varve(t), args...)
	p := first.Start()
	at := place(p.Namesrv)
	at.createTopic(t, "orders", 8, nil)
	at.createTopic(t, "audit", 8, map[string]string{"compression": "lz4-4", "index.keys": "keys"})
	at.createTopic(t, "plain", 8, map[string]string{"compression": "none"})
	began := time.Now()
	c.produce(t, at, size)
	t.Logf("%d MiB produced in %v, %d segments by then", size>>20, time.Since(began).Round(time.Millisecond), bucket.segments(t))
	committed := commitSome(t, at, c)
	t.Log(at.cli(t, "seal"))
	sealed := c.ends()
	c.produce(t, at, 64<<10) // what is in the log alone
	time.Sleep(commitLag)
	first.Kill()
	must(t, os.RemoveAll(first.Data()))

	second := brokertest.NewHost(t, varve(t), args...)
	says(t, "the refusal", refusedDead(t, second), "--accept-tail-loss", "varve-a")
	second.Args = append(slices.Clip(args), "--accept-tail-loss", "varve-a")
	p = second.Start()
	for range 2 {
		at = place(p.Namesrv)
		t.Logf("ready after %v", p.Ready.Round(time.Millisecond))
		c.verify(t, at, sealed)
		for topic := range c.topics {
			for queue := range c.queues {
				end := sealed[topic][queue]
				if lo, hi := at.bounds(t, c.topics[topic], queue); lo != 0 || hi != end+lossStep {
					t.Errorf("queue %d of %s: offsets [%d, %d), want [0, %d)", queue, c.topics[topic], lo, hi, end+lossStep)
				}
			}
			c.spot(t, at, topic, 3, sealed[topic][3]/2, c.topics[topic] != "audit")
			c.tagged(t, at, topic, 5, sealed[topic][5])
		}
		committedAre(t, at, c, committed)
		second.Kill() // the loss is settled: a restart needs no word
		second.Args = args
		p = second.Start()
	}
	p = damagePages(t, c, second, p, bucket, sealed)
	if r := place(p.Namesrv).send(t, "orders", 2, "after the loss"); r.Offset != sealed[0][2]+lossStep {
		t.Errorf("the next message has offset %d, want %d", r.Offset, sealed[0][2]+lossStep)
	}
	says(t, "fsck", place(p.Namesrv).cli(t, "fsck", "--deep"))
	second.Stop()
}

// TestInterruptedLoss: starts that accept a loss are killed at any moment, and some lose their disk again. Offsets go up by whole steps, none is used twice, and what
// was sealed before is there all the time.
func TestInterruptedLoss(t *testing.T) {
	t.Parallel()
	n := seed(t)
	rng := rand.New(rand.NewPCG(n, 1))
	etcd, bucket := startEtcd(t), newStore(t)
	c := newCorpus(n, 300, 2, "orders")
	h := brokertest.NewHost(t, varve(t), "--etcd", etcd.URL, "--object-store", bucket.url, "--lease-ttl", "2s", "--seal-age", "1h", "--accept-tail-loss", "all")
	at := place(h.Start().Namesrv)
	at.createTopic(t, "orders", 2, nil)
	c.produce(t, at, 64<<10)
	at.cli(t, "seal")
	sealed := c.ends()
	c.produce(t, at, 16<<10)
	h.Kill()
	must(t, os.RemoveAll(h.Data()))
	high := slices.Clone(sealed[0]) // the highest offsets that anybody was told
	lost, told := 1, 0
	for range 12 {
		p, ready := h.Launch()
		select {
		case <-ready:
			for q := range 2 {
				r := place(p.Namesrv).send(t, "orders", q, fmt.Sprint("after loss ", lost))
				if r.Offset <= high[q] || r.Offset != high[q]+1 && (r.Offset-sealed[0][q])%lossStep != 0 {
					t.Errorf("queue %d: offset %d after %d; segments ended at %d", q, r.Offset, high[q], sealed[0][q])
				}
				high[q] = r.Offset
				told++
			}
		case <-time.After(time.Duration(rng.Int64N(int64(700 * time.Millisecond)))):
		}
		h.Kill()
		if rng.IntN(3) == 0 {
			must(t, os.RemoveAll(h.Data()))
			lost++
		}
	}
	at = place(h.Start().Namesrv)
	for q := range 2 {
		next := int64(0)
		must(t, readQueue(t.Context(), at.reader(t), "orders", q, 0, func(m *client.MessageExt) error {
			if next >= sealed[0][q] {
				return nil
			}
			next++
			return c.check(0, q, next-1, m)
		}))
		if next < sealed[0][q] {
			t.Errorf("queue %d: %d messages of %d", q, next, sealed[0][q])
		}
		if r := at.send(t, "orders", q, "the last"); r.Offset <= high[q] || r.Offset > sealed[0][q]+int64(lost+1)*lossStep+int64(told) {
			t.Errorf("queue %d: offset %d after %d, %d losses", q, r.Offset, high[q], lost)
		}
	}
	at.cli(t, "seal")
	at.cli(t, "fsck", "--deep")
	t.Logf("%d disks were lost; %d messages were acknowledged in between", lost, told)
	h.Stop()
}

// damagePages flips a bit of each page of the manifest, if there are any: what they list cannot be read, and reads say why; what etcd lists can. It returns the
// broker that runs at the end.
func damagePages(t *testing.T, c *corpus, h *brokertest.Host, p *brokertest.Process, s *store, ends [][]int64) *brokertest.Process {
	t.Helper()
	pages := map[string][]byte{}
	b, err := objstore.Open(t.Context(), s.direct)
	must(t, err)
	defer func() { _ = b.Close() }()
	for key, size := range s.list(t) {
		if strings.HasSuffix(key, ".page") {
			pages[key], err = objstore.ReadAll(t.Context(), b, key, size)
			must(t, err)
		}
	}
	if len(pages) == 0 {
		return p
	}
	h.Kill()
	for key, good := range pages {
		bad := slices.Clone(good)
		bad[len(bad)/3] ^= 4
		must(t, objstore.PutBytes(t.Context(), b, key, bad, objstore.PutOptions{}))
	}
	p = h.Start()
	at := place(p.Namesrv)
	failed := 0
	for topic := range c.topics {
		for queue := range c.queues {
			if _, err := c.verifyQueue(t.Context(), at.reader(t), topic, queue, ends[topic][queue]); err != nil {
				failed++
				says(t, "the read", err.Error(), ".page")
			}
			end := ends[topic][queue]
			must(t, readQueue(t.Context(), at.reader(t), c.topics[topic], queue, end-1, func(m *client.MessageExt) error {
				return c.check(topic, queue, end-1, m)
			}))
		}
	}
	t.Logf("%d pages were damaged, %d queues cannot be read from their beginning", len(pages), failed)
	if failed == 0 {
		t.Error("nobody has noticed that pages are damaged")
	}
	for key, good := range pages {
		must(t, objstore.PutBytes(t.Context(), b, key, good, objstore.PutOptions{}))
	}
	c.verify(t, at, ends)
	return p
}

// refusedDead starts a broker that must refuse, once the lease of the shard's last owner has ended, and returns the end of its log.
func refusedDead(t testing.TB, h *brokertest.Host) (log string) {
	t.Helper()
	eventually(t, stepTimeout, "the lease has ended", func() bool {
		log = h.Refuse()
		return !strings.Contains(log, "is alive")
	})
	return log
}

// commitSome commits an offset for each queue.
func commitSome(t testing.TB, at place, c *corpus) [][]int64 {
	t.Helper()
	a := at.admin(t)
	must(t, a.CreateGroup(t.Context(), "group", 0))
	out := c.ends()
	for topic := range c.topics {
		for queue := range c.queues {
			out[topic][queue] = out[topic][queue] * int64(queue+1) / int64(c.queues+1)
			must(t, a.CommitOffset(t.Context(), "group", c.topics[topic], client.Queue{ID: queue}, out[topic][queue]))
		}
	}
	return out
}

func committedAre(t testing.TB, at place, c *corpus, want [][]int64) {
	t.Helper()
	a := at.admin(t)
	for topic := range c.topics {
		for queue := range c.queues {
			got, err := a.CommittedOffset(t.Context(), "group", c.topics[topic], client.Queue{ID: queue})
			if err != nil || got != want[topic][queue] {
				t.Errorf("queue %d of %s: offset %d is committed, want %d; %v", queue, c.topics[topic], got, want[topic][queue], err)
			}
		}
	}
}

// TestMoved: a broker that was stopped in order has sealed all; another machine goes on with the next message, and nobody has to accept anything.
func TestMoved(t *testing.T) {
	t.Parallel()
	for _, external := range []bool{true, false} {
		name := map[bool]string{true: "external etcd", false: "embedded etcd"}[external]
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bucket := newStore(t)
			args := []string{"--object-store", bucket.url, "--seal-bytes", "256KiB", "--wal-limit", "64MiB", "--wal-hot", "1MiB"}
			if external {
				args = append(args, "--etcd", startEtcd(t).URL, "--lease-ttl", "3s")
			}
			c := newCorpus(seed(t), 400, 8, "orders", "audit")
			h := brokertest.NewHost(t, varve(t), args...)
			at := place(h.Start().Namesrv)
			at.createTopic(t, "orders", 8, nil)
			at.createTopic(t, "audit", 8, nil)
			var committed [][]int64
			for range 3 {
				c.produce(t, at, 1<<20)
				committed = commitSome(t, at, c)
				h.Stop()
				loseDisk(t, h)
				p := h.Start()
				at = place(p.Namesrv)
				c.verify(t, at, c.ends())
				for topic := range c.topics {
					for queue := range c.queues {
						if lo, hi := at.bounds(t, c.topics[topic], queue); lo != 0 || hi != c.counts[topic][queue] {
							t.Errorf("queue %d of %s: offsets [%d, %d), want [0, %d)", queue, c.topics[topic], lo, hi, c.counts[topic][queue])
						}
					}
				}
				c.spot(t, at, 1, 3, c.counts[1][3]/2, true)
				committedAre(t, at, c, committed)
			}
			h.Stop()
		})
	}
}

// TestRestore: the embedded etcd is lost with all the rest. Its newest snapshot comes back, with what was sealed after it, and so do all sealed messages.
func TestRestore(t *testing.T) {
	t.Parallel()
	bucket := newStore(t)
	c := newCorpus(seed(t), 400, 4, "orders", "audit")
	h := brokertest.NewHost(t, varve(t), "--object-store", bucket.url, "--seal-bytes", "128KiB", "--seal-age", "1h")
	at := place(h.Start().Namesrv)
	at.createTopic(t, "orders", 4, nil)
	at.createTopic(t, "audit", 4, nil)
	c.produce(t, at, 256<<10)
	committed := commitSome(t, at, c)
	time.Sleep(commitLag)
	h.Stop() // it takes a snapshot
	at = place(h.Start().Namesrv)
	c.produce(t, at, 1<<20)
	at.cli(t, "seal") // the snapshot does not know
	sealed := c.ends()
	c.produce(t, at, 64<<10)
	h.Kill()
	objects := bucket.list(t)
	must(t, os.RemoveAll(h.Data()))
	says(t, "the refusal", h.Refuse(), "etcd has none")
	must(t, os.RemoveAll(h.Data()))
	out, err := exec.Command(varve(t), "metadata", "restore", "--data-dir", h.Data(), "--object-store", bucket.url).CombinedOutput()
	if err != nil {
		t.Fatalf("restore: %v\n%s", err, out)
	}
	t.Logf("%s", out)
	says(t, "the refusal", h.Refuse(), "--accept-tail-loss")
	args := h.Args
	h.Args = append(slices.Clip(args), "--accept-tail-loss", "all")
	at = place(h.Start().Namesrv)
	for range 2 {
		c.verify(t, at, sealed)
		committedAre(t, at, c, committed)
		h.Kill()
		h.Args = args
		at = place(h.Start().Namesrv)
	}
	if r := at.send(t, "orders", 1, "after"); r.Offset != sealed[0][1]+lossStep {
		t.Errorf("the next message has offset %d; the segments end at %d", r.Offset, sealed[0][1])
	}
	at.cli(t, "seal")
	at.cli(t, "fsck", "--deep")
	kept(t, bucket, objects)
	h.Stop()
}

// loseDisk deletes a stopped broker's data directory, but for the embedded etcd's.
func loseDisk(t testing.TB, h *brokertest.Host) {
	t.Helper()
	entries, err := os.ReadDir(h.Data())
	must(t, err)
	for _, e := range entries {
		if e.Name() != "etcd" {
			must(t, os.RemoveAll(filepath.Join(h.Data(), e.Name())))
		}
	}
}
