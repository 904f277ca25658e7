package broker_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/varvemq/varve/broker"
	"github.com/varvemq/varve/client"
)

// long says that the full times of the outages are wanted.
func long() bool { return os.Getenv("VARVE_LONG") != "" }

// logBuffer keeps a broker's log.
type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) logger() *slog.Logger { return slog.New(slog.NewTextHandler(l, nil)) }

// lines returns the lines that contain text.
func (l *logBuffer) lines(text string) []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var out []string
	for line := range strings.Lines(l.b.String()) {
		if strings.Contains(line, text) {
			out = append(out, strings.TrimSpace(line))
		}
	}
	return out
}

func eventually(t testing.TB, d time.Duration, what string, f func() bool) {
	t.Helper()
	for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if f() {
			return
		}
	}
	t.Fatalf("not within %v: %s", d, what)
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// closedPort returns a loopback address that nobody listens on.
func closedPort(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer l.Close()
	return l.Addr().String()
}

// link is a TCP connection between a broker and etcd that can be cut: nothing passes, and new connections are refused.
type link struct {
	to  string
	l   net.Listener
	wg  sync.WaitGroup
	url string

	mu    sync.Mutex // guards the rest
	down  bool
	conns map[net.Conn]struct{}
}

func newLink(t testing.TB, url string) *link {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	k := &link{to: strings.TrimPrefix(url, "http://"), l: l, url: "http://" + l.Addr().String(), conns: map[net.Conn]struct{}{}}
	k.wg.Go(k.accept)
	t.Cleanup(func() {
		_ = l.Close()
		k.cut()
		k.wg.Wait()
	})
	return k
}

func (k *link) accept() {
	for {
		from, err := k.l.Accept()
		if err != nil {
			return
		}
		to, err := net.Dial("tcp", k.to)
		if err != nil || !k.add(from, to) {
			_ = from.Close()
			continue
		}
		for _, pair := range [][2]net.Conn{{from, to}, {to, from}} {
			k.wg.Go(func() {
				_, _ = io.Copy(pair[0], pair[1])
				_, _ = pair[0].Close(), pair[1].Close()
			})
		}
	}
}

func (k *link) add(conns ...net.Conn) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, c := range conns {
		if k.down {
			_ = c.Close()
			continue
		}
		k.conns[c] = struct{}{}
	}
	return !k.down
}

func (k *link) cut() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.down = true
	for c := range k.conns {
		_ = c.Close()
	}
	clear(k.conns)
}

func (k *link) heal() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.down = false
}

// at is how clients reach a broker.
func at(a broker.Addrs) client.Option { return client.WithNameServers(a.Namesrv) }

func newAdmin(t testing.TB, a broker.Addrs) *client.Admin {
	t.Helper()
	c, err := client.NewAdmin(at(a))
	must(t, err)
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func newProducer(t testing.TB, a broker.Addrs, opts ...client.Option) *client.Producer {
	t.Helper()
	c, err := client.NewProducer(append([]client.Option{at(a)}, opts...)...)
	must(t, err)
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func createTopic(t testing.TB, a broker.Addrs, name string, queues int) {
	t.Helper()
	must(t, newAdmin(t, a).CreateTopic(t.Context(), client.TopicConfig{Name: name, ReadQueues: queues, WriteQueues: queues}))
}

// readAll reads a topic from its beginning to its end and checks that the offsets of each queue are dense.
func readAll(t testing.TB, a broker.Addrs, topic string) map[string]int {
	t.Helper()
	r, err := client.NewReader(at(a))
	must(t, err)
	defer r.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	s, err := r.Open(ctx, topic, client.First(), client.UntilEnd())
	must(t, err)
	defer s.Close()
	bodies, next := map[string]int{}, map[int]int64{}
	for {
		m, err := s.Next(ctx)
		if errors.Is(err, io.EOF) {
			return bodies
		}
		must(t, err)
		if m.Offset != next[m.Queue.ID] {
			t.Errorf("topic %s, queue %d: offset %d follows %d", topic, m.Queue.ID, m.Offset, next[m.Queue.ID]-1)
		}
		next[m.Queue.ID] = m.Offset + 1
		bodies[string(m.Body)]++
	}
}

// consume runs a consumer of the group that counts bodies, until the returned function is called, which waits for the commit of its progress.
func consume(t testing.TB, a broker.Addrs, group, topic string, h client.Handler, opts ...client.Option) (stop func()) {
	t.Helper()
	c, err := client.NewPushConsumer(group, h, append([]client.Option{at(a), client.WithConsumeFrom(client.First())}, opts...)...)
	must(t, err)
	must(t, c.Subscribe(topic, "*"))
	done := make(chan error, 1)
	go func() { done <- c.Run(t.Context()) }()
	stop = sync.OnceFunc(func() {
		if err := errors.Join(c.Close(), <-done); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(stop)
	return stop
}

// counter counts bodies.
type counter struct {
	mu sync.Mutex
	m  map[string]int
}

func (c *counter) handle(_ context.Context, m *client.MessageExt) error {
	c.add(string(m.Body))
	return nil
}

func (c *counter) add(body string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.m == nil {
		c.m = map[string]int{}
	}
	c.m[body]++
}

func (c *counter) has(body string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.m[body]
}

func (c *counter) size() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.m)
}

// missing returns which bodies of another counter are not in c.
func (c *counter) missing(of *counter) []string {
	of.mu.Lock()
	defer of.mu.Unlock()
	var out []string
	for body := range of.m {
		if c.has(body) == 0 {
			out = append(out, body)
		}
	}
	return out
}

// load sends to a topic, one message after the other from each of some workers, until stopped.
type load struct {
	acked, unknown counter
	refused        counter // remarks
	stop           func()
}

func startLoad(t testing.TB, a broker.Addrs, topic string, workers int) *load {
	t.Helper()
	l := &load{}
	quit := make(chan struct{})
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for w := range workers {
		p := newProducer(t, a, client.WithRetries(0), client.WithSendTimeout(30*time.Second))
		wg.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-quit:
					return
				default:
				}
				body := fmt.Sprintf("%d-%d", w, i)
				_, err := p.Send(ctx, &client.Message{Topic: topic, Body: []byte(body)})
				var refusal *client.Error
				switch {
				case err == nil:
					l.acked.add(body)
				case client.OutcomeUnknown(err):
					l.unknown.add(body)
				case errors.As(err, &refusal):
					l.refused.add(fmt.Sprintf("%d %s", refusal.Code, refusal.Remark))
				default:
					l.refused.add(err.Error())
				}
				time.Sleep(2 * time.Millisecond)
			}
		})
	}
	l.stop = sync.OnceFunc(func() {
		close(quit)
		defer time.AfterFunc(time.Second, cancel).Stop() // who has no broker any more does not wait for one
		wg.Wait()
		cancel()
	})
	t.Cleanup(l.stop)
	return l
}

// get asks the broker's HTTP endpoint.
func get(t testing.TB, a broker.Addrs, path string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+a.HTTP+path, nil)
	must(t, err)
	resp, err := http.DefaultClient.Do(req)
	must(t, err)
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	must(t, err)
	return resp.StatusCode, string(b)
}
