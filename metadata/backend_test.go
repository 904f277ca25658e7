package metadata

import (
	"bytes"
	"context"
	"log/slog"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// backend is one implementation of KV under test.
type backend struct {
	name string
	// open starts one and returns it with a function that compacts its history.
	open func(t *testing.T) (KV, func(rev int64))
}

func backends() []backend {
	return []backend{
		{"memory", func(*testing.T) (KV, func(int64)) {
			m := NewMemory()
			return m, m.Compact
		}},
		{"embedded", func(t *testing.T) (KV, func(int64)) {
			t.Helper()
			e := startEtcd(t, EmbedConfig{Dir: filepath.Join(t.TempDir(), "etcd")})
			return e.KV(), compactor(t, e)
		}},
		{"external", func(t *testing.T) (KV, func(int64)) {
			t.Helper()
			e := startEtcd(t, EmbedConfig{Dir: filepath.Join(t.TempDir(), "etcd"), Listen: "http://127.0.0.1:0"})
			kv, err := DialEtcd(t.Context(), Config{Endpoints: e.Endpoints()})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				if err := kv.Close(); err != nil {
					t.Error(err)
				}
			})
			return kv, compactor(t, e)
		}},
	}
}

func compactor(t *testing.T, e *Embedded) func(int64) {
	t.Helper()
	return func(rev int64) {
		if _, err := e.client.Compact(t.Context(), rev); err != nil {
			t.Fatal(err)
		}
	}
}

func startEtcd(t *testing.T, cfg EmbedConfig) *Embedded {
	t.Helper()
	cfg.UnsafeNoFsync = true
	e, err := OpenEmbedded(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	})
	return e
}

func onAll(t *testing.T, f func(t *testing.T, kv KV)) {
	t.Helper()
	for _, b := range backends() {
		t.Run(b.name, func(t *testing.T) {
			t.Parallel()
			kv, _ := b.open(t)
			f(t, kv)
		})
	}
}

func newStore(t *testing.T, kv KV, cfg StoreConfig) *Store {
	t.Helper()
	s, err := NewStore(t.Context(), kv, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func claimOf(shard, broker, wal string) ShardClaim {
	return ShardClaim{Shard: shard, Broker: broker, WALUUID: wal, AdvertisedAddr: "127.0.0.1:10911"}
}

func acquireShard(t *testing.T, s *Store, c ShardClaim) *Ownership {
	t.Helper()
	own, err := s.AcquireShard(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	return own
}

// eventually waits for a condition that another goroutine brings about.
func eventually(t *testing.T, what string, cond func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !cond(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s: not within 10 s", what)
		}
	}
}

// logBuffer is a concurrent sink of log lines.
type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) count(line string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return bytes.Count(l.b.Bytes(), []byte(line))
}

func (l *logBuffer) logger() *slog.Logger { return slog.New(slog.NewTextHandler(l, nil)) }

// nextBatch reads from a watch, in bounded time.
func nextBatch(ctx context.Context, t *testing.T, w <-chan WatchBatch) WatchBatch {
	t.Helper()
	select {
	case b, ok := <-w:
		if !ok {
			t.Fatal("watch ended")
		}
		return b
	case <-time.After(10 * time.Second):
		t.Fatal("no change within 10 s")
	case <-ctx.Done():
		t.Fatal(ctx.Err())
	}
	return WatchBatch{}
}
