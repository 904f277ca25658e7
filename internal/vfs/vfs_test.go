package vfs_test

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/varvemq/varve/internal/vfs"
)

// TestContract holds every file system to the same behaviour.
func TestContract(t *testing.T) {
	t.Parallel()
	for name, f := range map[string]vfs.FS{
		"os": vfs.OS(), "powercut": vfs.PowerCut(vfs.OS()), "crash": vfs.NewCrash(nil), "default": vfs.Default(),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			contract(t, f, filepath.Join(t.TempDir(), "a", "b"))
		})
	}
}

func contract(t *testing.T, f vfs.FS, dir string) {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	path := func(s string) string { return filepath.Join(dir, s) }
	if _, err := f.Open(path("none")); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("open of nothing: %v", err)
	}
	must(f.MkdirAll(dir))
	must(f.MkdirAll(dir))
	h, err := f.Create(path("one"))
	must(err)
	_, err = h.WriteAt([]byte("hello"), 10)
	must(err)
	expect := func(h vfs.File, want string) {
		t.Helper()
		n, err := h.Size()
		must(err)
		b := bytes.Repeat([]byte{'x'}, int(n)+3)
		k, err := h.ReadAt(b, 0)
		if !errors.Is(err, io.EOF) || string(b[:k]) != want {
			t.Fatalf("read %q, %v instead of %q", b[:k], err, want)
		}
	}
	zeros := string(make([]byte, 10))
	expect(h, zeros+"hello")
	must(h.Sync())
	expect(h, zeros+"hello")
	must(h.Truncate(12))
	must(h.Truncate(14))
	expect(h, zeros+"he\x00\x00")
	other, err := f.Open(path("one"))
	must(err)
	expect(other, zeros+"he\x00\x00")
	must(f.Rename(path("one"), path("two")))
	_, err = h.WriteAt([]byte("J"), 10)
	must(err)
	again, err := f.Open(path("two"))
	must(err)
	expect(again, zeros+"Je\x00\x00")
	must(again.Sync())
	must(again.Close())
	must(other.Close())
	must(h.Close())
	if err := h.Close(); !errors.Is(err, fs.ErrClosed) {
		t.Fatalf("second close: %v", err)
	}
	h, err = f.Open(path("two"))
	must(err)
	expect(h, zeros+"Je\x00\x00")
	empty, err := f.Create(path("two"))
	must(err)
	expect(empty, "")
	must(empty.Close())
	must(h.Close())
	must(f.SyncDir(dir))
	lock, err := f.Lock(path("lock"))
	must(err)
	if _, err := f.Lock(path("lock")); !errors.Is(err, vfs.ErrLocked) {
		t.Fatalf("second lock: %v", err)
	}
	must(lock.Close())
	lock, err = f.Lock(path("lock"))
	must(err)
	must(lock.Close())
	must(f.Remove(path("two")))
	if err := f.Remove(path("two")); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("remove of nothing: %v", err)
	}
	names, err := f.List(dir)
	must(err)
	for _, n := range names {
		if n != "lock" {
			t.Errorf("there is %q", n)
		}
	}
}

// TestCrashKeepsWhatWasSynced cuts the power many times: what was synced is there, the rest is there by whole sectors.
func TestCrashKeepsWhatWasSynced(t *testing.T) {
	t.Parallel()
	outcomes := map[string]bool{}
	for seed := range uint64(300) {
		c := vfs.NewCrash(nil)
		if err := c.MkdirAll("/d"); err != nil {
			t.Fatal(err)
		}
		f, _ := c.Create("/d/f")
		_, _ = f.WriteAt(bytes.Repeat([]byte{1}, 2048), 0)
		_ = f.Sync()
		_ = c.SyncDir("/d")
		_, _ = f.WriteAt(bytes.Repeat([]byte{2}, 1024), 1000)
		_ = c.Rename("/d/f", "/d/g")
		_, _ = c.Create("/d/h")

		k := c.Crash(rand.New(rand.NewPCG(seed, 1)))
		if _, err := f.WriteAt([]byte{1}, 0); !errors.Is(err, vfs.ErrCrashed) {
			t.Fatal("the old one goes on", err)
		}
		data := k.Data("/d/f")
		key := "old name"
		if data == nil {
			data, key = k.Data("/d/g"), "new name"
		}
		if len(data) != 2048 {
			t.Fatalf("%d bytes under %s, seed %d", len(data), key, seed)
		}
		for i, b := range data {
			if b != 1 && (b != 2 || i < 1000 || i >= 2024) {
				t.Fatalf("byte %d is %d", i, b)
			}
			if i > 1024 && i < 2024 && i%512 != 0 && b != data[i-1] {
				t.Fatalf("sector torn at %d", i)
			}
		}
		outcomes[key+string(data[1000:1001])+string(data[1030:1031])+string(data[1600:1601])] = true
	}
	if len(outcomes) != 16 {
		t.Errorf("%d different outcomes instead of 16", len(outcomes))
	}
}

// TestCrashFailedSync shows that what a failed Sync was to write is readable and not durable, and stays so.
func TestCrashFailedSync(t *testing.T) {
	t.Parallel()
	c := vfs.NewCrash(nil)
	_ = c.MkdirAll("/d")
	f, _ := c.Create("/d/f")
	_ = c.SyncDir("/d")
	_, _ = f.WriteAt([]byte("lost"), 0)
	c.SetHook(func(op vfs.Op) vfs.Fate {
		if op.Kind == vfs.OpSync && op.N == 1 {
			return vfs.Fate{Err: vfs.ErrInjected}
		}
		return vfs.Fate{}
	})
	if err := f.Sync(); !errors.Is(err, vfs.ErrInjected) {
		t.Fatal(err)
	}
	if err := f.Sync(); err != nil {
		t.Fatal(err)
	}
	k := c.Kill()
	if diff := cmp.Diff("lost", string(k.Data("/d/f"))); diff != "" {
		t.Error(diff)
	}
	if d := k.Crash(rand.New(rand.NewPCG(1, 1))).Data("/d/f"); len(d) != 0 {
		t.Errorf("%q is durable", d)
	}
}

// TestPowerCutKill9 kills a process that writes through PowerCut: only what it had synced is there.
func TestPowerCutKill9(t *testing.T) {
	const env = "VARVE_VFS_CHILD"
	if dir := os.Getenv(env); dir != "" {
		f := vfs.PowerCut(vfs.OS())
		h, err := f.Create(filepath.Join(dir, "f"))
		if err != nil {
			t.Fatal(err)
		}
		_, _ = h.WriteAt([]byte("durable"), 0)
		if err := h.Sync(); err != nil {
			t.Fatal(err)
		}
		_, _ = h.WriteAt([]byte("LOST and gone"), 0)
		_, _ = os.Stdout.WriteString("ready\n")
		select {}
	}
	t.Parallel()
	dir := t.TempDir()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestPowerCutKill9$")
	cmd.Env = append(os.Environ(), env+"="+dir)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(out, make([]byte, 6)); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	b, err := os.ReadFile(filepath.Join(dir, "f"))
	if err != nil || string(b) != "durable" {
		t.Fatalf("%q, %v", b, err)
	}
}
