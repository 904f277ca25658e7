package guard

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"testing"

	"github.com/google/uuid"

	"github.com/varvemq/varve/internal/vfs"
)

func TestRemember(t *testing.T) {
	t.Parallel()
	fsys, dir := vfs.OS(), t.TempDir()
	if got, err := Recall(fsys, dir); got != nil || err != nil {
		t.Fatal(got, err)
	}
	a, b := uuid.New(), uuid.New()
	for _, c := range []struct {
		name      string
		put, want Remembered
	}{
		{"the first", Remembered{a, 10, "s", 2, "", ""}, Remembered{a, 10, "s", 2, "", ""}},
		{"a commit", Remembered{a, 11, "s", 2, "", ""}, Remembered{a, 11, "s", 2, "", ""}},
		{"an older one does not lower it", Remembered{a, 9, "s", 1, "", ""}, Remembered{a, 11, "s", 2, "", ""}},
		{"the next epoch", Remembered{a, 12, "s", 3, "", ""}, Remembered{a, 12, "s", 3, "", ""}},
		{"another shard has its own epochs", Remembered{a, 13, "z", 1, "", ""}, Remembered{a, 13, "z", 1, "", ""}},
		{"a claim is made", Remembered{a, 13, "z", 1, "c1", "c2"}, Remembered{a, 13, "z", 1, "c1", "c2"}},
		{"a commit says nothing of claims", Remembered{a, 14, "z", 1, "", ""}, Remembered{a, 14, "z", 1, "c1", "c2"}},
		{"a claim is granted", Remembered{a, 14, "z", 2, "c2", ""}, Remembered{a, 14, "z", 2, "c2", ""}},
	} {
		if err := Remember(fsys, dir, c.put); err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		if got, err := Recall(fsys, dir); err != nil || *got != c.want {
			t.Fatalf("%s: %+v, %v", c.name, got, err)
		}
	}
	if err := Remember(fsys, dir, Remembered{b, 20, "s", 3, "", ""}); !errors.Is(err, ErrCluster) {
		t.Errorf("another cluster: %v", err)
	}
}

func TestRecallRefusesDamage(t *testing.T) {
	t.Parallel()
	fsys := vfs.NewCrash(nil)
	if err := Remember(fsys, ".", Remembered{uuid.New(), 1234, "shard", 5, "claim", "next"}); err != nil {
		t.Fatal(err)
	}
	f, err := fsys.Open(RememberedFile)
	if err != nil {
		t.Fatal(err)
	}
	whole, err := io.ReadAll(io.NewSectionReader(f, 0, maxSmall))
	if err != nil {
		t.Fatal(err)
	}
	same, err := Recall(fsys, ".")
	if err != nil {
		t.Fatal(err)
	}
	for i := range whole {
		for bit := range 8 {
			bad := bytes.Clone(whole)
			bad[i] ^= 1 << bit
			if _, err := f.WriteAt(bad, 0); err != nil {
				t.Fatal(err)
			}
			// A changed letter of a key's name or a space is no damage to what is remembered.
			if got, err := Recall(fsys, "."); err == nil && *got != *same || err != nil && !errors.Is(err, ErrCorrupt) && !errors.Is(err, ErrVersion) {
				t.Fatalf("bit %d of byte %d: %+v, %v", bit, i, got, err)
			}
		}
	}
	if _, err := f.WriteAt(whole, 0); err != nil {
		t.Fatal(err)
	}
	if err := f.Truncate(int64(len(whole) / 2)); err != nil {
		t.Fatal(err)
	}
	if _, err := Recall(fsys, "."); !errors.Is(err, ErrCorrupt) {
		t.Errorf("half a file: %v", err)
	}
	if err := Remember(fsys, ".", *same); !errors.Is(err, ErrCorrupt) {
		t.Errorf("damage was replaced: %v", err)
	}
}

func TestRememberIsWholeAfterAnyCrash(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 1))
	id := uuid.New()
	first, second := Remembered{id, 10, "s", 2, "c1", ""}, Remembered{id, 11, "s", 3, "c1", "c2"}
	for stopAt := 1; ; stopAt++ {
		fsys := vfs.NewCrash(nil)
		if err := fsys.MkdirAll("d"); err != nil {
			t.Fatal(err)
		}
		if err := Remember(fsys, "d", first); err != nil {
			t.Fatal(err)
		}
		n := 0
		fsys.SetHook(func(vfs.Op) vfs.Fate {
			n++
			return vfs.Fate{Stop: n == stopAt, Partial: rng.IntN(200)}
		})
		err := Remember(fsys, "d", second)
		for _, after := range []*vfs.Crash{fsys.Kill(), fsys.Crash(rng)} {
			got, rerr := Recall(after, "d")
			if rerr != nil || *got != first && *got != second || err == nil && *got != second {
				t.Fatalf("stopped at %d (%v): %+v, %v", stopAt, err, got, rerr)
			}
		}
		if err == nil {
			if stopAt < 5 {
				t.Fatalf("%d operations", stopAt)
			}
			return
		}
	}
}
