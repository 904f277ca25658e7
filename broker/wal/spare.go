package wal

import (
	"errors"
	"fmt"
	"path/filepath"
	"syscall"
	"time"

	"github.com/varvemq/varve/internal/vfs"
)

const (
	zeroStep   = 8 << 20 // zeros written between two syncs of a new spare
	minBackoff = 50 * time.Millisecond
	maxBackoff = 5 * time.Second
)

// spare is a file of full size, all of whose blocks have been written.
type spare struct {
	name string
	h    vfs.File
	size int64
}

// keepLoop sees to it that there is a spare. It goes on until the committer has ended. After a failure only time brings
// the next attempt, whoever waits: each one may fill the disk up to its end.
func (w *WAL) keepLoop() error {
	backoff := minBackoff
	for {
		var again <-chan time.Time
		if w.wantsSpare() {
			s, err := w.newSpare(w.cfg.FileSize)
			if before := w.keepSpare(s, err); err != nil {
				if before == nil {
					backoff = minBackoff
				}
				again = time.After(backoff)
				backoff = min(2*backoff, maxBackoff)
			}
		}
		kicked := w.keeperKick
		if again != nil {
			kicked = nil
		}
		select {
		case <-w.drained:
			return nil
		case <-kicked:
		case <-again:
		}
	}
}

// keepSpare keeps what an attempt has come to, returns what the one before it had, and logs what is not the same.
func (w *WAL) keepSpare(s spare, err error) (before error) {
	w.mu.Lock()
	before, w.spareErr = w.spareErr, err
	if err == nil {
		w.ready = append(w.ready, s)
	}
	w.noSpace.Store(err != nil && len(w.ready) == 0)
	w.mu.Unlock()
	kick(w.spareCome)
	switch full := errors.Is(err, syscall.ENOSPC); {
	case err == nil && before != nil:
		w.cfg.Logger.Info("the write-ahead log has a spare again")
	case err != nil && (before == nil || full != errors.Is(before, syscall.ENOSPC)):
		w.cfg.Logger.Warn("no spare for the write-ahead log", "error", err)
	}
	return before
}

func (w *WAL) wantsSpare() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.ready) == 0 && w.failed() == nil
}

// newSpare makes a file of zeros that have been written: an fdatasync of blocks that never were costs 5 to 20 times as much.
func (w *WAL) newSpare(size int64) (_ spare, err error) {
	name := w.nextSpareName()
	h, err := w.cfg.FS.Create(name)
	if err != nil {
		return spare{}, fmt.Errorf("make a spare: %w", err)
	}
	defer func() {
		if err != nil {
			err = fmt.Errorf("make a spare: %w", errors.Join(err, h.Close(), w.cfg.FS.Remove(name)))
		}
	}()
	zeros := make([]byte, min(chunkSize, size))
	for off := int64(0); off < size; off += int64(len(zeros)) {
		zeros = zeros[:min(int64(len(zeros)), size-off)]
		if _, err := h.WriteAt(zeros, off); err != nil {
			return spare{}, err
		}
		if off%zeroStep == 0 && off > 0 {
			if err := h.Sync(); err != nil {
				return spare{}, err
			}
		}
	}
	return spare{name, h, size}, h.Sync()
}

func (w *WAL) nextSpareName() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.spareSeq++
	return filepath.Join(w.cfg.Dir, spareName(w.spareSeq))
}

// takeSpare waits for a spare. While the disk is full that may take long: nothing is lost, appends are refused meanwhile,
// and Close ends it with ErrClosed.
func (w *WAL) takeSpare() (spare, error) {
	for {
		w.mu.Lock()
		if k := len(w.ready); k > 0 {
			s := w.ready[k-1]
			w.ready = w.ready[:k-1]
			w.mu.Unlock()
			kick(w.keeperKick)
			return s, nil
		}
		spareErr := w.spareErr
		w.mu.Unlock()
		if err := w.failed(); err != nil {
			return spare{}, err
		}
		if spareErr != nil && !errors.Is(spareErr, syscall.ENOSPC) {
			return spare{}, spareErr
		}
		kick(w.keeperKick)
		var stop chan struct{}
		if spareErr != nil {
			stop = w.stopping
		}
		select {
		case <-w.spareCome:
		case <-stop:
			return spare{}, ErrClosed
		}
	}
}

// materialise makes a planned file, after everything in the one before is durable: header and first record are durable
// before it gets its name.
func (w *WAL) materialise(f *logFile) (old *logFile, err error) {
	if err := w.syncWritten(); err != nil {
		return nil, err
	}
	s, err := w.takeSpare()
	if err != nil {
		return nil, err
	}
	if err := w.nameFile(f, s); err != nil {
		return nil, errors.Join(err, s.h.Close())
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	old = w.active
	f.h = s.h
	w.active = f
	w.unmade.Add(-1)
	return old, nil
}

func (w *WAL) nameFile(f *logFile, s spare) error {
	f.page = make([]byte, pageSize)
	fileHeader{uuid: w.uuid, seq: f.seq, base: f.base, created: w.cfg.Clock().UnixMilli(), size: s.size}.put(f.page)
	if _, err := s.h.WriteAt(f.page, 0); err != nil {
		return fmt.Errorf("write %s: %w", s.name, err)
	}
	if _, err := s.h.WriteAt(f.first, pageSize); err != nil {
		return fmt.Errorf("write %s: %w", s.name, err)
	}
	f.first = nil
	if err := s.h.Sync(); err != nil {
		return fmt.Errorf("sync %s: %w", s.name, err)
	}
	if err := w.cfg.FS.Rename(s.name, f.name); err != nil {
		return err
	}
	return w.cfg.FS.SyncDir(w.cfg.Dir)
}
