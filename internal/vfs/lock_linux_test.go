package vfs_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/varvemq/varve/internal/vfs"
)

// TestLockOfForked: a lock ends with its Close, even while a process that was just forked has the file, too.
func TestLockOfForked(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "lock")
	lock, err := vfs.OS().Lock(path)
	if err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	found := false
	for _, e := range entries {
		if to, err := os.Readlink("/proc/self/fd/" + e.Name()); err != nil || to != path {
			continue
		}
		var fd int
		if _, err := fmt.Sscan(e.Name(), &fd); err != nil {
			t.Fatal(err)
		}
		if fd, err = unix.Dup(fd); err != nil { // what fork(2) does
			t.Fatal(err)
		}
		defer func() { _ = unix.Close(fd) }()
		found = true
	}
	if !found {
		t.Fatal("the file is not open")
	}
	if err := lock.Close(); err != nil {
		t.Fatal(err)
	}
	again, err := vfs.OS().Lock(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := again.Close(); err != nil {
		t.Error(err)
	}
}
