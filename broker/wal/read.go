package wal

import (
	"errors"
	"fmt"
	"hash/crc32"
	"slices"
	"sort"
	"sync"
)

const (
	windowSize  = 256 << 10 // what a sequential reader reads at once
	windowFirst = 32 << 10  // what a reader reads first
	maxWindows  = 64
	windowBytes = 32 << 20
)

// Record reads the record of n bytes at pos, which Append has said. From the tail it is neither copied nor verified; from
// a file it is verified, and damage is a *CorruptError. ErrTrimmed if the WAL does not have it any more. The bytes never
// change and stay valid as long as they are referenced. parts is memory for the result's parts, used if it is large enough; it may be nil.
func (w *WAL) Record(pos Position, n int, parts []Part) (Record, error) {
	if n < recordHeader || uint64(pos)+uint64(n) > w.next.Load() {
		return Record{}, fmt.Errorf("wal: no record of %d bytes at position %d", n, pos)
	}
	if b := w.tail.find(pos, n); b != nil {
		h := readHeader(b)
		if h.pos != pos || h.n != n {
			return Record{}, fmt.Errorf("wal: no record of %d bytes at position %d", n, pos)
		}
		parts, _, reason := parseParts(b, h, parts[:0])
		if reason != "" {
			return Record{}, fmt.Errorf("wal: record at position %d: %s", pos, reason)
		}
		return h.record(parts), nil
	}
	return w.recordFromFile(pos, n, parts)
}

func (w *WAL) recordFromFile(pos Position, n int, parts []Part) (Record, error) {
	files := *w.fileList.Load()
	i := sort.Search(len(files), func(i int) bool { return files[i].base > pos }) - 1
	if i < 0 {
		return Record{}, ErrTrimmed
	}
	f := files[i]
	end := Position(w.written.Load())
	if i+1 < len(files) {
		end = min(end, files[i+1].base)
	}
	if pos+Position(n) > end {
		return Record{}, fmt.Errorf("wal: no record of %d bytes at position %d", n, pos)
	}
	b, err := w.windows.read(f, pos, n, end)
	if err != nil {
		return Record{}, err
	}
	h := readHeader(b)
	off := f.offset(pos)
	reason := ""
	switch {
	case h.pos != pos:
		reason = "bad position of a record"
	case h.n != n:
		reason = "bad length of a record"
	case crc32.Update(w.seed, castagnoli, b[8:]) != h.crc:
		reason = "bad checksum of a record"
	}
	if reason == "" {
		parts, _, reason = parseParts(b, h, parts[:0])
	}
	if reason != "" {
		w.windows.drop(f, pos)
		return Record{}, corrupt(f.name, off, "%s", reason)
	}
	return h.record(parts), nil
}

// ScanFile calls fn for each data record of a file that is full, in order; the record's memory is valid only during the
// call. It is how an owner replaces a damaged section. The errors are ErrTrimmed, or a *CorruptError.
func (w *WAL) ScanFile(seq uint64, fn func(Record) error) error {
	f, err := w.File(seq)
	if err != nil {
		return err
	}
	return w.scanFile(f.f, f.FileRef, fn)
}

func (w *WAL) scanFile(f *logFile, ref FileRef, fn func(Record) error) error {
	sc := &scanner{r: readerOf{f}, name: f.name, base: ref.Base, seed: w.seed, size: f.offset(ref.End)}
	for off := int64(pageSize); off < sc.size; {
		h, parts, err := sc.record(off)
		if bad, ok := errors.AsType[*badRecordError](err); ok {
			return corrupt(sc.name, off, "%s", bad.reason)
		} else if err != nil {
			return err
		}
		off += int64(h.n)
		if h.typ != typeData {
			continue
		}
		if err := fn(h.record(parts)); err != nil {
			return err
		}
	}
	return nil
}

// readerOf is a file that may be trimmed meanwhile, as an io.ReaderAt.
type readerOf struct{ f *logFile }

func (r readerOf) ReadAt(b []byte, off int64) (int, error) {
	if err := r.f.read(b, off); err != nil {
		return 0, err
	}
	return len(b), nil
}

// window is a piece of a file in memory. Its bytes never change.
type window struct {
	file  *logFile
	start Position
	buf   []byte
	used  uint64
}

// windowCache keeps the windows read last, so that who reads on reads memory.
type windowCache struct {
	mu    sync.Mutex
	list  []*window
	bytes int64
	clock uint64
}

func (c *windowCache) init() { c.list = make([]*window, 0, maxWindows) }

// read returns n bytes of f at pos; nothing at or above end has been written.
func (c *windowCache) read(f *logFile, pos Position, n int, end Position) ([]byte, error) {
	b, sequential := c.find(f, pos, n)
	if b != nil {
		return b, nil
	}
	want := Position(windowFirst)
	if sequential {
		want = windowSize
	}
	want = min(max(want, Position(n)), end-pos)
	buf := make([]byte, want)
	if err := f.read(buf, f.offset(pos)); err != nil {
		return nil, err
	}
	c.add(&window{file: f, start: pos, buf: buf})
	return buf[:n:n], nil
}

// find looks for the bytes, and says whether they continue a window.
func (c *windowCache) find(f *logFile, pos Position, n int) (b []byte, sequential bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, w := range c.list {
		if w.file != f || pos < w.start || pos > w.start+Position(len(w.buf)) {
			continue
		}
		sequential = true
		if at := int(pos - w.start); at+n <= len(w.buf) {
			c.clock++
			w.used = c.clock
			return w.buf[at : at+n : at+n], true
		}
	}
	return nil, sequential
}

func (c *windowCache) add(w *window) {
	if len(w.buf) > windowBytes/4 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.clock++
	w.used = c.clock
	c.list = append(c.list, w)
	c.bytes += int64(len(w.buf))
	for len(c.list) >= maxWindows || c.bytes > windowBytes {
		oldest := 0
		for i, x := range c.list {
			if x.used < c.list[oldest].used {
				oldest = i
			}
		}
		c.removeLocked(oldest)
	}
}

func (c *windowCache) removeLocked(i int) {
	c.bytes -= int64(len(c.list[i].buf))
	last := len(c.list) - 1
	c.list[i] = c.list[last]
	c.list[last] = nil
	c.list = c.list[:last]
}

// drop forgets the windows that hold pos.
func (c *windowCache) drop(f *logFile, pos Position) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i, w := range slices.Backward(c.list) {
		if w.file == f && pos >= w.start && pos < w.start+Position(len(w.buf)) {
			c.removeLocked(i)
		}
	}
}

// dropBelow forgets what has been trimmed.
func (c *windowCache) dropBelow(pos Position) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i, w := range slices.Backward(c.list) {
		if w.start < pos {
			c.removeLocked(i)
		}
	}
}
