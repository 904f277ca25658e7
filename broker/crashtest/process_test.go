package crashtest

import (
	"bufio"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/varvemq/varve/client"
)

// startTimeout bounds how long a broker may take to be ready.
const startTimeout = 30 * time.Second

// host is a machine: a program, a data directory, and settings, on which one broker runs at a time.
type host struct {
	t       *testing.T
	program string
	dir     string
	args    []string
	running *process
}

// process is one life of a broker.
type process struct {
	cmd     *exec.Cmd
	exited  chan struct{} // closed once err is set
	err     error
	namesrv string
}

// newHost makes a data directory. It is kept if the test fails.
func newHost(t *testing.T, name string, args ...string) *host {
	t.Helper()
	path := program(t, name)
	dir, err := os.MkdirTemp("", "varve-crash-data-") //nolint:usetesting // kept if the test fails
	if err != nil {
		t.Fatal(err)
	}
	h := &host{t: t, program: path, dir: dir, args: args}
	t.Cleanup(func() {
		if h.running != nil {
			h.kill()
		}
		if t.Failed() {
			t.Logf("data and log of the broker are kept: %s", dir)
			return
		}
		_ = os.RemoveAll(dir)
	})
	return h
}

// start starts a broker on the data directory and waits until it is ready.
func (h *host) start() *process {
	h.t.Helper()
	p, ready := h.launch()
	select {
	case p.namesrv = <-ready:
		return p
	case <-p.exited:
		h.t.Fatalf("the broker did not start: %v\n%s", p.err, h.logTail())
	case <-time.After(startTimeout):
		h.t.Fatalf("the broker was not ready within %v\n%s", startTimeout, h.logTail())
	}
	return nil
}

// launch starts a broker on the data directory. The channel gets the name server's address.
func (h *host) launch() (*process, <-chan string) {
	h.t.Helper()
	log, err := os.OpenFile(filepath.Join(h.dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		h.t.Fatal(err)
	}
	defer func() { _ = log.Close() }()
	args := append([]string{
		"server", "--data-dir", filepath.Join(h.dir, "data"),
		"--namesrv-listen", "127.0.0.1:0", "--broker-listen", "127.0.0.1:0", "--http-listen", "127.0.0.1:0",
	}, h.args...)
	p := &process{cmd: exec.Command(h.program, args...), exited: make(chan struct{})}
	p.cmd.Stderr = log
	p.cmd.Env = append(os.Environ(), "TMPDIR="+filepath.Join(programs.dir, "tmp"))
	out, err := p.cmd.StdoutPipe()
	if err == nil {
		err = p.cmd.Start()
	}
	if err != nil {
		h.t.Fatal(err)
	}
	h.running = p
	ready := make(chan string, 1)
	go func() {
		defer close(p.exited)
		lines := bufio.NewScanner(out)
		for lines.Scan() {
			if f := strings.Fields(lines.Text()); len(f) == 2 && f[0] == "namesrv" {
				ready <- f[1]
			}
		}
		_, _ = io.Copy(io.Discard, out)
		p.err = p.cmd.Wait()
	}()
	return p, ready
}

// stop ends the broker in order.
func (h *host) stop() {
	h.t.Helper()
	p := h.running
	h.running = nil
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.exited:
		if p.err != nil {
			h.t.Errorf("the broker ended with %v\n%s", p.err, h.logTail())
		}
	case <-time.After(startTimeout):
		_ = p.cmd.Process.Kill()
		h.t.Errorf("the broker did not end within %v\n%s", startTimeout, h.logTail())
		<-p.exited
	}
}

// kill kills the broker with SIGKILL and reaps it. It is a failure of the test if the broker has ended before.
func (h *host) kill() {
	h.t.Helper()
	p := h.running
	h.running = nil
	select {
	case <-p.exited:
		h.t.Errorf("the broker ended by itself: %v\n%s", p.err, h.logTail())
		return
	default:
	}
	_ = p.cmd.Process.Kill()
	select {
	case <-p.exited:
	case <-time.After(startTimeout):
		h.t.Fatalf("process %d does not end", p.cmd.Process.Pid)
	}
}

func (h *host) logTail() string {
	b, err := os.ReadFile(filepath.Join(h.dir, "log"))
	if err != nil {
		return err.Error()
	}
	return string(b[max(0, len(b)-4096):])
}

func (p *process) option() client.Option { return client.WithNameServers(p.namesrv) }

func (p *process) admin(t *testing.T) *client.Admin {
	t.Helper()
	a, err := client.NewAdmin(p.option())
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func (p *process) reader(t *testing.T) *client.Reader {
	t.Helper()
	r, err := client.NewReader(p.option())
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// producer returns a producer that tries once, so that the outcome of each attempt is known.
func (p *process) producer(t *testing.T) *client.Producer {
	t.Helper()
	c, err := client.NewProducer(p.option(), client.WithRetries(0), client.WithSendTimeout(20*time.Second))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// createTopic makes a topic.
func (p *process) createTopic(t *testing.T, name string, queues int) {
	t.Helper()
	a := p.admin(t)
	defer func() { _ = a.Close() }()
	if err := a.CreateTopic(t.Context(), client.TopicConfig{Name: name, ReadQueues: queues, WriteQueues: queues}); err != nil {
		t.Fatalf("create topic %s: %v", name, err)
	}
}
