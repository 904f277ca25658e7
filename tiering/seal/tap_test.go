package seal

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"testing"
	"time"

	"github.com/varvemq/varve/internal/vfs"
	"github.com/varvemq/varve/metadata"
	"github.com/varvemq/varve/tiering/objstore"
	"github.com/varvemq/varve/tiering/objstore/faulty"
)

// mode is what happens to an operation of a sealer.
type mode string

const (
	killBefore  mode = "killed before"
	killAfter   mode = "killed after"
	failBefore  mode = "fails"
	failAfter   mode = "done, and its answer lost"
	precond     mode = "done, and answered by precondition failed" // a Put
	fenceBefore mode = "fenced before"
	fenceAfter  mode = "fenced after"
)

// tap counts the operations of a sealer on etcd, the bucket, the disk and the log, and does something to them.
type tap struct {
	mu     sync.Mutex // guards the rest
	on     bool
	n      int
	decide func(n int, what string) mode // "": nothing
	dead   bool
	ops    []string
	cancel context.CancelFunc
	fence  func()
}

func (p *tap) begin(cancel context.CancelFunc) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.on, p.cancel = true, cancel
}

func (p *tap) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.on = false
}

// ask returns what is to happen to the next operation.
func (p *tap) ask(what string) (mode, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.dead || !p.on {
		return "", p.dead
	}
	p.n++
	p.ops = append(p.ops, what)
	m := p.decide(p.n, what)
	switch m {
	case killBefore:
		p.dead = true
		p.cancel()
		return "", true
	case fenceBefore:
		p.fence()
		return "", false
	default:
		return m, false
	}
}

// done is called after an operation, and reports whether its outcome is to be hidden.
func (p *tap) done(m mode) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch m {
	case killAfter:
		p.dead = true
		p.cancel()
		return true
	case fenceAfter:
		p.fence()
		return false
	default:
		return m == failAfter || m == precond
	}
}

// do does an operation whose failure is class.
func (p *tap) do(what string, class error, f func() error) error {
	m, dead := p.ask(what)
	if dead {
		return fmt.Errorf("%s: dead: %w: %w", what, class, context.Canceled)
	}
	if m == failBefore {
		return fmt.Errorf("%s: %w: %w", what, errInjected, class)
	}
	if err := f(); err != nil {
		return err
	}
	if p.done(m) {
		if m == precond && what == "put" {
			class = objstore.ErrPrecondition
		}
		return fmt.Errorf("%s: answer lost: %w", what, class)
	}
	return nil
}

// tapKV taps etcd's transactions. If it is blind, its watches say nothing.
type tapKV struct {
	metadata.KV

	tap   *tap
	blind bool
}

func (k *tapKV) Txn(ctx context.Context, compares []metadata.Compare, ops []metadata.Op) (res metadata.TxnResult, err error) {
	what := "read"
	if len(ops) > 0 {
		what = "txn"
	}
	err = k.tap.do(what, metadata.ErrUnavailable, func() (err error) {
		res, err = k.KV.Txn(ctx, compares, ops)
		return err
	})
	return res, err
}

func (k *tapKV) Watch(ctx context.Context, prefix string, from int64) <-chan metadata.WatchBatch {
	if !k.blind {
		return k.KV.Watch(ctx, prefix, from)
	}
	out := make(chan metadata.WatchBatch)
	go func() {
		<-ctx.Done()
		close(out)
	}()
	return out
}

// tapStore taps the bucket.
type tapStore struct {
	objstore.Store

	tap *tap
}

func (s tapStore) Put(ctx context.Context, key string, r io.ReadSeeker, size int64, opts objstore.PutOptions) error {
	return s.tap.do("put", objstore.ErrTransient, func() error { return s.Store.Put(ctx, key, r, size, opts) })
}

func (s tapStore) Head(ctx context.Context, key string) (info objstore.Info, err error) {
	err = s.tap.do("head", objstore.ErrThrottled, func() (err error) {
		info, err = s.Store.Head(ctx, key)
		return err
	})
	return info, err
}

func (s tapStore) Get(ctx context.Context, key string, off, n int64) (r io.ReadCloser, err error) {
	err = s.tap.do("get", objstore.ErrFatal, func() (err error) {
		r, err = s.Store.Get(ctx, key, off, n)
		return err
	})
	return r, err
}

// hook taps the disk.
func (p *tap) hook(op vfs.Op) vfs.Fate {
	m, dead := p.ask(fmt.Sprintf("disk %d", op.Kind))
	switch {
	case dead:
		return vfs.Fate{Stop: true}
	case m == failBefore || m == failAfter:
		return vfs.Fate{Err: vfs.ErrInjected, Partial: op.Len / 2}
	case m == precond:
		return vfs.Fate{}
	case m == killAfter && op.Kind == vfs.OpWrite:
		p.done(m)
		return vfs.Fate{Stop: true, Partial: op.Len}
	}
	p.done(m)
	return vfs.Fate{}
}

// tapped starts a broker whose operations are tapped from the call of begin on.
func (w *world) tapped(tb testing.TB, p *tap, blind bool, change func(*Config)) *broker {
	tb.Helper()
	w.disk.SetHook(p.hook)
	w.wal.sealed = func(uint64, uint64) error { return p.do("sealed", errInjected, func() error { return nil }) }
	w.wal.scan = func() error { return p.do("scan", context.Canceled, func() error { return nil }) }
	return w.start(tb, &tapKV{KV: w.kv, tap: p, blind: blind}, func(c *Config) {
		c.Bucket = tapStore{faulty.New(w.mem, faulty.Config{}), p}
		c.OnCommit = func(int64) error { return p.do("remember", errInjected, func() error { return nil }) }
		if change != nil {
			change(c)
		}
	})
}

// untap leaves the world as the end of a process leaves it.
func (w *world) untap() {
	w.disk = w.disk.Kill()
	w.wal.sealed, w.wal.scan = nil, nil
}

// takeOver makes another owner of the shard.
func (w *world) takeOver(tb testing.TB) {
	tb.Helper()
	store, err := metadata.NewStore(tb.Context(), w.kv, metadata.StoreConfig{})
	if err != nil {
		tb.Error(err)
		return
	}
	if _, err := store.AcquireShard(tb.Context(), metadata.ShardClaim{
		Shard: testShard, Broker: "b0", WALUUID: w.wal.uuid, AdvertisedAddr: "127.0.0.1:10911", LeaseExempt: true,
	}); err != nil {
		tb.Error(err)
	}
	if err := store.Close(); err != nil {
		tb.Error(err)
	}
}

// sink is a bucket that reads what it is sent, and keeps nothing.
type sink struct {
	objstore.Store

	buf  []byte
	rate float64 // bytes per second; 0: no limit
}

func (s *sink) Put(_ context.Context, _ string, r io.ReadSeeker, size int64, _ objstore.PutOptions) error {
	if s.rate > 0 {
		time.Sleep(time.Duration(float64(size) / s.rate * float64(time.Second)))
	}
	for {
		if _, err := r.Read(s.buf); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
	}
}
