package timer_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/varvemq/varve/broker/queue"
	"github.com/varvemq/varve/broker/timer"
	"github.com/varvemq/varve/broker/wal"
	"github.com/varvemq/varve/internal/message"
	"github.com/varvemq/varve/internal/vfs"
)

const (
	firstTarget = 1   // ordinals of the destinations
	firstLevel  = 100 // and of the delay topic
)

var host = netip.MustParseAddrPort("10.0.0.1:10911")

// fixture is a log with delay levels on a file system in memory.
type fixture struct {
	t      *testing.T
	fs     *vfs.Crash
	limit  int64
	log    *queue.Log
	levels []*queue.Queue
	delays message.DelayLevels
	logged strings.Builder

	mu      sync.Mutex // guards the rest
	gone    map[string]bool
	failing bool

	stop context.CancelFunc
	done chan error
}

func newFixture(t *testing.T) *fixture {
	t.Helper()
	delays, err := message.ParseDelayLevels(message.DefaultDelayLevels)
	if err != nil {
		t.Fatal(err)
	}
	return &fixture{t: t, fs: vfs.NewCrash(nil), limit: 64 << 20, delays: delays, gone: map[string]bool{}}
}

// start opens the log and delivers.
func (f *fixture) start() {
	f.t.Helper()
	var err error
	f.log, err = queue.Open(f.t.Context(), queue.Config{
		WAL: wal.Config{Dir: "/wal", FS: f.fs, Limit: f.limit, TailBytes: 1 << 20, BootID: "boot"}, Shard: wal.Shard{ID: 1, Epoch: 1}, StoreHost: host,
	})
	if err != nil {
		f.t.Fatal(err)
	}
	f.levels = f.levels[:0]
	for i := range f.delays {
		f.levels = append(f.levels, f.log.Queue(uint32(firstLevel+i)))
	}
	l := timer.NewLevels(timer.Config{
		Log: f.log, Queues: f.levels, Delays: f.delays, Resolve: f.resolve, Logger: slog.New(slog.NewTextHandler(&f.logged, nil)),
	})
	ctx, stop := context.WithCancel(f.t.Context())
	f.stop, f.done = stop, make(chan error, 1)
	go func() { f.done <- l.Run(ctx) }()
}

// end ends the delivery, and closes the log unless it crashed.
func (f *fixture) end() {
	f.t.Helper()
	f.stop()
	if err := <-f.done; err != nil {
		f.t.Error(err)
	}
	_ = f.log.Close()
}

var errAway = errors.New("etcd is away")

func (f *fixture) resolve(_ context.Context, topic string, queueID int32) (timer.Target, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case f.gone[topic]:
		return timer.Target{}, timer.ErrNoTarget
	case f.failing:
		return timer.Target{}, errAway
	}
	return timer.Target{Queue: f.log.Queue(uint32(firstTarget + queueID)), Topic: topic, QueueID: queueID}, nil
}

// later stores a message for a topic's queue at a level, and returns when that is acknowledged or has failed.
func (f *fixture) later(level int, topic string, queueID int, body string) error {
	var props []byte
	for _, p := range [][2]string{
		{message.PropertyDelay, fmt.Sprint(level)}, {"app", "kept"}, {message.PropertyRealTopic, topic}, {message.PropertyRealQueueID, fmt.Sprint(queueID)},
	} {
		props = message.AppendProperty(props, p[0], p[1])
	}
	m := message.Append(nil, &message.Fields{
		Topic: message.TopicSchedule, QueueID: int32(level - 1), Body: []byte(body), Properties: props, BornHost: host, StoreHost: host,
		BornTimestamp: time.Now().UnixMilli(),
	})
	return f.log.AppendWait(f.t.Context(), &queue.Op{Sync: true, Batches: []queue.Batch{{Queue: f.levels[level-1], Messages: m, Count: 1}}})
}

// delivered is a message in its destination.
type delivered struct {
	body, topic, app string
	leftovers        bool
	stored           int64
}

// read returns what is in a destination.
func (f *fixture) read(queueID int) []delivered {
	f.t.Helper()
	var all []delivered
	for next := uint64(0); ; {
		b, res, err := f.log.Read(f.t.Context(), f.log.Queue(uint32(firstTarget+queueID)), queue.ReadRequest{Offset: next, MaxMessages: 1000, MaxBytes: 4 << 20}, nil)
		if err != nil {
			f.t.Fatal(err)
		}
		if res.Status != queue.Found {
			return all
		}
		for next = res.Next; len(b) > 0; {
			var v message.View
			if v, b, err = message.Next(b); err != nil {
				f.t.Fatal(err)
			}
			fields := v.Fields()
			d := delivered{body: string(v.Body()), topic: fields.Topic, app: message.PropertyString(fields.Properties, "app"), stored: v.StoreTimestamp()}
			for _, p := range []string{message.PropertyDelay, message.PropertyRealTopic, message.PropertyRealQueueID} {
				_, have := message.Property(fields.Properties, p)
				d.leftovers = d.leftovers || have
			}
			all = append(all, d)
		}
	}
}

// TestLevels: 18 levels in virtual time: each message once, in order, in its topic and queue, at its time and not before.
func TestLevels(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		f.start()
		defer f.end()
		began := time.Now()
		const each = 150 // more than a record takes
		for i := range each {
			for level := 1; level <= 18; level++ {
				if err := f.later(level, "orders", level, fmt.Sprint(i)); err != nil {
					t.Fatal(err)
				}
			}
			time.Sleep(time.Millisecond)
		}
		time.Sleep(2*time.Hour + time.Minute)
		for level := 1; level <= 18; level++ {
			got := f.read(level)
			if len(got) != each {
				t.Errorf("level %d: %d messages, want %d", level, len(got), each)
			}
			for i, d := range got {
				wait := time.UnixMilli(d.stored).Sub(began)
				least := f.delays.Delay(level) + time.Duration(i)*time.Millisecond
				if d.body != fmt.Sprint(i) || d.topic != "orders" || d.app != "kept" || d.leftovers {
					t.Fatalf("level %d, message %d: %+v", level, i, d)
				}
				if wait < least || wait > least+500*time.Millisecond {
					t.Fatalf("level %d, message %d was delivered after %v, due after %v", level, i, wait, least)
				}
			}
		}
	})
}

// TestTargets: a destination that is gone costs a line in the log, one that cannot be found for the moment costs time; others are not lost by either.
func TestTargets(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		f.gone["deleted"] = true
		f.failing = true
		f.start()
		for i, topic := range []string{"deleted", "orders", "deleted", "orders"} {
			if err := f.later(1, topic, 1, fmt.Sprint(i)); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(20 * time.Second)
		if got := f.read(1); len(got) > 0 {
			t.Errorf("delivered although the destination could not be found: %v", got)
		}
		f.mu.Lock()
		f.failing = false
		f.mu.Unlock()
		time.Sleep(6 * time.Second)
		if got := f.read(1); len(got) != 2 || got[0].body != "1" || got[1].body != "3" {
			t.Errorf("delivered %v, want 1 and 3", got)
		}
		f.end()
		if n := strings.Count(f.logged.String(), errAway.Error()); n < 3 || n > 10 {
			t.Errorf("%d lines about etcd in 20 s", n)
		}
		if !strings.Contains(f.logged.String(), "its topic is gone") {
			t.Errorf("no line about the topic that is gone: %s", &f.logged)
		}
	})
}

// TestSmallLog: more is due at once than a record of a small log takes.
func TestSmallLog(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		f.limit = 16 << 20
		f.start()
		defer f.end()
		const n = 40
		for i := range n {
			if err := f.later(1, "orders", 1, fmt.Sprintf("%03d%s", i, strings.Repeat("x", 100<<10))); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(10 * time.Second)
		got := f.read(1)
		for i, d := range got {
			if d.body[:3] != fmt.Sprintf("%03d", i) {
				t.Fatalf("message %d is %s", i, d.body[:3])
			}
		}
		if len(got) != n {
			t.Errorf("%d messages, want %d\n%s", len(got), n, &f.logged)
		}
	})
}

// TestCrash: a kill or a power cut at any disk operation, again and again: each message that was acknowledged is delivered exactly once, in order, whenever it
// was; one that was not may be. The delivery and the cursor's move are one record.
func TestCrash(t *testing.T) {
	t.Parallel()
	seeds, base := 4, rand.Uint64()
	if os.Getenv("VARVE_LONG") != "" {
		seeds = 200
	}
	for i := range seeds {
		seed := base + uint64(i)
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) { crashes(t, rand.New(rand.NewPCG(seed, 1))) })
		})
	}
}

func crashes(t *testing.T, rng *rand.Rand) {
	t.Helper()
	f := newFixture(t)
	acked := [2][]string{}
	unsure := map[string]bool{}
	stored := map[string]int64{}
	next := 0
	for life := range 8 {
		stopAt, part := f.fs.Ops()+30+rng.IntN(400), rng.IntN(1<<20)
		if life < 7 {
			f.fs.SetHook(func(op vfs.Op) vfs.Fate { return vfs.Fate{Stop: op.N >= stopAt, Partial: part % (op.Len + 1)} })
		}
		f.start()
		for range 40 {
			level := 1 + rng.IntN(2)
			body := fmt.Sprint(next)
			next++
			before := time.Now().UnixMilli()
			if err := f.later(level, "orders", level, body); err != nil {
				unsure[body] = true
				break
			}
			acked[level-1] = append(acked[level-1], body)
			stored[body] = before
			time.Sleep(time.Duration(rng.IntN(400)) * time.Millisecond)
		}
		if life == 7 {
			break
		}
		time.Sleep(time.Duration(rng.IntN(8000)) * time.Millisecond)
		f.fs.Stop()
		f.end()
		if rng.IntN(2) == 0 {
			f.fs = f.fs.Kill()
		} else {
			f.fs = f.fs.Crash(rng)
		}
		time.Sleep(time.Duration(rng.IntN(8000)) * time.Millisecond)
	}
	time.Sleep(time.Minute)
	defer f.end()
	for i, want := range acked {
		seen, at := map[string]bool{}, 0
		for _, d := range f.read(i + 1) {
			if seen[d.body] {
				t.Errorf("level %d: message %s was delivered twice", i+1, d.body)
			}
			seen[d.body] = true
			if unsure[d.body] {
				continue
			}
			if at >= len(want) || d.body != want[at] {
				t.Fatalf("level %d: message %s instead of number %d of %d", i+1, d.body, at, len(want))
			}
			if wait := time.Duration(d.stored-stored[d.body]) * time.Millisecond; wait < f.delays.Delay(i+1) {
				t.Errorf("level %d: message %s was delivered after %v", i+1, d.body, wait)
			}
			at++
		}
		if at != len(want) {
			t.Errorf("level %d: %d of %d acknowledged messages were delivered\n%s", i+1, at, len(want), &f.logged)
		}
	}
}
