package wal

import (
	"fmt"
	"time"
)

// commitLoop writes what has gathered, again and again. It never waits for more.
func (w *WAL) commitLoop() error {
	defer close(w.delivery)
	defer close(w.drained)
	marked := false
	for {
		g := w.takeGroup()
		if g == nil {
			if marked || !w.closeMark() {
				return nil
			}
			marked = true
			continue
		}
		w.commit(g)
	}
}

// takeGroup waits for something to write; nil when there is nothing and the WAL is closing.
func (w *WAL) takeGroup() *group {
	w.mu.Lock()
	defer w.mu.Unlock()
	for w.cur.emptyLocked() {
		if w.closing {
			return nil
		}
		w.idle = true
		w.cond.Wait()
	}
	w.idle = false
	g := w.cur
	if k := len(w.free); k > 0 {
		w.cur, w.free = w.free[k-1], w.free[:k-1]
	} else {
		w.cur = new(group)
	}
	g.end = Position(w.next.Load())
	if w.spareChunk == nil {
		w.spareChunk = make([]byte, chunkSize)
	}
	return g
}

// closeMark marks an orderly close, if it is one.
func (w *WAL) closeMark() bool {
	if w.failed() != nil || w.syncWritten() != nil {
		return false
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.async = false
	w.markLocked(markClose)
	return true
}

// commit brings a group to its last stage, and hands it to the delivery goroutine.
func (w *WAL) commit(g *group) {
	err := w.failed()
	var full []*logFile
	if err == nil {
		full, err = w.write(g)
	}
	if err == nil {
		w.stats.groups.Add(1)
		w.stats.records.Add(g.records)
		// What is shown at Written is never more than asyncCap ahead of what is durable.
		ahead := int64(g.end) - int64(w.durable.Load())
		if !g.durable && ahead > asyncSyncs*w.cfg.SyncBytes {
			err = w.syncWritten()
		} else if !g.durable && ahead > w.cfg.SyncBytes {
			kick(w.syncKick)
		}
	}
	if err == nil && g.first {
		err = w.syncWritten()
	}
	if err == nil && g.durable {
		if g.written {
			w.delivery <- delivery{group: g, stage: Written}
		}
		err = w.syncWritten()
	}
	for _, done := range g.done {
		done <- err
	}
	stage := Written
	if g.durable {
		stage = Durable
	}
	w.delivery <- delivery{group: g, stage: stage, err: err, last: true}
	if err == nil {
		for _, f := range full {
			w.delivery <- delivery{full: f}
		}
	}
}

// write writes a group, and returns the files that it has left behind.
func (w *WAL) write(g *group) (full []*logFile, err error) {
	for i := range g.runs {
		r := &g.runs[i]
		if r.file.h == nil {
			old, err := w.materialise(r.file)
			if err != nil {
				w.fail(err) // the records behind these may not be written without them
				return full, w.failed()
			}
			full = append(full, old)
		}
		start := time.Now()
		pos := r.chunk.start + Position(r.from)
		if _, err := r.file.h.WriteAt(r.chunk.buf[r.from:r.to], r.file.offset(pos)); err != nil {
			err = fmt.Errorf("write %s: %w", r.file.name, err)
			w.fail(err)
			return full, w.failed()
		}
		w.metrics.write.Observe(time.Since(start).Seconds())
		w.stats.bytes.Add(uint64(r.to - r.from))
		w.written.Store(uint64(pos) + uint64(r.to-r.from))
	}
	return full, nil
}

// syncWritten makes everything written so far durable.
func (w *WAL) syncWritten() error {
	w.syncMu.Lock()
	defer w.syncMu.Unlock()
	// One fdatasync at a time, and the poison is looked for after waiting: a failure is reported to one of them only.
	if err := w.failed(); err != nil {
		return err
	}
	// The end is taken before the sync, and belongs to this file: written passes a file's end only after active has changed.
	w.mu.Lock()
	f, end := w.active, w.written.Load()
	w.mu.Unlock()
	if w.durable.Load() >= end {
		return nil
	}
	start := time.Now()
	if err := f.h.Sync(); err != nil {
		w.fail(fmt.Errorf("sync %s: %w", f.name, err))
		return w.failed()
	}
	w.metrics.sync.Observe(time.Since(start).Seconds())
	w.stats.syncs.Add(1)
	w.durable.Store(end)
	return nil
}

// syncLoop syncs what nobody waits for, and marks an idle log.
func (w *WAL) syncLoop() error {
	tick := min(w.cfg.SyncInterval, w.cfg.IdleMark)
	t := time.NewTicker(tick)
	defer t.Stop()
	var last uint64
	var idle time.Duration
	for {
		select {
		case <-w.stopping:
			return nil
		case <-w.syncKick:
		case <-t.C:
			idle += tick
		}
		if next := w.next.Load(); next != last {
			last, idle = next, 0
		}
		if w.failed() != nil || w.syncWritten() != nil {
			return nil // the WAL is poisoned
		}
		if idle >= w.cfg.IdleMark && w.durable.Load() == last {
			w.idleMark(Position(last))
		}
	}
}

// idleMark marks the log if it still ends at pos, and not in a mark.
func (w *WAL) idleMark(pos Position) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.closing && Position(w.next.Load()) == pos && w.markEnd != pos {
		w.markLocked(markIdle)
	}
}
