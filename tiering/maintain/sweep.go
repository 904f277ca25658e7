package maintain

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"time"

	"github.com/varvemq/varve/metadata"
	"github.com/varvemq/varve/tiering/catalog"
)

// errStale says that what this process knows of the manifest is not what etcd has: nothing is deleted on the strength of either.
var errStale = fmt.Errorf("maintain: the manifest in etcd is not the one in memory: %w", metadata.ErrConflict)

// sweep deletes what is garbage, and what uploads of earlier epochs have left. What to delete, and what must not be, is read from etcd just before; the fence is
// read after that.
func (m *Maintainer) sweep(ctx context.Context) error {
	if !m.sweepDue() || m.job != nil { // a commit of unknown outcome: memory may be behind
		return nil
	}
	if err := m.valid(); err != nil {
		return err
	}
	st, err := m.cfg.Meta.SealedState(ctx, m.cfg.Shard)
	if err != nil {
		return err
	}
	if err := m.cfg.Own.Check(ctx); err != nil {
		return err
	}
	if err := m.checkManifest(st); err != nil {
		return err
	}
	m.lastSweep, m.swept = m.cfg.Clock(), true
	s := sweeper{m: m, listed: make(map[uint64]bool, len(st.Segments)+1)}
	for i := range st.Segments {
		s.listed[st.Segments[i].Object] = true
	}
	if st.Manifest != nil {
		s.listed[st.Manifest.Object] = true
	}
	m.notice(st)
	var errs []error
	for i := range st.Garbage {
		errs = append(errs, s.garbage(ctx, &st.Garbage[i]))
	}
	for i := range st.Uploads {
		errs = append(errs, s.upload(ctx, &st.Uploads[i]))
	}
	return errors.Join(errs...)
}

// checkManifest compares the manifest that etcd names with the one in memory.
func (m *Maintainer) checkManifest(st *metadata.SealedState) error {
	root, ptr := m.cfg.Catalog.Root()
	if (root == nil) != (st.Manifest == nil) {
		return errStale
	}
	if root != nil && (ptr.Object != st.Manifest.Object || ptr.Epoch != st.Manifest.Epoch || ptr.CRC != st.Manifest.CRC) {
		return errStale
	}
	return nil
}

// notice remembers when what waits was first seen, and counts it.
func (m *Maintainer) notice(st *metadata.SealedState) {
	now, waits, garbage := m.cfg.Clock(), map[uint64]bool{}, 0
	for i := range st.Garbage {
		waits[st.Garbage[i].Key] = true
		garbage += len(st.Garbage[i].Objects)
	}
	for i := range st.Uploads {
		waits[st.Uploads[i].Object] = true
	}
	maps.DeleteFunc(m.seen, func(object uint64, _ time.Duration) bool { return !waits[object] })
	for object := range waits {
		if _, ok := m.seen[object]; !ok {
			m.seen[object] = now
		}
	}
	m.metrics.garbage.Set(float64(garbage))
	m.metrics.intents.Set(float64(len(st.Uploads)))
}

// sweeper is one sweep.
type sweeper struct {
	m      *Maintainer
	listed map[uint64]bool // by etcd
}

// old reports whether what is there since a time of the wall clock has been there for the grace period. If that clock was moved, the time since this process
// saw it first has to do.
func (s *sweeper) old(object uint64, sinceMs int64) bool {
	m := s.m
	if m.cfg.DeleteBefore != nil && sinceMs >= m.cfg.DeleteBefore() {
		return false
	}
	if m.hasDrifted() {
		return m.cfg.Clock()-m.seen[object] >= m.cfg.Grace
	}
	return m.cfg.Now().UnixMilli()-sinceMs >= m.cfg.Grace.Milliseconds()
}

// unlisted reports whether nothing lists an object. What is listed and called garbage is a fault: it is kept, and said.
func (s *sweeper) unlisted(ctx context.Context, o *metadata.GarbageObject) (bool, error) {
	listed := s.listed[o.Object]
	if !listed {
		var err error
		if listed, err = s.m.cfg.Catalog.Lists(ctx, o.Object, o.FirstLSN, o.EndLSN, o.Kind); err != nil {
			return false, fmt.Errorf("is object %d listed: %w", o.Object, err)
		}
	}
	if listed {
		s.m.metrics.keptListed.Inc()
		s.m.cfg.Logger.Error("an object that is listed is to be deleted; it is kept", "shard", s.m.cfg.Shard, "object", o.Object, "epoch", o.Epoch, "kind", o.Kind)
	}
	return !listed, nil
}

// garbage deletes the objects of a record, and the record.
func (s *sweeper) garbage(ctx context.Context, g *metadata.Garbage) error {
	if !s.old(g.Key, g.SinceMs) {
		return nil
	}
	keys := make([]string, len(g.Objects))
	for i := range g.Objects {
		o := &g.Objects[i]
		if ok, err := s.unlisted(ctx, o); !ok || err != nil {
			return err
		}
		keys[i] = catalog.ObjectKey(s.m.cfg.Shard, o.Epoch, o.Object, o.Kind)
	}
	if err := s.delete(ctx, keys); err != nil {
		return err
	}
	return s.m.cfg.Own.DropGarbage(ctx, *g)
}

// upload deletes what an upload of an earlier epoch may have left, and its intent. Those of this epoch belong to jobs, or are left to the next.
func (s *sweeper) upload(ctx context.Context, u *metadata.Upload) error {
	if u.Epoch >= s.m.cfg.Own.Epoch() || !s.old(u.Object, u.StartedMs) {
		return nil
	}
	// An intent does not know its LSNs: all are asked for.
	o := metadata.GarbageObject{Object: u.Object, Epoch: u.Epoch, Kind: u.Kind, EndLSN: ^uint64(0)}
	if ok, err := s.unlisted(ctx, &o); !ok || err != nil {
		return err
	}
	if err := s.delete(ctx, []string{catalog.ObjectKey(s.m.cfg.Shard, u.Epoch, u.Object, u.Kind)}); err != nil {
		return err
	}
	return s.m.cfg.Own.DropUpload(ctx, *u)
}

// delete deletes objects while the lease holds.
func (s *sweeper) delete(ctx context.Context, keys []string) error {
	if err := s.m.valid(); err != nil {
		return err
	}
	if err := s.m.cfg.Bucket.Delete(ctx, keys...); err != nil {
		return err
	}
	s.m.metrics.deleted.Add(float64(len(keys)))
	return nil
}
