package metadata

import (
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

func openOffsets(t *testing.T, s *Store, own *Ownership, cfg OffsetConfig) *OffsetCommitter {
	t.Helper()
	c, err := s.OpenOffsets(t.Context(), own, cfg)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestOffsets(t *testing.T) {
	t.Parallel()
	onAll(t, func(t *testing.T, kv KV) { //nolint:thelper // a case, not a helper: its own lines matter
		ctx := t.Context()
		s := newStore(t, kv, StoreConfig{})
		own := acquireShard(t, s, claimOf("s0", "b0", "w0"))
		c := openOffsets(t, s, own, OffsetConfig{FlushInterval: time.Hour})
		if _, err := s.OpenOffsets(ctx, own, OffsetConfig{}); !errors.Is(err, ErrInvalid) {
			t.Fatal("two committers", err)
		}
		c.Commit("g/1", 1, 10)
		c.Commit("g/1", ChunkQueues, 20)
		c.Commit("g/1", MaxOrdinal, 30)
		c.Commit("g/1", 1, 9) // the last call wins
		c.Commit("g/1", 1, -1)
		c.Commit("g/1", MaxOrdinal+1, 1)
		c.Commit("", 1, 1)
		if o, ok := c.Offset("g/1", 1); !ok || o != 9 {
			t.Fatal(o, ok)
		}
		if _, ok := c.Offset("g", 1); ok || c.Pending() != 3 {
			t.Fatal("pending", c.Pending())
		}
		if err := c.Flush(ctx); err != nil || c.Pending() != 0 {
			t.Fatal(err, c.Pending())
		}
		want := map[OffsetKey]int64{{"g/1", 1}: 9, {"g/1", ChunkQueues}: 20, {"g/1", MaxOrdinal}: 30}
		check := func(what string) {
			t.Helper()
			got, err := s.LoadOffsets(ctx, "s0")
			if diff := cmp.Diff(want, got); diff != "" || err != nil {
				t.Fatal(what, diff, err)
			}
		}
		check("flush")
		if err := c.Reset(ctx, "g/1", map[uint32]int64{1: 0, 2: 5}); err != nil {
			t.Fatal(err)
		}
		want[OffsetKey{"g/1", 1}], want[OffsetKey{"g/1", 2}] = 0, 5
		check("reset")
		if err := c.Clone(ctx, "g/1", "h", 2, ChunkQueues, 77); err != nil {
			t.Fatal(err)
		}
		want[OffsetKey{"h", 2}], want[OffsetKey{"h", ChunkQueues}] = 5, 20
		check("clone")
		if err := c.Delete(ctx, "g/1", 2, 3); err != nil {
			t.Fatal(err)
		}
		delete(want, OffsetKey{"g/1", 2})
		check("delete of one")
		if err := c.Delete(ctx, "h"); err != nil {
			t.Fatal(err)
		}
		delete(want, OffsetKey{"h", 2})
		delete(want, OffsetKey{"h", ChunkQueues})
		check("delete of all")
		c.Forget([]OrdinalRange{{First: ChunkQueues - 1, Count: 2}})
		if err := errors.Join(c.Close(ctx), c.Close(ctx)); err != nil {
			t.Fatal(err)
		}
		delete(want, OffsetKey{"g/1", ChunkQueues})
		check("forget and close")
		if err := c.Reset(ctx, "g/1", map[uint32]int64{1: 1}); !errors.Is(err, ErrClosed) {
			t.Fatal(err)
		}
		// The next committer loads them, and sweeps what is empty.
		c = openOffsets(t, s, own, OffsetConfig{})
		var got []string
		c.Each("g/1", func(ordinal uint32, offset int64) bool { got = append(got, fmt.Sprint(ordinal, offset)); return true })
		if diff := cmp.Diff([]string{"1 0", fmt.Sprint(MaxOrdinal, 30)}, got); diff != "" || len(c.Groups()) != 1 {
			t.Fatal(diff, c.Groups())
		}
		page, err := kv.Range(ctx, RangeRequest{Prefix: s.keys.offsets("s0")})
		if err != nil || len(page.KVs) != 2 {
			t.Fatalf("%d chunks, %v", len(page.KVs), err)
		}
		if err := c.Close(ctx); err != nil {
			t.Fatal(err)
		}
	})
}

// TestCoalescing: a second of commits is one transaction; a full house keeps the limits of a transaction.
func TestCoalescing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		f := newFaultKV(NewMemory(), 1)
		s, err := NewStore(t.Context(), f, StoreConfig{Clock: func() time.Duration { return time.Since(begin) }})
		if err != nil {
			t.Fatal(err)
		}
		own := acquireShard(t, s, claimOf("s0", "b0", "w0"))
		c := openOffsets(t, s, own, OffsetConfig{})
		before := f.txns.Load()
		for i := range 10_000 {
			c.Commit("g", uint32(1+i%100), int64(i))
		}
		time.Sleep(DefaultFlushInterval)
		synctest.Wait()
		if n := f.txns.Load() - before; n != 1 || c.Pending() != 0 {
			t.Errorf("%d transactions, %d pending", n, c.Pending())
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if n := f.txns.Load() - before; n != 1 {
			t.Errorf("an idle minute: %d transactions", n-1)
		}
		before = f.txns.Load()
		for g := range 200 {
			c.Commit(fmt.Sprint("g", g), 1, 5)
		}
		if err := c.Flush(t.Context()); err != nil {
			t.Error(err)
		}
		if n := f.txns.Load() - before; n != 4 { // 64 + 64 + 64 + 8
			t.Errorf("200 groups in %d transactions", n)
		}
		if !own.Valid(time.Since(begin)) {
			t.Error("the lease was not kept alive for a minute")
		}
		if err := errors.Join(c.Close(t.Context()), own.Release(t.Context(), true), s.Close(), f.Close()); err != nil {
			t.Error(err)
		}
	})
}

// TestLeaseCountedFromSending: validity ends TTL less a tenth after the sending of the last keep-alive that was acknowledged.
func TestLeaseCountedFromSending(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		now := func() time.Duration { return time.Since(begin) }
		f := newFaultKV(NewMemory(), 1)
		s, err := NewStore(t.Context(), f, StoreConfig{Clock: now})
		if err != nil {
			t.Fatal(err)
		}
		own := acquireShard(t, s, claimOf("s0", "b0", "w0"))
		time.Sleep(10*time.Second + time.Millisecond) // a keep-alive at 10 s
		synctest.Wait()
		f.down.Store(true)
		for _, tt := range []struct {
			at   time.Duration
			want bool
		}{{36*time.Second + 900*time.Millisecond, true}, {37 * time.Second, false}, {time.Hour, false}} {
			if got := own.Valid(tt.at); got != tt.want {
				t.Errorf("valid at %v: %t", tt.at, got)
			}
		}
		f.down.Store(false)
		if err := errors.Join(own.Release(t.Context(), true), s.Close(), f.Close()); err != nil {
			t.Error(err)
		}
	})
}

// TestOutage: offsets that are committed while etcd is away reach it when it is back, and the log says so once.
func TestOutage(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		var logs logBuffer
		f := newFaultKV(NewMemory(), 1)
		s, err := NewStore(t.Context(), f, StoreConfig{Clock: func() time.Duration { return time.Since(begin) }, Logger: logs.logger()})
		if err != nil {
			t.Fatal(err)
		}
		own := acquireShard(t, s, claimOf("s0", "b0", "w0"))
		c := openOffsets(t, s, own, OffsetConfig{})
		f.down.Store(true)
		for i := range 120 {
			c.Commit("g", 1, int64(i))
			time.Sleep(time.Second)
		}
		if own.Valid(time.Since(begin)) || c.Pending() == 0 {
			t.Error("valid, or nothing pending, after two minutes without etcd")
		}
		if err := c.Reset(t.Context(), "g", map[uint32]int64{2: 2}); !errors.Is(err, ErrUnavailable) {
			t.Error(err)
		}
		f.down.Store(false)
		time.Sleep(30 * time.Second)
		synctest.Wait()
		got, err := s.LoadOffsets(t.Context(), "s0")
		if diff := cmp.Diff(map[OffsetKey]int64{{"g", 1}: 119, {"g", 2}: 2}, got); diff != "" || err != nil {
			t.Error(diff, err)
		}
		if n, m := logs.count("etcd does not answer"), logs.count("etcd answers again"); n != 1 || m != 1 {
			t.Errorf("%d lines of the outage, %d of its end", n, m)
		}
		if !own.Valid(time.Since(begin)) {
			t.Error("not valid after the outage")
		}
		if err := errors.Join(c.Close(t.Context()), own.Release(t.Context(), true), s.Close(), f.Close()); err != nil {
			t.Error(err)
		}
	})
}

// TestEtcdRestart: a real etcd stops and comes back on the same directory and port while offsets are committed.
func TestEtcdRestart(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "etcd")
	e, err := OpenEmbedded(t.Context(), EmbedConfig{Dir: dir, Listen: "http://127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	endpoint := e.Endpoints()[0]
	var logs logBuffer
	s, err := Open(t.Context(), Config{Endpoints: []string{endpoint}, StoreConfig: StoreConfig{Logger: logs.logger(), RequestTimeout: time.Second}})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}()
	own := acquireShard(t, s, claimOf("s0", "b0", "w0"))
	c := openOffsets(t, s, own, OffsetConfig{FlushInterval: 5 * time.Millisecond, RetryMin: 5 * time.Millisecond, RetryMax: 50 * time.Millisecond})
	stop := make(chan struct{})
	var last [4]int64
	var wg sync.WaitGroup
	for q := range last {
		wg.Go(func() {
			for i := int64(1); ; i++ {
				select {
				case <-stop:
					return
				case <-time.After(time.Millisecond):
					c.Commit("g", uint32(q+1), i)
					last[q] = i
				}
			}
		})
	}
	time.Sleep(50 * time.Millisecond)
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "outage is noticed", func() bool { return logs.count("etcd does not answer") == 1 })
	time.Sleep(100 * time.Millisecond)
	e, err = OpenEmbedded(t.Context(), EmbedConfig{Dir: dir, Listen: endpoint})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	}()
	eventually(t, "etcd is back", func() bool { return logs.count("etcd answers again") == 1 })
	close(stop)
	wg.Wait()
	if err := c.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	got, err := s.LoadOffsets(t.Context(), "s0")
	if err != nil {
		t.Fatal(err)
	}
	for q, want := range last {
		if got[OffsetKey{"g", uint32(q + 1)}] != want {
			t.Errorf("queue %d: %d, want %d", q, got[OffsetKey{"g", uint32(q + 1)}], want)
		}
	}
	if n := logs.count("etcd does not answer"); n != 1 {
		t.Errorf("%d lines of the outage", n)
	}
	if _, err := s.CreateTopic(t.Context(), own, Topic{Name: "after", ReadQueues: 1}); err != nil {
		t.Error(err)
	}
	eventually(t, "valid", func() bool { return own.Valid(BootClock()) })
	if err := own.Release(t.Context(), true); err != nil {
		t.Error(err)
	}
}

// TestCommitAllocs: the hot path does not allocate.
func TestCommitAllocs(t *testing.T) {
	s := newStore(t, NewMemory(), StoreConfig{})
	c := openOffsets(t, s, acquireShard(t, s, claimOf("s0", "b0", "w0")), OffsetConfig{FlushInterval: time.Hour})
	c.Commit("group", 7, 0)
	offset := int64(0)
	if n := testing.AllocsPerRun(1000, func() { offset++; c.Commit("group", 7, offset); c.Offset("group", 7) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
