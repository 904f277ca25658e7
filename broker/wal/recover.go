package wal

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
)

// recovery is what is known while the files are read, oldest first.
type recovery struct {
	w       *WAL
	shards  map[uint32]*shardState // nil: not known, because the file before was not read record by record
	last    markKind               // of the last record, 0 if it is no mark
	state   state                  // of the last mark
	durable Position
}

// recover reads what there is, and leaves the WAL ready to append.
func (w *WAL) recover(ctx context.Context) error {
	names, err := w.cfg.FS.List(w.cfg.Dir)
	if err != nil {
		return err
	}
	var spares []string
	for _, name := range names {
		if isSpareName(name) {
			spares = append(spares, name)
		}
	}
	if err := w.loadFiles(names); err != nil {
		return err
	}
	if len(w.files) == 0 {
		return errors.Join(w.removeSpares(spares), w.create())
	}
	r := &recovery{w: w}
	for i, f := range w.files[:len(w.files)-1] {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := r.older(f, w.files[i+1].base); err != nil {
			return err
		}
	}
	end, candidates, err := r.newest(w.files[len(w.files)-1])
	if err != nil {
		return err
	}
	if err := r.makeDurable(end, candidates); err != nil {
		return err
	}
	if err := w.removeSpares(spares); err != nil {
		return err
	}
	r.adopt(end)
	w.cfg.Logger.Info("write-ahead log recovered", "first_file", w.files[0].seq, "first_position", uint64(w.files[0].base),
		"end_position", uint64(end), "unclean", w.found.Unclean, "machine_lost", w.found.MachineLost)
	return nil
}

// removeSpares removes what may have been left half prepared.
func (w *WAL) removeSpares(names []string) error {
	for _, name := range names {
		if err := w.cfg.FS.Remove(filepath.Join(w.cfg.Dir, name)); err != nil {
			return err
		}
	}
	return nil
}

// create makes the first file of a new WAL.
func (w *WAL) create() error {
	w.found = Recovery{Fresh: true}
	if _, err := rand.Read(w.uuid[:]); err != nil {
		return err
	}
	w.uuid[6] = w.uuid[6]&0x0f | 0x40
	w.uuid[8] = w.uuid[8]&0x3f | 0x80
	w.seed = seedOf(w.uuid)
	s, err := w.newSpare(min(w.cfg.FileSize, firstFileSize))
	if err != nil {
		return err
	}
	w.mu.Lock()
	f := w.planLocked(1, s.size)
	w.mu.Unlock()
	f.h = s.h
	w.active = f
	return w.nameFile(f, s)
}

// loadFiles opens the files and checks headers and close marks.
func (w *WAL) loadFiles(names []string) error {
	for _, name := range names {
		seq, ok := parseFileName(name)
		if !ok {
			continue
		}
		path := filepath.Join(w.cfg.Dir, name)
		if k := len(w.files); k > 0 && w.files[k-1].seq+1 != seq {
			return corrupt(filepath.Join(w.cfg.Dir, fileName(w.files[k-1].seq+1)), 0, "the file is missing")
		}
		f := &logFile{seq: seq, name: path, page: make([]byte, pageSize)}
		h, err := w.cfg.FS.Open(path)
		if err != nil {
			return err
		}
		f.h = h
		w.files = append(w.files, f)
		if err := w.loadHeader(f); err != nil {
			return err
		}
	}
	for i, f := range w.files {
		if i+1 == len(w.files) && f.closed {
			// A file is closed only after the next one has got its name.
			return corrupt(filepath.Join(w.cfg.Dir, fileName(f.seq+1)), 0, "the file is missing: the one before is closed")
		}
		if i+1 < len(w.files) && f.closed && f.end != w.files[i+1].base {
			return corrupt(w.files[i+1].name, 40, "base position %d, the file before ends at %d", w.files[i+1].base, f.end)
		}
	}
	return nil
}

func (w *WAL) loadHeader(f *logFile) error {
	size, err := f.h.Size()
	if err != nil {
		return err
	}
	f.size = size
	if size < pageSize {
		return fmt.Errorf("%s: %d bytes: %w", f.name, size, ErrTruncated)
	}
	if err := f.read(f.page, 0); err != nil {
		return err
	}
	h, err := parseHeader(f.name, f.page)
	if err != nil {
		return err
	}
	if len(w.files) == 1 {
		w.uuid, w.seed = h.uuid, seedOf(h.uuid)
	}
	switch {
	case h.uuid != w.uuid:
		return corrupt(f.name, 16, "the uuid is another one's")
	case h.seq != f.seq:
		return corrupt(f.name, 32, "file sequence %d", h.seq)
	case size < h.size:
		return fmt.Errorf("%s: %d bytes instead of %d: %w", f.name, size, h.size, ErrTruncated)
	}
	f.base = h.base
	m, ok := parseCloseMark(f.page)
	if !ok {
		return nil
	}
	end := f.offset(m.end)
	if m.end < f.base {
		return corrupt(f.name, closeMarkOffset, "end position %d below the base position", m.end)
	}
	for _, s := range m.sections {
		if s.off < 0 || s.n < 0 || s.off+s.n < s.off {
			return corrupt(f.name, closeMarkOffset, "bad place of a section")
		}
		if s.n > 0 {
			end = max(end, s.off+s.n)
		}
	}
	if end > size {
		return fmt.Errorf("%s: %d bytes instead of %d: %w", f.name, size, end, ErrTruncated)
	}
	f.closed, f.marked, f.end = true, m, m.end
	return nil
}

// older gives the owner a file that is not the newest.
func (r *recovery) older(f *logFile, end Position) error {
	w := r.w
	if f.closed {
		r.shards = nil
		if w.cfg.Owner == nil {
			return nil
		}
		err := w.cfg.Owner.RecoverClosed(&File{FileRef: f.refLocked(), w: w, f: f, mark: f.marked})
		var bad *CorruptError
		if err == nil || !errors.As(err, &bad) {
			return err
		}
		w.cfg.Logger.Error("damaged section of a wal file: reading its records", "file", bad.File, "offset", bad.Offset, "reason", bad.Reason)
	}
	f.end, f.closed = end, false
	if f.offset(end) > f.size {
		return fmt.Errorf("%s: %d bytes instead of %d: %w", f.name, f.size, f.offset(end), ErrTruncated)
	}
	off, err := r.scan(f, r.scanner(f, f.offset(end)))
	if torn, ok := errors.AsType[*badRecordError](err); ok {
		return corrupt(f.name, off, "%s", torn.reason)
	}
	if err != nil {
		return err
	}
	f.endTable = state{shards: r.shards}.put()[stateHeader:]
	w.sealing = append(w.sealing, f)
	return nil
}

func (r *recovery) scanner(f *logFile, size int64) *scanner {
	return &scanner{r: f.h, name: f.name, size: size, base: f.base, seed: r.w.seed}
}

// scan reads records to the end of the scanner, or to the first bad one.
func (r *recovery) scan(f *logFile, sc *scanner) (off int64, err error) {
	for off = pageSize; off < sc.size; {
		h, parts, err := sc.record(off)
		if err != nil {
			return off, err
		}
		if h.typ == typeMark {
			err = r.mark(f, off, parts[0])
		} else {
			err = r.data(f, off, h, parts)
		}
		if err != nil {
			return off, err
		}
		off += int64(h.n)
		f.end = h.pos + Position(h.n)
		r.durable = max(r.durable, h.durable)
	}
	return off, nil
}

// mark checks a mark against what has been read, and takes what it says.
func (r *recovery) mark(f *logFile, off int64, p Part) error {
	st, ok := parseState(p.Payload)
	kind := markKind(p.Codec)
	if !ok || kind < markFile || kind > markAsync || (kind == markFile) != (off == pageSize) {
		return corrupt(f.name, off+recordHeader, "bad mark")
	}
	for id, s := range r.shards {
		t := st.shards[id]
		if t == nil || t.Epoch < s.Epoch || t.next < s.next || (t.Epoch == s.Epoch && t.next != s.next && s.next > 1) {
			return corrupt(f.name, off+recordHeader, "the mark contradicts the records before it: shard %d", id)
		}
	}
	r.shards, r.state = st.shards, st
	r.last = kind
	return nil
}

// data checks the density of LSNs: within an epoch they have no gaps, a higher epoch may begin higher.
func (r *recovery) data(f *logFile, off int64, h header, parts []Part) error {
	if off == pageSize {
		return corrupt(f.name, off, "the first record is not a mark")
	}
	s := r.shards[h.shard.ID]
	if s == nil {
		s = &shardState{Shard: Shard{ID: h.shard.ID}, next: 1}
		r.shards[h.shard.ID] = s
	}
	switch {
	case h.shard.Epoch < s.Epoch:
		return corrupt(f.name, off+36, "epoch %d of shard %d below %d", h.shard.Epoch, s.ID, s.Epoch)
	case h.lsn < s.next, h.lsn > s.next && h.shard.Epoch == s.Epoch && s.next > 1:
		return corrupt(f.name, off+24, "lsn %d of shard %d instead of %d", h.lsn, s.ID, s.next)
	}
	s.Epoch, s.next = h.shard.Epoch, h.lsn+1
	r.last = 0
	if r.w.cfg.Owner == nil {
		return nil
	}
	return r.w.cfg.Owner.RecoverRecord(f.refLocked(), h.record(parts))
}

// newest reads the file that was being written, and finds its end. A bad record is a torn tail unless something behind it
// knows that it was durable.
func (r *recovery) newest(f *logFile) (end Position, candidates []int64, err error) {
	f.end = f.base
	r.durable = max(r.durable, f.base)
	sc := r.scanner(f, f.size)
	off, err := r.scan(f, sc)
	var bad *badRecordError
	switch {
	case err == nil:
	case !errors.As(err, &bad):
		return 0, nil, err
	case off == pageSize:
		// It was durable before the file got its name.
		return 0, nil, corrupt(f.name, off, "%s", bad.reason)
	default:
		var witness int64
		if witness, candidates, err = sc.lookAhead(off); err != nil {
			return 0, nil, err
		}
		if witness != 0 {
			return 0, nil, corrupt(f.name, off, "%s: it was durable, says the record at offset %d", bad.reason, witness)
		}
	}
	w := r.w
	w.found.Unclean = r.last != markClose
	w.found.MachineLost = r.state.lost || (w.found.Unclean && r.state.async && (w.boot == [bootSize]byte{} || r.state.boot != w.boot))
	if w.found.MachineLost {
		w.found.AsyncCap = r.state.asyncCap
	}
	if len(candidates) > 0 {
		w.found.TornBytes = candidates[len(candidates)-1] - off + recordHeader
		w.found.TornFile, w.found.TornOffset = f.name, off
		w.cfg.Logger.Warn("torn tail of the write-ahead log cut off", "file", f.name, "offset", off, "position", uint64(f.end))
	}
	return f.end, candidates, nil
}

// makeDurable sees to it that what is kept is on the disk, whatever the page cache says, and that nothing behind it ever
// lines up again.
func (r *recovery) makeDurable(end Position, candidates []int64) error {
	w := r.w
	for _, dir := range []string{filepath.Dir(w.cfg.Dir), w.cfg.Dir} {
		if err := w.cfg.FS.SyncDir(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	f := w.files[len(w.files)-1]
	if err := r.keepClosed(); err != nil {
		return err
	}
	if err := rewrite(f, 0, pageSize); err != nil {
		return err
	}
	if err := rewrite(f, f.offset(r.durable), f.offset(end)); err != nil {
		return err
	}
	zeros := make([]byte, pageSize)
	for _, off := range append(candidates, f.offset(end)) {
		n := min(pageSize, f.size-off)
		if _, err := f.h.WriteAt(zeros[:max(n, 0)], off); err != nil {
			return fmt.Errorf("write %s: %w", f.name, err)
		}
	}
	if err := f.h.Sync(); err != nil {
		return fmt.Errorf("sync %s: %w", f.name, err)
	}
	return nil
}

// keepClosed makes the newest close mark durable, wherever it stands: the process before may have written it and not synced
// it. What sums up older files is in that file's sections, and trimming relies on them.
func (r *recovery) keepClosed() error {
	for _, f := range slices.Backward(r.w.files) {
		if !f.closed {
			continue
		}
		if err := rewrite(f, 0, pageSize); err != nil {
			return err
		}
		if err := f.h.Sync(); err != nil {
			return fmt.Errorf("sync %s: %w", f.name, err)
		}
		return nil
	}
	return nil
}

// rewrite writes what it reads: after a failed fsync the page cache may hold, marked clean, what the disk does not.
func rewrite(f *logFile, from, to int64) error {
	buf := make([]byte, min(scanWindow, max(to-from, 0)))
	for ; from < to; from += int64(len(buf)) {
		buf = buf[:min(int64(len(buf)), to-from)]
		if err := f.read(buf, from); err != nil {
			return err
		}
		if _, err := f.h.WriteAt(buf, from); err != nil {
			return fmt.Errorf("write %s: %w", f.name, err)
		}
	}
	return nil
}

// adopt makes the end of what was read the beginning of what will be appended.
func (r *recovery) adopt(end Position) {
	w := r.w
	w.mu.Lock()
	defer w.mu.Unlock()
	w.shards, w.lost, w.async = r.shards, w.found.MachineLost, r.state.async
	if w.lost {
		w.asyncCap = max(w.asyncCap, r.state.asyncCap)
	}
	w.next.Store(uint64(end))
	w.written.Store(uint64(end))
	w.durable.Store(uint64(end))
	f := w.files[len(w.files)-1]
	w.active = f
	w.fullAt.Store(uint64(f.full()))
	var used int64
	for _, g := range w.files[:len(w.files)-1] {
		used += g.size
	}
	w.used.Store(used + f.offset(end))
	w.publishFilesLocked()
	w.markLocked(markOpen)
}
