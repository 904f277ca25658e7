package metadata

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"
)

// takeOver makes another owner of a shard, through a store of its own.
func takeOver(t *testing.T, kv KV, shard string) *Ownership {
	t.Helper()
	return acquireShard(t, newStore(t, kv, StoreConfig{}), claimOf(shard, "b0", "w0"))
}

// TestSealingFenced: every transaction of an owner that was replaced fails and changes nothing, whether or not it has noticed, and whatever the new owner
// has made of the shard since.
func TestSealingFenced(t *testing.T) {
	t.Parallel()
	onAll(t, func(t *testing.T, kv KV) { //nolint:thelper // a case, not a helper: its own lines matter
		blind := &gatedKV{KV: kv, open: make(chan struct{})} // its store's watches say nothing
		for _, after := range []struct {
			name string
			do   func(t *testing.T, f *sealedFixture, own *Ownership)
		}{
			{"at once", func(*testing.T, *sealedFixture, *Ownership) {}},
			{"the state moved on", func(t *testing.T, f *sealedFixture, own *Ownership) { //nolint:thelper // a case
				commitNext(t, own, 21, 9)
				root := reserve(t, own, KindRoot)[0]
				next := ManifestPointer{Object: root.Object, Epoch: 2, Size: 9, EndLSN: 30}
				_, err := own.CommitManifest(t.Context(), &f.ptr, next, []Segment{f.a}, []uint64{root.Object}, f.trash(), "")
				err = errors.Join(err, own.ReplaceSegments(t.Context(), []Segment{f.b}, nil, ""), own.PutTrims(t.Context(), map[uint32]uint64{1: 99, 2: 99}))
				for _, u := range []Upload{f.seg, f.root, f.pag} {
					err = errors.Join(err, own.DropUpload(t.Context(), u))
				}
				if err = errors.Join(err, own.DropGarbage(t.Context(), f.garbage)); err != nil {
					t.Fatal(err)
				}
			}},
		} {
			steps := append(sealingSteps(), sealingStep{"settle losses", func(ctx context.Context, f *sealedFixture) error {
				return f.own.SettleLosses(ctx, 0)
			}}, sealingStep{"bind the WAL", func(ctx context.Context, f *sealedFixture) error {
				_, err := f.own.BindWAL(ctx)
				return err
			}}, sealingStep{"place the head", func(ctx context.Context, f *sealedFixture) error {
				_, err := f.own.PlaceHead(ctx, 7)
				return err
			}})
			for _, step := range steps {
				shard := after.name + "/" + step.name
				s := newStore(t, blind, StoreConfig{})
				f := fillShard(t, s, shard)
				after.do(t, f, takeOver(t, kv, shard))
				before := sealedState(t, s, shard)
				for i := range 2 { // the second time it knows
					if err := step.do(t.Context(), f); !errors.Is(err, ErrFenced) {
						t.Errorf("%s, try %d: %v", shard, i, err)
					}
					select {
					case <-f.own.Lost():
					default:
						t.Errorf("%s: the loss was met and not noted", shard)
					}
				}
				st := sealedState(t, s, shard)
				before.Revision = st.Revision
				if diff := cmp.Diff(before, st); diff != "" {
					t.Errorf("%s: %s", shard, diff)
				}
			}
		}
	})
}

// scriptKV lets a test decide what becomes of transactions that write.
type scriptKV struct {
	KV
	mu    sync.Mutex // guards write
	write func(do func() (TxnResult, error)) (TxnResult, error)
}

func (s *scriptKV) Txn(ctx context.Context, compares []Compare, ops []Op) (TxnResult, error) {
	s.mu.Lock()
	write := s.write
	s.mu.Unlock()
	// What is in flight does not end with the context of who sent it.
	do := func() (TxnResult, error) { return s.KV.Txn(context.WithoutCancel(ctx), compares, ops) }
	if write == nil || len(ops) == 0 {
		return do()
	}
	return write(do)
}

func (s *scriptKV) script(write func(do func() (TxnResult, error)) (TxnResult, error)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.write = write
}

// TestSealingLostAnswers: the answer of a transaction is lost, and it was applied, or not, or will be; and perhaps another owner takes the shard meanwhile.
func TestSealingLostAnswers(t *testing.T) {
	t.Parallel()
	lost := func() (TxnResult, error) { return TxnResult{}, injected("lost answer") }
	for _, tt := range []struct {
		name string
		// first makes what becomes of the first transaction; later ones are done.
		first   func(take func(), do func() (TxnResult, error), script *scriptKV) (TxnResult, error)
		fenced  bool // what was not applied is fenced
		applied bool // the first transaction is applied
	}{
		{"applied", func(_ func(), do func() (TxnResult, error), _ *scriptKV) (TxnResult, error) {
			_, err := do()
			return TxnResult{}, errors.Join(injected("lost answer"), err)
		}, false, true},
		{"not applied", func(func(), func() (TxnResult, error), *scriptKV) (TxnResult, error) { return lost() }, false, false},
		{"applied before the second", func(_ func(), do func() (TxnResult, error), script *scriptKV) (TxnResult, error) {
			script.script(func(again func() (TxnResult, error)) (TxnResult, error) {
				script.script(nil)
				if res, err := do(); err != nil || !res.Succeeded {
					return res, fmt.Errorf("late transaction: %t, %w", res.Succeeded, err)
				}
				return again()
			})
			return lost()
		}, false, true},
		{"too late, after the second", func(_ func(), do func() (TxnResult, error), script *scriptKV) (TxnResult, error) {
			script.script(func(again func() (TxnResult, error)) (TxnResult, error) {
				script.script(nil)
				res, err := again()
				if late, lerr := do(); lerr != nil || late.Succeeded {
					return res, fmt.Errorf("late transaction: %t, %w", late.Succeeded, lerr)
				}
				return res, err
			})
			return lost()
		}, false, false},
		{"applied, then fenced", func(take func(), do func() (TxnResult, error), _ *scriptKV) (TxnResult, error) {
			_, err := do()
			take()
			return TxnResult{}, errors.Join(injected("lost answer"), err)
		}, true, true},
		{"not applied, then fenced", func(take func(), _ func() (TxnResult, error), _ *scriptKV) (TxnResult, error) {
			take()
			return lost()
		}, true, false},
	} {
		for _, step := range sealingSteps() {
			t.Run(tt.name+"/"+step.name, func(t *testing.T) {
				t.Parallel()
				mem := NewMemory()
				script := &scriptKV{KV: &gatedKV{KV: mem, open: make(chan struct{})}}
				s := newStore(t, script, StoreConfig{})
				f := fillShard(t, s, "s0")
				writes, applied := changesOf(mem), int64(1)
				script.script(func(do func() (TxnResult, error)) (TxnResult, error) {
					script.script(nil)
					return tt.first(func() {
						takeOver(t, mem, "s0")
						applied++ // one transaction of it
					}, do, script)
				})
				err := step.do(t.Context(), f)
				switch reserves := step.name == "reserve"; {
				case tt.fenced && (!tt.applied || reserves):
					if !errors.Is(err, ErrFenced) {
						t.Fatal(err)
					}
					if !tt.applied {
						applied--
					}
				case err != nil:
					t.Fatal(err)
				case tt.applied && reserves:
					applied++ // again, with other numbers
				}
				if n := changesOf(mem) - writes; n != applied {
					t.Errorf("%d transactions were applied, not %d", n, applied)
				}
				sealedState(t, s, "s0")
			})
		}
	}
}

// changesOf is the number of transactions that changed something.
func changesOf(m *Memory) int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.rev
}

// TestSealingUndecided: what stays undecided within the time is an error, and the same call, made later, tells the truth.
func TestSealingUndecided(t *testing.T) {
	t.Parallel()
	for _, step := range sealingSteps() {
		for _, applied := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s/%t", step.name, applied), func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) { undecided(t, step, applied) })
			})
		}
	}
}

func undecided(t *testing.T, step sealingStep, applied bool) { //nolint:thelper // a case, not a helper: its own lines matter
	mem := NewMemory()
	down := newFaultKV(mem, 1)
	script := &scriptKV{KV: down}
	s := newStore(t, script, StoreConfig{})
	f := fillShard(t, s, "s0")
	writes := changesOf(mem)
	script.script(func(do func() (TxnResult, error)) (TxnResult, error) {
		script.script(nil)
		var err error
		if applied {
			_, err = do()
		}
		down.down.Store(true)
		return TxnResult{}, errors.Join(injected("lost answer"), err)
	})
	if err := step.do(t.Context(), f); !errors.Is(err, ErrUnavailable) || errors.Is(err, ErrFenced) {
		t.Fatal(err)
	}
	down.down.Store(false)
	if err := step.do(t.Context(), f); err != nil {
		t.Fatal(err)
	}
	want := int64(1)
	if applied && step.name == "reserve" {
		want = 2
	}
	if n := changesOf(mem) - writes; n != want {
		t.Errorf("%d transactions were applied, not %d", n, want)
	}
}
