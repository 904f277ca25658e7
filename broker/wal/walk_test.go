package wal

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/varvemq/varve/internal/vfs"
)

// walked walks and returns the ids of the records, having checked that what was kept does not change.
func walked(t *testing.T, w *WAL, from, to Position) []uint64 {
	t.Helper()
	var kept []Part
	var at []Position
	if err := w.Walk(t.Context(), from, to, func(r Record) error {
		kept = append(kept, r.Parts...)
		at = append(at, r.Pos)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	var ids []uint64
	for i, p := range kept {
		if diff := cmp.Diff(payload(p.Base, len(p.Payload)), p.Payload); diff != "" {
			t.Fatal(p.Base, diff)
		}
		if i > 0 && at[i] <= at[i-1] {
			t.Fatalf("position %d after %d", at[i], at[i-1])
		}
		ids = append(ids, p.Base)
	}
	return ids
}

func TestWalk(t *testing.T) {
	t.Parallel()
	for name, tailBytes := range map[string]int64{"from files": 1, "from memory": 64 << 20} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := testConfig(vfs.OS(), &owner{})
			c.Dir, c.TailBytes, c.Limit, c.FileSize = t.TempDir()+"/wal", tailBytes, 64<<20, 4<<20
			w := mustOpen(t, c)
			var at []Appended
			for id := range uint64(3000) {
				size := int(id % 900)
				if id%500 == 0 {
					size = 1200 << 10 // longer than a window
				}
				a, _, err := add(w, 1, id, size, 0)
				if err != nil {
					t.Fatal(err)
				}
				at = append(at, a)
			}
			if err := w.Sync(t.Context()); err != nil {
				t.Fatal(err)
			}
			end := w.Stats().Durable
			if diff := cmp.Diff(seq(0, 3000), walked(t, w, 0, end)); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff(seq(1234, 2000), walked(t, w, at[1234].Pos, at[2000].Pos)); diff != "" {
				t.Error(diff)
			}
			if got := walked(t, w, end, end); got != nil {
				t.Error(got)
			}
			if err := w.Walk(t.Context(), 0, end+1, nil); err == nil {
				t.Error("walked to what is not written")
			}
			stop := errors.New("stop")
			if err := w.Walk(t.Context(), 0, end, func(Record) error { return stop }); !errors.Is(err, stop) {
				t.Error(err)
			}
			if files := w.Files(); len(files) < 3 {
				t.Errorf("%d files", len(files))
			}
		})
	}
}

func TestWalkDamage(t *testing.T) {
	t.Parallel()
	im := makeImage(t)
	for name, offset := range map[string]int64{"length": 0, "crc": 4, "position": 8, "payload": 100} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			fs, bad := im.fs(im.files), im.at[5]
			data := fs.Data(path(bad.File))
			data[pageSize+int64(bad.Pos-bad.FileBase)+offset] ^= 1
			fs.SetData(path(bad.File), data) // the file is closed: a start does not look at its records
			c := testConfig(fs, nil)
			c.TailBytes = 1
			w := mustOpen(t, c)
			var n int
			err := w.Walk(t.Context(), 0, w.Stats().Durable, func(Record) error { n++; return nil })
			var corrupted *CorruptError
			if !errors.As(err, &corrupted) || corrupted.File != path(bad.File) || n != 5 {
				t.Errorf("%d records, then %v", n, err)
			}
		})
	}
}

func TestWalkTrimmed(t *testing.T) {
	t.Parallel()
	im := makeImage(t)
	w := mustOpen(t, testConfig(im.fs(im.files), &owner{}))
	last := im.at[len(im.at)-1]
	if err := w.TrimTo(last.FileBase); err != nil {
		t.Fatal(err)
	}
	if err := w.Walk(t.Context(), 0, last.Pos, func(Record) error { return nil }); !errors.Is(err, ErrTrimmed) {
		t.Error(err)
	}
}
