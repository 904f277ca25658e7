package queue

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/varvemq/varve/broker/wal"
	"github.com/varvemq/varve/metadata"
	"github.com/varvemq/varve/tiering/seal"
)

// Source is the log as its sealer sees it.
type Source struct {
	log *Log
	hot int64
}

var _ seal.Source = (*Source)(nil)

// Source returns the log for sealing. Of what is sealed, at most hot bytes are kept in the WAL, and at most what leaves it room for what is not sealed. kick is
// called, and must not block, when a record of class object begins to wait.
func (l *Log) Source(hot int64, kick func()) *Source {
	l.sealed.mu.Lock()
	l.sealed.kick = kick
	l.sealed.mu.Unlock()
	return &Source{log: l, hot: min(hot, l.w().Stats().Limit/5*2)}
}

// WALUUID implements seal.Source.
func (s *Source) WALUUID() string { return uuid.UUID(s.log.w().UUID()).String() }

// Durable implements seal.Source.
func (s *Source) Durable() uint64 { return uint64(s.log.w().Stats().Durable) }

// First returns the first position that the WAL still has.
func (s *Source) First() uint64 { return uint64(s.log.w().Stats().First) }

// Scan implements seal.Source.
func (s *Source) Scan(ctx context.Context, from, to uint64, fn func(*seal.Record) (bool, error)) error {
	var rec seal.Record
	shard := s.log.cfg.Shard.ID
	err := s.log.w().Walk(ctx, wal.Position(from), wal.Position(to), func(r wal.Record) error {
		if r.Shard.ID != shard {
			return nil
		}
		if err := convert(&r, &rec); err != nil {
			return err
		}
		more, err := fn(&rec)
		if err == nil && !more {
			err = errStopWalk
		}
		return err
	})
	if errors.Is(err, errStopWalk) {
		return nil
	}
	return err
}

var errStopWalk = errors.New("queue: enough")

// convert fills rec with what a WAL record has for a segment.
func convert(r *wal.Record, rec *seal.Record) error {
	*rec = seal.Record{
		LSN: r.LSN, Pos: uint64(r.Pos), End: uint64(r.Pos) + uint64(r.Len), Epoch: r.Shard.Epoch, Batches: rec.Batches[:0], Holes: rec.Holes[:0], Cursors: rec.Cursors[:0],
	}
	for i := range r.Parts {
		p := &r.Parts[i]
		switch {
		case p.Kind == wal.PartBatch && p.Codec == codecMessages:
			rec.Batches = append(rec.Batches, seal.Batch{Ordinal: p.Queue, Base: p.Base, Count: p.Count, Messages: p.Payload})
		case p.Kind == wal.PartOperation && p.Codec == opCursor:
			rec.Cursors = append(rec.Cursors, metadata.QueueCursor{Ordinal: p.Queue, Offset: p.Base})
		case p.Kind == wal.PartOperation && p.Codec == opHole && len(p.Payload) == 8:
			rec.Holes = append(rec.Holes, seal.Hole{Ordinal: p.Queue, Base: p.Base, Count: le.Uint64(p.Payload)})
		default:
			return fmt.Errorf("record at position %d: part of kind %d, codec %d, cannot be sealed", r.Pos, p.Kind, p.Codec)
		}
	}
	return nil
}

// trimTimeout bounds a trim: a rename and a sync of the directory for each file.
const trimTimeout = time.Minute

// Sealed implements seal.Source.
func (s *Source) Sealed(lsn, pos uint64) error {
	s.log.sealed.commit(lsn)
	s.log.sealed.kickIfWaiting()
	w := s.log.w()
	used, target := w.Stats().Bytes, wal.Position(0)
	for _, f := range w.Files() {
		if uint64(f.End) > pos || used <= s.hot {
			break
		}
		used -= int64(f.End - f.Base)
		target = f.End
	}
	if target == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), trimTimeout) //nolint:forbidigo // the sealer's own context may have ended: what it committed is sealed all the same
	defer cancel()
	return s.log.TrimTo(ctx, target)
}
