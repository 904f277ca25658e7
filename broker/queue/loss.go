package queue

import (
	"context"
	"fmt"
	"math"

	"github.com/varvemq/varve/broker/wal"
	"github.com/varvemq/varve/internal/message"
)

// skipParts is how many queues one record declares holes in.
const skipParts = 200

// Recovery tells what the WAL found when it was opened: whether a machine was lost with data of async topics.
func (l *Log) Recovery() wal.Recovery { return l.w().Recovery() }

// SkipTo lets each of the queues whose next message would have a lower offset continue at this one, and returns when that is durable: reads in between answer
// NoMatch with Next behind them. It is for a start that knows that lower offsets may have been used and are lost with another WAL. Call it before
// the queues are written to.
func (l *Log) SkipTo(ctx context.Context, queues []*Queue, offset uint64) error {
	op := Op{Sync: true, Internal: true}
	for i, q := range queues {
		q.mu.Lock()
		next := q.next
		q.mu.Unlock()
		for next < offset {
			n := min(offset-next, math.MaxUint32/2)
			op.skips = append(op.skips, skip{queue: q, count: uint32(n)})
			next += n
		}
		if len(op.skips) < skipParts && i < len(queues)-1 || len(op.skips) == 0 {
			continue
		}
		if err := l.AppendWait(ctx, &op); err != nil {
			return fmt.Errorf("queue: skip to %d: %w", offset, err)
		}
		op = Op{Sync: true, Internal: true}
	}
	return nil
}

// SkipAfterLoss is for a start after which Recovery reports MachineLost: of the given queues, those that may take
// messages in mode async, offsets may have been shown and lost. Each continues at an offset that cannot have been used,
// and reads in between answer NoMatch with Next behind them. That is durable when SkipAfterLoss returns nil, and the loss is settled:
// it is not reported again. Call it before the queues are written to.
func (l *Log) SkipAfterLoss(ctx context.Context, queues []*Queue) error {
	count := l.w().Recovery().AsyncCap/message.MinSize + 1
	if count > math.MaxUint32/2 {
		return fmt.Errorf("queue: skip after loss: %d offsets: %w", count, ErrInvalidOp)
	}
	for len(queues) > 0 {
		n := min(len(queues), skipParts)
		op := Op{Sync: true, Internal: true}
		for _, q := range queues[:n] {
			op.skips = append(op.skips, skip{queue: q, count: uint32(count)})
		}
		if err := l.AppendWait(ctx, &op); err != nil {
			return fmt.Errorf("queue: skip after loss: %w", err)
		}
		queues = queues[n:]
	}
	if err := l.w().SettleLoss(ctx); err != nil {
		return fmt.Errorf("queue: skip after loss: %w", err)
	}
	return nil
}
