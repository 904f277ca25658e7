package wal

import (
	"errors"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/varvemq/varve/internal/vfs"
)

// TestCutOffStaysAway cuts the tail off before a whole record, and appends exactly what is needed for that record to line
// up again.
func TestCutOffStaysAway(t *testing.T) {
	t.Parallel()
	fs := vfs.NewCrash(nil)
	w := mustOpen(t, testConfig(fs, nil))
	mustAdd(t, w, 0, 100, Written) // the first waits for the mark before it
	torn := mustAdd(t, w, 1, 6000, Written)
	whole := mustAdd(t, w, 2, 1000, Written)
	next := fs.Kill()
	_ = w.Close()

	data := next.Data(path(1))
	off := pageSize + int64(torn.Pos)
	data[off+500] ^= 1
	next.SetData(path(1), data)
	o := &owner{}
	w = mustOpen(t, testConfig(next, o))
	if diff := cmp.Diff([]uint64{0}, o.ids()); diff != "" {
		t.Fatal(diff)
	}
	if r := w.Recovery(); !r.Unclean || r.TornFile != path(1) || r.TornOffset != off || r.TornBytes == 0 {
		t.Errorf("%+v", r)
	}
	mark := recordHeader + partHeader + stateHeader + tableEntry
	fill := torn.Len - mark - recordHeader - partHeader
	a := mustAdd(t, w, 777, fill, Written)
	if a.LSN != torn.LSN || a.Pos+Position(a.Len) != whole.Pos {
		t.Fatalf("%+v does not reach up to %+v", a, whole)
	}
	last := next.Kill()
	_ = w.Close()
	o = &owner{}
	mustOpen(t, testConfig(last, o))
	if diff := cmp.Diff([]uint64{0, 777}, o.ids()); diff != "" {
		t.Fatal(diff)
	}
}

// slowSync is a file system whose next sync of a WAL file waits, and then fails; those after it succeed.
type slowSync struct {
	vfs.FS
	armed   atomic.Bool
	waiting chan struct{}
	fail    chan struct{}
}

type slowFile struct {
	vfs.File
	fs *slowSync
}

func (s *slowSync) Create(name string) (vfs.File, error) {
	f, err := s.FS.Create(name)
	return slowFile{f, s}, err
}

func (f slowFile) Sync() error {
	if f.fs.armed.CompareAndSwap(true, false) {
		close(f.fs.waiting)
		<-f.fs.fail
		return vfs.ErrInjected
	}
	return f.File.Sync()
}

// TestOneSyncAtATime has a background sync fail while a record is waiting for its own, which would succeed: Linux reports
// an error to one of them only, and nothing may be taken for durable any more.
func TestOneSyncAtATime(t *testing.T) {
	t.Parallel()
	fs := &slowSync{FS: vfs.NewCrash(nil), waiting: make(chan struct{}), fail: make(chan struct{})}
	c := testConfig(fs, nil)
	c.SyncInterval = time.Millisecond
	w := mustOpen(t, c)
	for w.Stats().Spares == 0 {
		time.Sleep(time.Millisecond)
	}
	mustAdd(t, w, 0, 100, Written) // the first waits for the mark before it
	if err := w.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	durable := w.Stats().Durable
	fs.armed.Store(true)
	mustAdd(t, w, 1, 100, Written)
	<-fs.waiting
	a, wt, err := add(w, 1, 2, 100, Durable)
	if err != nil {
		t.Fatal(err)
	}
	for w.Stats().Written < a.Pos+Position(a.Len) {
		time.Sleep(time.Millisecond)
	}
	time.Sleep(5 * time.Millisecond)
	close(fs.fail)
	<-wt.done
	if _, err := wt.state(); !errors.Is(err, ErrPoisoned) {
		t.Fatal(err)
	}
	_ = w.Close()
	if got := w.Stats().Durable; got != durable {
		t.Errorf("durable up to %d, not %d", got, durable)
	}
}

// lazySync is a file system whose syncs take long.
type lazySync struct{ vfs.FS }

type lazyFile struct{ vfs.File }

func (s lazySync) Create(name string) (vfs.File, error) {
	f, err := s.FS.Create(name)
	return lazyFile{f}, err
}

func (f lazyFile) Sync() error {
	time.Sleep(3 * time.Millisecond)
	return f.File.Sync()
}

// atWritten looks at how far what it is told of is ahead of what is durable.
type atWritten struct {
	w     *WAL
	end   Position
	ahead chan int64
}

func (a *atWritten) Reached(Stage, error) { a.ahead <- int64(a.end) - int64(a.w.durable.Load()) }

// TestAsyncCap shows that nothing is delivered at Written too far ahead of what is durable, although syncs are slow.
func TestAsyncCap(t *testing.T) {
	t.Parallel()
	c := testConfig(lazySync{vfs.NewCrash(nil)}, nil)
	c.SyncBytes = 1000
	w := mustOpen(t, c)
	const n = 200
	ahead := make(chan int64, n)
	for id := range uint64(n) {
		parts := batch(id, 100)
		if err := w.Reserve(t.Context(), RecordSize(parts), false); err != nil {
			t.Fatal(err)
		}
		end := w.Stats().Next + Position(RecordSize(parts)) // nobody else appends
		if _, err := w.Append(1, parts, Written, &atWritten{w, end, ahead}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(50 * time.Microsecond)
	}
	for range n {
		if got := <-ahead; got > asyncSyncs*1000 {
			t.Fatalf("%d bytes ahead", got)
		}
	}
}

// failingOwner cannot make the sections of any file but the first.
type failingOwner struct{ owner }

func (o *failingOwner) SealFile(f FileRef) ([][]byte, error) {
	if f.Seq > 1 {
		return nil, errors.New("not today")
	}
	return o.owner.SealFile(f)
}

// TestTrimKeepsSections shows that the newest closed file stays, because its sections sum up what was before.
func TestTrimKeepsSections(t *testing.T) {
	t.Parallel()
	c := testConfig(vfs.NewCrash(nil), nil)
	c.Owner = &failingOwner{}
	w := mustOpen(t, c)
	var last Appended
	for id := range uint64(200) {
		last = mustAdd(t, w, id, 2000, Durable)
	}
	for !w.Files()[0].Closed {
		time.Sleep(time.Millisecond)
	}
	if err := w.TrimTo(last.FileBase); err != nil {
		t.Fatal(err)
	}
	if f := w.Files()[0]; f.Seq != 1 {
		t.Errorf("the first file is %d", f.Seq)
	}
}

// TestPowerAfterTrim cuts the power between any two operations of trimming: there is never a gap.
func TestPowerAfterTrim(t *testing.T) {
	t.Parallel()
	for at := 1; at < 14; at++ {
		fs := vfs.NewCrash(nil)
		w := mustOpen(t, testConfig(fs, &owner{}))
		var last Appended
		for id := range uint64(200) {
			last = mustAdd(t, w, id, 2000, Written)
		}
		if err := w.Sync(t.Context()); err != nil {
			t.Fatal(err)
		}
		for closed := 0; closed < int(last.File)-1; time.Sleep(time.Millisecond) {
			closed = 0
			for _, f := range w.Files() {
				if f.Closed {
					closed++
				}
			}
		}
		for w.Stats().Spares == 0 {
			time.Sleep(time.Millisecond)
		}
		fs.SetHook(func(op vfs.Op) vfs.Fate { return vfs.Fate{Stop: op.N >= at} })
		err := w.TrimTo(last.FileBase)
		if err == nil && at < 4 {
			t.Fatal("trimmed although stopped")
		}
		if files := w.Files(); !files[0].Closed || (err == nil && len(files) != 2) {
			t.Fatalf("the newest closed file must stay: %+v", files)
		}
		for seed := range uint64(8) {
			left := fs.Crash(newRNG(seed))
			o := &owner{}
			w, err := Open(t.Context(), testConfig(left, o))
			if err != nil {
				t.Fatalf("stopped at %d: %v: %s", at, err, strings.Join(left.Names(), " "))
			}
			if ids := o.ids(); !slices.Contains(ids, 199) {
				t.Fatal("the newest is gone")
			}
			_ = w.Close()
		}
		_ = w.Close()
	}
}
