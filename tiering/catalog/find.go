package catalog

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"

	"github.com/varvemq/varve/metadata"
	"github.com/varvemq/varve/tiering/manifest"
	"github.com/varvemq/varve/tiering/objstore"
)

// Located is a run and the segment that has it.
type Located = manifest.Located

// maxFinds bounds how often a page may be replaced while it is looked for.
const maxFinds = 5

// Find returns the segment that has an offset of a queue, and its run: [ErrTrimmed] below the queue's first offset, [ErrBeyond] at or above its end. Only what is in pages costs
// requests, and only if it is not cached.
func (c *Catalog) Find(ctx context.Context, ordinal uint32, offset uint64) (manifest.Entry, manifest.Run, error) {
	for try := 1; ; try++ {
		s := c.snap.Load()
		e, r, err := c.find(ctx, s, ordinal, offset)
		// A page that is gone was replaced: another root lists what it had.
		if err != nil && try < maxFinds && errors.Is(err, objstore.ErrNotFound) && c.snap.Load().root != s.root {
			continue
		}
		return e, r, err
	}
}

func (c *Catalog) find(ctx context.Context, s *snapshot, ordinal uint32, offset uint64) (manifest.Entry, manifest.Run, error) {
	fault := func(err error) (manifest.Entry, manifest.Run, error) {
		return manifest.Entry{}, manifest.Run{}, fmt.Errorf("find queue %d, offset %d: %w", ordinal, offset, err)
	}
	row := s.table.row(ordinal)
	if row == nil {
		return fault(ErrBeyond)
	}
	switch first, end := row.bounds(); {
	case offset < first:
		return fault(ErrTrimmed)
	case offset >= end:
		return fault(ErrBeyond)
	}
	for i := len(s.recents) - 1; i >= 0; i-- {
		if r := s.recents[i].run(ordinal); r != nil && offset >= r.First && offset < r.End {
			return EntryOf(&s.recents[i].Segment), *r, nil
		}
	}
	p, err := c.search(ctx, s, ordinal, offset)
	if err != nil {
		return fault(err)
	}
	e, r, err := p.Find(ctx, ordinal, offset)
	if errors.Is(err, manifest.ErrNotFound) {
		err = ErrNotListed
	}
	if err != nil {
		return fault(c.inPage(p.Ref(), err))
	}
	return e, r, nil
}

// search returns the page that has an offset of a queue, or [ErrNotListed]. Pages are in order of the queue's offsets, but not each has the queue.
func (c *Catalog) search(ctx context.Context, s *snapshot, ordinal uint32, offset uint64) (*manifest.Page, error) {
	if !s.paged(ordinal) {
		return nil, ErrNotListed
	}
	pages := s.pages()
	lo, hi := 0, len(pages) // it is one of [lo, hi)
	for lo < hi {
		mid := (lo + hi) / 2
		at, p, first, end, err := c.nextWith(ctx, pages[:hi], mid, ordinal)
		switch {
		case err != nil:
			return nil, err
		case p == nil || offset < first:
			hi = mid
		case offset >= end:
			lo = at + 1
		default:
			return p, nil
		}
	}
	return nil, ErrNotListed
}

// nextWith returns the first page from number at on that has a queue, and which offsets of it. The page is nil if none has it.
func (c *Catalog) nextWith(ctx context.Context, pages []manifest.PageRef, at int, ordinal uint32) (_ int, _ *manifest.Page, first, end uint64, _ error) {
	for ; at < len(pages); at++ {
		p, err := c.Page(ctx, pages[at])
		if err != nil {
			return at, nil, 0, 0, err
		}
		first, end, err = p.Range(ctx, ordinal)
		switch {
		case err == nil:
			return at, p, first, end, nil
		case !errors.Is(err, manifest.ErrNotFound):
			return at, nil, 0, 0, c.inPage(pages[at], err)
		}
	}
	return at, nil, 0, 0, nil
}

// Since yields a queue's runs in order of offsets, from the first whose segment's MaxStore is ms or later; not those below the queue's first offset. An error ends it: if it
// wraps objstore.ErrNotFound, a page may have been replaced, and another call sees the new one.
func (c *Catalog) Since(ctx context.Context, ordinal uint32, ms int64) iter.Seq2[Located, error] {
	return func(yield func(Located, error) bool) {
		s := c.snap.Load()
		row := s.table.row(ordinal)
		if row == nil {
			return
		}
		first, _ := row.bounds()
		begun := false
		wanted := func(l *Located) bool {
			begun = begun || l.End > first && l.MaxStore >= ms // offsets rise: none below first comes after it
			return begun
		}
		pages := s.pages()
		if !s.paged(ordinal) {
			pages = nil
		}
		for i := range pages {
			if !begun && pages[i].MaxStore < ms {
				continue
			}
			p, err := c.Page(ctx, pages[i])
			if err != nil {
				yield(Located{}, fmt.Errorf("queue %d: %w", ordinal, err))
				return
			}
			for l, err := range p.Runs(ctx, ordinal) {
				if err != nil {
					yield(Located{}, fmt.Errorf("queue %d: %w", ordinal, c.inPage(pages[i], err)))
					return
				}
				if wanted(&l) && !yield(l, nil) {
					return
				}
			}
		}
		for _, l := range s.recentRuns(ordinal) {
			if wanted(&l) && !yield(l, nil) {
				return
			}
		}
	}
}

// recentRuns returns a queue's runs that etcd's segments have, in order of offsets.
func (s *snapshot) recentRuns(ordinal uint32) []Located {
	var out []Located
	for i := range s.recents {
		if r := s.recents[i].run(ordinal); r != nil {
			out = append(out, Located{Entry: EntryOf(&s.recents[i].Segment), Run: *r})
		}
	}
	slices.SortFunc(out, func(a, b Located) int { return cmp.Compare(a.First, b.First) })
	return out
}

// Entries yields the segments whose store times overlap [beginMs, endMs], newest LSNs first. The store times of a segment without messages are 0. An error ends it.
func (c *Catalog) Entries(ctx context.Context, beginMs, endMs int64) iter.Seq2[manifest.Entry, error] {
	return func(yield func(manifest.Entry, error) bool) {
		s := c.snap.Load()
		overlaps := func(minStore, maxStore int64) bool { return minStore <= endMs && maxStore >= beginMs }
		for i := len(s.recents) - 1; i >= 0; i-- {
			if e := EntryOf(&s.recents[i].Segment); overlaps(e.MinStore, e.MaxStore) && !yield(e, nil) {
				return
			}
		}
		for _, p := range slices.Backward(s.pages()) {
			if !overlaps(p.MinStore, p.MaxStore) && !overlaps(0, 0) {
				continue
			}
			entries, err := c.entries(ctx, p)
			if err != nil {
				yield(manifest.Entry{}, err)
				return
			}
			for _, e := range slices.Backward(entries) {
				if overlaps(e.MinStore, e.MaxStore) && !yield(e, nil) {
					return
				}
			}
		}
	}
}

// entries returns the segments of a page.
func (c *Catalog) entries(ctx context.Context, ref manifest.PageRef) ([]manifest.Entry, error) {
	p, err := c.Page(ctx, ref)
	if err != nil {
		return nil, err
	}
	entries, err := p.Entries(ctx)
	if err != nil {
		return nil, c.inPage(ref, err)
	}
	return entries, nil
}

// inPage names the page in which something was not found as it must be.
func (c *Catalog) inPage(ref manifest.PageRef, err error) error {
	return fmt.Errorf("page %s: %w", ObjectKey(c.cfg.Shard, ref.Epoch, ref.Object, metadata.KindPage), err)
}

// Lists reports whether the manifest's pointer, its root, its pages or etcd's segments refer to an object. A segment's LSNs say which pages to look at. With an
// error it is true, since nobody knows.
func (c *Catalog) Lists(ctx context.Context, object, firstLSN, endLSN uint64, kind string) (bool, error) {
	s := c.snap.Load()
	switch kind {
	case metadata.KindRoot:
		return s.root != nil && s.ptr.Object == object, nil
	case metadata.KindPage:
		return slices.ContainsFunc(s.pages(), func(p manifest.PageRef) bool { return p.Object == object }), nil
	}
	if slices.ContainsFunc(s.recents, func(r Recent) bool { return r.Object == object }) {
		return true, nil
	}
	for _, p := range s.pages() {
		if firstLSN > p.EndLSN || endLSN < p.FirstLSN {
			continue
		}
		entries, err := c.entries(ctx, p)
		if err != nil {
			return true, err
		}
		if slices.ContainsFunc(entries, func(e manifest.Entry) bool { return e.Object == object }) {
			return true, nil
		}
	}
	return false, nil
}
