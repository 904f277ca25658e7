package segment

import (
	"context"
	"fmt"
	"iter"
	"sort"
)

// Queue returns what the segment has of a queue, or [ErrNotFound].
func (r *Reader) Queue(ctx context.Context, ordinal uint32) (QueueInfo, error) {
	_, run, err := r.firstRun(ctx, ordinal)
	if err != nil {
		return QueueInfo{}, err
	}
	return run.queueInfo(), nil
}

// Queues yields all queues in the order of ordinals. An error ends it.
func (r *Reader) Queues(ctx context.Context) iter.Seq2[QueueInfo, error] {
	return func(yield func(QueueInfo, error) bool) {
		for i := range r.root.pages {
			p, err := r.page(ctx, i)
			for j := 0; err == nil && j < p.len(); j++ {
				var run run
				if run, err = p.run(j); err == nil && run.flags&runContinued == 0 && !yield(run.queueInfo(), nil) {
					return
				}
			}
			if err != nil {
				yield(QueueInfo{}, err)
				return
			}
		}
	}
}

// firstRun returns the first run of a queue, and its page's number.
func (r *Reader) firstRun(ctx context.Context, ordinal uint32) (int, run, error) {
	rows := r.root.pages
	// The queue begins in the last page that begins with a lower ordinal, or in the page after it.
	i := sort.Search(len(rows), func(i int) bool { return rows[i].ordinal >= ordinal })
	for _, at := range [...]int{i - 1, i} {
		if at < 0 || at >= len(rows) || at == i && rows[at].ordinal != ordinal {
			continue
		}
		found, run, err := r.runIn(ctx, at, ordinal)
		if err != nil || found {
			return at, run, err
		}
	}
	return 0, run{}, fmt.Errorf("queue %d: %w", ordinal, ErrNotFound)
}

// runIn returns a queue's run in a page.
func (r *Reader) runIn(ctx context.Context, at int, ordinal uint32) (bool, run, error) {
	p, err := r.page(ctx, at)
	if err != nil {
		return false, run{}, err
	}
	j, ok := p.find(ordinal)
	if !ok {
		return false, run{}, nil
	}
	found, err := p.run(j)
	return err == nil, found, err
}

// FindOffset returns the block, or the hole, that has an offset of a queue, or [ErrNotFound].
func (r *Reader) FindOffset(ctx context.Context, ordinal uint32, offset uint64) (BlockRef, error) {
	for e, err := range r.Blocks(ctx, ordinal, offset) {
		return e, err
	}
	return BlockRef{}, fmt.Errorf("queue %d, offset %d: %w", ordinal, offset, ErrNotFound)
}

// FindTime returns the first block of a queue that has a store time of ms or later, or [ErrNotFound]. Holes have no time.
func (r *Reader) FindTime(ctx context.Context, ordinal uint32, ms int64) (BlockRef, error) {
	at, first, err := r.firstRun(ctx, ordinal)
	if err != nil {
		return BlockRef{}, err
	}
	// Store times do not fall: all blocks before a page that begins below ms are below ms.
	rows, begin := r.root.pages, at
	for i := at + 1; i < len(rows) && rows[i].ordinal == ordinal; i++ {
		if rows[i].store != 0 && rows[i].store < ms {
			begin = i
		}
	}
	if begin != at {
		found, run, err := r.runIn(ctx, begin, ordinal)
		if err == nil && !found {
			err = corrupt(SectionIndex, rows[begin].pos, "queue %d is not in the page", ordinal)
		}
		if err != nil {
			return BlockRef{}, err
		}
		at, first = begin, run
	}
	for e, err := range r.from(ctx, at, first) {
		if err != nil || !e.Hole && e.MaxStore >= ms {
			return e, err
		}
	}
	return BlockRef{}, fmt.Errorf("queue %d, time %d: %w", ordinal, ms, ErrNotFound)
}

// Blocks yields the blocks and holes of a queue in order, the first being the one that has offset from. It yields nothing if the segment does not have the
// offset. An error ends it. Only the index is read: a filtered read passes over blocks by [BlockRef.MayMatch].
func (r *Reader) Blocks(ctx context.Context, ordinal uint32, from uint64) iter.Seq2[BlockRef, error] {
	return func(yield func(BlockRef, error) bool) {
		rows := r.root.pages
		at := sort.Search(len(rows), func(i int) bool {
			return rows[i].ordinal > ordinal || rows[i].ordinal == ordinal && rows[i].base > from
		}) - 1
		if at < 0 {
			return
		}
		found, run, err := r.runIn(ctx, at, ordinal)
		if err != nil {
			yield(BlockRef{}, err)
			return
		}
		if !found || from < run.info.First || from >= run.info.End {
			return
		}
		for e, err := range r.from(ctx, at, run) {
			if err == nil && e.End() <= from {
				continue
			}
			if !yield(e, err) {
				return
			}
		}
	}
}

// from yields the entries of a queue from a run on, which is in page at.
func (r *Reader) from(ctx context.Context, at int, run run) iter.Seq2[BlockRef, error] {
	return func(yield func(BlockRef, error) bool) {
		var e BlockRef
		for {
			ok, err := run.next(&e)
			if err == nil && !ok && run.flags&runContinues != 0 {
				at++
				if run, err = r.nextRun(ctx, at, &run); err == nil {
					continue
				}
			}
			if err != nil {
				yield(BlockRef{}, err)
				return
			}
			if !ok || !yield(e, nil) {
				return
			}
		}
	}
}

// nextRun returns the run in page at that continues the one before it.
func (r *Reader) nextRun(ctx context.Context, at int, before *run) (run, error) {
	o := before.info.Ordinal
	if at >= len(r.root.pages) {
		return run{}, before.page.corrupt("queue %d goes on behind the last page", o)
	}
	found, next, err := r.runIn(ctx, at, o)
	if err != nil {
		return run{}, err
	}
	if !found || next.flags&runContinued == 0 || !next.continues(before) {
		return run{}, before.page.corrupt("queue %d goes on at offset %d, which the next page does not say", o, before.base)
	}
	return next, nil
}

// withTopic returns the queue of a run, as another page would have it. Topics are compared by name, since each page numbers its own.
func withTopic(before, next *run) QueueInfo {
	i, name := before.topicName()
	j, other := next.topicName()
	info := before.info
	if i != j || name != other {
		info.Blocks = -1
	}
	return info
}
