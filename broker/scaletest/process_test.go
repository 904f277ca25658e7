package scaletest

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
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
	once sync.Once
	dir  string
	err  error
}

func TestMain(m *testing.M) {
	code := m.Run()
	if program.dir != "" {
		_ = os.RemoveAll(program.dir)
	}
	os.Exit(code)
}

// build builds the broker, once.
func build(t *testing.T) string {
	t.Helper()
	program.once.Do(func() { program.dir, program.err = compile() })
	if program.err != nil {
		t.Fatalf("build the broker: %v", program.err)
	}
	return filepath.Join(program.dir, "varve")
}

// compile builds the broker in a directory that outlives the first test.
func compile() (string, error) {
	dir, err := os.MkdirTemp("", "varve-scale-")
	if err != nil {
		return "", err
	}
	cmd := exec.Command("go", "build", "-buildvcs=false", "-o", filepath.Join(dir, "varve"), "./cmd/varve")
	cmd.Dir = filepath.Join("..", "..")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return dir, fmt.Errorf("%v: %w\n%s", cmd.Args, err, out)
	}
	return dir, nil
}

// process is a broker in a process of its own.
type process struct {
	t                     *testing.T
	cmd                   *exec.Cmd
	log                   string
	namesrv, broker, http string
	ready                 time.Duration // from the start of the process on
	exited                chan struct{}
	once                  sync.Once
}

// start starts a broker on a data directory and waits until it is ready; it is killed when the test ends.
func start(t *testing.T, dir string, args ...string) *process {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("reads /proc")
	}
	p := &process{t: t, log: filepath.Join(t.TempDir(), "log"), exited: make(chan struct{})}
	args = append([]string{
		"server", "--data-dir", dir, "--namesrv-listen", "127.0.0.1:0", "--broker-listen", "127.0.0.1:0", "--http-listen", "127.0.0.1:0", "--pprof", "--log-level", "warn",
	}, args...)
	p.cmd = exec.Command(build(t), args...)
	p.cmd.Env = slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "VARVE_") }) // settings of these tests are not the broker's
	log, err := os.Create(p.log)
	must(t, err)
	defer log.Close()
	p.cmd.Stderr = log
	out, err := p.cmd.StdoutPipe()
	must(t, err)
	began := time.Now()
	must(t, p.cmd.Start())
	ready := make(chan struct{})
	go func() {
		defer close(p.exited)
		lines := bufio.NewScanner(out)
		for lines.Scan() {
			f := strings.Fields(lines.Text())
			switch {
			case len(f) == 2 && f[0] == "namesrv":
				p.namesrv = f[1]
			case len(f) == 2 && f[0] == "broker":
				p.broker = f[1]
			case len(f) == 2 && f[0] == "http":
				p.http = f[1]
				p.ready = time.Since(began)
				close(ready)
			}
		}
		_ = p.cmd.Wait()
	}()
	t.Cleanup(p.kill)
	select {
	case <-ready:
	case <-p.exited:
		t.Fatalf("the broker did not start\n%s", p.logTail())
	case <-time.After(time.Minute):
		t.Fatalf("the broker is not ready\n%s", p.logTail())
	}
	return p
}

func (p *process) kill() {
	p.once.Do(func() {
		_ = p.cmd.Process.Kill()
		<-p.exited
		if p.t.Failed() {
			p.t.Log(p.logTail())
		}
	})
}

func (p *process) logTail() string {
	b, _ := os.ReadFile(p.log)
	return string(b[max(0, len(b)-4096):])
}

func (p *process) get(path string) string {
	p.t.Helper()
	req, err := http.NewRequestWithContext(context.Background(), http.MethodGet, p.http+path, nil)
	must(p.t, err)
	resp, err := http.DefaultClient.Do(req)
	must(p.t, err)
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	must(p.t, err)
	return string(b)
}

// metric returns the value of a metric without labels.
func (p *process) metric(name string) int {
	p.t.Helper()
	for line := range strings.Lines(p.get("/metrics")) {
		if value, ok := strings.CutPrefix(line, name+" "); ok {
			f, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
			must(p.t, err)
			return int(f)
		}
	}
	p.t.Fatalf("no metric %s", name)
	return 0
}

// rss collects the broker's garbage and returns its resident memory once that has come to rest, in bytes.
func (p *process) rss() int {
	p.t.Helper()
	last := 0
	for range 10 {
		p.get("/debug/pprof/heap?gc=1")
		time.Sleep(300 * time.Millisecond)
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
		must(p.t, err)
		now := 0
		for line := range strings.Lines(string(b)) {
			if f := strings.Fields(line); len(f) == 3 && f[0] == "VmRSS:" {
				kib, err := strconv.Atoi(f[1])
				must(p.t, err)
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
