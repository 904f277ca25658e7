package wal

import (
	"errors"
	"fmt"
	"hash/crc32"
	"syscall"
	"time"
)

func (w *WAL) enqueueSeal(f *logFile) {
	w.mu.Lock()
	w.sealing = append(w.sealing, f)
	w.mu.Unlock()
	kick(w.sealKick)
}

// endSeals tells the sealer that nothing comes any more.
func (w *WAL) endSeals() { w.enqueueSeal(nil) }

// sealLoop closes full files, oldest first. A file that cannot be closed stays as it is, and is closed by the next
// process: no record depends on it.
func (w *WAL) sealLoop() error {
	for {
		f, ok := w.nextSeal()
		if !ok {
			<-w.sealKick
			continue
		}
		if f == nil {
			return nil
		}
		if w.failed() != nil {
			continue
		}
		if err := w.sealRetrying(f); err != nil {
			w.cfg.Logger.Error("wal file left without sections", "file", f.name, "error", err)
			continue
		}
		if err := w.trim(); err != nil {
			w.cfg.Logger.Warn("wal files not trimmed", "error", err)
		}
	}
}

func (w *WAL) nextSeal() (*logFile, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.sealing) == 0 {
		return nil, false
	}
	f := w.sealing[0]
	w.sealing = w.sealing[1:]
	return f, true
}

func (w *WAL) sealRetrying(f *logFile) error {
	for backoff := minBackoff; ; backoff = min(2*backoff, maxBackoff) {
		err := w.seal(f)
		if err == nil || !errors.Is(err, syscall.ENOSPC) {
			return err
		}
		w.cfg.Logger.Warn("no room for the sections of a wal file", "file", f.name, "error", err)
		select {
		case <-w.stopping:
			return err
		case <-time.After(backoff):
		}
	}
}

// seal writes the sections behind the last record, makes them durable, and then the close mark.
func (w *WAL) seal(f *logFile) error {
	w.mu.Lock()
	ref, table := f.refLocked(), f.endTable
	w.mu.Unlock()
	sections := [][]byte{table}
	if w.cfg.Owner != nil {
		own, err := w.cfg.Owner.SealFile(ref)
		if err != nil {
			return fmt.Errorf("sections of %s: %w", f.name, err)
		}
		sections = append(sections, own...)
	}
	if len(sections) > maxSections {
		return fmt.Errorf("%d sections for %s", len(sections)-1, f.name)
	}
	m := closeMark{end: ref.End}
	off := roundPage(f.offset(ref.End))
	for _, s := range sections {
		if len(s) > 0 {
			if _, err := f.h.WriteAt(s, off); err != nil {
				return fmt.Errorf("write %s: %w", f.name, err)
			}
		}
		m.sections = append(m.sections, section{off: off, n: int64(len(s)), crc: crc32.Checksum(s, castagnoli)})
		off = roundPage(off + int64(len(s)))
	}
	if err := f.h.Sync(); err != nil {
		return fmt.Errorf("sync %s: %w", f.name, err)
	}
	var b [closeMarkSize]byte
	m.put(f.page, b[:])
	if _, err := f.h.WriteAt(b[:], closeMarkOffset); err != nil {
		return fmt.Errorf("write %s: %w", f.name, err)
	}
	if err := f.h.Sync(); err != nil {
		return fmt.Errorf("sync %s: %w", f.name, err)
	}
	size, err := f.h.Size()
	if err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.used.Add(size - f.size)
	f.size, f.closed, f.marked = size, true, m
	return nil
}

func roundPage(off int64) int64 { return (off + pageSize - 1) &^ (pageSize - 1) }

// File is a file of the WAL, as it was when it was asked for.
type File struct {
	FileRef
	w    *WAL
	f    *logFile
	mark closeMark
}

// Sections returns the number of sections, the WAL's own one included.
func (f *File) Sections() int { return len(f.mark.sections) }

// Section reads and verifies section i (1…7) of a closed file. The errors are ErrNotClosed, ErrTrimmed, ErrTruncated or a
// *CorruptError.
func (f *File) Section(i int) ([]byte, error) {
	return f.SectionAt(i, 0, -1)
}

// SectionAt reads n bytes at off of section i; -1 is all of it. Only a whole section is verified.
func (f *File) SectionAt(i int, off, n int64) ([]byte, error) {
	if !f.Closed {
		return nil, ErrNotClosed
	}
	if i < 0 || i >= len(f.mark.sections) {
		return nil, fmt.Errorf("wal: %s has no section %d", f.f.name, i)
	}
	s := f.mark.sections[i]
	if n < 0 {
		n = s.n
	}
	if off < 0 || off+n > s.n {
		return nil, fmt.Errorf("wal: section %d of %s has no bytes [%d, %d)", i, f.f.name, off, off+n)
	}
	b := make([]byte, n)
	if err := f.f.read(b, s.off+off); err != nil {
		return nil, err
	}
	if n == s.n && crc32.Checksum(b, castagnoli) != s.crc {
		return nil, corrupt(f.f.name, s.off, "bad checksum of section %d", i)
	}
	return b, nil
}

// read reads from a file that may be trimmed meanwhile.
func (f *logFile) read(b []byte, off int64) error {
	f.ioMu.RLock()
	defer f.ioMu.RUnlock()
	if f.gone != nil {
		return f.gone
	}
	if k, err := f.h.ReadAt(b, off); k < len(b) {
		if size, serr := f.h.Size(); serr == nil && size < off+int64(len(b)) {
			return fmt.Errorf("%s: %d bytes instead of %d: %w", f.name, size, off+int64(len(b)), ErrTruncated)
		}
		return fmt.Errorf("read %s at %d: %w", f.name, off, err)
	}
	return nil
}

// Files lists the files, oldest first.
func (w *WAL) Files() []FileRef {
	w.mu.Lock()
	defer w.mu.Unlock()
	refs := make([]FileRef, len(w.files))
	for i, f := range w.files {
		refs[i] = f.refLocked()
	}
	return refs
}

// File returns the file of that sequence: ErrTrimmed if it is gone.
func (w *WAL) File(seq uint64) (*File, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, f := range w.files {
		if f.seq == seq {
			return w.fileLocked(f), nil
		}
	}
	if seq < w.files[0].seq {
		return nil, ErrTrimmed
	}
	return nil, fmt.Errorf("wal: no file %d", seq)
}

func (w *WAL) fileLocked(f *logFile) *File {
	return &File{FileRef: f.refLocked(), w: w, f: f, mark: f.marked}
}
