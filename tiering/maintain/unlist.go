package maintain

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/varvemq/varve/metadata"
	"github.com/varvemq/varve/tiering/manifest"
)

// unlistLimits say when a page is worth to be written anew for what is dead in it.
type unlistLimits struct {
	segments int
	bytes    int64
	wait     time.Duration // since the last time; then one segment will do
	scans    int           // pages read in a pass
	pages    int           // written at once
	objects  int           // that become garbage at once
}

func defaultUnlistLimits() unlistLimits {
	return unlistLimits{segments: 32, bytes: 1 << 30, wait: 10 * time.Minute, scans: 8, pages: 8, objects: 1500}
}

// pageLife is what is known of a page: of each segment that can be read a run that shows it, so that the page is only read again when one of those runs dies.
type pageLife struct {
	witnesses []manifest.Run
	dead      int
	bytes     int64 // of dead segments
}

// alive returns a run of a segment that can be read, or false.
func alive(seg *manifest.PageSegment, f facts) (manifest.Run, bool) {
	for _, r := range seg.Runs {
		if !isDead(r, f) {
			return r, true
		}
	}
	return manifest.Run{}, false
}

// unlist takes segments with nothing left to read out of the manifest's pages. The rows of the root have what they said besides.
func (m *Maintainer) unlist(ctx context.Context) error {
	for m.job == nil {
		root, _ := m.cfg.Catalog.Root()
		if root == nil {
			return nil
		}
		due, err := m.deadPages(ctx, root)
		if err != nil {
			return err
		}
		if len(due) == 0 {
			return nil
		}
		if err := m.unlistIn(ctx, root, due); err != nil {
			return err
		}
	}
	return nil
}

// deadPages returns pages, by their place in the root, that are worth to be written anew. It reads a few that are not known, or of which something has died.
func (m *Maintainer) deadPages(ctx context.Context, root *manifest.Root) ([]int, error) {
	l, f := &m.limits.unlist, queueFacts{m: m}
	known := make(map[uint64]bool, len(root.Pages))
	for i := range root.Pages {
		known[root.Pages[i].Object] = true
	}
	maps.DeleteFunc(m.pages, func(object uint64, _ *pageLife) bool { return !known[object] })
	waited := m.cfg.Clock()-m.lastUnlist >= l.wait
	scans := l.scans
	var due []int
	for i := range root.Pages {
		ref := &root.Pages[i]
		life := m.pages[ref.Object]
		if life == nil || slices.ContainsFunc(life.witnesses, func(r manifest.Run) bool { return isDead(r, f) }) {
			if scans == 0 {
				continue
			}
			scans--
			var err error
			if life, err = m.scanPage(ctx, ref); err != nil {
				return nil, err
			}
			m.pages[ref.Object] = life
		}
		whole := life.dead == int(ref.Segments)
		if life.dead > 0 && (whole || waited || life.dead >= l.segments || life.bytes >= l.bytes) && len(due) < l.pages {
			due = append(due, i)
		}
	}
	return due, nil
}

func (m *Maintainer) readPage(ctx context.Context, ref *manifest.PageRef) ([]manifest.PageSegment, error) {
	page, err := m.cfg.Catalog.Page(ctx, *ref)
	var segs []manifest.PageSegment
	if err == nil {
		segs, err = page.All(ctx)
	}
	if err != nil {
		return nil, fmt.Errorf("read page %d: %w", ref.Object, err)
	}
	return segs, nil
}

func (m *Maintainer) scanPage(ctx context.Context, ref *manifest.PageRef) (*pageLife, error) {
	segs, err := m.readPage(ctx, ref)
	if err != nil {
		return nil, err
	}
	life := &pageLife{}
	for i := range segs {
		if r, ok := alive(&segs[i], queueFacts{m: m}); ok {
			life.witnesses = append(life.witnesses, r)
			continue
		}
		life.dead++
		life.bytes += segs[i].Size
	}
	return life, nil
}

// unlistIn writes pages anew without their dead segments.
func (m *Maintainer) unlistIn(ctx context.Context, root *manifest.Root, due []int) error {
	f := queueFacts{m: m}
	e := &edit{why: "expired", rows: m.rowsOf(root)}
	var bytes int64
	for _, at := range due {
		segs, err := m.readPage(ctx, &root.Pages[at])
		if err != nil {
			return err
		}
		p := pageEdit{at: at}
		for i := range segs {
			s := &segs[i]
			if _, ok := alive(s, f); ok {
				p.segs = append(p.segs, *s)
				continue
			}
			e.rows.unlist(s, f.first)
			e.garbage = append(e.garbage, metadata.GarbageObject{Object: s.Object, Epoch: s.Epoch, Kind: metadata.KindSegment, FirstLSN: s.FirstLSN, EndLSN: s.EndLSN})
			bytes += s.Size
		}
		e.pages = append(e.pages, p)
		if len(e.garbage) >= m.limits.unlist.objects {
			break
		}
	}
	if len(e.garbage) == 0 {
		return errors.New("maintain: a page has nothing dead that had")
	}
	e.done = func() {
		m.metrics.unlisted.Add(float64(len(e.garbage)))
		m.metrics.unlistedBytes.Add(float64(bytes))
		m.lastUnlist = m.cfg.Clock()
	}
	return m.change(ctx, e)
}
