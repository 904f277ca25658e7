package wal

import (
	"errors"
	"fmt"
	"path/filepath"
)

const maxSpares = 2

// TrimTo drops whole files below pos, and remembers pos for those that are not closed yet. It keeps the newest closed
// file, because the sections of a file sum up everything before it. A dropped file becomes a spare or is removed.
func (w *WAL) TrimTo(pos Position) error {
	if err := w.usable(); err != nil {
		return err
	}
	w.mu.Lock()
	w.trimTarget = max(w.trimTarget, pos)
	w.mu.Unlock()
	return w.trim()
}

func (w *WAL) trim() error {
	w.trimMu.Lock()
	defer w.trimMu.Unlock()
	for {
		f, reuse := w.trimmable()
		if f == nil {
			return nil
		}
		if err := w.drop(f, reuse); err != nil {
			return fmt.Errorf("trim %s: %w", f.name, err)
		}
	}
}

// trimmable returns the oldest file if it may go, and whether it makes a spare.
func (w *WAL) trimmable() (*logFile, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.files) < 3 || w.failed() != nil {
		return nil, false
	}
	f := w.files[0]
	if !f.closed || !w.files[1].closed || f.end > w.trimTarget || f.end > Position(w.durable.Load()) {
		return nil, false
	}
	return f, len(w.ready) < maxSpares && f.size >= w.cfg.FileSize
}

// drop takes the oldest file away: its new name, or none, is durable before anything else happens, so that a crash never
// leaves a gap, and a file whose old name may come back has not been written to.
func (w *WAL) drop(f *logFile, reuse bool) error {
	name := f.name
	if reuse {
		name = w.nextSpareName()
		if err := w.cfg.FS.Rename(f.name, name); err != nil {
			return err
		}
	} else if err := w.cfg.FS.Remove(f.name); err != nil {
		return err
	}
	if err := w.cfg.FS.SyncDir(filepath.Dir(f.name)); err != nil {
		w.fail(err) // what the directory holds is not known
		return err
	}
	w.mu.Lock()
	w.files[0] = nil
	w.files = w.files[1:]
	w.used.Add(-f.size)
	w.publishFilesLocked()
	w.mu.Unlock()
	// Wait for the readers.
	f.ioMu.Lock()
	f.gone = ErrTrimmed
	f.ioMu.Unlock()
	w.windows.dropBelow(f.end)
	if !reuse {
		return f.h.Close()
	}
	return w.reuse(f, name)
}

// reuse makes a spare of a dropped file. Its old records can never be taken for new ones: a record's crc covers its
// position, and the header page is written as a whole.
func (w *WAL) reuse(f *logFile, name string) error {
	if f.size > w.cfg.FileSize {
		if err := errors.Join(f.h.Truncate(w.cfg.FileSize), f.h.Sync()); err != nil {
			return errors.Join(err, f.h.Close(), w.cfg.FS.Remove(name))
		}
	}
	w.mu.Lock()
	w.ready = append(w.ready, spare{name, f.h, w.cfg.FileSize})
	w.noSpace.Store(false)
	w.spareErr = nil
	w.mu.Unlock()
	kick(w.spareCome)
	return nil
}
