package queue

import (
	"errors"
	"fmt"

	"github.com/varvemq/varve/broker/wal"
	"github.com/varvemq/varve/internal/message"
)

// recovery is the WAL's owner: it takes in what the WAL finds, oldest first, and seals files afterwards.
type recovery struct {
	log    *Log
	newest uint64        // the newest closed file
	states states        // its states, which sum up all files before it
	opened chan struct{} // closed when the sealer may begin
}

var _ wal.Owner = (*recovery)(nil)

// SealFile implements wal.Owner.
func (r *recovery) SealFile(f wal.FileRef) ([][]byte, error) {
	<-r.opened
	return r.log.sealFile(f)
}

// RecoverClosed implements wal.Owner: it takes in directory and states of a closed file. If one is damaged it says so
// with a *wal.CorruptError, having changed nothing: the WAL then gives us the file's records.
func (r *recovery) RecoverClosed(file *wal.File) error {
	l := r.log
	d, err := readSection(file, directoryNumber)
	if err != nil {
		return l.damagedAtOpen(file, directoryNumber, err)
	}
	s, err := readSection(file, statesNumber)
	if err != nil {
		return l.damagedAtOpen(file, statesNumber, err)
	}
	f := l.fileFor(file.Seq, file.Base)
	f.live = false
	dir := directory(d)
	for i := range dir.len() {
		row := dir.row(i)
		q := l.Queue(row.ordinal)
		if err := q.recoverEnd(f.seq, row.first, row.end, row.maxStore); err != nil {
			return err
		}
		q.closed = append(q.closed, closedRun{seq: uint32(f.seq), row: uint32(i), first: row.first})
		f.addTimesLocked(row.minStore, row.maxStore)
	}
	r.newest, r.states = f.seq, s
	l.cache.put(sectionKey{file: f.seq, section: directoryNumber}, d)
	return nil
}

// damagedAtOpen reports damage in the form that makes the WAL scan the file.
func (l *Log) damagedAtOpen(file *wal.File, section int, err error) error {
	l.stats.damaged.Add(1)
	l.cfg.Logger.Error("index of wal file damaged, made anew from its records", "file", file.Seq, "section", section, "error", err)
	if _, ok := errors.AsType[*wal.CorruptError](err); ok {
		return err
	}
	if _, ok := errors.AsType[*CorruptError](err); ok || errors.Is(err, wal.ErrTruncated) || file.Sections() <= section {
		return &wal.CorruptError{File: fmt.Sprintf("%020d.wal", file.Seq), Reason: err.Error()}
	}
	return fmt.Errorf("queue: recover: %w", err)
}

// RecoverRecord implements wal.Owner: it takes in a record of a file without sections.
func (r *recovery) RecoverRecord(ref wal.FileRef, rec wal.Record) error {
	if rec.Shard.ID != r.log.cfg.Shard.ID {
		return nil
	}
	return r.log.indexRecord(r.log.fileFor(ref.Seq, ref.Base), &rec)
}

// finish takes in the newest states, lets the sealer go, and makes everything that was found visible. A file without
// sections may stand before one that has them, if its sections were damaged: what it says of cursors is outdated.
func (r *recovery) finish() {
	l := r.log
	if r.states != nil {
		l.recoverStates(r.states)
	}
	l.sealedSeq = r.newest
	for _, f := range l.files {
		if f.seq <= r.newest {
			continue
		}
		for o, c := range f.cursors {
			l.Queue(o).cursor.Store(c)
		}
	}
	for _, q := range l.queues {
		q.first.Store(q.min.Load())
		q.visible.Store(q.next)
	}
	close(r.opened)
}

// recoverStates takes in states: queues whose records were all trimmed continue where they were.
func (l *Log) recoverStates(s states) {
	for i := range s.len() {
		st := s.at(i)
		q := l.Queue(st.ordinal)
		if len(q.closed)+len(q.live) == 0 {
			q.min.Store(st.next)
		}
		q.next = max(q.next, st.next)
		q.lastStore = max(q.lastStore, st.lastStore)
		q.sealed = st.queueState
		q.cursor.Store(st.cursor)
	}
}

// recoverEnd moves the queue's end over records that are next in the log.
func (q *Queue) recoverEnd(file, first, end uint64, store int64) error {
	if q.next == 0 && len(q.closed) == 0 && len(q.live) == 0 {
		q.min.Store(first)
		q.next = first
	}
	if first != q.next {
		return fmt.Errorf("queue: recover: %w", corrupt(file, 0, "queue %d: offset %d follows %d", q.ordinal, first, q.next))
	}
	q.next = end
	q.lastStore = max(q.lastStore, store)
	return nil
}

// indexRecord takes a record into the index of a file without sections.
func (l *Log) indexRecord(f *fileIndex, rec *wal.Record) error {
	e := entry{place: f.place(rec.Pos), length: uint32(rec.Len)}
	var keys []uint32
	var cursors []Cursor
	var lo, hi int64
	for i := range rec.Parts {
		p := &rec.Parts[i]
		q := l.Queue(p.Queue)
		switch {
		case p.Kind == wal.PartBatch:
			if err := q.recoverEnd(f.seq, p.Base, p.Base+uint64(p.Count), p.MaxStoreTime); err != nil {
				return err
			}
			e.count, e.maxStore = p.Count, p.MaxStoreTime
			q.insertLocked(f, p.Base, e, p.MinStoreTime)
			if hi == 0 || p.MinStoreTime < lo {
				lo = p.MinStoreTime
			}
			hi = max(hi, p.MaxStoreTime)
			if p.Codec != codecMessages {
				break
			}
			if err := eachMessage(p.Payload, func(v message.View) { keys = appendKeys(keys, v) }); err != nil {
				return fmt.Errorf("queue: recover: %w", corrupt(f.seq, 0, "record at %d: %v", rec.Pos, err))
			}
		case p.Codec == opCursor:
			cursors = append(cursors, Cursor{Queue: q, Offset: p.Base})
		case p.Codec == opHole:
			if err := q.recoverHole(f, e, p); err != nil {
				return err
			}
		default:
			return fmt.Errorf("queue: recover: %w", corrupt(f.seq, 0, "record at %d: operation %d", rec.Pos, p.Codec))
		}
	}
	f.addRecord(e.place, e.length, keys, cursors, lo, hi)
	return nil
}

func (q *Queue) recoverHole(f *fileIndex, e entry, p *wal.Part) error {
	if len(p.Payload) != 8 {
		return fmt.Errorf("queue: recover: %w", corrupt(f.seq, 0, "hole of queue %d: %d bytes", q.ordinal, len(p.Payload)))
	}
	e.count, e.maxStore, e.length = uint32(le.Uint64(p.Payload)), q.lastStore, e.length|holeFlag
	if err := q.recoverEnd(f.seq, p.Base, p.Base+uint64(e.count), q.lastStore); err != nil {
		return err
	}
	q.insertLocked(f, p.Base, e, q.lastStore)
	return nil
}
