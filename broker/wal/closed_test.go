package wal

import (
	"errors"
	"fmt"
	"hash/crc32"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/varvemq/varve/internal/vfs"
)

// gatedOwner makes the sections of the second file when it is let to, and of no later one.
type gatedOwner struct {
	owner
	gate chan struct{}
}

func (o *gatedOwner) SealFile(f FileRef) ([][]byte, error) {
	if f.Seq == 2 {
		<-o.gate
	}
	if f.Seq > 2 {
		return nil, errors.New("not today")
	}
	return o.owner.SealFile(f)
}

// gatedWAL has files up to the one of that number, the first closed, and the second waiting to be.
func gatedWAL(t *testing.T, fs *vfs.Crash, files uint64) (w *WAL, o *gatedOwner, last Appended) {
	t.Helper()
	o = &gatedOwner{gate: make(chan struct{})}
	c := testConfig(fs, nil)
	c.Owner = o
	w = mustOpen(t, c)
	for id := uint64(0); last.File < files; id++ {
		last = mustAdd(t, w, id, 2000, Durable)
	}
	for !w.Files()[0].Closed || w.Stats().Spares == 0 {
		time.Sleep(time.Millisecond)
	}
	return w, o, last
}

// atMarkSync asks fate when the next close mark has been written and is to be synced, and says so.
func atMarkSync(fs *vfs.Crash, fate vfs.Fate) (asked <-chan struct{}) {
	ch := make(chan struct{})
	var mu sync.Mutex
	var name string
	done := false
	fs.SetHook(func(op vfs.Op) vfs.Fate {
		mu.Lock()
		defer mu.Unlock()
		switch {
		case done:
		case op.Kind == vfs.OpWrite && op.Len == closeMarkSize:
			name = op.Name
		case op.Kind == vfs.OpSync && op.Name == name:
			done = true
			close(ch)
			return fate
		}
		return vfs.Fate{}
	})
	return ch
}

// TestCloseMarkOutlivesTrim leaves a close mark that is in the page cache only: because the process was killed before it
// was synced, or because that sync failed, after which the cache takes it for clean. The next process drops the file before
// it; then the power goes. The oldest file must still be a closed one: what sums up the dropped file is in its sections.
func TestCloseMarkOutlivesTrim(t *testing.T) {
	t.Parallel()
	for name, fate := range map[string]vfs.Fate{"killed": {Stop: true}, "sync failed": {Err: vfs.ErrInjected}} {
		for _, behind := range []uint64{0, 1, 2} {
			t.Run(fmt.Sprintf("%s, %d behind", name, behind), func(t *testing.T) {
				t.Parallel()
				testCloseMarkOutlivesTrim(t, fate, 3+behind)
			})
		}
	}
}

func testCloseMarkOutlivesTrim(t *testing.T, fate vfs.Fate, files uint64) {
	t.Helper()
	fs := vfs.NewCrash(nil)
	w, o, last := gatedWAL(t, fs, files)
	asked := atMarkSync(fs, fate)
	close(o.gate)
	select {
	case <-asked:
	case <-time.After(20 * time.Second):
		t.Fatal("the close mark is not synced")
	}
	killed := fs.Kill()
	_ = w.Close()

	o = &gatedOwner{}
	c := testConfig(killed, nil)
	c.Owner = o
	w = mustOpen(t, c)
	if len(o.closed) != 2 {
		t.Fatalf("closed: %+v", o.closed)
	}
	if err := w.TrimTo(last.FileBase); err != nil {
		t.Fatal(err)
	}
	if first := w.Files()[0].Seq; first != 2 {
		t.Fatalf("the first file is %d", first)
	}
	for seed := range uint64(20) {
		left := killed.Crash(newRNG(seed))
		o := &gatedOwner{}
		c := testConfig(left, nil)
		c.Owner = o
		w, err := Open(t.Context(), c)
		if err != nil {
			t.Fatal(err)
		}
		if len(o.closed) == 0 || o.closed[0].Seq != w.Files()[0].Seq {
			t.Fatalf("seed %d: the oldest file, %d, is not closed any more: %+v", seed, w.Files()[0].Seq, o.closed)
		}
		_ = w.Close()
	}
}

// TestCloseMarkAfterSections cuts the power at every operation of closing a file: a close mark is never on the disk without
// the sections that it vouches for.
func TestCloseMarkAfterSections(t *testing.T) {
	t.Parallel()
	for at := 1; at <= 6; at++ {
		fs := vfs.NewCrash(nil)
		w, o, _ := gatedWAL(t, fs, 3)
		fs.SetHook(func(op vfs.Op) vfs.Fate { return vfs.Fate{Stop: op.N >= at, Partial: op.Len} })
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			close(o.gate)
			_ = w.Close()
		}()
		<-ended
		for seed := range uint64(40) {
			left := fs.Crash(newRNG(seed))
			for _, name := range left.Names() {
				if err := checkSections(left.Data(name)); strings.HasSuffix(name, ".wal") && err != nil {
					t.Fatalf("stopped at operation %d, seed %d: %s: %v", at, seed, name, err)
				}
			}
		}
	}
}

// checkSections holds the sections of a file against its close mark, if it has one.
func checkSections(data []byte) error {
	m, ok := parseCloseMark(data[:pageSize])
	if !ok {
		return nil
	}
	for i, s := range m.sections {
		if s.off+s.n > int64(len(data)) || crc32.Checksum(data[s.off:s.off+s.n], castagnoli) != s.crc {
			return fmt.Errorf("section %d is not there", i)
		}
	}
	return nil
}

// TestRecoveryIsDurable cuts the power at every operation of a start after a kill. The start's mark says that everything
// before it is durable, so whenever the mark survives, that must have survived, too: or the next start finds damage.
func TestRecoveryIsDurable(t *testing.T) {
	t.Parallel()
	for _, full := range []bool{false, true} {
		fs := vfs.NewCrash(nil)
		w := mustOpen(t, testConfig(fs, nil))
		mustAdd(t, w, 0, 2000, Durable)
		if full {
			fillFirstFile(t, fs, w)
		} else {
			for id := range uint64(8) {
				mustAdd(t, w, id+1, 2000, Written)
			}
		}
		for at := 1; at <= 20; at++ {
			for seed := range uint64(10) {
				killed := fs.Kill()
				killed.SetHook(func(op vfs.Op) vfs.Fate { return vfs.Fate{Stop: op.N >= at, Partial: op.Len} })
				if w, err := Open(t.Context(), testConfig(killed, &owner{})); err == nil {
					_ = w.Close()
				}
				o := &owner{}
				w, err := Open(t.Context(), testConfig(killed.Crash(newRNG(seed)), o))
				if err != nil {
					t.Fatalf("full %v, stopped at operation %d, seed %d: %v", full, at, seed, err)
				}
				if ids := o.ids(); len(ids) == 0 || ids[0] != 0 {
					t.Fatalf("full %v, stopped at operation %d, seed %d: kept %d", full, at, seed, ids)
				}
				_ = w.Close()
			}
		}
		_ = w.Close()
	}
}

// fillFirstFile puts marks into the room that records leave, until the next one needs a new file; the last is not synced.
func fillFirstFile(t *testing.T, fs *vfs.Crash, w *WAL) {
	t.Helper()
	mark := int64(RecordSize([]Part{{Payload: make([]byte, stateHeader+tableEntry)}}))
	room := func() int64 { return w.files[0].size - w.files[0].offset(w.Stats().Next) }
	for room() >= 2*mark {
		if err := w.SettleLoss(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	fs.SetHook(func(op vfs.Op) vfs.Fate { return vfs.Fate{Stop: op.Kind == vfs.OpSync} })
	if err := w.SettleLoss(t.Context()); err == nil || room() >= mark {
		t.Fatal(err, room())
	}
}
