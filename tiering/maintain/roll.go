package maintain

import (
	"context"
	"fmt"
	"time"

	"github.com/varvemq/varve/tiering/catalog"
	"github.com/varvemq/varve/tiering/manifest"
)

// rollLimits are the numbers of the manifest's upkeep.
type rollLimits struct {
	due      int // final segments in etcd from which on they are rolled
	hard     int // segments in etcd from which on they are rolled whatever they are
	atOnce   int // in a transaction
	segments int // of a page
	bytes    int64
	runs     uint64
	deadDue  int           // units with nothing to read from which on they are rolled,
	deadWait time.Duration // or one, when the last roll was so long ago
}

func defaultRollLimits() rollLimits {
	return rollLimits{
		due: 64, hard: 1024, atOnce: 50, segments: manifest.MaxPageSegments, bytes: 4 << 20, runs: manifest.MaxPageRuns / 4, deadDue: 16, deadWait: 10 * time.Minute,
	}
}

// rollable returns the segments to roll next: of the oldest units, so many as one transaction takes; none if it is not due.
func (m *Maintainer) rollable(p *plan) []catalog.Recent {
	l := &m.limits.roll
	total, ready, dead, toLastDead := 0, 0, 0, 0
	for i := range p.units {
		u := &p.units[i]
		total += len(u.segs)
		if i >= p.final {
			continue
		}
		ready += len(u.segs)
		if u.class == classDead {
			dead++
			toLastDead = ready
		}
	}
	limit := 0
	switch {
	case total > l.hard:
		limit = total
	case ready >= l.due:
		limit = ready
	case dead >= l.deadDue || dead > 0 && m.cfg.Clock()-m.lastRoll >= l.deadWait:
		limit = toLastDead
	}
	var segs []catalog.Recent
	for i := range p.units {
		n := len(segs) + len(p.units[i].segs)
		if n > limit || n > l.atOnce && i > 0 {
			break
		}
		segs = append(segs, p.units[i].segs...)
	}
	return segs
}

// roll moves the oldest segments from etcd into the manifest while that is due.
func (m *Maintainer) roll(ctx context.Context) error {
	for m.job == nil {
		p := m.plan()
		segs := m.rollable(&p)
		if len(segs) == 0 {
			return ctx.Err()
		}
		if err := m.rollSegments(ctx, segs); err != nil {
			return err
		}
	}
	return nil
}

// rollSegments moves segments into the last page or a new one.
func (m *Maintainer) rollSegments(ctx context.Context, segs []catalog.Recent) error {
	root, _ := m.cfg.Catalog.Root()
	e := &edit{why: "rolled", rows: m.rowsOf(root), rolled: segs, done: func() {
		m.metrics.rolled.Add(float64(len(segs)))
		m.lastRoll = m.cfg.Clock()
	}}
	page, err := m.lastPage(ctx, root, segs)
	if err != nil {
		return fmt.Errorf("read the last page: %w", err)
	}
	for i := range segs {
		e.rows.roll(&segs[i], m.cfg.Topics.Dead)
		page.segs = append(page.segs, manifest.PageSegment{Entry: catalog.EntryOf(&segs[i].Segment), Runs: segs[i].Runs})
	}
	e.pages = []pageEdit{page}
	return m.change(ctx, e)
}

// lastPage returns the last page as it is if it has room for segments, else a new one.
func (m *Maintainer) lastPage(ctx context.Context, root *manifest.Root, segs []catalog.Recent) (pageEdit, error) {
	if root == nil || len(root.Pages) == 0 {
		return pageEdit{}, nil
	}
	l := &m.limits.roll
	last, next := root.Pages[len(root.Pages)-1], pageEdit{at: len(root.Pages)}
	if int(last.Segments)+len(segs) > l.segments || last.Size > l.bytes {
		return next, nil
	}
	page, err := m.cfg.Catalog.Page(ctx, last)
	if err != nil {
		return pageEdit{}, err
	}
	_, runs := page.Counts()
	for i := range segs {
		runs += uint64(len(segs[i].Runs))
	}
	if runs > l.runs {
		return next, nil
	}
	all, err := page.All(ctx)
	return pageEdit{at: len(root.Pages) - 1, segs: all}, err
}
