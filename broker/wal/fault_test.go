package wal

import (
	"context"
	"errors"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/varvemq/varve/internal/vfs"
)

// TestPoison fails a sync once: nobody is told Durable any more, although every later sync would succeed.
func TestPoison(t *testing.T) {
	t.Parallel()
	for _, kind := range []vfs.OpKind{vfs.OpSync, vfs.OpWrite} {
		fs := vfs.NewCrash(nil)
		c := testConfig(fs, nil)
		fatal := make(chan error, 1)
		c.OnFatal = func(err error) { fatal <- err }
		w := mustOpen(t, c)
		mustAdd(t, w, 1, 100, Durable)
		for w.Stats().Spares == 0 { // it is not what shall fail
			time.Sleep(time.Millisecond)
		}
		var failed atomic.Bool
		fs.SetHook(func(op vfs.Op) vfs.Fate {
			if op.Kind == kind && strings.HasSuffix(op.Name, ".tmp") && failed.CompareAndSwap(false, true) {
				return vfs.Fate{Err: vfs.ErrInjected}
			}
			return vfs.Fate{}
		})
		_, wt, err := add(w, 1, 2, 100, Written|Durable)
		if err != nil {
			t.Fatal(err)
		}
		<-wt.done
		if got, err := wt.state(); !errors.Is(err, ErrPoisoned) || got&Durable != 0 {
			t.Fatal(got, err)
		}
		if err := <-fatal; !errors.Is(err, ErrPoisoned) || !errors.Is(err, syscall.EIO) {
			t.Fatal(err)
		}
		if _, _, err := add(w, 1, 3, 100, Durable); !errors.Is(err, ErrPoisoned) {
			t.Fatal(err)
		}
		if err := w.Sync(t.Context()); !errors.Is(err, ErrPoisoned) {
			t.Fatal(err)
		}
		if w.Stats().Err == nil {
			t.Error("no error in the statistics")
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestNoSpace fills the disk: appends are refused before the file is full, nothing fails, and it goes on when there is room.
func TestNoSpace(t *testing.T) {
	t.Parallel()
	fs := vfs.NewCrash(nil)
	var full atomic.Bool
	w := mustOpen(t, testConfig(fs, &owner{}))
	for w.Stats().Spares == 0 {
		time.Sleep(time.Millisecond)
	}
	full.Store(true)
	fs.SetHook(func(op vfs.Op) vfs.Fate {
		if full.Load() && strings.Contains(op.Name, "spare-") && op.Kind == vfs.OpCreate {
			return vfs.Fate{Err: syscall.ENOSPC}
		}
		return vfs.Fate{}
	})
	var refused bool
	id := uint64(0)
	for ; id < 1000 && !refused; id++ {
		_, wt, err := add(w, 1, id, 1000, Durable)
		switch {
		case errors.Is(err, ErrNoSpace):
			refused = true
		case err != nil:
			t.Fatal(err)
		default:
			<-wt.done
			if _, err := wt.state(); err != nil {
				t.Fatal(err)
			}
		}
	}
	st := w.Stats()
	if !refused || st.Files != 2 || !errors.Is(st.Err, syscall.ENOSPC) {
		t.Fatal(refused, st)
	}
	full.Store(false)
	for deadline := time.Now().Add(20 * time.Second); ; {
		_, wt, err := add(w, 1, id, 1000, Durable)
		if err == nil {
			<-wt.done
			break
		}
		if !errors.Is(err, ErrNoSpace) || time.Now().After(deadline) {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// TestLimit fills the log: clients are refused first, internal appends later, and trimming makes room.
func TestLimit(t *testing.T) {
	t.Parallel()
	c := testConfig(vfs.NewCrash(nil), &owner{})
	c.Limit = 8 * minFileSize
	w := mustOpen(t, c)
	var last Appended
	fill := func(internal bool) (n int) {
		for ; n < 10000; n++ {
			parts := batch(1, 1000)
			err := w.Reserve(t.Context(), RecordSize(parts), internal)
			if errors.Is(err, ErrFull) {
				return n
			}
			if err != nil {
				t.Fatal(err)
			}
			if last, err = w.Append(1, parts, 0, nil); err != nil {
				t.Fatal(err)
			}
		}
		t.Fatal("never full")
		return 0
	}
	clients, internal := fill(false), fill(true)
	if clients < 300 || internal < 10 {
		t.Errorf("%d and %d records", clients, internal)
	}
	if err := w.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := w.TrimTo(last.FileBase); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(20 * time.Second); len(w.Files()) > 2; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%+v", w.Stats())
		}
	}
	if n := fill(false); n < 100 {
		t.Errorf("%d records after trimming", n)
	}
	if _, err := w.Record(0, 100, nil); err == nil {
		t.Error("a trimmed record is there")
	}
}

// TestReserve holds back who would have more pending than there is room for, in order, and lets them go.
func TestReserve(t *testing.T) {
	t.Parallel()
	r := &room{max: 100}
	admit := func(int64) error { return nil }
	if err := r.reserve(t.Context(), 80, admit); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	got := make(chan error, 1)
	go func() { got <- r.reserve(ctx, 50, admit) }()
	for {
		r.mu.Lock()
		k := len(r.queue)
		r.mu.Unlock()
		if k == 1 {
			break
		}
		time.Sleep(time.Millisecond)
	}
	cancel()
	if err := <-got; !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	go func() { got <- r.reserve(t.Context(), 50, admit) }()
	time.Sleep(5 * time.Millisecond)
	r.consume(80)
	select {
	case err := <-got:
		t.Fatal("too early", err)
	case <-time.After(5 * time.Millisecond):
	}
	r.release(80)
	if err := <-got; err != nil {
		t.Fatal(err)
	}
	r.unreserve(50)
	if a, b := r.usage(); a != 0 || b != 0 {
		t.Error(a, b)
	}
	r.fail(io.EOF)
	if err := r.reserve(t.Context(), 1, admit); !errors.Is(err, io.EOF) {
		t.Fatal(err)
	}
}

// TestFence delivers nothing while ownership is in doubt, everything afterwards, and fails all when it is lost.
func TestFence(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	doubt, lost := make(chan struct{}), error(nil)
	c := testConfig(vfs.NewCrash(nil), nil)
	c.Fence = func(ctx context.Context) error {
		mu.Lock()
		ch := doubt
		mu.Unlock()
		select {
		case <-ch:
		case <-ctx.Done():
			return ctx.Err()
		}
		mu.Lock()
		defer mu.Unlock()
		return lost
	}
	w := mustOpen(t, c)
	_, wt, err := add(w, 1, 1, 100, Durable)
	if err != nil {
		t.Fatal(err)
	}
	select {
	case <-wt.done:
		t.Fatal("told although ownership is in doubt")
	case <-time.After(20 * time.Millisecond):
	}
	close(doubt)
	<-wt.done
	if _, err := wt.state(); err != nil {
		t.Fatal(err)
	}
	mu.Lock()
	lost = io.ErrClosedPipe
	mu.Unlock()
	_, wt, err = add(w, 1, 2, 100, Written|Durable)
	if err != nil {
		t.Fatal(err)
	}
	<-wt.done
	if _, err := wt.state(); !errors.Is(err, io.ErrClosedPipe) || !errors.Is(err, ErrPoisoned) {
		t.Fatal(err)
	}
}
