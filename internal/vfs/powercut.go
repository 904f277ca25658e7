package vfs

import (
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"slices"
	"sync"
)

// PowerCut returns base with writes that stay in this process until Sync: kill -9 then does what a power cut does. Names
// change at once. Every name of a file that is open shares its unsynced writes.
func PowerCut(base FS) FS { return &powerCut{FS: base, nodes: map[string]*pending{}} }

type powerCut struct {
	FS
	mu    sync.Mutex
	nodes map[string]*pending // files that are open, by their present names; guarded by mu
}

// pending is what of a file is in this process only.
type pending struct {
	mu      sync.RWMutex
	refs    int // guarded by powerCut.mu
	size    int64
	resized bool
	diskEnd int64   // how much of the file on disk still counts: the least size since the last Sync
	writes  []write // oldest first, guarded by mu
}

type write struct {
	off  int64
	data []byte
}

func (p *powerCut) open(name string, open func(string) (File, error), reset bool) (File, error) {
	name = filepath.Clean(name)
	p.mu.Lock()
	defer p.mu.Unlock()
	f, err := open(name)
	if err != nil {
		return nil, err
	}
	n := p.nodes[name]
	if n == nil {
		size, err := f.Size()
		if err != nil {
			return nil, fmt.Errorf("size of %s: %w", name, err)
		}
		n = &pending{size: size, diskEnd: size}
		p.nodes[name] = n
	} else if reset {
		n.truncate(0)
	}
	n.refs++
	return &powerCutFile{File: f, p: p, n: n}, nil
}

// Create implements FS.
func (p *powerCut) Create(name string) (File, error) { return p.open(name, p.FS.Create, true) }

// Open implements FS.
func (p *powerCut) Open(name string) (File, error) { return p.open(name, p.FS.Open, false) }

// Rename implements FS.
func (p *powerCut) Rename(oldName, newName string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.FS.Rename(oldName, newName); err != nil {
		return err
	}
	oldName, newName = filepath.Clean(oldName), filepath.Clean(newName)
	delete(p.nodes, newName)
	if n := p.nodes[oldName]; n != nil {
		delete(p.nodes, oldName)
		p.nodes[newName] = n
	}
	return nil
}

// Remove implements FS.
func (p *powerCut) Remove(name string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.FS.Remove(name); err != nil {
		return err
	}
	delete(p.nodes, filepath.Clean(name))
	return nil
}

type powerCutFile struct {
	File
	p      *powerCut
	n      *pending
	closed bool // guarded by p.mu
}

func (n *pending) truncate(size int64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	kept := n.writes[:0]
	for _, w := range n.writes {
		if w.off < size {
			w.data = w.data[:min(int64(len(w.data)), size-w.off)]
			kept = append(kept, w)
		}
	}
	n.writes = kept
	n.size, n.resized = size, true
	n.diskEnd = min(n.diskEnd, size)
}

// WriteAt implements io.WriterAt.
func (f *powerCutFile) WriteAt(b []byte, off int64) (int, error) {
	f.n.mu.Lock()
	defer f.n.mu.Unlock()
	f.n.writes = append(f.n.writes, write{off, slices.Clone(b)})
	f.n.size = max(f.n.size, off+int64(len(b)))
	return len(b), nil
}

// ReadAt implements io.ReaderAt.
func (f *powerCutFile) ReadAt(b []byte, off int64) (int, error) {
	f.n.mu.RLock()
	defer f.n.mu.RUnlock()
	if off >= f.n.size {
		return 0, io.EOF
	}
	var err error
	if int64(len(b)) > f.n.size-off {
		b, err = b[:f.n.size-off], io.EOF
	}
	clear(b)
	if disk := min(int64(len(b)), f.n.diskEnd-off); disk > 0 {
		if k, rerr := f.File.ReadAt(b[:disk], off); int64(k) < disk {
			return k, rerr
		}
	}
	for _, w := range f.n.writes {
		from, to := max(w.off, off), min(w.off+int64(len(w.data)), off+int64(len(b)))
		if from < to {
			copy(b[from-off:to-off], w.data[from-w.off:])
		}
	}
	return len(b), err
}

// Sync implements File: only now anything leaves the process.
func (f *powerCutFile) Sync() error {
	f.n.mu.Lock()
	defer f.n.mu.Unlock()
	if f.n.resized {
		if err := f.File.Truncate(f.n.diskEnd); err != nil {
			return err
		}
		if err := f.File.Truncate(f.n.size); err != nil {
			return err
		}
	}
	for _, w := range f.n.writes {
		if _, err := f.File.WriteAt(w.data, w.off); err != nil {
			return err
		}
	}
	if err := f.File.Sync(); err != nil {
		return err
	}
	f.n.writes, f.n.resized, f.n.diskEnd = nil, false, f.n.size
	return nil
}

// Truncate implements File.
func (f *powerCutFile) Truncate(size int64) error {
	f.n.truncate(size)
	return nil
}

// Size implements File.
func (f *powerCutFile) Size() (int64, error) {
	f.n.mu.RLock()
	defer f.n.mu.RUnlock()
	return f.n.size, nil
}

// Close implements io.Closer. The last Close of a file syncs it: a page cache outlives its files.
func (f *powerCutFile) Close() error {
	f.p.mu.Lock()
	defer f.p.mu.Unlock()
	if f.closed {
		return fs.ErrClosed
	}
	f.closed = true
	f.n.refs--
	if f.n.refs == 0 {
		if err := f.Sync(); err != nil {
			return err
		}
		for name, n := range f.p.nodes {
			if n == f.n {
				delete(f.p.nodes, name)
			}
		}
	}
	return f.File.Close()
}
