package maintain

import (
	"context"
	"errors"
	"fmt"
	"maps"

	"github.com/varvemq/varve/metadata"
	"github.com/varvemq/varve/tiering/manifest"
)

// absence says that a page has none of a tombstone's ordinals. It stays true: pages do not change, and ordinals are not used again.
type absence struct{ page, incarnation uint64 }

// tombstones drops those whose ordinals no listed segment has any more.
func (m *Maintainer) tombstones(ctx context.Context) error {
	if m.cfg.Tombstones == nil || !m.sweepDue() || m.job != nil {
		return nil
	}
	// First the log is asked, then the catalog: what leaves the log is in the catalog before.
	all, err := m.cfg.Tombstones(ctx)
	if err != nil {
		return err
	}
	var gone []*metadata.Tombstone
	for _, t := range all {
		listed, err := m.listsOrdinals(ctx, t)
		if err != nil {
			return fmt.Errorf("tombstone %d: %w", t.Incarnation, err)
		}
		if !listed {
			gone = append(gone, t)
		}
	}
	m.forgetPages(all)
	return m.dropTombstones(ctx, gone)
}

// sweepDue reports whether what reads from etcd is due.
func (m *Maintainer) sweepDue() bool {
	return !m.swept || m.cfg.Clock()-m.lastSweep >= m.cfg.SweepInterval
}

// listsOrdinals reports whether a listed segment has a queue of a deleted topic.
func (m *Maintainer) listsOrdinals(ctx context.Context, t *metadata.Tombstone) (bool, error) {
	for _, seg := range m.cfg.Catalog.Recent() {
		for _, run := range seg.Runs {
			if hasOrdinal(t, run.Ordinal) {
				return true, nil
			}
		}
	}
	root, _ := m.cfg.Catalog.Root()
	if root == nil {
		return false, nil
	}
	for _, ref := range root.Pages {
		at := absence{ref.Object, t.Incarnation}
		if _, ok := m.absent[at]; ok {
			continue
		}
		page, err := m.cfg.Catalog.Page(ctx, ref)
		if err != nil {
			return false, err
		}
		has, err := pageHas(ctx, page, t)
		if has || err != nil {
			return has, err
		}
		m.absent[at] = struct{}{}
	}
	return false, nil
}

func pageHas(ctx context.Context, page *manifest.Page, t *metadata.Tombstone) (bool, error) {
	for _, r := range t.Ordinals {
		for i := range uint32(r.Count) {
			_, _, err := page.Range(ctx, r.First+i)
			if !errors.Is(err, manifest.ErrNotFound) {
				return err == nil, err
			}
		}
	}
	return false, nil
}

func hasOrdinal(t *metadata.Tombstone, ordinal uint32) bool {
	for _, r := range t.Ordinals {
		if ordinal >= r.First && ordinal-r.First < uint32(r.Count) {
			return true
		}
	}
	return false
}

// forgetPages forgets what is known of pages or tombstones that are gone.
func (m *Maintainer) forgetPages(all []*metadata.Tombstone) {
	if len(m.absent) == 0 {
		return
	}
	pages, stones := map[uint64]bool{}, map[uint64]bool{}
	if root, _ := m.cfg.Catalog.Root(); root != nil {
		for i := range root.Pages {
			pages[root.Pages[i].Object] = true
		}
	}
	for _, t := range all {
		stones[t.Incarnation] = true
	}
	maps.DeleteFunc(m.absent, func(a absence, _ struct{}) bool { return !pages[a.page] || !stones[a.incarnation] })
}

// dropTombstones drops tombstones, after the root has no rows of their queues.
func (m *Maintainer) dropTombstones(ctx context.Context, gone []*metadata.Tombstone) error {
	if len(gone) == 0 {
		return nil
	}
	if root, _ := m.cfg.Catalog.Root(); root != nil {
		rest := rows{}
		for _, row := range root.Queues {
			rest[row.Ordinal] = &row
			for _, t := range gone {
				if hasOrdinal(t, row.Ordinal) {
					delete(rest, row.Ordinal)
				}
			}
		}
		if len(rest) < len(root.Queues) {
			if err := m.change(ctx, &edit{why: "topics deleted", rows: rest}); err != nil {
				return err
			}
		}
	}
	for _, t := range gone {
		var ordinals []uint32
		for _, r := range t.Ordinals {
			for i := range uint32(r.Count) {
				ordinals = append(ordinals, r.First+i)
			}
		}
		m.cfg.Catalog.DropQueues(ordinals)
		if err := m.cfg.DropTombstone(ctx, t); err != nil {
			return fmt.Errorf("drop tombstone %d: %w", t.Incarnation, err)
		}
	}
	return nil
}
