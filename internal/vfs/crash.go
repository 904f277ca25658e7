package vfs

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
)

// sector is the unit in which a power cut keeps or loses what was not synced.
const sector = 512

// ErrCrashed is what every operation returns after the one at which a Crash was told to stop.
var ErrCrashed = errors.New("vfs: crashed")

// ErrInjected is the I/O error that a Crash was told to return.
var ErrInjected = fmt.Errorf("vfs: injected: %w", syscall.EIO)

// OpKind says what an operation does.
type OpKind uint8

// The operations that change something.
const (
	OpWrite OpKind = iota + 1
	OpSync
	OpTruncate
	OpCreate
	OpRename
	OpRemove
	OpSyncDir
)

// Op is an operation that a Crash is about to do. N counts them from 1.
type Op struct {
	N    int
	Kind OpKind
	Name string
	Len  int // of a write
}

// Fate is what a Crash does with an operation.
type Fate struct {
	Err     error // return this error instead of doing it; of a failed Sync nothing more becomes durable, ever
	Partial int   // with Err: so many bytes of the write are written all the same
	Stop    bool  // crash: this operation and all later ones return ErrCrashed; a write's Partial bytes are written
}

// Crash is a file system in memory that knows what would survive. It is safe for concurrent use.
type Crash struct {
	mu    sync.Mutex
	hook  func(Op) Fate
	n     int
	stop  bool
	names map[string]*inode // as the process sees them
	disk  map[string]*inode // as they were at the last SyncDir
	log   []dirOp           // since then, in order
	dirs  map[string]bool
	locks map[string]bool
}

type inode struct {
	data    []byte
	durable []byte
	dirty   []change
}

// change is a write or a truncation that has not been synced.
type change struct {
	off  int64
	data []byte
	size int64 // of a truncation; -1 for a write
}

type dirOp struct {
	dir  string
	from string // of a rename
	name string
	node *inode // nil: removed
}

// NewCrash returns an empty file system. hook, which may be nil, is asked before every operation that changes something.
func NewCrash(hook func(Op) Fate) *Crash {
	return &Crash{
		hook: hook, names: map[string]*inode{}, disk: map[string]*inode{}, dirs: map[string]bool{".": true, "/": true},
		locks: map[string]bool{},
	}
}

// SetHook replaces the hook, and counts operations from 1 again.
func (c *Crash) SetHook(hook func(Op) Fate) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.hook, c.n = hook, 0
}

// Ops returns how many operations there have been.
func (c *Crash) Ops() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.n
}

// Stop makes every later operation fail with ErrCrashed, so that a process that uses c is as good as dead.
func (c *Crash) Stop() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stop = true
}

// Kill returns the file system that kill -9 leaves: everything written is there, and no more durable than before. It stops
// c.
func (c *Crash) Kill() *Crash {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stop = true
	k := NewCrash(nil)
	copies := map[*inode]*inode{}
	dup := func(n *inode) *inode {
		if n != nil && copies[n] == nil {
			copies[n] = &inode{data: slices.Clone(n.data), durable: slices.Clone(n.durable), dirty: slices.Clone(n.dirty)}
		}
		return copies[n]
	}
	for name, n := range c.names {
		k.names[name] = dup(n)
	}
	for name, n := range c.disk {
		k.disk[name] = dup(n)
	}
	for _, op := range c.log {
		op.node = dup(op.node)
		k.log = append(k.log, op)
	}
	maps.Copy(k.dirs, c.dirs)
	return k
}

// Crash returns a file system that a power cut may leave: of what was not synced, any subset at the grain of a sector, and
// any subset of the changes of names. It stops c.
func (c *Crash) Crash(rng *rand.Rand) *Crash {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stop = true
	k := NewCrash(nil)
	maps.Copy(k.dirs, c.dirs)
	names := maps.Clone(c.disk)
	for _, op := range c.log {
		if rng.IntN(2) == 0 {
			continue
		}
		if op.from != "" && names[op.from] == op.node {
			delete(names, op.from)
		}
		if op.node == nil {
			delete(names, op.name)
		} else {
			names[op.name] = op.node
		}
	}
	for _, name := range slices.Sorted(maps.Keys(names)) {
		data := names[name].survivors(rng)
		n := &inode{data: data, durable: slices.Clone(data)}
		k.names[name], k.disk[name] = n, n
	}
	return k
}

// survivors picks what of a file is on the disk: mostly a random subset, sometimes all of it or nothing.
func (n *inode) survivors(rng *rand.Rand) []byte {
	data := slices.Clone(n.durable)
	keep := rng.IntN(5) // of 4
	for _, ch := range n.dirty {
		if ch.size >= 0 {
			if rng.IntN(2) == 0 {
				data = resize(data, ch.size)
			}
			continue
		}
		for off := ch.off; off < ch.off+int64(len(ch.data)); {
			end := min((off/sector+1)*sector, ch.off+int64(len(ch.data)))
			if rng.IntN(4) < keep {
				data = resize(data, max(int64(len(data)), end))
				copy(data[off:end], ch.data[off-ch.off:])
			}
			off = end
		}
	}
	return data
}

func resize(b []byte, size int64) []byte {
	if size <= int64(len(b)) {
		return b[:size:size]
	}
	return append(b, make([]byte, size-int64(len(b)))...)
}

// askLocked counts an operation and asks the hook.
func (c *Crash) askLocked(kind OpKind, name string, n int) Fate {
	if c.stop {
		return Fate{Err: ErrCrashed}
	}
	c.n++
	if c.hook == nil {
		return Fate{}
	}
	fate := c.hook(Op{N: c.n, Kind: kind, Name: name, Len: n})
	if fate.Stop {
		c.stop = true
		fate.Err = ErrCrashed
	}
	return fate
}

func notExist(op, name string) error { return &fs.PathError{Op: op, Path: name, Err: fs.ErrNotExist} }

// Create implements FS.
func (c *Crash) Create(name string) (File, error) {
	name = filepath.Clean(name)
	c.mu.Lock()
	defer c.mu.Unlock()
	if fate := c.askLocked(OpCreate, name, 0); fate.Err != nil {
		return nil, fate.Err
	}
	if !c.dirs[filepath.Dir(name)] {
		return nil, notExist("create", name)
	}
	n := c.names[name]
	if n == nil {
		n = &inode{}
		c.names[name] = n
		c.log = append(c.log, dirOp{dir: filepath.Dir(name), name: name, node: n})
	} else {
		n.truncate(0)
	}
	return &crashFile{c: c, n: n, name: name}, nil
}

// Open implements FS.
func (c *Crash) Open(name string) (File, error) {
	name = filepath.Clean(name)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stop {
		return nil, ErrCrashed
	}
	n := c.names[name]
	if n == nil {
		return nil, notExist("open", name)
	}
	return &crashFile{c: c, n: n, name: name}, nil
}

// Rename implements FS.
func (c *Crash) Rename(oldName, newName string) error {
	oldName, newName = filepath.Clean(oldName), filepath.Clean(newName)
	c.mu.Lock()
	defer c.mu.Unlock()
	if fate := c.askLocked(OpRename, newName, 0); fate.Err != nil {
		return fate.Err
	}
	n := c.names[oldName]
	if n == nil {
		return notExist("rename", oldName)
	}
	delete(c.names, oldName)
	c.names[newName] = n
	c.log = append(c.log, dirOp{dir: filepath.Dir(newName), from: oldName, name: newName, node: n})
	return nil
}

// Remove implements FS.
func (c *Crash) Remove(name string) error {
	name = filepath.Clean(name)
	c.mu.Lock()
	defer c.mu.Unlock()
	if fate := c.askLocked(OpRemove, name, 0); fate.Err != nil {
		return fate.Err
	}
	if c.names[name] == nil {
		return notExist("remove", name)
	}
	delete(c.names, name)
	c.log = append(c.log, dirOp{dir: filepath.Dir(name), name: name})
	return nil
}

// MkdirAll implements FS.
func (c *Crash) MkdirAll(dir string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stop {
		return ErrCrashed
	}
	for dir = filepath.Clean(dir); !c.dirs[dir]; dir = filepath.Dir(dir) {
		c.dirs[dir] = true
	}
	return nil
}

// List implements FS.
func (c *Crash) List(dir string) ([]string, error) {
	dir = filepath.Clean(dir)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stop {
		return nil, ErrCrashed
	}
	if !c.dirs[dir] {
		return nil, notExist("list", dir)
	}
	var names []string
	for name := range c.names {
		if filepath.Dir(name) == dir {
			names = append(names, filepath.Base(name))
		}
	}
	slices.Sort(names)
	return names, nil
}

// SyncDir implements FS.
func (c *Crash) SyncDir(dir string) error {
	dir = filepath.Clean(dir)
	c.mu.Lock()
	defer c.mu.Unlock()
	if fate := c.askLocked(OpSyncDir, dir, 0); fate.Err != nil {
		return fate.Err
	}
	maps.DeleteFunc(c.disk, func(name string, _ *inode) bool { return filepath.Dir(name) == dir })
	for name, n := range c.names {
		if filepath.Dir(name) == dir {
			c.disk[name] = n
		}
	}
	c.log = slices.DeleteFunc(c.log, func(op dirOp) bool { return op.dir == dir })
	return nil
}

// Lock implements FS.
func (c *Crash) Lock(name string) (io.Closer, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stop {
		return nil, ErrCrashed
	}
	if c.locks[name] {
		return nil, fmt.Errorf("lock %s: %w", name, ErrLocked)
	}
	c.locks[name] = true
	return crashLock{c, name}, nil
}

type crashLock struct {
	c    *Crash
	name string
}

func (l crashLock) Close() error {
	l.c.mu.Lock()
	defer l.c.mu.Unlock()
	delete(l.c.locks, l.name)
	return nil
}

// Names returns the paths of all files as the process sees them, sorted.
func (c *Crash) Names() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Sorted(maps.Keys(c.names))
}

// Data returns a copy of a file's contents, nil if there is none of that name.
func (c *Crash) Data(name string) []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	if n := c.names[filepath.Clean(name)]; n != nil {
		return slices.Clone(n.data)
	}
	return nil
}

// SetData replaces the contents of a file, durably: damage at rest.
func (c *Crash) SetData(name string, data []byte) {
	name = filepath.Clean(name)
	c.mu.Lock()
	defer c.mu.Unlock()
	n := &inode{data: slices.Clone(data), durable: slices.Clone(data)}
	c.names[name], c.disk[name] = n, n
}

// Delete takes a file away, durably.
func (c *Crash) Delete(name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.names, filepath.Clean(name))
	delete(c.disk, filepath.Clean(name))
}
