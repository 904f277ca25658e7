package metadata

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestKVContract is what every KV must do.
func TestKVContract(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		run  func(t *testing.T, kv KV, p string, compact func(int64))
	}{
		{"txn compares revisions", kvTxn},
		{"range pages at one revision", kvRange},
		{"watch delivers whole revisions from the past and the present", kvWatch},
		{"watch of compacted history says so", kvCompacted},
		{"lease takes its keys along", kvLease},
		{"delete prefix", kvDeletePrefix},
		{"limits", kvLimits},
	}
	for _, b := range backends() {
		t.Run(b.name, func(t *testing.T) {
			t.Parallel()
			kv, compact := b.open(t)
			for i, tt := range tests {
				t.Run(tt.name, func(t *testing.T) { tt.run(t, kv, fmt.Sprintf("/varve/t%d/", i), compact) })
			}
		})
	}
}

func mustTxn(t *testing.T, kv KV, compares []Compare, ops ...Op) TxnResult {
	t.Helper()
	res, err := kv.Txn(t.Context(), compares, ops)
	if err != nil {
		t.Fatal(err)
	}
	return res
}

func kvTxn(t *testing.T, kv KV, p string, _ func(int64)) { //nolint:thelper // a case, not a helper: its own lines matter
	got, err := kv.Get(t.Context(), p+"a")
	if err != nil || got.Exists() || got.Key != p+"a" {
		t.Fatalf("Get of nothing = %+v, %v", got, err)
	}
	r1 := mustTxn(t, kv, []Compare{{Key: p + "a"}}, Put(p+"a", []byte("1")), Put(p+"b", []byte("2")))
	if !r1.Succeeded {
		t.Fatal("create did not succeed")
	}
	got, err = kv.Get(t.Context(), p+"a")
	if diff := cmp.Diff(KeyValue{Key: p + "a", Value: []byte("1"), ModRev: r1.Rev}, got); diff != "" || err != nil {
		t.Fatal(diff, err)
	}
	// A failed comparison changes nothing and tells the present state of every compared key.
	r2 := mustTxn(t, kv, []Compare{{Key: p + "a"}, {Key: p + "none"}, {Key: p + "b", ModRev: r1.Rev}}, Put(p+"a", []byte("x")), Delete(p+"b"))
	want := []KeyValue{{Key: p + "a", Value: []byte("1"), ModRev: r1.Rev}, {Key: p + "none"}, {Key: p + "b", Value: []byte("2"), ModRev: r1.Rev}}
	if diff := cmp.Diff(want, r2.Current); diff != "" || r2.Succeeded || r2.Rev != r1.Rev {
		t.Fatal(r2, diff)
	}
	r3 := mustTxn(t, kv, []Compare{{Key: p + "a", ModRev: r1.Rev}}, Put(p+"a", []byte("3")), Delete(p+"b"), Delete(p+"none"))
	if !r3.Succeeded || r3.Rev != r1.Rev+1 {
		t.Fatalf("revision after a transaction = %+v, was %d", r3, r1.Rev)
	}
	if got, err := kv.Get(t.Context(), p+"b"); err != nil || got.Exists() {
		t.Fatalf("deleted key = %+v, %v", got, err)
	}
	// What changes nothing does not raise the revision.
	if r4 := mustTxn(t, kv, nil, Delete(p+"none")); !r4.Succeeded || r4.Rev != r3.Rev {
		t.Fatalf("empty change: %+v, want revision %d", r4, r3.Rev)
	}
}

func kvRange(t *testing.T, kv KV, p string, _ func(int64)) { //nolint:thelper // a case, not a helper: its own lines matter
	var rev int64
	for i := range 10 {
		rev = mustTxn(t, kv, nil, Put(fmt.Sprintf("%sk%d", p, i), nil)).Rev
	}
	mustTxn(t, kv, nil, Put(strings.TrimSuffix(p, "/")+"0outside", nil))
	var ks []string
	req := RangeRequest{Prefix: p, Limit: 4}
	for pages := 1; ; pages++ {
		page, err := kv.Range(t.Context(), req)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range page.KVs {
			ks = append(ks, strings.TrimPrefix(e.Key, p))
		}
		if !page.More {
			if pages != 3 {
				t.Fatalf("%d pages", pages)
			}
			break
		}
		req.After, req.Rev = page.KVs[len(page.KVs)-1].Key, rev
		mustTxn(t, kv, nil, Delete(p+"k9"), Put(p+"k5a", nil)) // after the first page's revision: not seen
	}
	if diff := cmp.Diff(strings.Fields("k0 k1 k2 k3 k4 k5 k6 k7 k8 k9"), ks); diff != "" {
		t.Fatal(diff)
	}
	page, err := kv.Range(t.Context(), RangeRequest{Prefix: p, After: p + "k9z"})
	if err != nil || len(page.KVs) != 0 || page.Rev <= rev {
		t.Fatalf("after the last key: %+v, %v", page, err)
	}
}

func kvWatch(t *testing.T, kv KV, p string, _ func(int64)) { //nolint:thelper // a case, not a helper: its own lines matter
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	r1 := mustTxn(t, kv, nil, Put(p+"a", []byte("1")))
	mustTxn(t, kv, nil, Put("/elsewhere", nil))
	r2 := mustTxn(t, kv, nil, Put(p+"b", []byte("2")), Delete(p+"a"))
	w := kv.Watch(ctx, p, r1.Rev)
	var got []Event
	for len(got) < 3 {
		b := nextBatch(ctx, t, w)
		if b.Err != nil {
			t.Fatal(b.Err)
		}
		got = append(got, b.Events...)
	}
	r3 := mustTxn(t, kv, nil, Put(p+"c", nil), Put(p+"d", nil), Put(p+"e", nil))
	b := nextBatch(ctx, t, w)
	if len(b.Events) != 3 || b.Rev != r3.Rev {
		t.Fatalf("a revision is split: %+v", b)
	}
	if got[0].KV.Key != p+"a" || got[0].Deleted || got[0].KV.ModRev != r1.Rev {
		t.Fatalf("first event: %+v", got[0])
	}
	for _, e := range got[1:] {
		if e.KV.ModRev != r2.Rev || e.Deleted != (e.KV.Key == p+"a") {
			t.Fatalf("event %+v, want revision %d", e, r2.Rev)
		}
	}
	// A watch from the future waits for it.
	wf := kv.Watch(ctx, p, r3.Rev+1)
	mustTxn(t, kv, nil, Put(p+"f", nil))
	if b := nextBatch(ctx, t, wf); len(b.Events) != 1 || b.Events[0].KV.Key != p+"f" {
		t.Fatalf("watch from the next revision: %+v", b)
	}
	cancel()
	for range w {
	}
	for range wf {
	}
}

func kvCompacted(t *testing.T, kv KV, p string, compact func(int64)) { //nolint:thelper // a case, not a helper: its own lines matter
	first := mustTxn(t, kv, nil, Put(p+"a", nil)).Rev
	mustTxn(t, kv, nil, Put(p+"a", nil))
	last := mustTxn(t, kv, nil, Put(p+"b", nil)).Rev
	compact(last)
	b := nextBatch(t.Context(), t, kv.Watch(t.Context(), p, first))
	if !errors.Is(b.Err, ErrCompacted) {
		t.Fatalf("watch of compacted history: %+v", b)
	}
	if _, err := kv.Range(t.Context(), RangeRequest{Prefix: p, Rev: first}); !errors.Is(err, ErrCompacted) {
		t.Fatalf("range of compacted history: %v", err)
	}
	if b := nextBatch(t.Context(), t, kv.Watch(t.Context(), p, last)); b.Rev != last || b.Err != nil {
		t.Fatalf("watch from the compacted revision: %+v", b)
	}
	page, err := kv.Range(t.Context(), RangeRequest{Prefix: p})
	if err != nil || len(page.KVs) != 2 {
		t.Fatalf("state after compaction: %+v, %v", page, err)
	}
}

func kvLease(t *testing.T, kv KV, p string, _ func(int64)) { //nolint:thelper // a case, not a helper: its own lines matter
	ctx := t.Context()
	short, err := kv.Grant(ctx, time.Second)
	if err != nil {
		t.Fatal(err)
	}
	long, err := kv.Grant(ctx, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	r := mustTxn(t, kv, nil, PutLeased(p+"dies", nil, short), PutLeased(p+"moved", nil, short), PutLeased(p+"kept", nil, short), PutLeased(p+"revoked", nil, long))
	mustTxn(t, kv, nil, PutLeased(p+"moved", nil, long), Put(p+"kept", nil))
	w := kv.Watch(ctx, p+"dies", r.Rev+1)
	if err := kv.KeepAlive(ctx, short); err != nil {
		t.Fatal(err)
	}
	alive := time.Now()
	if b := nextBatch(ctx, t, w); len(b.Events) != 1 || !b.Events[0].Deleted {
		t.Fatalf("expiry: %+v", b)
	}
	if d := time.Since(alive); d < 950*time.Millisecond {
		t.Fatalf("lease ended after %v", d)
	}
	eventually(t, "lease is gone", func() bool { return errors.Is(kv.KeepAlive(ctx, short), ErrLeaseNotFound) })
	if _, err := kv.Txn(ctx, nil, []Op{PutLeased(p+"x", nil, short)}); !errors.Is(err, ErrLeaseNotFound) {
		t.Fatalf("put with a dead lease: %v", err)
	}
	if err := errors.Join(kv.Revoke(ctx, long), kv.Revoke(ctx, long), kv.Revoke(ctx, short)); err != nil {
		t.Fatal(err)
	}
	page, err := kv.Range(ctx, RangeRequest{Prefix: p})
	if err != nil || len(page.KVs) != 1 || page.KVs[0].Key != p+"kept" || page.KVs[0].Lease != 0 {
		t.Fatalf("after revocation: %+v, %v", page, err)
	}
}

func kvDeletePrefix(t *testing.T, kv KV, p string, _ func(int64)) { //nolint:thelper // a case, not a helper: its own lines matter
	mustTxn(t, kv, nil, Put(p+"g/1", nil), Put(p+"g/2", nil), Put(p+"g2/1", nil))
	mustTxn(t, kv, nil, DeletePrefix(p+"g/"), Put(p+"h", nil))
	page, err := kv.Range(t.Context(), RangeRequest{Prefix: p})
	if err != nil || len(page.KVs) != 2 || page.KVs[0].Key != p+"g2/1" {
		t.Fatalf("after delete: %+v, %v", page, err)
	}
}

func kvLimits(t *testing.T, kv KV, p string, _ func(int64)) { //nolint:thelper // a case, not a helper: its own lines matter
	var ops []Op
	var compares []Compare
	for i := range MaxTxnOps {
		ops = append(ops, Put(fmt.Sprintf("%s%d", p, i), nil))
		compares = append(compares, Compare{Key: fmt.Sprintf("%s%d", p, i)})
	}
	compares = append(compares, Compare{Key: p + "fence"})
	if !mustTxn(t, kv, compares, ops...).Succeeded {
		t.Fatal("64 operations did not succeed")
	}
	big := make([]byte, MaxValueBytes)
	mustTxn(t, kv, nil, Put(p+"1", big), Put(p+"2", big), Put(p+"3", big), Put(p+"4", big))
	for name, ops := range map[string][]Op{
		"operations": append(ops, Put(p+"more", nil)),
		"value":      {Put(p+"1", make([]byte, MaxValueBytes+1))},
		"bytes":      {Put(p+"1", big), Put(p+"2", big), Put(p+"3", big), Put(p+"4", big), Put(p+"5", []byte{1})},
	} {
		if _, err := kv.Txn(t.Context(), nil, ops); !errors.Is(err, ErrTooLarge) {
			t.Errorf("%s over the limit: %v", name, err)
		}
	}
}

// TestOpenUnreachable: no answer gives an error in bounded time that names the endpoints.
func TestOpenUnreachable(t *testing.T) {
	t.Parallel()
	begin := time.Now()
	_, err := Open(t.Context(), Config{Endpoints: []string{"127.0.0.1:1", "http://127.0.0.1:2"}, DialTimeout: 300 * time.Millisecond})
	if !errors.Is(err, ErrUnavailable) || !strings.Contains(err.Error(), "127.0.0.1:1, http://127.0.0.1:2") {
		t.Fatalf("Open = %v", err)
	}
	if d := time.Since(begin); d > 3*time.Second {
		t.Fatalf("took %v", d)
	}
}

// TestConfigFaults: all faults are reported at once.
func TestConfigFaults(t *testing.T) {
	t.Parallel()
	err := Config{DialTimeout: -1, StoreConfig: StoreConfig{RequestTimeout: -1}}.Validate()
	for _, want := range []string{"endpoints", "dial_timeout", "request_timeout"} {
		if !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), want) {
			t.Errorf("%v does not name %s", err, want)
		}
	}
	if err := (EmbedConfig{Tick: -1}).Validate(); !strings.Contains(err.Error(), "dir") || !strings.Contains(err.Error(), "tick") {
		t.Error(err)
	}
}
