package tiertest

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/varvemq/varve/broker/brokertest"
	"github.com/varvemq/varve/client"
	"github.com/varvemq/varve/tiering/objstore"
)

// Settings of the benchmark, by the environment.
const (
	envBench     = "VARVE_TIER_BENCH_MIB"     // MiB produced; 96 by default
	envQueues    = "VARVE_TIER_BENCH_QUEUES"  // queues; 16 by default
	envTailRate  = "VARVE_TIER_BENCH_SENDS"   // single sends a second beside the replay; 500 by default
	envTailTime  = "VARVE_TIER_BENCH_SECONDS" // of each round of sends; 5 by default
	envServerPID = "VARVE_TEST_S3_PID"        // process id of the server in VARVE_TEST_S3
	envProfile   = "VARVE_TIER_BENCH_PROFILE" // file for the broker's CPU profile of the last replay; none by default
	envRounds    = "VARVE_TIER_BENCH_ROUNDS"  // interleaved rounds; 3 by default
)

// tierBench is a broker with sealed history that is not in its log any more.
type tierBench struct {
	b      *testing.B
	s      *store
	c      *corpus
	h      *brokertest.Host
	p      *brokertest.Process
	size   int64 // bytes of bodies
	stored int64 // bytes of segments
	idle   int64 // RSS
}

// BenchmarkTier measures what sealed history costs and how fast it is, from the server in VARVE_TEST_S3 or else a directory: requests per GB written and read, replay over TCP beside the
// plain ranged GET of the same objects, memory while it goes on, and what it does to the latency of sends.
func BenchmarkTier(b *testing.B) {
	for range b.N {
		t := newTierBench(b)
		t.replay()
		t.tail()
		t.h.Stop()
	}
}

func newTierBench(b *testing.B) *tierBench {
	b.Helper()
	size := int64(number(b, envBench, 96)) << 20
	t := &tierBench{b: b, s: newStore(b), c: newCorpus(rand.Uint64(), 1024, number(b, envQueues, 16), "history"), size: size}
	l, err := net.Listen("tcp", "127.0.0.1:0") // messages keep the broker's address: it is the same after a restart
	must(b, err)
	must(b, l.Close())
	args := []string{"--broker-listen", l.Addr().String(), "--object-store", t.s.url, "--wal-hot", "1MiB", "--wal-limit", "2GiB", "--log-level", "warn", "--pprof"}
	t.h = brokertest.NewHost(b, varve(b), args...)
	t.p = t.h.Start()
	at := place(t.p.Namesrv)
	at.createTopic(b, "history", t.c.queues, map[string]string{"compression": "none"})
	at.createTopic(b, "tail", 1, nil)
	before := t.requests()
	began := time.Now()
	t.c.produce(b, at, size)
	produced := time.Since(began)
	at.cli(b, "seal", "--timeout", "1m")
	sealed := time.Since(began)
	for key, n := range t.s.list(b) {
		if strings.HasSuffix(key, ".seg") {
			t.stored += n
		}
	}
	gb := float64(size) / 1e9
	after := t.requests()
	b.Logf("written: %d MiB in %v (%.0f MiB/s), all sealed after %v, %d MiB stored", size>>20, produced.Round(time.Millisecond), mib(size, produced), sealed.Round(time.Millisecond), t.stored>>20)
	b.Logf("requests per GB written: %.1f PUT, %.1f GET, %.1f HEAD, %.1f LIST", (after["put"]-before["put"])/gb, (after["get"]-before["get"])/gb, (after["head"]-before["head"])/gb, (after["list"]-before["list"])/gb)
	b.ReportMetric((after["put"]-before["put"])/gb, "PUT/GB")
	b.ReportMetric((after["get"]+after["list"]-before["get"]-before["list"])/gb, "GET+LIST/GB")
	t.h.Stop() // memory and caches as after a start
	t.p = t.h.Start()
	time.Sleep(2 * time.Second)
	t.idle = rss(b, t.p.PID())
	return t
}

func mib(n int64, d time.Duration) float64 { return float64(n) / (1 << 20) / d.Seconds() }

// requests returns the requests to the object store so far, by kind.
func (t *tierBench) requests() map[string]float64 {
	out := map[string]float64{}
	_, page := t.p.Get(t.b, "/metrics")
	for line := range strings.Lines(page) {
		rest, ok := strings.CutPrefix(line, `varve_objstore_requests_total{kind="`)
		if !ok {
			continue
		}
		kind, rest, _ := strings.Cut(rest, `"`)
		_, value, _ := strings.Cut(rest, "} ")
		f, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
		must(t.b, err)
		out[kind] += f
	}
	return out
}

// rss returns the resident memory of a process, in bytes.
func rss(b testing.TB, pid int) int64 {
	b.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	must(b, err)
	for line := range strings.Lines(string(status)) {
		if f := strings.Fields(line); len(f) == 3 && f[0] == "VmRSS:" {
			kib, err := strconv.ParseInt(f[1], 10, 64)
			must(b, err)
			return kib << 10
		}
	}
	b.Fatal("no VmRSS")
	return 0
}

// replay reads everything, over TCP and plainly, in turns.
func (t *tierBench) replay() {
	b := t.b
	var over, plain []float64
	var peak atomic.Int64
	for range number(b, envRounds, 3) {
		ctx, cancel := context.WithCancel(b.Context())
		watch, pid := make(chan struct{}), t.p.PID()
		go func() {
			defer close(watch)
			for ctx.Err() == nil {
				peak.Store(max(peak.Load(), rss(b, pid)))
				time.Sleep(20 * time.Millisecond)
			}
		}()
		over = append(over, t.overTCP())
		cancel()
		<-watch
		plain = append(plain, t.plainGET())
		t.h.Stop() // nothing of it is in memory in the next round
		t.p = t.h.Start()
	}
	slices.Sort(over)
	slices.Sort(plain)
	m, p := over[len(over)/2], plain[len(plain)/2]
	b.Logf("replay over TCP: %.0f MiB/s of bodies, %.0f MiB/s of objects; plain ranged GET: %.0f MiB/s of objects; ratio %.2f", m, m*float64(t.stored)/float64(t.size), p, m*float64(t.stored)/float64(t.size)/p)
	b.Logf("memory: %d MiB idle, %d MiB at most while replaying: %d MiB more", t.idle>>20, peak.Load()>>20, (peak.Load()-t.idle)>>20)
	b.ReportMetric(m*float64(t.stored)/float64(t.size)/p, "ratio")
	b.ReportMetric(float64(peak.Load()-t.idle)/(1<<20), "MiB-above-idle")
}

// overTCP replays all queues and returns MiB of bodies a second.
func (t *tierBench) overTCP() float64 {
	b := t.b
	before := t.requests()
	r := place(t.p.Namesrv).reader(b)
	var g errgroup.Group
	g.SetLimit(4)
	var size atomic.Int64
	if path := os.Getenv(envProfile); path != "" {
		profiled := make(chan struct{})
		defer func() { <-profiled }()
		go func() {
			defer close(profiled)
			_, profile := t.p.Get(b, "/debug/pprof/profile?seconds=2")
			must(b, os.WriteFile(path, []byte(profile), 0o600))
		}()
	}
	began := time.Now()
	for queue := range t.c.queues {
		g.Go(func() error {
			n := int64(0)
			err := readQueue(b.Context(), r, "history", queue, 0, func(m *client.MessageExt) error {
				n += int64(len(m.Body))
				return nil
			})
			size.Add(n)
			return err
		})
	}
	must(b, g.Wait())
	took := time.Since(began)
	if size.Load() < t.size {
		b.Fatalf("%d bytes read of %d", size.Load(), t.size)
	}
	after := t.requests()
	b.Logf("one replay: %v, %.0f MiB/s of bodies, %.1f GET per GB", took.Round(time.Millisecond), mib(size.Load(), took), (after["get"]-before["get"])/(float64(size.Load())/1e9))
	return mib(size.Load(), took)
}

// plainGET reads all segments in ranges of 8 MiB, 16 at a time, and returns MiB a second.
func (t *tierBench) plainGET() float64 {
	b := t.b
	s, err := objstore.Open(b.Context(), t.s.direct)
	must(b, err)
	defer func() { _ = s.Close() }()
	var g errgroup.Group
	g.SetLimit(16)
	var size atomic.Int64
	began := time.Now()
	for key, n := range t.s.list(b) {
		if !strings.HasSuffix(key, ".seg") {
			continue
		}
		for off := int64(0); off < n; off += 8 << 20 {
			g.Go(func() error {
				r, err := s.Get(b.Context(), key, off, 8<<20)
				if err != nil {
					return err
				}
				k, err := io.Copy(io.Discard, r)
				size.Add(k)
				_ = r.Close()
				return err
			})
		}
	}
	must(b, g.Wait())
	return mib(size.Load(), time.Since(began))
}

// tail measures sends at a fixed rate, from the times at which they were due, without and with a replay beside them: its reader and the object store's server are
// held to one core, together.
func (t *tierBench) tail() {
	b := t.b
	if pid := os.Getenv(envServerPID); pid != "" {
		must(b, exec.Command("taskset", "-a", "-c", "-p", "1", pid).Run())
	}
	for _, pid := range []int{t.p.PID(), os.Getpid()} { // what sends has the other core
		must(b, exec.Command("taskset", "-a", "-c", "-p", "0", strconv.Itoa(pid)).Run())
	}
	defer func() { must(b, exec.Command("taskset", "-a", "-c", "-p", "0-1", strconv.Itoa(os.Getpid())).Run()) }()
	var alone, beside []time.Duration
	for range number(b, envRounds, 3) {
		alone = append(alone, t.sends()...)
		stop := t.replayer()
		beside = append(beside, t.sends()...)
		stop()
	}
	slices.Sort(alone)
	slices.Sort(beside)
	p := func(l []time.Duration, q float64) time.Duration { return l[min(len(l)-1, int(float64(len(l))*q))] }
	b.Logf("sends alone:         p50 %v, p99 %v, max %v", p(alone, .5), p(alone, .99), alone[len(alone)-1])
	b.Logf("sends with a replay: p50 %v, p99 %v, max %v; p99 %.2f times", p(beside, .5), p(beside, .99), beside[len(beside)-1], float64(p(beside, .99))/float64(p(alone, .99)))
	b.ReportMetric(float64(p(beside, .99))/float64(p(alone, .99)), "p99-ratio")
}

func (t *tierBench) sends() []time.Duration {
	b := t.b
	rate, seconds := number(b, envTailRate, 500), number(b, envTailTime, 5)
	producer := place(t.p.Namesrv).producer(b)
	defer func() { _ = producer.Close() }()
	took := make([]time.Duration, rate*seconds)
	var g errgroup.Group
	body := make([]byte, 256)
	begin := time.Now()
	for i := range took {
		due := begin.Add(time.Duration(i) * time.Second / time.Duration(rate))
		time.Sleep(time.Until(due))
		g.Go(func() error {
			_, err := producer.Send(b.Context(), &client.Message{Topic: "tail", Body: body})
			took[i] = time.Since(due)
			return err
		})
	}
	must(b, g.Wait())
	return took
}

// replayer reads the history again and again, in a process that has one core, until it is stopped.
func (t *tierBench) replayer() (stop func()) {
	cmd := exec.Command("taskset", "-c", "1", varve(t.b), "read", "history", "--server", t.p.Namesrv, "-o", "json")
	cmd.Env = append(os.Environ(), "GOMAXPROCS=1")
	must(t.b, cmd.Start())
	return func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}
}
