package queue

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sort"

	"github.com/varvemq/varve/internal/message"
)

// OffsetByTime searches a queue by store time (unix ms) as RocketMQ does. Lower (upper false): the first offset with a
// store time of ms or later, Max if there is none. Upper: the last offset with a store time of ms or earlier, Min if
// there is none.
func (l *Log) OffsetByTime(ctx context.Context, q *Queue, ms int64, upper bool) (uint64, error) {
	if upper {
		if ms == 1<<63-1 {
			ms--
		}
		ms++
	}
	for moves := 0; ; moves++ {
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		off, cold, err := l.coldSince(ctx, q, ms)
		if err == nil && !cold {
			off, err = l.firstSince(q, ms)
		}
		if errors.Is(err, errMoved) && moves < maxMoves {
			continue
		}
		if err != nil {
			return 0, fmt.Errorf("search queue %d by time: %w", q.ordinal, err)
		}
		lo, hi := q.bounds()
		off = min(max(off, lo), hi)
		if upper && off > lo {
			off--
		}
		return off, nil
	}
}

// firstSince returns the first offset with a store time of ms or later, at least the queue's end if there is none. The
// times of a queue never fall, so that everything can be halved.
func (l *Log) firstSince(q *Queue, ms int64) (uint64, error) {
	q.mu.Lock()
	closed, live, next := slices.Clip(q.closed), slices.Clone(q.live), q.next
	q.mu.Unlock()
	var failed error
	i := sort.Search(len(closed), func(i int) bool {
		late, err := l.endsSince(q, closed[i], ms)
		if err != nil {
			failed = err
		}
		return late
	})
	if failed != nil {
		return 0, failed
	}
	var x extent
	if i < len(closed) {
		f, row, es, err := l.closedRow(q, closed[i])
		if err != nil {
			return 0, err
		}
		j := sort.Search(es.len(), func(j int) bool { return es.at(j).maxStore >= ms })
		if j == es.len() {
			return 0, corrupt(f.seq, entriesNumber, "queue %d has no entry since %d", q.ordinal, ms)
		}
		x = es.at(j).extent(f, row.first)
	} else {
		j := sort.Search(len(live), func(j int) bool { return live[j].maxStore() >= ms })
		if j == len(live) {
			return next, nil
		}
		es := live[j].entries
		k := sort.Search(len(es), func(k int) bool { return es[k].maxStore >= ms })
		x = es[k].extent(live[j].file, live[j].first)
	}
	if x.hole {
		return x.end(), nil
	}
	batch, err := l.messages(q, &x, nil)
	if err != nil {
		return 0, err
	}
	for ; len(batch) > 0; batch = batch[len(nextView(batch)):] {
		if v := nextView(batch); v.StoreTimestamp() >= ms {
			return uint64(v.QueueOffset()), nil
		}
	}
	return x.end(), nil
}

// endsSince reports whether the last store time of a run is ms or later.
func (l *Log) endsSince(q *Queue, run closedRun, ms int64) (bool, error) {
	f := l.file(uint64(run.seq))
	if f == nil {
		return false, errMoved
	}
	if lo, hi, ok := f.times(); ok && (hi < ms || lo >= ms) {
		return lo >= ms, nil
	}
	row, err := l.directoryRow(q, f, run)
	return row.maxStore >= ms, err
}

// StoreTime returns the store time of a visible message, unix ms; ErrNotFound.
func (l *Log) StoreTime(ctx context.Context, q *Queue, offset uint64) (int64, error) {
	var ms int64
	err := l.at(ctx, q, offset, func(v message.View) error {
		ms = v.StoreTimestamp()
		return nil
	})
	return ms, err
}

// EarliestStoreTime returns the store time of the first message kept, unix ms; -1 if there is none.
func (l *Log) EarliestStoreTime(ctx context.Context, q *Queue) (int64, error) {
	ms, err := l.StoreTime(ctx, q, q.Min())
	if errors.Is(err, ErrNotFound) {
		return -1, nil
	}
	return ms, err
}
