package metadata

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"
)

// faultKV fails some operations: before they are done, or after they were done, with an unknown outcome either way.
type faultKV struct {
	KV
	mu   sync.Mutex // guards rng and fail
	rng  *rand.Rand
	fail float64      // probability of each kind of failure
	down atomic.Bool  // everything fails
	txns atomic.Int64 // transactions tried
	gets atomic.Int64
}

func newFaultKV(kv KV, seed uint64) *faultKV {
	return &faultKV{KV: kv, rng: rand.New(rand.NewPCG(seed, 1))}
}

func (f *faultKV) setFail(p float64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fail = p
}

// dice says whether to fail before and after the operation.
func (f *faultKV) dice() (before, after bool) {
	if f.down.Load() {
		return true, false
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	r := f.rng.Float64()
	return r < f.fail, r >= f.fail && r < 2*f.fail
}

func injected(what string) error { return fmt.Errorf("injected %s: %w", what, ErrUnavailable) }

func faulty[T any](f *faultKV, do func() (T, error)) (T, error) {
	var zero T
	before, after := f.dice()
	if before {
		return zero, injected("failure before")
	}
	v, err := do()
	if after && err == nil {
		return zero, injected("failure after")
	}
	return v, err
}

func (f *faultKV) Get(ctx context.Context, key string) (KeyValue, error) {
	f.gets.Add(1)
	return faulty(f, func() (KeyValue, error) { return f.KV.Get(ctx, key) })
}

func (f *faultKV) Txn(ctx context.Context, compares []Compare, ops []Op) (TxnResult, error) {
	f.txns.Add(1)
	return faulty(f, func() (TxnResult, error) { return f.KV.Txn(ctx, compares, ops) })
}

func (f *faultKV) Grant(ctx context.Context, ttl time.Duration) (LeaseID, error) {
	return faulty(f, func() (LeaseID, error) { return f.KV.Grant(ctx, ttl) })
}

func (f *faultKV) KeepAlive(ctx context.Context, id LeaseID) error {
	_, err := faulty(f, func() (struct{}, error) { return struct{}{}, f.KV.KeepAlive(ctx, id) })
	return err
}
