package scaletest

import (
	"bufio"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/varvemq/varve/broker/brokertest"
	"github.com/varvemq/varve/client"
	wire "github.com/varvemq/varve/internal/remoting"
)

const (
	queuesPerTopic = 1000
	bytesPerQueue  = 2 << 10  // the promise
	noise          = 24 << 20 // of the memory of a process, which matters in the small form only
)

// TestQueues: an idle queue costs less than 2 KiB of memory, both when it was only created and when it has a message.
func TestQueues(t *testing.T) {
	topics := size(100, 10)
	n := topics * queuesPerTopic
	p := newHost(t, "--tail-cache", "8MiB", "--flush", "async").Start()
	opt := client.WithNameServers(p.Namesrv)
	admin, err := client.NewAdmin(opt)
	must(t, err)
	defer admin.Close()
	producer, err := client.NewProducer(opt, client.WithSendTimeout(time.Minute))
	must(t, err)
	defer producer.Close()
	must(t, admin.CreateTopic(t.Context(), client.TopicConfig{Name: "warm", ReadQueues: 1, WriteQueues: 1}))
	_, err = producer.Send(t.Context(), &client.Message{Topic: "warm", Body: []byte("x")})
	must(t, err)
	before := rss(t, p)
	for i := range topics {
		must(t, admin.CreateTopic(t.Context(), client.TopicConfig{Name: fmt.Sprintf("topic-%d", i), ReadQueues: queuesPerTopic, WriteQueues: queuesPerTopic}))
	}
	created := rss(t, p)
	began := time.Now()
	var failed atomic.Pointer[error]
	for i := range topics {
		for q := range queuesPerTopic {
			m := client.Message{Topic: fmt.Sprintf("topic-%d", i), Queue: &client.Queue{ID: q}, Body: []byte("x")}
			must(t, producer.SendAsync(t.Context(), &m, func(_ client.SendResult, err error) {
				if err != nil {
					failed.Store(&err)
				}
			}))
		}
	}
	must(t, producer.Flush(t.Context()))
	if err := failed.Load(); err != nil {
		t.Fatalf("send: %v", *err)
	}
	if got := metric(t, p, "varve_queue_appended_messages_total"); got < n {
		t.Errorf("%d messages, want %d", got, n)
	}
	t.Logf("%d messages, one a queue, took %v", n, time.Since(began).Round(time.Millisecond))
	used := rss(t, p)
	t.Logf("%d queues: %d MiB before, %d MiB created (%d bytes a queue), %d MiB with a message each (%d bytes a queue)",
		n, before>>20, created>>20, (created-before)/n, used>>20, (used-before)/n)
	limit := n * bytesPerQueue
	if !full() {
		limit += noise
	}
	if created-before > limit || used-before > limit {
		t.Errorf("over %d bytes a queue", bytesPerQueue)
	}
}

// puller is a connection with pulls that wait.
type puller struct {
	nc      net.Conn
	answers atomic.Int64
	done    sync.WaitGroup
}

func dial(t *testing.T, addr string) *puller {
	t.Helper()
	nc, err := net.Dial("tcp", addr)
	must(t, err)
	p := &puller{nc: nc}
	p.done.Go(func() {
		r := bufio.NewReader(nc)
		for {
			var prefix [wire.PrefixSize]byte
			if _, err := io.ReadFull(r, prefix[:]); err != nil {
				return
			}
			frame := make([]byte, binary.BigEndian.Uint32(prefix[:]))
			if _, err := io.ReadFull(r, frame); err != nil {
				return
			}
			var cmd wire.Command
			if err := wire.DecodeFrame(frame, &cmd); err != nil || cmd.Code != wire.RespSuccess {
				t.Errorf("the answer to a pull is %d %s, %v", cmd.Code, cmd.Remark, err)
			}
			p.answers.Add(1)
		}
	})
	t.Cleanup(func() {
		_ = nc.Close()
		p.done.Wait()
	})
	return p
}

// wait asks for the next messages of queues that have none.
func (p *puller) wait(t *testing.T, topic string, queues int) {
	t.Helper()
	var out []byte
	for q := range queues {
		h := wire.PullMessageHeader{
			ConsumerGroup: []byte("group"), Topic: []byte(topic), QueueID: int32(q), MaxMsgNums: 32, MaxMsgBytes: wire.Absent,
			SysFlag: wire.PullFlagSubscription | wire.PullFlagSuspend, Subscription: []byte("*"), ExpressionType: []byte("TAG"), SuspendTimeoutMillis: 120_000,
		}
		cmd := wire.Command{Code: wire.ReqPullMessage, Opaque: int32(q + 1), Version: wire.CurrentVersion}
		h.AppendExt(&cmd)
		out = wire.AppendFrame(out, &cmd)
	}
	_, err := p.nc.Write(out)
	must(t, err)
}

// TestPulls: a waiting pull holds no goroutine, and is answered when a message comes.
func TestPulls(t *testing.T) {
	conns, each := size(100, 20), 100
	n := conns * each
	p := newHost(t, "--tail-cache", "8MiB").Start()
	opt := client.WithNameServers(p.Namesrv)
	admin, err := client.NewAdmin(opt)
	must(t, err)
	defer admin.Close()
	must(t, admin.CreateTopic(t.Context(), client.TopicConfig{Name: "events", ReadQueues: each, WriteQueues: each}))
	must(t, admin.CreateGroup(t.Context(), "group", 16))
	own := metric(t, p, "varve_queue_waiters") // those of the delay levels
	waiting := func(n int) func() bool { return func() bool { return metric(t, p, "varve_queue_waiters") == own+n } }
	pullers := make([]*puller, conns)
	for i := range pullers {
		pullers[i] = dial(t, p.Broker)
		pullers[i].wait(t, "events", 1)
	}
	await(t, "one pull of each connection waits", waiting(conns))
	before, goroutines := rss(t, p), metric(t, p, "go_goroutines")
	for _, c := range pullers {
		c.wait(t, "events", each)
	}
	await(t, "all pulls wait", waiting(n+conns))
	after, goroutinesNow := rss(t, p), metric(t, p, "go_goroutines")
	t.Logf("%d waiting pulls on %d connections: %d MiB more (%d bytes a pull), %d goroutines, %d before", n, conns, (after-before)>>20, (after-before)/n, goroutinesNow, goroutines)
	if goroutinesNow > goroutines+conns/2 {
		t.Errorf("%d goroutines for %d waiting pulls", goroutinesNow-goroutines, n)
	}
	if after-before > n*4<<10+noise {
		t.Errorf("%d bytes for %d waiting pulls", after-before, n)
	}
	producer, err := client.NewProducer(opt)
	must(t, err)
	defer producer.Close()
	began := time.Now()
	_, err = producer.Send(t.Context(), &client.Message{Topic: "events", Queue: &client.Queue{ID: each - 1}, Body: []byte("x")})
	must(t, err)
	await(t, "the pulls of the queue are answered", func() bool {
		for _, c := range pullers {
			if c.answers.Load() != 1 {
				return false
			}
		}
		return true
	})
	t.Logf("%d pulls of one queue were answered %v after the send began", conns, time.Since(began).Round(time.Millisecond))
}

// TestStart: a start reads trailers and the last file, not the whole log: it takes less than two seconds, whatever is in the log.
func TestStart(t *testing.T) {
	total := int64(size(2<<10, 64)) << 20
	if full() {
		total = int64(number(t, "VARVE_SCALE_WAL_MIB", 2<<10)) << 20
	}
	limit := fmt.Sprintf("%dMiB", 3*total>>20)
	h := newHost(t, "--wal-limit", limit, "--flush", "async")
	p := h.Start()
	opt := client.WithNameServers(p.Namesrv)
	admin, err := client.NewAdmin(opt)
	must(t, err)
	defer admin.Close()
	must(t, admin.CreateTopic(t.Context(), client.TopicConfig{Name: "logs", ReadQueues: 16, WriteQueues: 16}))
	producer, err := client.NewProducer(opt, client.WithSendTimeout(time.Minute))
	must(t, err)
	defer producer.Close()
	body := make([]byte, 1000)
	sent := 0
	for metric(t, p, "varve_wal_used_bytes") < int(total) {
		for range 10_000 {
			sent++
			must(t, producer.SendAsync(context.WithoutCancel(t.Context()), &client.Message{Topic: "logs", Body: body}, nil))
		}
	}
	must(t, producer.Flush(t.Context()))
	h.Kill()
	again := h.Start()
	if got := count(t, again); got != int64(sent) {
		t.Errorf("%d messages after the start, want %d", got, sent)
	}
	t.Logf("ready %v after kill -9, with %d messages in %d MiB", again.Ready.Round(time.Millisecond), sent, metric(t, again, "varve_wal_used_bytes")>>20)
	if again.Ready > 2*time.Second {
		t.Errorf("the start took %v", again.Ready)
	}
}

func count(t *testing.T, p *brokertest.Process) int64 {
	t.Helper()
	admin, err := client.NewAdmin(client.WithNameServers(p.Namesrv))
	must(t, err)
	defer admin.Close()
	info, err := admin.DescribeTopic(t.Context(), "logs")
	must(t, err)
	n := int64(0)
	for _, q := range info.Queues {
		n += q.Messages()
	}
	return n
}

func await(t *testing.T, what string, f func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if f() {
			return
		}
	}
	t.Fatalf("not within 30 s: %s", what)
}
