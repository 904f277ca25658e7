package coldread

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/varvemq/varve/internal/message"
	"github.com/varvemq/varve/internal/vfs"
	"github.com/varvemq/varve/tiering/catalog"
	"github.com/varvemq/varve/tiering/objstore"
	"github.com/varvemq/varve/tiering/objstore/faulty"
	"github.com/varvemq/varve/tiering/segment"
)

// keyOf names a segment's object.
func keyOf(s listed) string { return catalog.ObjectKey(shard, s.Epoch, s.Object, "seg") }

// flip damages a byte of an object at rest.
func (w *world) flip(s listed, pos int64) {
	w.tb.Helper()
	b, err := objstore.ReadAll(w.tb.Context(), w.bucket, keyOf(s), 1<<30)
	if err == nil {
		b[pos] ^= 4
		err = objstore.PutBytes(w.tb.Context(), w.bucket, keyOf(s), b, objstore.PutOptions{})
	}
	if err != nil {
		w.tb.Fatal(err)
	}
}

// wantLost checks that an error names an object and what is wrong with it.
func wantLost(t *testing.T, err error, s listed, is error) {
	t.Helper()
	o, ok := errors.AsType[*ObjectError](err)
	if !ok || o.Key != keyOf(s) || !strings.Contains(err.Error(), keyOf(s)) {
		t.Errorf("%v: want it to name %s", err, keyOf(s))
	}
	if _, corrupt := errors.AsType[*segment.CorruptError](err); is == nil && !corrupt || is != nil && !errors.Is(err, is) {
		t.Errorf("%v: want %v", err, is)
	}
}

// TestLostObject: an object that the catalog names and that is not there is an error with its key; all others are read.
func TestLostObject(t *testing.T) {
	t.Parallel()
	for _, opened := range []bool{false, true} {
		t.Run(fmt.Sprintf("opened before: %t", opened), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, objstore.NewMem())
			for range 3 {
				w.sealNext(50, 100, nil)
			}
			r := w.open(Config{CacheBytes: 1, ReadAhead: -1})
			if opened {
				w.mustRead(r, 60)
			}
			lost := w.segs[1]
			w.remove(lost)
			_, err := r.Block(t.Context(), ordinal, 70, nil)
			wantLost(t, err, lost, objstore.ErrNotFound)
			w.mustRead(r, 20)
			w.mustRead(r, 120)
			if _, _, err := r.OffsetByTime(t.Context(), ordinal, 1070); !opened {
				wantLost(t, err, lost, objstore.ErrNotFound)
			}
			if err := r.ByKey(t.Context(), message.KeyHash("t", "k70"), 0, 0, func(uint32, uint64, message.View) bool { return true }); !opened {
				wantLost(t, err, lost, objstore.ErrNotFound)
			}
			var at uint64
			for b, err := range r.Iterate(t.Context(), ordinal, 0) {
				if err != nil {
					wantLost(t, err, lost, objstore.ErrNotFound)
					break
				}
				at = b.End
			}
			if at != 50 {
				t.Errorf("it ended at %d", at)
			}
			w.checkBounds(t, r)
		})
	}
}

// TestReplacedBeneath: an object that is gone since it was found costs nothing but another look.
func TestReplacedBeneath(t *testing.T) {
	t.Parallel()
	w := newWorld(t, objstore.NewMem())
	w.blockBytes = 500
	for range 4 {
		w.sealNext(50, 100, nil)
	}
	r := w.open(Config{CacheBytes: 1, ReadAhead: -1})
	at, n := uint64(0), 0
	for b, err := range r.Iterate(t.Context(), ordinal, 0) {
		if err == nil {
			err = w.check(ordinal, at, nil, &b)
		}
		if err != nil {
			t.Fatal(err)
		}
		if at = b.End; n%10 == 0 {
			w.remove(w.compact(n/10%4, 1)...)
		}
		n++
	}
	if at != 200 {
		t.Errorf("ended at %d", at)
	}
	for at := range uint64(200) { // each object is replaced between the catalog's answer and the GET
		var once atomic.Bool
		w.hook = func(_ context.Context, object uint64, _ int64, _ int) {
			if !once.Swap(true) {
				for i, s := range w.snapshot() {
					if s.Object == object {
						w.remove(w.compact(i, 1)...) //nolint:contextcheck // what is replaced has a life of its own
					}
				}
			}
		}
		w.mustRead(r, at)
	}
	w.checkBounds(t, r)
}

// TestDamage: what is damaged at rest is an error with key, queue and offsets after a second look; what was damaged on the way is read.
func TestDamage(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		cfg  Config
	}{{"alone", Config{ReadAhead: -1}}, {"ahead", Config{}}, {"hedged", Config{HedgeAfter: 1}}} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, objstore.NewMem())
			w.blockBytes, w.level = 1000, segment.Uncompressed
			w.sealNext(100, 100, nil)
			r := w.open(tt.cfg)
			bad := w.mustRead(w.open(Config{}), 50)
			seg, err := r.open(t.Context(), w.segs[0].Entry)
			if err != nil {
				t.Fatal(err)
			}
			ref, err := seg.index.FindOffset(t.Context(), ordinal, 50)
			if err != nil {
				t.Fatal(err)
			}
			w.flip(w.segs[0], ref.Pos+int64(ref.Size)/2)
			gets := w.gets.Load()
			_, err = r.Block(t.Context(), ordinal, 50, nil)
			wantLost(t, err, w.segs[0], nil)
			if n := w.gets.Load() - gets; n != 2 && tt.cfg.HedgeAfter == 0 {
				t.Errorf("%d GETs, want 2", n)
			}
			if o, ok := errors.AsType[*ObjectError](err); !ok || o.Ordinal != ordinal || o.First != bad.First || o.End != bad.End {
				t.Errorf("%v: want offsets [%d, %d)", err, bad.First, bad.End)
			}
			for at := uint64(0); at < 100; {
				b, err := r.Block(t.Context(), ordinal, at, nil)
				if at == bad.First {
					wantLost(t, err, w.segs[0], nil)
					at = bad.End
					continue
				}
				if err == nil {
					err = w.check(ordinal, at, nil, &b)
				}
				if err != nil {
					t.Fatal(err)
				}
				at = b.End
			}
			var read uint64
			for at := uint64(0); at < 100; {
				for b, err := range r.Iterate(t.Context(), ordinal, at) {
					if o, ok := errors.AsType[*ObjectError](err); ok {
						at = o.End
						break
					}
					if err != nil {
						t.Fatal(err)
					}
					read += b.End - b.First
					at = b.End
				}
			}
			if want := 100 - (bad.End - bad.First); read != want {
				t.Errorf("%d messages were iterated, want %d", read, want)
			}
			w.checkBounds(t, r)
		})
	}
}

func TestDamageOnTheWay(t *testing.T) {
	t.Parallel()
	for _, fault := range []faulty.Fault{faulty.FlipBit, faulty.TruncateBody} {
		t.Run(fault.String(), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, objstore.NewMem())
				w.blockBytes, w.level = 1000, segment.Uncompressed
				for range 2 {
					w.sealNext(100, 100, nil)
				}
				w.store = faulty.New(w.bucket, faulty.Config{Seed: 1, Plan: func(op faulty.Op) faulty.Fault {
					if op.N%2 == 1 { // calls come one after the other
						return fault
					}
					return faulty.None
				}})
				r := w.open(Config{CacheBytes: 1, ReadAhead: -1})
				for at := range uint64(200) {
					w.mustRead(r, at)
					synctest.Wait()
				}
			})
		})
	}
}

// TestDamagedIndex: an index that was damaged on the way, and is kept so by the catalog's reader, is read anew; one that is damaged at rest is an error.
func TestDamagedIndex(t *testing.T) {
	t.Parallel()
	w := newWorld(t, objstore.NewMem())
	w.blockBytes = 500
	for range 2 {
		w.sealNext(300, 100, nil)
	}
	r := w.open(Config{})
	s := w.segs[0]
	seg, err := r.open(t.Context(), s.Entry)
	if err != nil {
		t.Fatal(err)
	}
	f := seg.index.Footer()
	pos := f.DataBytes() + (s.Size-f.DataBytes())*2/3 // in the queue index, behind keys and filter
	w.flip(s, pos)
	w.readers = map[uint64]*segment.Reader{}
	if _, err := w.OpenSegment(t.Context(), s.Entry); err != nil {
		t.Fatal(err) // its reader has the damage now
	}
	w.flip(s, pos)
	for at := range uint64(600) {
		w.mustRead(r, at)
	}
	w.flip(s, pos)
	w.readers = map[uint64]*segment.Reader{} // none of the kept ones has it whole
	r = w.open(Config{})
	lost := 0
	for at := range uint64(600) {
		if _, err := r.Block(t.Context(), ordinal, at, nil); err != nil {
			wantLost(t, err, s, nil)
			lost++
		}
	}
	if lost == 0 || lost > 300 {
		t.Errorf("%d offsets are lost", lost)
	}
}

func TestDiskCache(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		fs := vfs.NewCrash(nil)
		if err := fs.MkdirAll("cache"); err != nil {
			t.Fatal(err)
		}
		old, err := fs.Create("cache/" + diskFile)
		if err == nil {
			_, err = old.WriteAt(bytes.Repeat([]byte("old"), 1000), 0)
		}
		if err = errors.Join(err, old.Close()); err != nil {
			t.Fatal(err)
		}
		w := newWorld(t, objstore.NewMem())
		w.blockBytes, w.level = 1000, segment.Uncompressed
		w.sealNext(400, 100, nil)
		const size = 30_000
		r := w.open(Config{CacheBytes: 1, FS: fs, DiskCache: "cache", DiskCacheBytes: size})
		f, err := fs.Open("cache/" + diskFile)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if n, err := f.Size(); err != nil || n != 0 {
			t.Errorf("it begins with %d bytes, %v", n, err)
		}
		read := func(at uint64) (gets int64) {
			t.Helper()
			before := w.gets.Load()
			w.mustRead(r, at)
			synctest.Wait()
			return w.gets.Load() - before
		}
		if a, b := read(100), read(100); a != 1 || b != 0 {
			t.Errorf("%d GETs, then %d; want 1, 0", a, b)
		}
		if v := value(t, r.m.fromDisk); v == 0 {
			t.Error("no bytes from the disk, says the metric")
		}
		// Damage is found and dropped, and not an error.
		var b [1]byte
		if _, err = f.ReadAt(b[:], 500); err == nil {
			b[0]++
			_, err = f.WriteAt(b[:], 500)
		}
		if err != nil {
			t.Fatal(err)
		}
		if a, b := read(100), read(100); a != 1 || b != 0 {
			t.Errorf("after damage %d GETs, then %d; want 1, 0", a, b)
		}
		// Round and round: it stays bounded, and what is newest is there.
		for range 3 {
			for at := uint64(0); at < 400; at += 3 {
				read(at)
				if read(at) != 0 {
					t.Errorf("offset %d is not there right after it was read", at)
				}
			}
		}
		if n, err := f.Size(); err != nil || n > size || n < size/2 {
			t.Errorf("%d bytes of %d, %v", n, size, err)
		}
		if read(0) != 1 {
			t.Error("what is oldest is still there")
		}
		// A broken disk ends it, and no read.
		fs.SetHook(func(vfs.Op) vfs.Fate { return vfs.Fate{Err: vfs.ErrInjected} })
		for at := uint64(0); at < 400; at += 3 {
			read(at)
		}
		if read(0) != 1 {
			t.Error("the cache is used although it is broken")
		}
	})
}

// TestNoDiskCache: that there can be none is no error.
func TestNoDiskCache(t *testing.T) {
	t.Parallel()
	w := newWorld(t, objstore.NewMem())
	w.sealNext(5, 100, nil)
	fs := vfs.NewCrash(func(vfs.Op) vfs.Fate { return vfs.Fate{Err: vfs.ErrInjected} })
	w.mustRead(w.open(Config{FS: fs, DiskCache: "cache", DiskCacheBytes: 1000}), 1)
}

// TestErrorsPass: an error of the store that is no damage is returned as it is, and the next read tries again.
func TestErrorsPass(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, objstore.NewMem())
		w.sealNext(50, 100, nil)
		r := w.open(Config{})
		if _, err := w.OpenSegment(t.Context(), w.segs[0].Entry); err != nil {
			t.Fatal(err)
		}
		store := faulty.New(w.bucket, faulty.Config{Plan: func(op faulty.Op) faulty.Fault {
			if op.N == 1 {
				return faulty.Throttled
			}
			return faulty.None
		}})
		w.store = store
		if _, err := r.Block(t.Context(), ordinal, 5, nil); !errors.Is(err, objstore.ErrThrottled) {
			t.Errorf("%v, want ErrThrottled", err)
		}
		if n := w.gets.Load(); n != 1 {
			t.Errorf("%d GETs: the store's driver repeats, nobody else", n)
		}
		w.mustRead(r, 5)
	})
}
