package maintain

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/varvemq/varve/internal/vfs"
	"github.com/varvemq/varve/metadata"
	"github.com/varvemq/varve/tiering/objstore"
)

// faultMode says what happens at the operation that is to fail.
type faultMode uint8

const (
	noFault    faultMode = iota
	failBefore           // it fails without an effect
	failAfter            // it is done, and fails all the same
	outage               // it fails, and all after it
	outageLate           // it is done and fails, and all after it fail
	faultModes
)

// errFault is what an operation fails with that was told to.
var errFault = errors.New("told to fail")

// faults counts the operations of etcd, bucket and disk, and lets one fail.
type faults struct {
	mu   sync.Mutex // guards all below
	n    int
	at   int
	mode faultMode
	down bool
	hit  string // what failed
}

// arm lets the operation number at, from now on, fail.
func (f *faults) arm(at int, mode faultMode) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.n, f.at, f.mode, f.down, f.hit = 0, at, mode, false, ""
}

// disarm ends all faults and returns how many operations there were, and what failed.
func (f *faults) disarm() (int, string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := f.n
	f.at, f.mode, f.down = 0, noFault, false
	return n, f.hit
}

// next counts an operation, and says how it fails.
func (f *faults) next(what string) (before, after bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.down {
		return true, false
	}
	if f.n++; f.mode == noFault || f.n != f.at {
		return false, false
	}
	f.hit = what
	f.down = f.mode == outage || f.mode == outageLate
	after = f.mode == failAfter || f.mode == outageLate
	return !after, after
}

func do[T any](f *faults, what string, class error, op func() (T, error)) (T, error) {
	var zero T
	before, after := f.next(what)
	if before {
		return zero, fmt.Errorf("%s: %w: %w", what, errFault, class)
	}
	v, err := op()
	if after && err == nil {
		return zero, fmt.Errorf("%s: done: %w: %w", what, errFault, class)
	}
	return v, err
}

// faultKV is an etcd that fails.
type faultKV struct {
	metadata.KV
	f *faults
}

func (k faultKV) Get(ctx context.Context, key string) (metadata.KeyValue, error) {
	return do(k.f, "etcd get "+key, metadata.ErrUnavailable, func() (metadata.KeyValue, error) { return k.KV.Get(ctx, key) })
}

func (k faultKV) Range(ctx context.Context, r metadata.RangeRequest) (metadata.RangeResult, error) {
	return do(k.f, "etcd range "+r.Prefix, metadata.ErrUnavailable, func() (metadata.RangeResult, error) { return k.KV.Range(ctx, r) })
}

func (k faultKV) Txn(ctx context.Context, compares []metadata.Compare, ops []metadata.Op) (metadata.TxnResult, error) {
	what := "etcd read"
	for _, op := range ops {
		what = "etcd txn " + op.Key
	}
	return do(k.f, what, metadata.ErrUnavailable, func() (metadata.TxnResult, error) { return k.KV.Txn(ctx, compares, ops) })
}

// Close does not close the etcd that is behind.
func (k faultKV) Close() error { return nil }

// faultStore is a bucket that fails.
type faultStore struct {
	objstore.Store
	f *faults
}

func (s faultStore) Get(ctx context.Context, key string, off, n int64) (io.ReadCloser, error) {
	return do(s.f, "get "+key, objstore.ErrTransient, func() (io.ReadCloser, error) { return s.Store.Get(ctx, key, off, n) })
}

func (s faultStore) Put(ctx context.Context, key string, r io.ReadSeeker, size int64, opts objstore.PutOptions) error {
	_, err := do(s.f, "put "+key, objstore.ErrTransient, func() (struct{}, error) { return struct{}{}, s.Store.Put(ctx, key, r, size, opts) })
	return err
}

func (s faultStore) Head(ctx context.Context, key string) (objstore.Info, error) {
	return do(s.f, "head "+key, objstore.ErrTransient, func() (objstore.Info, error) { return s.Store.Head(ctx, key) })
}

func (s faultStore) Delete(ctx context.Context, keys ...string) error {
	_, err := do(s.f, "delete "+keys[0], objstore.ErrTransient, func() (struct{}, error) { return struct{}{}, s.Store.Delete(ctx, keys...) })
	return err
}

// hook is for a file system.
func (f *faults) hook(op vfs.Op) vfs.Fate {
	before, after := f.next(fmt.Sprintf("disk operation %d of %s", op.Kind, op.Name))
	if before || after {
		return vfs.Fate{Err: vfs.ErrInjected, Partial: op.Len / 2}
	}
	return vfs.Fate{}
}
