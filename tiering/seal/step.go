package seal

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/varvemq/varve/metadata"
	"github.com/varvemq/varve/tiering/catalog"
	"github.com/varvemq/varve/tiering/segment"
)

// work is the segment under way. What is set says how far it is.
type work struct {
	cut      *cut
	upload   metadata.Upload // Object is 0 until it is reserved
	identity segment.Identity
	spool    *spool // nil until it is built; then cut's pieces are gone
	sum      segment.Summary
	seg      metadata.Segment
	head     metadata.SealHead // after the commit
	looks    int               // at an object that was there already
	uploaded bool
}

// sealTo seals everything below a position. A segment under way is finished first.
func (s *Sealer) sealTo(ctx context.Context, target uint64) error {
	for {
		more, err := s.advance(ctx, target)
		if err != nil || !more {
			return err
		}
	}
}

// advance makes a segment, if there is anything for it below a position or one is under way, and reports whether to go on. One goroutine at a time is in it.
func (s *Sealer) advance(ctx context.Context, target uint64) (bool, error) {
	select {
	case s.busy <- struct{}{}:
	case <-ctx.Done():
		return false, ctx.Err()
	case <-s.dead:
		return false, s.fate
	}
	defer func() { <-s.busy }()
	select {
	case <-s.dead:
		return false, s.fate
	default:
	}
	if s.work == nil && s.scanned() >= target {
		return false, nil
	}
	err := s.segment(ctx)
	if errors.Is(err, errSpoolLost) {
		err = s.abandon(ctx, err)
	}
	if err != nil && ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		return false, err
	}
	if err != nil {
		s.fate = fmt.Errorf("seal shard %s: %w", s.cfg.Shard, err)
		close(s.dead)
		return false, s.fate
	}
	return true, nil
}

// segment makes the next segment, or finishes the one under way.
func (s *Sealer) segment(ctx context.Context) error {
	if s.work == nil {
		c, err := s.gather(ctx)
		if err != nil || c == nil {
			return err
		}
		s.work = &work{cut: c}
	}
	w := s.work
	if err := s.prepare(ctx, w); err != nil {
		return err
	}
	if !w.uploaded {
		if err := s.persist(ctx, stepUpload, func(ctx context.Context) error { return s.upload(ctx, w) }); err != nil {
			return fmt.Errorf("segment %d: %w", w.seg.Object, err)
		}
		w.uploaded = true
	}
	var head metadata.SealHead
	err := s.persist(ctx, stepCommit, func(ctx context.Context) (err error) {
		head, err = s.cfg.Own.CommitSegment(ctx, w.seg, w.head)
		return err
	})
	if err != nil {
		return fmt.Errorf("segment %d: %w", w.seg.Object, err)
	}
	s.work = nil
	s.committed(w, head)
	return nil
}

// gather cuts what follows the committed LSN, or returns nil if there is nothing.
func (s *Sealer) gather(ctx context.Context) (*cut, error) {
	began := time.Now()
	s.mu.Lock()
	head, from, epoch := s.head, s.from, s.epoch
	s.mu.Unlock()
	to := s.cfg.Source.Durable()
	s.observe(to)
	g := gatherer{
		cut: cut{first: head.LSN, end: head.LSN, queues: map[uint32]queue{}, cursors: map[uint32]uint64{}}, topics: s.cfg.Topics,
		limit: s.cfg.Bytes, max: s.cfg.Own.Epoch(), gapAbove: epoch, skip: head.PositionLost,
	}
	if from < to {
		if err := s.cfg.Source.Scan(ctx, from, to, g.take); err != nil {
			return nil, fmt.Errorf("%s: positions [%d, %d): %w", stepCut, from, to, err)
		}
	}
	if g.records == 0 {
		s.passed(max(from, to))
		return nil, nil //nolint:nilnil // no records, no cut
	}
	s.metrics.took(stepCut, time.Since(began))
	return &g.cut, nil
}

// prepare reserves the segment's number and builds it.
func (s *Sealer) prepare(ctx context.Context, w *work) error {
	if w.upload.Object == 0 {
		err := s.persist(ctx, stepReserve, func(ctx context.Context) error {
			ups, err := s.cfg.Own.ReserveObjects(ctx, []string{metadata.KindSegment})
			if err == nil {
				w.upload = ups[0]
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	if w.spool != nil {
		return nil
	}
	own, c := s.cfg.Own, w.cut
	w.identity = segment.Identity{Cluster: s.cfg.Cluster, Shard: s.cfg.Shard, Epoch: own.Epoch(), Sequence: w.upload.Object}
	s.mu.Lock()
	previous := s.head.FooterCRC
	s.mu.Unlock()
	cfg := segment.Config{
		Identity: w.identity, FirstLSN: c.first, EndLSN: c.end, EtcdRevision: uint64(w.upload.Revision), Created: s.cfg.Clock().UnixMilli(), Previous: previous,
	}
	name := filepath.Join(s.cfg.SpoolDir, fmt.Sprintf("%016x.%s", w.upload.Object, metadata.KindSegment))
	err := s.persist(ctx, stepBuild, func(context.Context) (err error) {
		w.spool, w.sum, err = s.build(name, c, cfg)
		return err
	})
	if err != nil {
		w.spool = nil
		return fmt.Errorf("segment %d, LSNs [%d, %d): %w", w.upload.Object, c.first, c.end, err)
	}
	f := &w.sum.Footer
	w.seg = metadata.Segment{
		Object: w.upload.Object, Epoch: own.Epoch(), Size: w.sum.Size, FooterCRC: f.CRC, FirstLSN: c.first, EndLSN: c.end, MinStore: f.MinStore, MaxStore: f.MaxStore,
		Messages: f.Messages, RawBytes: f.RawBytes, Queues: f.Queues, Cursors: c.sortedCursors(),
	}
	w.head = metadata.SealHead{LSN: c.end, WALUUID: s.wal, Position: c.pos, Epoch: own.Epoch(), FooterCRC: f.CRC, Object: w.upload.Object}
	c.pieces, c.queues, c.cursors = nil, nil, nil // the log's memory is not held while the bucket is away
	return nil
}

// abandon gives up a segment whose spool file is of no use any more. Its records are cut again, under another number; its intent, and the object if an attempt has
// created it, are left to the sweep of a later epoch, as after a crash.
func (s *Sealer) abandon(ctx context.Context, err error) error {
	w := s.work
	s.work = nil
	s.failed(stepUpload, classDisk, err)
	if err := w.spool.remove(); err != nil {
		s.cfg.Logger.Warn("spool file was not removed", "error", err)
	}
	return s.sleep(ctx, classDisk.pause(0))
}

// committed takes note of a commit, and tells those who wait for it.
func (s *Sealer) committed(w *work, head metadata.SealHead) {
	s.mu.Lock()
	s.head, s.epoch, s.from = head, w.cut.epoch, w.cut.pos
	s.seen = s.seen.above(s.from)
	s.mu.Unlock()
	if err := w.spool.remove(); err != nil {
		s.cfg.Logger.Warn("spool file was not removed", "error", err)
	}
	s.metrics.sealed(&w.seg)
	s.cfg.Logger.Debug("segment committed", "object", w.seg.Object, "first_lsn", w.seg.FirstLSN, "end_lsn", w.seg.EndLSN, "messages", w.seg.Messages, "bytes", w.seg.Size)
	s.remember(head)
	s.cfg.Catalog.Add(catalog.RecentOf(w.seg, &w.sum))
	s.release(head)
}

// remember has the data directory remember a commit. Until it does, the log is not trimmed further.
func (s *Sealer) remember(head metadata.SealHead) {
	if head.Revision == 0 || head.Revision == s.remembered {
		s.trimTo = head.Position
		return
	}
	if err := s.cfg.OnCommit(head.Revision); err != nil {
		s.failed(stepRemember, classDisk, err)
		return
	}
	s.succeeded(stepRemember)
	s.remembered, s.trimTo = head.Revision, head.Position
}

// release tells the log how far it is sealed, and how far it may be trimmed.
func (s *Sealer) release(head metadata.SealHead) {
	s.owing = s.trimTo != head.Position
	if err := s.cfg.Source.Sealed(head.LSN, s.trimTo); err != nil {
		s.owing = true
		s.failed(stepTrim, classDisk, err)
		return
	}
	s.succeeded(stepTrim)
}
