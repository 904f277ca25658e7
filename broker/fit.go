package broker

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/varvemq/varve/metadata"
	"github.com/varvemq/varve/tiering/seal"
)

// checkLog does step 6 of the package comment: a log that does not fit is refused before the shard is acquired with it, which would make it the shard's.
func (b *broker) checkLog(ctx context.Context) error {
	reach, cancel := context.WithTimeout(ctx, reachTimeout)
	defer cancel()
	state, err := b.store.SealedState(reach, b.cfg.ShardName)
	if err != nil {
		return err
	}
	prev, _ := b.store.Shard(b.cfg.ShardName)
	return b.fit(ctx, state.Head, prev)
}

// fit checks that the WAL goes on where the segments end, or may become the shard's because it is new. prev is the shard's record before ours, nil if there was none.
func (b *broker) fit(ctx context.Context, head metadata.SealHead, prev *metadata.Shard) error {
	w := b.queues.WAL()
	next, stats := w.NextLSN(shardNumber(b.cfg.ShardName)), w.Stats()
	switch {
	case head.WALUUID == b.walID() && head.PositionLost:
		return nil // see place
	case head.WALUUID == b.walID() && head.Position < uint64(stats.First):
		return fmt.Errorf("%w: segments end at position %d, the log begins at %d: what is between them is missing; is etcd an older one?", errMisfit, head.Position, stats.First)
	case head.WALUUID == b.walID() && (head.Position > uint64(stats.Durable) || head.LSN > next && head.Position > 0): // at 0 nothing of this log was sealed, and it may be empty
		return fmt.Errorf("%w: the log ends at position %d, LSN %d, but was sealed to position %d, LSN %d: it is an older copy of this log",
			errMisfit, stats.Durable, next, head.Position, head.LSN)
	case head.WALUUID == b.walID():
		return b.fitRecord(ctx, head)
	case next == 1: // it has no record of the shard
		return nil
	case head.WALUUID == "" && head.LSN == 1 && stats.First == 0 && (prev == nil || prev.WALUUID == b.walID()): // nothing was ever sealed, and it always was this log
		return nil
	default:
		return fmt.Errorf("%w: the log in %s has records of shard %s, which has gone on in another log (%s) since: move it away and start with none",
			errMisfit, filepath.Join(b.cfg.DataDir, "wal"), b.cfg.ShardName, head.WALUUID)
	}
}

// bind makes our log the one that sealing goes on in.
func (b *broker) bind(ctx context.Context, head metadata.SealHead) (metadata.SealHead, error) {
	if err := b.fit(ctx, head, b.own.Previous()); err != nil {
		return head, err
	}
	if head.WALUUID == b.walID() && head.PositionLost {
		return b.place(ctx, head)
	}
	return b.own.BindWAL(ctx)
}

// place finds where in the WAL segments end, after etcd was restored from a snapshot that did not know.
func (b *broker) place(ctx context.Context, head metadata.SealHead) (metadata.SealHead, error) {
	src := b.queues.Source(b.cfg.WALHot, nil)
	first, position := uint64(0), src.Durable()
	if err := src.Scan(ctx, src.First(), src.Durable(), func(r *seal.Record) (bool, error) {
		if first == 0 {
			first = r.LSN
		}
		if r.LSN < head.LSN {
			return true, nil
		}
		position = r.Pos
		return false, nil
	}); err != nil {
		return head, err
	}
	if first > head.LSN {
		return head, fmt.Errorf("%w: segments end at LSN %d, the log begins at LSN %d: what is between them is missing", errMisfit, head.LSN, first)
	}
	return b.own.PlaceHead(ctx, position)
}

// errMisfit says that the log is not the one that the segments were made from, or not the whole of it.
var errMisfit = errors.New("the log does not fit the segments")

// errFirst ends a scan at its first record.
var errFirst = errors.New("first record")

// fitRecord checks the first record that is in no segment.
func (b *broker) fitRecord(ctx context.Context, head metadata.SealHead) error {
	src := b.queues.Source(b.cfg.WALHot, nil)
	err := src.Scan(ctx, head.Position, src.Durable(), func(r *seal.Record) (bool, error) {
		if r.LSN == head.LSN || r.LSN > head.LSN && uint64(r.Epoch) > head.Epoch {
			return false, errFirst
		}
		return false, fmt.Errorf("%w: the first record behind position %d has LSN %d, epoch %d, but segments end at LSN %d of epoch %d",
			errMisfit, head.Position, r.LSN, r.Epoch, head.LSN, head.Epoch)
	})
	if errors.Is(err, errFirst) {
		return nil
	}
	return err
}
