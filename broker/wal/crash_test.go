package wal

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/varvemq/varve/internal/vfs"
)

// model is what a workload knows of its records.
type model struct {
	records  []*modelRecord // in the order of the log, without those that a recovery has cut off
	nextID   uint64
	trim     Position // what may be gone
	uuid     [16]byte
	uuidSeen bool
}

type modelRecord struct {
	id     uint64
	at     Appended
	shard  uint32
	waiter *waitFor
	synced bool // a Sync has returned, or a recovery has kept it
}

func (r *modelRecord) reached() Stage {
	if r.synced {
		return Written | Durable
	}
	if r.waiter == nil {
		return 0
	}
	s, _ := r.waiter.state()
	return s
}

// check compares a recovery with the model, and cuts the model to what was kept.
func (m *model) check(w *WAL, o *owner, kill bool) error {
	if m.uuidSeen && w.UUID() != m.uuid {
		return errors.New("another uuid")
	}
	m.uuid, m.uuidSeen = w.UUID(), true
	got := o.records
	var first int
	if len(got) > 0 {
		first = slices.IndexFunc(m.records, func(r *modelRecord) bool { return r.id == got[0].ID })
		if first < 0 || first+len(got) > len(m.records) {
			return fmt.Errorf("recovered %d records from id %d on, %d are known", len(got), got[0].ID, len(m.records))
		}
	} else {
		first = len(m.records)
		for i, r := range m.records {
			if r.reached() != 0 && r.at.Pos >= m.trim {
				first = i
				break
			}
		}
	}
	for i, r := range m.records[:first] {
		if r.at.Pos >= m.trim && (r.reached()&Durable != 0 || (kill && r.reached() != 0)) {
			return fmt.Errorf("record %d (id %d) at %d is gone from the front", i, r.id, r.at.Pos)
		}
	}
	for i, g := range got {
		r := m.records[first+i]
		if g.ID != r.id || g.LSN != r.at.LSN || g.Pos != r.at.Pos || g.Shard.ID != r.shard {
			return fmt.Errorf("recovered %+v instead of id %d %+v", g, r.id, r.at)
		}
	}
	for _, r := range m.records[first+len(got):] {
		if stage := r.reached(); stage&Durable != 0 || (kill && stage != 0) {
			return fmt.Errorf("id %d at %+v, told %d, is lost: %d kept", r.id, r.at, stage, len(got))
		}
	}
	m.records = m.records[first : first+len(got)]
	for _, r := range m.records {
		r.synced = true
	}
	return nil
}

// work appends n records, and trims and syncs now and then; it ends at the first error.
func (m *model) work(w *WAL, rng *rand.Rand, n int) error {
	for range n {
		size := rng.IntN(3000)
		if rng.IntN(8) == 0 {
			size = rng.IntN(20000)
		}
		r := &modelRecord{id: m.nextID, shard: rng.Uint32N(2)}
		m.nextID++
		notify := Stage(rng.IntN(4))
		parts := batch(r.id, size)
		if err := w.Reserve(context.Background(), RecordSize(parts), false); err != nil {
			return err
		}
		var wt Waiter
		if notify != 0 {
			r.waiter = newWait(notify)
			wt = r.waiter
		}
		a, err := w.Append(r.shard, parts, notify, wt)
		if err != nil {
			return err
		}
		r.at = a
		m.records = append(m.records, r)
		if r.waiter != nil && rng.IntN(2) == 0 {
			<-r.waiter.done
			if _, err := r.waiter.state(); err != nil {
				return err
			}
		}
		if rng.IntN(12) == 0 {
			if err := w.Sync(context.Background()); err != nil {
				return err
			}
			for _, r := range m.records {
				r.synced = true
			}
		}
		if rng.IntN(10) == 0 && len(m.records) > 20 {
			m.trim = max(m.trim, m.records[len(m.records)-20].at.Pos)
			if err := w.TrimTo(m.trim); err != nil {
				return err
			}
		}
	}
	return nil
}

// run opens, checks, works, and closes in an orderly way; what it returns when the file system has stopped is nil.
func (m *model) run(fs *vfs.Crash, rng *rand.Rand, kill bool, n int) (err error) {
	o := &owner{}
	w, err := Open(context.Background(), testConfig(fs, o))
	if err != nil {
		if errors.Is(err, vfs.ErrCrashed) || errors.Is(err, vfs.ErrInjected) {
			return nil
		}
		return err
	}
	if err := m.check(w, o, kill); err != nil {
		_ = w.Close()
		return err
	}
	stop := func(err error) bool {
		return errors.Is(err, vfs.ErrCrashed) || errors.Is(err, vfs.ErrInjected) || errors.Is(err, ErrNoSpace)
	}
	if err := m.work(w, rng, n); err != nil && !stop(err) {
		_ = w.Close()
		return err
	}
	if err := w.Close(); err != nil && !stop(err) {
		return err
	}
	return nil
}

func long() bool { return os.Getenv("VARVE_LONG") != "" }

// seeds returns the seeds of a test: VARVE_SEED for one, VARVE_LONG for many.
func seeds(n uint64) []uint64 {
	if s := os.Getenv("VARVE_SEED"); s != "" {
		v, err := strconv.ParseUint(s, 10, 64)
		if err != nil {
			panic(err)
		}
		return []uint64{v}
	}
	if long() {
		n *= 20
	}
	return seq(1, n+1)
}

// TestCrashEverywhere stops the file system at every operation in turn, leaves what a kill or a power cut leaves, opens,
// works on, stops again, and opens again.
func TestCrashEverywhere(t *testing.T) {
	t.Parallel()
	everywhere(t, seeds(2), func(rng *rand.Rand, op vfs.Op, at int) vfs.Fate {
		if op.N < at {
			return vfs.Fate{}
		}
		return vfs.Fate{Stop: true, Partial: rng.IntN(op.Len + 1)}
	})
}

// TestFailEverywhere fails every operation in turn, once; what a failed sync was to write never reaches the disk, so that
// an acknowledgement after it is found out by the power cut.
func TestFailEverywhere(t *testing.T) {
	t.Parallel()
	everywhere(t, seeds(1), func(rng *rand.Rand, op vfs.Op, at int) vfs.Fate {
		if op.N != at {
			return vfs.Fate{}
		}
		return vfs.Fate{Err: vfs.ErrInjected, Partial: rng.IntN(op.Len + 1)}
	})
}

func everywhere(t *testing.T, seeds []uint64, fate func(rng *rand.Rand, op vfs.Op, at int) vfs.Fate) {
	t.Helper()
	for _, kill := range []bool{true, false} {
		for _, seed := range seeds {
			name := "cut"
			if kill {
				name = "kill"
			}
			t.Run(name+"/"+strconv.FormatUint(seed, 10), func(t *testing.T) {
				t.Parallel()
				ops, err := faultAt(seed, 1<<30, kill, fate)
				if err != nil {
					t.Fatalf("seed %d, without a fault: %v", seed, err)
				}
				for at := 1; at <= ops; at++ {
					if _, err := faultAt(seed, at, kill, fate); err != nil {
						t.Fatalf("seed %d, fault at operation %d: %v", seed, at, err)
					}
				}
			})
		}
	}
}

func faultAt(seed uint64, at int, kill bool, fate func(rng *rand.Rand, op vfs.Op, at int) vfs.Fate) (ops int, err error) {
	rng := rand.New(rand.NewPCG(seed, uint64(at)))
	workRNG := rand.New(rand.NewPCG(seed, 0))
	var mu sync.Mutex // of hookRNG
	hookRNG := rand.New(rand.NewPCG(seed, uint64(at)+1<<40))
	hook := func(at int) func(vfs.Op) vfs.Fate {
		return func(op vfs.Op) vfs.Fate {
			mu.Lock()
			defer mu.Unlock()
			return fate(hookRNG, op, at)
		}
	}
	fs := vfs.NewCrash(hook(at))
	m := &model{}
	// The first process works, closes and opens again.
	for range 2 {
		if err := m.run(fs, workRNG, true, 40); err != nil {
			return 0, fmt.Errorf("first process: %w", err)
		}
	}
	ops = fs.Ops()
	for i := range 3 {
		if kill && i < 2 {
			fs = fs.Kill()
		} else {
			// After kills, too, the power goes at last: what a recovery has kept is durable.
			fs = fs.Crash(rng)
		}
		if i < 2 {
			fs.SetHook(hook(1 + rng.IntN(80)))
		}
		if err := m.run(fs, rng, kill && i < 2, 15); err != nil {
			return 0, fmt.Errorf("after crash %d: %w; files %s", i+1, err, strings.Join(fs.Names(), " "))
		}
	}
	return ops, nil
}

func newRNG(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 99)) }
