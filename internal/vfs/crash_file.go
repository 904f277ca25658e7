package vfs

import (
	"io"
	"io/fs"
	"slices"
)

// crashFile is an open file of a Crash.
type crashFile struct {
	c      *Crash
	n      *inode
	name   string
	closed bool // guarded by c.mu
}

func (f *crashFile) usableLocked() error {
	if f.closed {
		return fs.ErrClosed
	}
	if f.c.stop {
		return ErrCrashed
	}
	return nil
}

func (n *inode) write(b []byte, off int64) {
	if len(b) == 0 {
		return
	}
	n.data = resize(n.data, max(int64(len(n.data)), off+int64(len(b))))
	copy(n.data[off:], b)
	n.dirty = append(n.dirty, change{off: off, data: slices.Clone(b), size: -1})
}

func (n *inode) truncate(size int64) {
	n.data = resize(n.data, size)
	n.dirty = append(n.dirty, change{size: size})
}

// WriteAt implements io.WriterAt.
func (f *crashFile) WriteAt(b []byte, off int64) (int, error) {
	f.c.mu.Lock()
	defer f.c.mu.Unlock()
	if err := f.usableLocked(); err != nil {
		return 0, err
	}
	if fate := f.c.askLocked(OpWrite, f.name, len(b)); fate.Err != nil {
		k := min(fate.Partial, len(b))
		f.n.write(b[:k], off)
		return k, fate.Err
	}
	f.n.write(b, off)
	return len(b), nil
}

// ReadAt implements io.ReaderAt.
func (f *crashFile) ReadAt(b []byte, off int64) (int, error) {
	f.c.mu.Lock()
	defer f.c.mu.Unlock()
	if err := f.usableLocked(); err != nil {
		return 0, err
	}
	if off >= int64(len(f.n.data)) {
		return 0, io.EOF
	}
	k := copy(b, f.n.data[off:])
	if k < len(b) {
		return k, io.EOF
	}
	return k, nil
}

// Sync implements File. What a failed Sync was to write is clean afterwards, and not on the disk: as Linux has it.
func (f *crashFile) Sync() error {
	f.c.mu.Lock()
	defer f.c.mu.Unlock()
	if err := f.usableLocked(); err != nil {
		return err
	}
	fate := f.c.askLocked(OpSync, f.name, 0)
	switch {
	case fate.Stop:
		return ErrCrashed
	case fate.Err != nil:
		f.n.dirty = nil
		return fate.Err
	}
	for _, ch := range f.n.dirty {
		if ch.size >= 0 {
			f.n.durable = resize(f.n.durable, ch.size)
			continue
		}
		f.n.durable = resize(f.n.durable, max(int64(len(f.n.durable)), ch.off+int64(len(ch.data))))
		copy(f.n.durable[ch.off:], ch.data)
	}
	f.n.dirty = nil
	return nil
}

// Truncate implements File.
func (f *crashFile) Truncate(size int64) error {
	f.c.mu.Lock()
	defer f.c.mu.Unlock()
	if err := f.usableLocked(); err != nil {
		return err
	}
	if fate := f.c.askLocked(OpTruncate, f.name, 0); fate.Err != nil {
		return fate.Err
	}
	f.n.truncate(size)
	return nil
}

// Size implements File.
func (f *crashFile) Size() (int64, error) {
	f.c.mu.Lock()
	defer f.c.mu.Unlock()
	return int64(len(f.n.data)), f.usableLocked()
}

// Name implements File.
func (f *crashFile) Name() string { return f.name }

// Close implements io.Closer.
func (f *crashFile) Close() error {
	f.c.mu.Lock()
	defer f.c.mu.Unlock()
	if f.closed {
		return fs.ErrClosed
	}
	f.closed = true
	return nil
}
