package vfs

import (
	"errors"
	"io"
)

// ErrLocked is returned by FS.Lock when somebody holds the lock already.
var ErrLocked = errors.New("vfs: locked by another process")

// File is an open file. What was written is readable at once, and durable after the next successful Sync.
type File interface {
	io.ReaderAt
	io.WriterAt
	io.Closer
	// Sync makes the contents and the size durable: fdatasync where the OS has it. After a failed Sync nothing may be
	// assumed of the bytes written since the last successful one, and a later success proves nothing about them.
	Sync() error
	// Truncate sets the size; new bytes are zero.
	Truncate(size int64) error
	// Size returns the present size in bytes.
	Size() (int64, error)
	// Name returns the name the file was opened under; renaming does not change it.
	Name() string
}

// FS is a file system. Names are paths in the form of package filepath. What Create, Rename, Remove and MkdirAll did is
// durable only after SyncDir of the directory that holds the name.
type FS interface {
	// Create opens a file for reading and writing, making it or emptying it.
	Create(name string) (File, error)
	// Open opens an existing file for reading and writing; errors.Is(err, fs.ErrNotExist) if there is none.
	Open(name string) (File, error)
	// Rename replaces newName by oldName at once.
	Rename(oldName, newName string) error
	// Remove removes a file.
	Remove(name string) error
	// MkdirAll makes a directory and its parents, and makes them durable.
	MkdirAll(dir string) error
	// List returns the base names in a directory, sorted.
	List(dir string) ([]string, error)
	// SyncDir makes the names in a directory durable.
	SyncDir(dir string) error
	// Lock takes an exclusive lock that dies with the process; ErrLocked at once if it is held.
	Lock(name string) (io.Closer, error)
}
