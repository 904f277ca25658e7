package brokertest

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Build builds the program cmd/varve, with build tags, into a directory, and returns its path. It is called from a package two levels below the module's root.
func Build(dir, name, tags string) (string, error) {
	path := filepath.Join(dir, name)
	cmd := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-tags", tags, "-o", path, "./cmd/varve") //nolint:gosec,noctx // of tests, which end it
	cmd.Dir = filepath.Join("..", "..")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%v: %w\n%s", cmd.Args, err, out)
	}
	return path, nil
}

// Host is a machine: a program, a data directory and settings, on which one broker process runs at a time.
type Host struct {
	Program string
	Dir     string   // has the data directory "data", the file "log" and "tmp"
	Args    []string // besides those for the data directory and free ports
	Env     []string // besides the environment's, less its settings for tests

	// Patience bounds how long a broker may take to be ready, to refuse, and to end. Default: a minute.
	Patience time.Duration

	t       testing.TB
	running *Process
	logAt   int64 // where the last broker's part of the log begins
}

// Process is one life of a broker.
type Process struct {
	Namesrv, Broker, HTTP string
	Ready                 time.Duration // from the start of the process on
	Exited                <-chan struct{}

	cmd *exec.Cmd
	err error
}

// NewHost makes a host in a directory of its own. It is kept if the test fails, and its broker is killed when the test ends.
func NewHost(t testing.TB, program string, args ...string) *Host {
	t.Helper()
	dir, err := os.MkdirTemp("", "varve-host-") //nolint:usetesting // kept if the test fails
	if err == nil {
		err = os.Mkdir(filepath.Join(dir, "tmp"), 0o700)
	}
	if err != nil {
		t.Fatal(err)
	}
	h := &Host{Program: program, Dir: dir, Args: args, Patience: startTimeout, t: t}
	t.Cleanup(func() {
		if h.running != nil {
			h.Kill()
		}
		if t.Failed() {
			t.Logf("data and log of the broker are kept: %s\n%s", dir, h.LogTail())
			return
		}
		_ = os.RemoveAll(dir)
	})
	return h
}

// Data returns the data directory.
func (h *Host) Data() string { return filepath.Join(h.Dir, "data") }

// Start starts a broker and waits until it is ready.
func (h *Host) Start() *Process {
	h.t.Helper()
	p, ready := h.Launch()
	select {
	case <-ready:
		return p
	case <-p.Exited:
		h.t.Fatalf("the broker did not start: %v\n%s", p.err, h.LogTail())
	case <-time.After(h.Patience):
		h.t.Fatalf("the broker was not ready within %v\n%s", h.Patience, h.LogTail())
	}
	return nil
}

// Refuse starts a broker that is expected to refuse, and returns the end of what it logged.
func (h *Host) Refuse() string {
	h.t.Helper()
	p, ready := h.Launch()
	select {
	case <-ready:
		h.t.Fatalf("the broker started\n%s", h.LogTail())
	case <-p.Exited:
	case <-time.After(h.Patience):
		h.t.Fatalf("the broker neither started nor refused within %v\n%s", h.Patience, h.LogTail())
	}
	h.running = nil
	if p.err == nil {
		h.t.Fatalf("the broker ended without an error\n%s", h.LogTail())
	}
	return h.LogTail()
}

// Launch starts a broker. The channel is closed when it is ready.
func (h *Host) Launch() (*Process, <-chan struct{}) {
	h.t.Helper()
	log, err := os.OpenFile(filepath.Join(h.Dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		h.t.Fatal(err)
	}
	defer func() { _ = log.Close() }()
	if h.logAt, err = log.Seek(0, io.SeekEnd); err != nil {
		h.t.Fatal(err)
	}
	args := append([]string{
		"server", "--data-dir", h.Data(), "--namesrv-listen", "127.0.0.1:0", "--broker-listen", "127.0.0.1:0", "--http-listen", "127.0.0.1:0",
	}, h.Args...)
	exited, ready, began := make(chan struct{}), make(chan struct{}), time.Now()
	p := &Process{cmd: exec.Command(h.Program, args...), Exited: exited} //nolint:gosec,noctx // of tests, which end it by a signal
	p.cmd.Stderr = log
	p.cmd.Env = slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "VARVE_") })
	p.cmd.Env = append(append(p.cmd.Env, "TMPDIR="+filepath.Join(h.Dir, "tmp")), h.Env...)
	out, err := p.cmd.StdoutPipe()
	if err == nil {
		err = p.cmd.Start()
	}
	if err != nil {
		h.t.Fatal(err)
	}
	h.running = p
	go func() {
		defer close(exited)
		lines := bufio.NewScanner(out)
		for lines.Scan() {
			f := strings.Fields(lines.Text())
			if len(f) != 2 {
				continue
			}
			switch f[0] {
			case "namesrv":
				p.Namesrv = f[1]
			case "broker":
				p.Broker = f[1]
			case "http":
				p.HTTP, p.Ready = f[1], time.Since(began)
				close(ready)
			}
		}
		_, _ = io.Copy(io.Discard, out)
		p.err = p.cmd.Wait()
	}()
	return p, ready
}

// Stop ends the broker in order.
func (h *Host) Stop() {
	h.t.Helper()
	p := h.running
	h.running = nil
	h.Signal(p, syscall.SIGTERM)
	select {
	case <-p.Exited:
		if p.err != nil {
			h.t.Errorf("the broker ended with %v\n%s", p.err, h.LogTail())
		}
	case <-time.After(h.Patience):
		_ = p.cmd.Process.Kill()
		h.t.Errorf("the broker did not end within %v\n%s", h.Patience, h.LogTail())
		<-p.Exited
	}
}

// Kill kills the broker with SIGKILL and reaps it. It is a failure of the test if the broker has ended before.
func (h *Host) Kill() {
	h.t.Helper()
	p := h.running
	h.running = nil
	select {
	case <-p.Exited:
		h.t.Errorf("the broker ended by itself: %v\n%s", p.err, h.LogTail())
		return
	default:
	}
	_ = p.cmd.Process.Kill()
	select {
	case <-p.Exited:
	case <-time.After(h.Patience):
		h.t.Fatalf("process %d does not end", p.cmd.Process.Pid)
	}
}

// Forget says that the broker has ended, or is to end, by itself: it is waited for, and its error returned.
func (h *Host) Forget() error {
	h.t.Helper()
	p := h.running
	h.running = nil
	select {
	case <-p.Exited:
	case <-time.After(h.Patience):
		_ = p.cmd.Process.Kill()
		h.t.Fatalf("the broker did not end by itself\n%s", h.LogTail())
	}
	return p.err
}

// Signal sends the broker a signal.
func (h *Host) Signal(p *Process, sig syscall.Signal) {
	h.t.Helper()
	if err := p.cmd.Process.Signal(sig); err != nil {
		h.t.Fatalf("signal %v: %v", sig, err)
	}
}

// PID returns the broker's process id.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Running returns the broker that was started last and not ended since, or nil.
func (h *Host) Running() *Process { return h.running }

// LogTail returns the end of what the broker that was started last has logged.
func (h *Host) LogTail() string {
	b, err := os.ReadFile(filepath.Join(h.Dir, "log"))
	if err != nil {
		return err.Error()
	}
	b = b[h.logAt:]
	return string(b[max(0, len(b)-8192):])
}

// Get fetches a page of the broker's HTTP endpoint.
func (p *Process) Get(t testing.TB, path string) (status int, body string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.HTTP+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

// Metric returns the sum of all series of a metric whose labels contain a text.
func (p *Process) Metric(t testing.TB, name, labels string) float64 {
	t.Helper()
	_, page := p.Get(t, "/metrics")
	sum, found := 0.0, false
	for line := range strings.Lines(page) {
		series, value, ok := strings.Cut(strings.TrimSpace(line), " ")
		metric, rest, _ := strings.Cut(series, "{")
		if !ok || metric != name || !strings.Contains(rest, labels) {
			continue
		}
		f, err := strconv.ParseFloat(value, 64)
		if err != nil {
			t.Fatalf("metric %s: %v", line, err)
		}
		sum, found = sum+f, true
	}
	if !found {
		t.Fatalf("no metric %s with %q", name, labels)
	}
	return sum
}
