//go:build powercut

package vfs

// Mode says which file system Default returns.
const Mode = "powercut"

// Default returns the file system of this build: OS, or PowerCut under the build tag powercut.
func Default() FS { return PowerCut(OS()) }
