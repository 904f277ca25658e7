package wal

import (
	"context"
	"fmt"
	"hash/crc32"
	"path/filepath"
)

// group is what the committer takes at once.
type group struct {
	runs    []run
	waiters []entry
	done    []chan error // of Sync
	end     Position
	bytes   int64
	records uint64
	written bool // somebody waits for Written
	durable bool // somebody waits for Durable, or asks for a sync
	first   bool // its mark has to be durable before anything is delivered at Written
}

// run is a contiguous piece of a chunk for one file.
type run struct {
	file     *logFile
	chunk    *chunk
	from, to int
}

type entry struct {
	waiter Waiter
	notify Stage
}

func (g *group) emptyLocked() bool { return len(g.runs) == 0 && len(g.done) == 0 }

// reset keeps the slices and none of what they held.
func (g *group) reset() {
	clear(g.runs)
	clear(g.waiters)
	clear(g.done)
	*g = group{runs: g.runs[:0], waiters: g.waiters[:0], done: g.done[:0]}
}

// Reserve waits, bounded by ctx, until n more bytes may be pending, and takes them; n is the RecordSize of what will be
// appended. ErrFull and ErrNoSpace are flow control and come at once. internal may use the last 5 % of the limit. The
// reservation is used up by the Append of a record of that size, or given back by Unreserve. Never call it from Reached:
// room comes from the delivery goroutine.
func (w *WAL) Reserve(ctx context.Context, n int, internal bool) error {
	if n > w.cfg.MaxRecord {
		return fmt.Errorf("record of %d bytes: %w", n, ErrTooLarge)
	}
	limit := w.cfg.Limit - w.cfg.FileSize // the spare
	if !internal {
		limit -= w.cfg.Limit / 20
	}
	return w.room.reserve(ctx, int64(n), func(reserved int64) error {
		if w.used.Load()+reserved > limit {
			return ErrFull
		}
		if w.noSpace.Load() {
			left := int64(w.fullAt.Load()) - int64(w.next.Load())
			if w.unmade.Load() > 0 || left-reserved < 0 || left < w.cfg.FileSize/4 {
				return ErrNoSpace
			}
		}
		return nil
	})
}

// ReserveBeyond is Reserve for what a start has to write before it can serve: the limit does not bound it, nor does the margin that is kept on a full disk.
func (w *WAL) ReserveBeyond(ctx context.Context, n int) error {
	if n > w.cfg.MaxRecord {
		return fmt.Errorf("record of %d bytes: %w", n, ErrTooLarge)
	}
	return w.room.reserve(ctx, int64(n), func(int64) error { return nil })
}

// Rotate lets the next record be in another file than all before.
func (w *WAL) Rotate() error {
	if err := w.usable(); err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closing {
		return ErrClosed
	}
	w.rotateLocked()
	return nil
}

// Unreserve gives back n bytes of a reservation that no Append has used.
func (w *WAL) Unreserve(n int) { w.room.unreserve(int64(n)) }

// Append copies the parts into the log, which gives them position and LSN, and returns without waiting for I/O; room for
// RecordSize(parts) has been reserved, and is used up even by an error. notify is the set of stages that waiter is told
// of; it may be empty. A record of which nobody is told Durable does not force an fdatasync.
func (w *WAL) Append(shard uint32, parts []Part, notify Stage, waiter Waiter) (Appended, error) {
	n := RecordSize(parts)
	if len(parts) == 0 || len(parts) > maxParts {
		w.Unreserve(n)
		return Appended{}, ErrTooManyParts
	}
	if n > w.cfg.MaxRecord {
		w.Unreserve(n)
		return Appended{}, fmt.Errorf("record of %d bytes: %w", n, ErrTooLarge)
	}
	w.mu.Lock()
	err := w.failed()
	if err == nil && w.closing {
		err = ErrClosed
	}
	if err != nil {
		w.mu.Unlock()
		w.Unreserve(n)
		return Appended{}, err
	}
	if notify == Written && !w.async {
		w.asyncLocked()
	}
	s := w.shardLocked(shard)
	f := w.files[len(w.files)-1]
	if f.end+Position(n) > f.full() {
		f = w.rotateLocked()
	}
	a := Appended{LSN: s.next, File: f.seq, FileBase: f.base, Len: n}
	s.next++
	a.Pos = w.putLocked(header{typ: typeData, lsn: a.LSN, shard: s.Shard}, parts, n)
	g := w.cur
	if notify != 0 {
		g.waiters = append(g.waiters, entry{waiter, notify})
		g.durable = g.durable || notify&Durable != 0
		g.written = g.written || notify&Written != 0
	}
	g.records++
	g.bytes += int64(n)
	w.room.consume(int64(n))
	w.wakeLocked()
	w.mu.Unlock()
	return a, nil
}

func (w *WAL) wakeLocked() {
	if w.idle {
		w.idle = false
		w.cond.Signal()
	}
}

// putLocked encodes a record at the end of the stream, in the newest file.
func (w *WAL) putLocked(h header, parts []Part, n int) Position {
	c := w.chunk
	pos := Position(w.next.Load())
	if c == nil || len(c.buf)-c.used < n {
		c = w.chunkLocked(pos, n)
	}
	h.pos = pos
	h.durable = Position(w.durable.Load())
	putRecord(c.buf[c.used:c.used+n:c.used+n], h, parts, w.seed)
	f := w.files[len(w.files)-1]
	g := w.cur
	if k := len(g.runs) - 1; k >= 0 && g.runs[k].chunk == c && g.runs[k].file == f {
		g.runs[k].to += n
	} else {
		g.runs = append(g.runs, run{file: f, chunk: c, from: c.used, to: c.used + n})
	}
	c.used += n
	f.end = pos + Position(n)
	w.used.Add(int64(n))
	w.next.Store(uint64(f.end))
	return pos
}

func (w *WAL) chunkLocked(pos Position, n int) *chunk {
	buf := w.spareChunk
	w.spareChunk = nil
	if n > chunkSize {
		w.spareChunk, buf = buf, make([]byte, n)
	} else if buf == nil {
		buf = make([]byte, chunkSize)
	}
	w.chunk = &chunk{start: pos, buf: buf}
	w.tail.add(w.chunk, Position(w.written.Load()))
	return w.chunk
}

func (w *WAL) tableLocked() []byte { return w.stateLocked().put()[stateHeader:] }

func (w *WAL) stateLocked() state {
	return state{boot: w.boot, asyncCap: w.asyncCap, lost: w.lost, async: w.async, shards: w.shards}
}

// markLocked appends a mark, and has it synced.
func (w *WAL) markLocked(kind markKind) {
	parts := []Part{{Kind: partState, Codec: uint8(kind), Payload: w.stateLocked().put()}}
	n := RecordSize(parts)
	// A mark may use the room that is meant for the trailer.
	if f := w.files[len(w.files)-1]; f.offset(f.end)+int64(n) > f.size && kind != markFile {
		w.rotateLocked()
	}
	w.putLocked(header{typ: typeMark}, parts, n)
	w.markEnd = Position(w.next.Load())
	w.cur.durable = true
	w.wakeLocked()
}

// asyncLocked marks that records are going to be delivered that the disk may not have: a start after a power cut has to know that, whatever becomes of them.
// (A record delivered at both stages tells its waiter itself when it is safe to rely on.)
func (w *WAL) asyncLocked() {
	w.async = true
	w.markLocked(markAsync)
	w.cur.first = true
}

// rotateLocked plans the next file, and puts the mark that it begins with.
func (w *WAL) rotateLocked() *logFile {
	old := w.files[len(w.files)-1]
	old.endTable = w.tableLocked()
	f := w.planLocked(old.seq+1, w.cfg.FileSize)
	w.unmade.Add(1)
	w.used.Add(old.size - old.offset(old.end)) // what is left of it counts as used
	return f
}

func (w *WAL) planLocked(seq uint64, size int64) *logFile {
	pos := Position(w.next.Load())
	f := &logFile{
		seq: seq, base: pos, end: pos, size: size,
		name: filepath.Join(w.cfg.Dir, fileName(seq)),
	}
	w.files = append(w.files, f)
	w.used.Add(pageSize)
	durable := w.cur.durable
	w.markLocked(markFile)
	w.cur.durable = durable // the file is synced when it is made
	f.first = w.chunk.buf[w.chunk.used-int(f.end-pos) : w.chunk.used : w.chunk.used]
	w.fullAt.Store(uint64(f.full()))
	w.publishFilesLocked()
	return f
}

// Sync returns when everything appended so far is durable.
func (w *WAL) Sync(ctx context.Context) error {
	if err := w.usable(); err != nil {
		return err
	}
	done := make(chan error, 1)
	w.mu.Lock()
	if w.closing {
		w.mu.Unlock()
		return ErrClosed
	}
	w.cur.done = append(w.cur.done, done)
	w.cur.durable = true
	w.wakeLocked()
	w.mu.Unlock()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

func seedOf(uuid [16]byte) uint32 { return crc32.Checksum(uuid[:], castagnoli) }
