package wal

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/varvemq/varve/internal/vfs"
)

// waitFor is a Waiter that keeps what it is told.
type waitFor struct {
	mu   sync.Mutex
	got  Stage
	err  error
	want Stage
	done chan struct{}
}

func newWait(want Stage) *waitFor { return &waitFor{want: want, done: make(chan struct{})} }

func (w *waitFor) Reached(stage Stage, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err != nil || w.got&stage != 0 {
		panic(fmt.Sprintf("told %v after %v, %v", stage, w.got, w.err))
	}
	w.err = err
	if err == nil {
		w.got |= stage
	}
	if err != nil || w.got == w.want {
		close(w.done)
	}
}

func (w *waitFor) state() (Stage, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.got, w.err
}

// payload returns n bytes that follow from id.
func payload(id uint64, n int) []byte {
	b := make([]byte, max(n, 8))
	binary.LittleEndian.PutUint64(b, id)
	for i := 8; i < len(b); i++ {
		b[i] = byte(id) + byte(i) + 7*byte(i>>8)
	}
	return b
}

func batch(id uint64, n int) []Part {
	return []Part{{
		Kind: PartBatch, Codec: 1, Queue: uint32(id % 7), Count: 1, Base: id, MinStoreTime: 1, MaxStoreTime: 2,
		Payload: payload(id, n),
	}}
}

// owner keeps what it is told at recovery.
type owner struct {
	mu      sync.Mutex
	records []recovered
	closed  []FileRef
	sealed  map[uint64]FileRef
	broken  error
}

type recovered struct {
	Pos   Position
	LSN   uint64
	Shard Shard
	ID    uint64
}

func (o *owner) RecoverClosed(f *File) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	b, err := f.Section(1)
	if err != nil {
		return err
	}
	if want := fmt.Sprintf("sections of %d", f.Seq); string(b) != want {
		return fmt.Errorf("section %q instead of %q", b, want)
	}
	o.closed = append(o.closed, f.FileRef)
	// What the tests want to know of closed files they read record by record.
	return f.w.scanFile(f.f, f.FileRef, func(r Record) error {
		return o.recordLocked(r)
	})
}

func (o *owner) RecoverRecord(_ FileRef, r Record) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.recordLocked(r)
}

func (o *owner) recordLocked(r Record) error {
	p := r.Parts[0].Payload
	id := binary.LittleEndian.Uint64(p)
	if !bytes.Equal(p, payload(id, len(p))) {
		return fmt.Errorf("payload of %d is not what was appended", id)
	}
	o.records = append(o.records, recovered{r.Pos, r.LSN, r.Shard, id})
	return nil
}

func (o *owner) SealFile(f FileRef) ([][]byte, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.sealed == nil {
		o.sealed = make(map[uint64]FileRef)
	}
	o.sealed[f.Seq] = f
	return [][]byte{[]byte(fmt.Sprintf("sections of %d", f.Seq)), nil}, o.broken
}

func (o *owner) ids() []uint64 {
	o.mu.Lock()
	defer o.mu.Unlock()
	ids := make([]uint64, len(o.records))
	for i, r := range o.records {
		ids[i] = r.ID
	}
	return ids
}

func testConfig(fs vfs.FS, o *owner) Config {
	c := Config{
		Dir: "/data/wal", FS: fs, FileSize: minFileSize, Limit: 4 << 20, TailBytes: 1 << 20, IdleMark: time.Hour,
		SyncInterval: time.Hour, BootID: "boot", OnFatal: func(error) {},
	}
	if o != nil {
		c.Owner = o
	}
	return c
}

func mustOpen(tb testing.TB, c Config) *WAL {
	tb.Helper()
	w, err := Open(context.Background(), c)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = w.Close() })
	return w
}

// add appends, with a reservation, and returns the waiter, nil if nobody is told.
func add(w *WAL, shard uint32, id uint64, n int, notify Stage) (Appended, *waitFor, error) {
	parts := batch(id, n)
	if err := w.Reserve(context.Background(), RecordSize(parts), false); err != nil {
		return Appended{}, nil, err
	}
	if notify == 0 {
		a, err := w.Append(shard, parts, 0, nil)
		return a, nil, err
	}
	wt := newWait(notify)
	a, err := w.Append(shard, parts, notify, wt)
	return a, wt, err
}

func mustAdd(tb testing.TB, w *WAL, id uint64, n int, notify Stage) Appended {
	tb.Helper()
	a, wt, err := add(w, 1, id, n, notify)
	if err != nil {
		tb.Fatal(err)
	}
	if wt != nil {
		<-wt.done
		if _, err := wt.state(); err != nil {
			tb.Fatal(err)
		}
	}
	return a
}

func seq(from, to uint64) []uint64 {
	var ids []uint64
	for ; from < to; from++ {
		ids = append(ids, from)
	}
	return ids
}

func TestAppendReadReopen(t *testing.T) {
	t.Parallel()
	c := testConfig(vfs.OS(), &owner{})
	c.Dir = t.TempDir() + "/wal"
	c.TailBytes = 1
	reg := prometheus.NewRegistry()
	c.Registerer = reg
	w := mustOpen(t, c)
	if !w.Recovery().Fresh {
		t.Error("not fresh")
	}
	uuid := w.UUID()
	var at []Appended
	for id := range uint64(1000) {
		a, _, err := add(w, 1, id, int(id), Stage(id%4)) // a disk under load takes long for each: wait at the end
		if err != nil {
			t.Fatal(err)
		}
		at = append(at, a)
	}
	if err := w.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	checkRecords(t, w, at, 0)
	if n, err := reg.Gather(); err != nil || len(n) == 0 {
		t.Fatal(n, err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if _, _, err := add(w, 1, 1, 1, 0); !errors.Is(err, ErrClosed) {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}

	o := &owner{}
	c.Owner = o
	w = mustOpen(t, c)
	if w.UUID() != uuid {
		t.Error("another uuid")
	}
	if diff := cmp.Diff(Recovery{}, w.Recovery()); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(seq(0, 1000), o.ids()); diff != "" {
		t.Error(diff)
	}
	if len(o.closed) < 5 {
		t.Errorf("%d closed files", len(o.closed))
	}
	checkRecords(t, w, at, 0)
	a := mustAdd(t, w, 1000, 10, Durable)
	if a.LSN != 1001 {
		t.Errorf("lsn %d", a.LSN)
	}
}

func checkRecords(tb testing.TB, w *WAL, at []Appended, first uint64) {
	tb.Helper()
	for i, a := range at {
		r, err := w.Record(a.Pos, a.Len, nil)
		if err != nil {
			tb.Fatal(i, err)
		}
		want := batch(first+uint64(i), int(first)+i)
		if diff := cmp.Diff(want, r.Parts); diff != "" || r.LSN != a.LSN || r.Pos != a.Pos || r.Len != a.Len {
			tb.Fatal(i, r, diff)
		}
	}
}
