package seal

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/varvemq/varve/metadata"
	"github.com/varvemq/varve/tiering/catalog"
	"github.com/varvemq/varve/tiering/objstore"
	"github.com/varvemq/varve/tiering/segment"
)

const (
	// attemptTime, and as much again for each attemptBytes, is what an attempt to upload may take. The drivers notice a connection that stalls much earlier.
	attemptTime  = time.Minute
	attemptBytes = 16 << 20
	// lookTime bounds a look at the footer of an object.
	lookTime = time.Minute
	// maxLooks is how often an object is looked at that seems damaged: it may have been on its way here.
	maxLooks = 5
)

// upload makes an attempt to put the segment into the bucket.
func (s *Sealer) upload(ctx context.Context, w *work) error {
	key := s.keyOf(&w.seg)
	actx, cancel := context.WithTimeout(ctx, attemptTime*time.Duration(1+w.seg.Size/attemptBytes))
	defer cancel()
	err := s.cfg.Bucket.Put(actx, key, io.NewSectionReader(w.spool, 0, w.seg.Size), w.seg.Size, objstore.PutOptions{IfNoneMatch: true})
	switch {
	case err == nil:
		return nil
	case w.spool.unreadable.Load():
		return fmt.Errorf("%w: %w", errSpoolLost, err)
	case errors.Is(err, objstore.ErrPrecondition):
		return s.isOurs(ctx, key, w)
	}
	return err
}

func (s *Sealer) keyOf(seg *metadata.Segment) string {
	return catalog.ObjectKey(s.cfg.Shard, seg.Epoch, seg.Object, metadata.KindSegment)
}

// isOurs looks whether the object that is there is the one that was to be created: an attempt whose answer was lost.
func (s *Sealer) isOurs(ctx context.Context, key string, w *work) error {
	ctx, cancel := context.WithTimeout(ctx, lookTime)
	defer cancel()
	info, err := s.cfg.Bucket.Head(ctx, key)
	if errors.Is(err, objstore.ErrNotFound) { // another attempt will say what is true
		return fmt.Errorf("%w: it is said to be there, and then not: %w", objstore.ErrTransient, err)
	}
	if err != nil {
		return err
	}
	if info.Size != w.seg.Size {
		return fmt.Errorf("%w: %s has %d bytes, not %d", ErrForeign, key, info.Size, w.seg.Size)
	}
	r, err := segment.Open(ctx, &objstore.Object{Store: s.cfg.Bucket, Key: key}, info.Size, segment.Expect{Identity: &w.identity, FooterCRC: w.seg.FooterCRC})
	switch {
	case err == nil && r.Footer().EndLSN == w.seg.EndLSN:
		return nil
	case err == nil || errors.Is(err, segment.ErrIdentity):
		return fmt.Errorf("%w: %s: %w", ErrForeign, key, errors.Join(err, segment.ErrIdentity))
	case objstore.Class(err) != nil:
		return err
	}
	if w.looks++; w.looks < maxLooks {
		return fmt.Errorf("%w: %w", objstore.ErrTransient, err)
	}
	return fmt.Errorf("%w: %s: %w", ErrForeign, key, err)
}
