package queue

import (
	"context"
	"fmt"
	"math"
	"slices"

	"github.com/varvemq/varve/broker/wal"
	"github.com/varvemq/varve/internal/message"
)

// skipParts is how many queues one record declares holes in.
const skipParts = 200

// maxFileSkip bounds the offsets of a queue in one file of the WAL, of which its index tells by 32 bits, before messages follow.
const maxFileSkip = 1 << 31

// Recovery tells what the WAL found when it was opened: whether a machine was lost with data of async topics.
func (l *Log) Recovery() wal.Recovery { return l.w().Recovery() }

// SkipTo lets each of the queues whose next message would have a lower offset than its target continue there, and returns when that is durable: reads in between answer
// NoMatch with Next behind them. It is for a start that knows that lower offsets may have been used and are lost with another WAL. Call it before
// the queues are written to. It may go beyond the WAL's limit.
func (l *Log) SkipTo(ctx context.Context, queues []*Queue, target func(*Queue) uint64) error {
	for file := l.active.Load(); ; file = nil {
		again, err := l.skipTo(ctx, queues, target, file)
		if err != nil {
			return fmt.Errorf("queue: skip offsets: %w", err)
		}
		if !again {
			return nil
		}
		if err := l.w().Rotate(); err != nil {
			return fmt.Errorf("queue: skip offsets: %w", err)
		}
	}
}

// skipTo goes as far as the index of one file of the WAL can say: of the given one, nil if it is new.
func (l *Log) skipTo(ctx context.Context, queues []*Queue, target func(*Queue) uint64, file *fileIndex) (again bool, err error) {
	var skips []skip
	for _, q := range queues {
		n, rest := q.skipTowards(target(q), file)
		again = again || rest
		if n > 0 {
			skips = append(skips, skip{queue: q, count: n})
		}
	}
	return again, l.appendSkips(ctx, skips)
}

// skipTowards returns how many offsets the queue may skip in a file, and whether more are needed.
func (q *Queue) skipTowards(offset uint64, file *fileIndex) (n uint32, more bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.next >= offset {
		return 0, false
	}
	first := q.next
	if k := len(q.live); k > 0 && q.live[k-1].file == file {
		first = q.live[k-1].first
	}
	room := uint64(0)
	if used := q.next - first; used < maxFileSkip {
		room = maxFileSkip - used
	}
	want := offset - q.next
	return uint32(min(want, room)), want > room
}

func (l *Log) appendSkips(ctx context.Context, skips []skip) error {
	for some := range slices.Chunk(skips, skipParts) {
		if err := l.AppendWait(ctx, &Op{Sync: true, Internal: true, beyond: true, skips: some}); err != nil {
			return err
		}
	}
	return nil
}

// SkipAfterLoss is for a start after which Recovery reports MachineLost: of the given queues, all that there
// are, offsets may have been shown and lost, whatever mode they are in now. Each continues at an offset that cannot have been used,
// and reads in between answer NoMatch with Next behind them. That is durable when SkipAfterLoss returns nil, and the loss is settled:
// it is not reported again. Call it before the queues are written to. It may go beyond the WAL's limit.
func (l *Log) SkipAfterLoss(ctx context.Context, queues []*Queue) error {
	count := l.w().Recovery().AsyncCap/message.MinSize + 1
	if count > math.MaxUint32/2 {
		return fmt.Errorf("queue: skip after loss: %d offsets: %w", count, ErrInvalidOp)
	}
	skips := make([]skip, len(queues))
	for i, q := range queues {
		skips[i] = skip{queue: q, count: uint32(count)}
	}
	if err := l.appendSkips(ctx, skips); err != nil {
		return fmt.Errorf("queue: skip after loss: %w", err)
	}
	if err := l.w().SettleLoss(ctx); err != nil {
		return fmt.Errorf("queue: skip after loss: %w", err)
	}
	return nil
}
