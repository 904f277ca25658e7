package coldread

import (
	"context"

	"github.com/varvemq/varve/tiering/segment"
)

// step tells the cursors where a reader is, and fetches ahead of it.
func (r *Reader) step(ctx context.Context, s *step) {
	limit := min(r.cfg.ReadAhead, r.cfg.CacheBytes/4)
	p, before := r.cursors.step(s, max(limit, 0))
	if before != nil {
		r.cache.passed(before.run, before.first)
	}
	if p == nil {
		return
	}
	_, ok := r.spawn(ctx, func(ctx context.Context) {
		a := aheadPlanner{r: r, bytes: p.bytes, left: p.bytes, at: p.from, tags: p.tags}
		a.plan(ctx, p.cursor.ordinal)
		r.cursors.planned(p, a.at, p.bytes-a.left)
	})
	if !ok {
		r.cursors.planned(p, p.from, 0)
	}
}

// aheadPlanner begins fetches of what comes next in a queue. Where it meets an error it ends: whoever reads there will see.
type aheadPlanner struct {
	r     *Reader
	tags  []int64
	at    uint64 // the next offset
	bytes int64  // of messages to fetch in all
	left  int64  // and still
	over  bool   // one more than that is taken
	seen  int    // entries of indexes

	seg  opened
	refs []segment.BlockRef // to be fetched with one GET
}

func (a *aheadPlanner) plan(ctx context.Context, ordinal uint32) {
	for a.left > 0 && a.seen < maxWalk {
		e, run, err := a.r.cfg.Catalog.Find(ctx, ordinal, a.at)
		if err != nil {
			return
		}
		if a.seg, err = a.r.open(ctx, e); err != nil || !a.planRun(ctx, runKey{e.Object, ordinal}) {
			return
		}
		if a.at < run.End && a.left > 0 && a.seen < maxWalk {
			return // the index ends before the run
		}
	}
}

// planRun plans what a run has; false ends the plan.
func (a *aheadPlanner) planRun(ctx context.Context, run runKey) bool {
	ok := true
	for e, err := range a.seg.index.Blocks(ctx, run.ordinal, a.at) {
		if err != nil {
			ok = false
			break
		}
		if a.left <= 0 && (a.over || int64(e.Raw) > (a.bytes-a.left)/8) || a.seen >= maxWalk {
			break
		}
		a.over = a.left <= 0 // one that is small beside the rest goes along: the end of a run often is
		a.seen++
		if e.Hole || a.tags != nil && !e.MayMatch(a.tags) || a.r.cache.has(run, e.Base) {
			a.at = e.End()
			continue
		}
		if len(a.refs) > 0 {
			first, last := &a.refs[0], &a.refs[len(a.refs)-1]
			gap := e.Pos - (last.Pos + int64(last.Size))
			if gap > gapBytes || e.Pos+int64(e.Size)-first.Pos > maxGet {
				if !a.flush(ctx) {
					return false
				}
			}
		}
		a.refs = append(a.refs, e)
		a.left -= int64(e.Raw)
		a.at = e.End()
	}
	return a.flush(ctx) && ok
}

// flush begins the fetch of what has gathered. If there is no room the plan ends where it begins.
func (a *aheadPlanner) flush(ctx context.Context) bool {
	refs := a.refs
	if a.refs = nil; len(refs) == 0 {
		return true
	}
	r, raw := a.r, int64(0)
	for i := range refs {
		raw += int64(refs[i].Raw) + overhead
	}
	last := &refs[len(refs)-1]
	n := last.Pos + int64(last.Size) - refs[0].Pos
	if r.cache.roomAhead() < raw || !r.urgent.tryTake(n) {
		a.at = refs[0].Base
		a.left += raw - int64(len(refs))*overhead
		return false
	}
	f := r.cache.beginAhead(a.seg, refs)
	if f == nil {
		r.urgent.give(n)
		return true
	}
	f.bytes = n
	r.m.aheadBytes.Add(float64(raw))
	r.start(ctx, f)
	return true
}
