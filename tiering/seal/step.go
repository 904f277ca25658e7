package seal

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"time"

	"github.com/varvemq/varve/metadata"
	"github.com/varvemq/varve/tiering/catalog"
	"github.com/varvemq/varve/tiering/segment"
)

// work is the segment under way. What is set says how far it is.
type work struct {
	cut      *cut
	previous uint32          // crc of the footer of the segment before
	intent   metadata.Upload // Object is 0 until it is reserved
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

// tail is where a cut begins.
type tail struct {
	lsn   uint64
	pos   uint64
	epoch uint32 // of the record before, or not below it
	crc   uint32 // of the footer of the segment before
	skip  bool   // pos may be too low
}

// behind returns where the cut after a segment that is built begins.
func (w *work) behind() tail {
	return tail{lsn: w.cut.end, pos: w.cut.pos, epoch: w.cut.epoch, crc: w.seg.FooterCRC}
}

// behind returns where the cut after what is committed begins.
func (s *Sealer) behind() tail {
	s.mu.Lock()
	defer s.mu.Unlock()
	return tail{lsn: s.head.LSN, pos: s.from, epoch: s.epoch, crc: s.head.FooterCRC, skip: s.head.PositionLost}
}

// segment makes the next segment, or finishes the one under way. While that is uploaded, the one behind it is built, if the log has enough for it.
func (s *Sealer) segment(ctx context.Context) error {
	if s.work == nil {
		s.work, s.next = s.next, nil
	}
	if s.work == nil {
		at := s.behind()
		c, to, err := s.cut(ctx, at)
		if err != nil {
			return err
		}
		if c == nil {
			s.passed(to)
			return nil
		}
		s.work = &work{cut: c, previous: at.crc}
	}
	w := s.work
	if err := s.prepare(ctx, w); err != nil {
		return err
	}
	var ahead sync.WaitGroup
	ahead.Go(func() { s.next = s.ahead(ctx, w.behind(), s.next) })
	defer ahead.Wait()
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

// ahead builds the segment behind the one under way, or goes on with it, as far as one attempt takes it. A failure is met again, and reported, when its turn comes.
func (s *Sealer) ahead(ctx context.Context, at tail, w *work) *work {
	if w == nil {
		if durable := s.cfg.Source.Durable(); durable < at.pos || durable-at.pos < uint64(s.cfg.Bytes) {
			return nil
		}
		c, _, err := s.cut(ctx, at)
		if err != nil || c == nil || !c.full {
			return nil
		}
		w = &work{cut: c, previous: at.crc}
	}
	for _, do := range []struct {
		step step
		f    func() error
	}{{stepReserve, func() error { return s.reserve(ctx, w) }}, {stepBuild, func() error { return s.write(w) }}} {
		began := time.Now()
		if do.f() != nil {
			break // its turn comes
		}
		s.metrics.took(do.step, time.Since(began))
	}
	return w
}

// cut gathers what begins at a place, or returns nil if there is nothing up to a position.
func (s *Sealer) cut(ctx context.Context, at tail) (*cut, uint64, error) {
	began := time.Now()
	to := s.cfg.Source.Durable()
	s.observe(to)
	g := gatherer{
		cut: cut{first: at.lsn, end: at.lsn, epoch: at.epoch, queues: map[uint32]queue{}, cursors: map[uint32]uint64{}}, topics: s.cfg.Topics,
		limit: s.cfg.Bytes, max: s.cfg.Own.Epoch(), skip: at.skip,
	}
	if at.pos < to {
		if err := s.cfg.Source.Scan(ctx, at.pos, to, g.take); err != nil {
			return nil, 0, fmt.Errorf("%s: positions [%d, %d): %w", stepCut, at.pos, to, err)
		}
	}
	if g.records == 0 {
		return nil, max(at.pos, to), nil
	}
	s.metrics.took(stepCut, time.Since(began))
	return &g.cut, 0, nil
}

// prepare reserves the segment's number and builds it.
func (s *Sealer) prepare(ctx context.Context, w *work) error {
	if w.intent.Object == 0 {
		if err := s.persist(ctx, stepReserve, func(ctx context.Context) error { return s.reserve(ctx, w) }); err != nil {
			return err
		}
	}
	if w.spool == nil {
		if err := s.persist(ctx, stepBuild, func(context.Context) error { return s.write(w) }); err != nil {
			return fmt.Errorf("segment %d, LSNs [%d, %d): %w", w.intent.Object, w.cut.first, w.cut.end, err)
		}
	}
	return nil
}

// reserve reserves a segment's number, if it has none.
func (s *Sealer) reserve(ctx context.Context, w *work) error {
	if w.intent.Object != 0 {
		return nil
	}
	intents, err := s.cfg.Own.ReserveObjects(ctx, []string{metadata.KindSegment})
	if err != nil {
		return err
	}
	w.intent = intents[0]
	return nil
}

// write builds a segment, if it is not built.
func (s *Sealer) write(w *work) error {
	if w.spool != nil {
		return nil
	}
	epoch, object, c := s.cfg.Own.Epoch(), w.intent.Object, w.cut
	w.identity = segment.Identity{Cluster: s.cfg.Cluster, Shard: s.cfg.Shard, Epoch: epoch, Sequence: object}
	name := filepath.Join(s.cfg.SpoolDir, fmt.Sprintf("%016x.%s", object, metadata.KindSegment))
	sp, sum, err := s.build(name, c, segment.Config{
		Identity: w.identity, FirstLSN: c.first, EndLSN: c.end, EtcdRevision: uint64(w.intent.Revision), Created: s.cfg.Clock().UnixMilli(), Previous: w.previous,
	})
	if err != nil {
		return err
	}
	f := &sum.Footer
	w.spool, w.sum = sp, sum
	w.seg = catalog.SegmentOf(f, sum.Size)
	w.seg.Cursors = c.sortedCursors()
	w.head = metadata.SealHead{LSN: c.end, WALUUID: s.wal, Position: c.pos, Epoch: epoch, FooterCRC: f.CRC, Object: object}
	c.pieces, c.queues, c.cursors = nil, nil, nil // the log's memory is not held while the bucket is away
	return nil
}

// abandon gives up a segment whose spool file is of no use any more, and the one behind it. Their records are cut again, under other numbers; intents, and the object
// if an attempt has created it, are left to the sweep of a later epoch, as after a crash.
func (s *Sealer) abandon(ctx context.Context, err error) error {
	s.failed(stepUpload, classDisk, err)
	for _, w := range []*work{s.work, s.next} { // the next one says which is before it
		if w != nil && w.spool != nil {
			s.discard(w.spool)
		}
	}
	s.work, s.next = nil, nil
	return s.sleep(ctx, classDisk.pause(0))
}

// committed takes note of a commit, and tells those who wait for it.
func (s *Sealer) committed(w *work, head metadata.SealHead) {
	s.mu.Lock()
	s.head, s.epoch = head, w.cut.epoch
	s.mu.Unlock()
	s.discard(w.spool)
	s.metrics.sealed(&w.seg)
	s.cfg.Logger.Debug("segment committed", "object", w.seg.Object, "first_lsn", w.seg.FirstLSN, "end_lsn", w.seg.EndLSN, "messages", w.seg.Messages, "bytes", w.seg.Size)
	s.remember(head)
	s.cfg.Catalog.Add(catalog.RecentOf(w.seg, &w.sum))
	s.release(head)
	s.passed(w.cut.pos)
}

func (s *Sealer) discard(sp *spool) {
	if err := sp.remove(); err != nil {
		s.cfg.Logger.Warn("spool file was not removed", "error", err)
	}
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
