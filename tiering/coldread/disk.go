package coldread

import (
	"container/list"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"

	"github.com/varvemq/varve/internal/vfs"
	"github.com/varvemq/varve/tiering/segment"
)

// diskFile is the file of the cache in its directory.
const diskFile = "blocks.cache"

// diskCache keeps blocks as they are stored in a file that is written round and round: what comes drives out what has been there the longest. Nothing of it outlives the
// process. What is read may be something else, if it was overwritten meanwhile: whoever reads it decodes it, which finds that out.
type diskCache struct {
	fs   vfs.FS
	name string
	size int64
	log  *slog.Logger

	mu      sync.Mutex // guards all below
	f       vfs.File   // nil: closed, or broken
	users   sync.WaitGroup
	head    int64 // where the next one goes
	blocks  map[diskKey]*list.Element
	byPlace list.List // of *diskBlock: from head on round to head
}

type diskKey struct {
	object uint64
	pos    int64
}

type diskBlock struct {
	key  diskKey
	at   int64
	n    int
	live bool // it has been written
}

// openDiskCache makes an empty cache in a directory.
func openDiskCache(fs vfs.FS, dir string, size int64, log *slog.Logger) (*diskCache, error) {
	if err := fs.MkdirAll(dir); err != nil {
		return nil, fmt.Errorf("open disk cache: %w", err)
	}
	name := filepath.Join(dir, diskFile)
	f, err := fs.Create(name)
	if err != nil {
		return nil, fmt.Errorf("open disk cache: %w", err)
	}
	return &diskCache{fs: fs, name: name, size: size, log: log, f: f, blocks: make(map[diskKey]*list.Element)}, nil
}

// use returns the file, nil if there is none any more. Whoever gets it must call users.Done.
func (d *diskCache) useLocked() vfs.File {
	if d.f != nil {
		d.users.Add(1)
	}
	return d.f
}

// get returns a block's bytes, or nil.
func (d *diskCache) get(object uint64, ref *segment.BlockRef) []byte {
	d.mu.Lock()
	e := d.blocks[diskKey{object, ref.Pos}]
	if e == nil {
		d.mu.Unlock()
		return nil
	}
	b := *e.Value.(*diskBlock)
	if !b.live || b.n != ref.Size {
		d.mu.Unlock()
		return nil
	}
	f := d.useLocked()
	d.mu.Unlock()
	if f == nil {
		return nil
	}
	defer d.users.Done()
	buf := make([]byte, b.n)
	if _, err := f.ReadAt(buf, b.at); err != nil {
		d.fail("read", err)
		return nil
	}
	return buf
}

// drop forgets a block whose bytes are bad.
func (d *diskCache) drop(object uint64, ref *segment.BlockRef) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if e := d.blocks[diskKey{object, ref.Pos}]; e != nil {
		d.removeLocked(e)
	}
}

func (d *diskCache) removeLocked(e *list.Element) {
	b := d.byPlace.Remove(e).(*diskBlock)
	if d.blocks[b.key] == e {
		delete(d.blocks, b.key)
	}
}

// put keeps the bytes of a range that has the items' blocks.
func (d *diskCache) put(object uint64, items []*item, buf []byte) {
	pos, _ := span(items)
	n := int64(len(buf))
	if n > d.size/2 {
		return
	}
	d.mu.Lock()
	f := d.useLocked()
	if f == nil {
		d.mu.Unlock()
		return
	}
	defer d.users.Done()
	at := d.reserveLocked(n)
	fresh := make([]*diskBlock, 0, len(items))
	for _, it := range items {
		b := &diskBlock{key: diskKey{object, it.ref.Pos}, at: at + it.ref.Pos - pos, n: it.ref.Size}
		if old := d.blocks[b.key]; old != nil {
			d.removeLocked(old)
		}
		d.blocks[b.key] = d.byPlace.PushBack(b)
		fresh = append(fresh, b)
	}
	d.mu.Unlock()
	if _, err := f.WriteAt(buf, at); err != nil {
		d.fail("write", err)
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, b := range fresh {
		b.live = true
	}
}

// reserveLocked makes room for n bytes and returns where.
func (d *diskCache) reserveLocked(n int64) int64 {
	oldest := func() (*list.Element, int64) {
		e := d.byPlace.Front()
		if e == nil {
			return nil, 0
		}
		return e, e.Value.(*diskBlock).at
	}
	if d.head+n > d.size {
		for e, at := oldest(); e != nil && at >= d.head; e, at = oldest() {
			d.removeLocked(e)
		}
		d.head = 0
	}
	for e, at := oldest(); e != nil && at >= d.head && at < d.head+n; e, at = oldest() {
		d.removeLocked(e)
	}
	at := d.head
	d.head += n
	return at
}

// fail ends the cache: it is not worth a fight with a broken disk.
func (d *diskCache) fail(what string, err error) {
	d.mu.Lock()
	f := d.f
	d.f = nil
	d.mu.Unlock()
	if f != nil {
		d.log.Warn("the disk cache of cold reads is given up", "doing", what, "file", d.name, "error", err, "close", f.Close())
	}
}

// close removes the cache.
func (d *diskCache) close() error {
	d.mu.Lock()
	f := d.f
	d.f = nil
	d.mu.Unlock()
	d.users.Wait()
	if f == nil {
		return nil
	}
	if err := errors.Join(f.Close(), d.fs.Remove(d.name)); err != nil {
		return fmt.Errorf("close disk cache: %w", err)
	}
	return nil
}
