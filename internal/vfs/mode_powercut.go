//go:build powercut

package vfs

import "time"

// Mode says which file system Default returns.
const Mode = "powercut"

// syncTime is what a Sync takes at least. Some disks need so little that a kill hardly ever comes between a write and its
// Sync, which is where a power cut tells a right broker from a wrong one.
const syncTime = 3 * time.Millisecond

// Default returns the file system of this build: OS, or PowerCut under the build tag powercut.
func Default() FS { return slow{PowerCut(OS())} }

// slow is a file system whose Syncs take their time.
type slow struct{ FS }

// Create implements FS.
func (s slow) Create(name string) (File, error) { return slowly(s.FS.Create(name)) }

// Open implements FS.
func (s slow) Open(name string) (File, error) { return slowly(s.FS.Open(name)) }

func slowly(f File, err error) (File, error) {
	if err != nil {
		return nil, err
	}
	return slowFile{f}, nil
}

type slowFile struct{ File }

// Sync implements File.
func (f slowFile) Sync() error {
	time.Sleep(syncTime)
	return f.File.Sync()
}
