package scaletest

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/varvemq/varve/broker/brokertest"
)

// full says that the numbers of `make scale` are wanted.
func full() bool { return os.Getenv("VARVE_SCALE") != "" }

// size is a number of a test: that of `make scale`, or the small one.
func size(large, small int) int {
	if full() {
		return large
	}
	return small
}

var program struct {
	once      sync.Once
	dir, path string
	err       error
}

func TestMain(m *testing.M) {
	code := m.Run()
	if program.dir != "" {
		_ = os.RemoveAll(program.dir)
	}
	os.Exit(code)
}

// build builds the broker, once, in a directory that outlives the first test.
func build(t *testing.T) string {
	t.Helper()
	program.once.Do(func() {
		if program.dir, program.err = os.MkdirTemp("", "varve-scale-"); program.err == nil { //nolint:usetesting // for all tests
			program.path, program.err = brokertest.Build(program.dir, "varve", "")
		}
	})
	if program.err != nil {
		t.Fatalf("build the broker: %v", program.err)
	}
	return program.path
}

// newHost makes a host for a broker whose memory can be measured.
func newHost(t *testing.T, args ...string) *brokertest.Host {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("reads /proc")
	}
	return brokertest.NewHost(t, build(t), append(args, "--pprof", "--log-level", "warn")...)
}

// metric returns the value of a metric without labels.
func metric(t *testing.T, p *brokertest.Process, name string) int {
	t.Helper()
	return int(p.Metric(t, name, ""))
}

// rss collects the broker's garbage and returns its resident memory once that has come to rest, in bytes.
func rss(t *testing.T, p *brokertest.Process) int {
	t.Helper()
	last := 0
	for range 10 {
		p.Get(t, "/debug/pprof/heap?gc=1")
		time.Sleep(300 * time.Millisecond)
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.PID()))
		must(t, err)
		now := 0
		for line := range strings.Lines(string(b)) {
			if f := strings.Fields(line); len(f) == 3 && f[0] == "VmRSS:" {
				kib, err := strconv.Atoi(f[1])
				must(t, err)
				now = kib << 10
			}
		}
		if last > 0 && now > last-last/100 {
			return min(now, last)
		}
		last = now
	}
	return last
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// number returns a setting of the environment.
func number(t *testing.T, name string, fallback int) int {
	t.Helper()
	s := os.Getenv(name)
	if s == "" {
		return fallback
	}
	n, err := strconv.Atoi(s)
	must(t, err)
	return n
}
