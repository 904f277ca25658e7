package queue

import (
	"context"
	"fmt"
	"slices"

	"github.com/varvemq/varve/broker/wal"
)

// TrimTo drops whole closed WAL files below pos. The newest closed file stays, and so does what is not closed: both go with
// a later call. Whoever calls it answers for every message below pos: with a tier they are read from its segments from then on,
// without one the first offsets of the queues move.
func (l *Log) TrimTo(ctx context.Context, pos wal.Position) error {
	l.trimMu.Lock()
	defer l.trimMu.Unlock()
	l.unpin()
	files := l.w().Files()
	n := 0
	for n+2 < len(files) && files[n].Closed && files[n+1].Closed && files[n].End <= pos {
		n++
	}
	if n == 0 {
		return ctx.Err()
	}
	keep := files[n]
	for _, q := range l.allQueues() {
		if err := ctx.Err(); err != nil {
			return err
		}
		q.trim(uint32(keep.Seq), l.tier.Load() != nil)
	}
	l.filesMu.Lock()
	l.files = slices.DeleteFunc(slices.Clone(l.files), func(f *fileIndex) bool { return f.seq < keep.Seq })
	l.filesMu.Unlock()
	for _, f := range files[:n] {
		l.cache.drop(f.Seq)
	}
	if err := l.w().TrimTo(keep.Base); err != nil {
		return fmt.Errorf("queue: trim: %w", err)
	}
	return nil
}

// trim forgets the runs in files before keep. What they held is in segments, or gone.
func (q *Queue) trim(keep uint32, tiered bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	n := 0
	for n < len(q.closed) && q.closed[n].seq < keep {
		n++
	}
	if n == 0 || q.dropped.Load() {
		return
	}
	q.closed = slices.Clone(q.closed[n:])
	switch {
	case len(q.closed) > 0:
		q.min.Store(q.closed[0].first)
	case len(q.live) > 0:
		q.min.Store(q.live[0].first)
	default:
		q.closed = nil
		q.min.Store(q.next)
	}
	if !tiered {
		q.first.Store(q.min.Load())
	}
}
