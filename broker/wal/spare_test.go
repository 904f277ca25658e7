package wal

import (
	"context"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/varvemq/varve/internal/vfs"
)

// logLines keeps the messages about spares.
type logLines struct {
	slog.Handler
	mu    sync.Mutex
	lines []string
}

func (l *logLines) Enabled(context.Context, slog.Level) bool { return true }

func (l *logLines) Handle(_ context.Context, r slog.Record) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if strings.Contains(r.Message, "spare") {
		l.lines = append(l.lines, r.Level.String()+" "+r.Message)
	}
	return nil
}

func (l *logLines) take() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	lines := l.lines
	l.lines = nil
	return lines
}

// TestNoSpaceBackoff fills the disk while records that need the next files are in the log already: the committer waits,
// a spare is tried for with backoff and not at once, there is one log line per change, and all goes on when there is room.
func TestNoSpaceBackoff(t *testing.T) {
	t.Parallel()
	synctest.Test(t, testNoSpaceBackoff)
}

func testNoSpaceBackoff(t *testing.T) {
	const size, n = 4000, 3 * minFileSize / 4000
	fs, log := vfs.NewCrash(nil), &logLines{Handler: slog.DiscardHandler}
	c := testConfig(fs, &owner{})
	c.Logger = slog.New(log)
	w := mustOpen(t, c)
	var full atomic.Bool
	var tries atomic.Int64
	fs.SetHook(func(op vfs.Op) vfs.Fate {
		if op.Kind != vfs.OpCreate || !full.Load() {
			return vfs.Fate{}
		}
		if tries.Add(1) > 1000 {
			return vfs.Fate{} // a hot loop would not let time go on
		}
		return vfs.Fate{Err: syscall.ENOSPC}
	})
	for round := range 2 {
		synctest.Wait() // there is a spare
		parts := batch(1, size)
		for range n {
			if err := w.Reserve(t.Context(), RecordSize(parts), false); err != nil {
				t.Fatal(err)
			}
		}
		full.Store(true)
		tries.Store(0)
		var last *waitFor
		for range n {
			last = newWait(Durable)
			if _, err := w.Append(1, parts, Durable, last); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if k := tries.Load(); k < 10 || k > 20 {
			t.Fatalf("round %d: %d attempts in a minute", round, k)
		}
		if got, err := last.state(); got != 0 || err != nil {
			t.Fatal(got, err)
		}
		if diff := cmp.Diff([]string{"WARN no spare for the write-ahead log"}, log.take()); diff != "" {
			t.Fatal(diff)
		}
		full.Store(false)
		time.Sleep(maxBackoff + time.Second)
		synctest.Wait()
		if got, err := last.state(); got != Durable || err != nil {
			t.Fatal("no record although there is room", got, err)
		}
		if diff := cmp.Diff([]string{"INFO the write-ahead log has a spare again"}, log.take()); diff != "" {
			t.Fatal(diff)
		}
		if err := w.TrimTo(w.Stats().Durable); err != nil {
			t.Fatal(err)
		}
	}
}

// TestNoSpaceRecycled frees a file by trimming while the committer waits for room: it takes that file at once, and does
// not wait for the next attempt to make one.
func TestNoSpaceRecycled(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		fs := vfs.NewCrash(nil)
		w := mustOpen(t, testConfig(fs, &owner{}))
		for id := range uint64(2 * minFileSize / 4000) {
			mustAdd(t, w, id, 4000, Durable)
		}
		synctest.Wait()
		parts := batch(1, 4000)
		const n = minFileSize*3/2/4000 + 1
		for range n {
			if err := w.Reserve(t.Context(), RecordSize(parts), false); err != nil {
				t.Fatal(err)
			}
		}
		fs.SetHook(func(op vfs.Op) vfs.Fate {
			if op.Kind == vfs.OpCreate {
				return vfs.Fate{Err: syscall.ENOSPC}
			}
			return vfs.Fate{}
		})
		var last *waitFor
		for range n {
			last = newWait(Durable)
			if _, err := w.Append(1, parts, Durable, last); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if got, err := last.state(); got != 0 || err != nil {
			t.Fatal(got, err)
		}
		if err := w.TrimTo(w.Stats().Durable); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if got, err := last.state(); got != Durable || err != nil {
			t.Fatal(got, err, w.Stats())
		}
	})
}
