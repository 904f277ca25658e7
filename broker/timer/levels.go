package timer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/varvemq/varve/broker/queue"
	"github.com/varvemq/varve/broker/wal"
	"github.com/varvemq/varve/internal/message"
)

const (
	batchMessages = 128     // delivered in one record, which has at most 255 parts
	batchBytes    = 1 << 20 // read at a time
	retryFirst    = 100 * time.Millisecond
	retryLimit    = 5 * time.Second
	idlePoll      = time.Minute // a backstop: arrivals wake a level at once
)

// Target is where a due message goes.
type Target struct {
	Queue   *queue.Queue
	Topic   string
	QueueID int32
	Object  bool // of a topic of class object
}

// ErrNoTarget says that a destination does not exist any more.
var ErrNoTarget = errors.New("timer: no such destination")

// Config is what [Levels] needs.
type Config struct {
	Log    *queue.Log
	Queues []*queue.Queue // of the delay topic; level i+1 is Queues[i]
	Delays message.DelayLevels
	// Resolve finds the destination of a due message, making it if it must; ErrNoTarget if it was deleted.
	Resolve func(ctx context.Context, topic string, queueID int32) (Target, error)
	Clock   func() time.Time
	Logger  *slog.Logger
}

// Levels delivers delayed messages.
type Levels struct {
	cfg Config
}

// NewLevels makes the deliverer of the delay levels.
func NewLevels(cfg Config) *Levels {
	if cfg.Clock == nil {
		cfg.Clock = time.Now
	}
	return &Levels{cfg: cfg}
}

// Run delivers until ctx ends.
func (l *Levels) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	for i, q := range l.cfg.Queues {
		lv := &level{Levels: l, q: q, number: i + 1, delay: l.cfg.Delays.Delay(i + 1), most: batchMessages, wake: make(chan struct{}, 1)}
		lv.waiter.Wake = func(*queue.Waiter, queue.WakeReason) { lv.wake <- struct{}{} } // one waiter, one token
		g.Go(func() error { return lv.run(ctx) })
	}
	return g.Wait()
}

// level is one delay level.
type level struct {
	*Levels

	q      *queue.Queue
	number int
	delay  time.Duration
	most   int // messages in a record
	waiter queue.Waiter
	wake   chan struct{}
	buf    []byte

	// The record being built: batches, the encoded messages of all of them, and where each batch ends.
	batches []queue.Batch
	out     []byte
	ends    []int
	object  bool // a batch goes to a topic of class object
}

func (l *level) run(ctx context.Context) error {
	next, _ := l.q.Cursor()
	next = max(next, l.q.Min())
	pause := retryFirst
	for ctx.Err() == nil {
		advanced, wait, err := l.step(ctx, next)
		next = advanced
		switch {
		case errors.Is(err, queue.ErrClosed), errors.Is(err, queue.ErrDropped), ctx.Err() != nil:
			return nil //nolint:nilerr // the log or the process is ending
		case err != nil:
			l.cfg.Logger.Error("deliver delayed messages", "level", l.number, "offset", next, "retry_in", pause, "err", err)
			l.sleep(ctx, pause)
			pause = min(2*pause, retryLimit)
			continue
		case wait > 0:
			l.sleep(ctx, wait)
		case wait < 0:
			l.await(ctx, next)
		}
		pause = retryFirst
	}
	return nil
}

// step delivers what is due from next on. It returns the new place in the queue and how long nothing falls due: negative if there is nothing at all.
func (l *level) step(ctx context.Context, next uint64) (uint64, time.Duration, error) {
	var res queue.ReadResult
	var err error
	req := queue.ReadRequest{Offset: next, MaxMessages: batchMessages, MaxBytes: batchBytes}
	l.buf, res, err = l.cfg.Log.Read(ctx, l.q, req, l.buf[:0])
	switch {
	case err != nil:
		return next, 0, err
	case res.Status == queue.NoMessage:
		return next, -1, nil
	case res.Status != queue.Found:
		return res.Next, 0, nil
	}
	due := l.cfg.Clock().Add(-l.delay).UnixMilli()
	last := next
	l.out, l.batches, l.object = l.out[:0], l.batches[:0], false
	for rest, n := l.buf, 0; len(rest) > 0 && n < l.most; n++ {
		var v message.View
		if v, rest, err = message.Next(rest); err != nil {
			return next, 0, fmt.Errorf("offset %d: %w", last, err)
		}
		if at := v.StoreTimestamp(); at > due {
			if last == next {
				return next, time.Duration(at-due) * time.Millisecond, nil
			}
			break
		}
		if err := l.add(ctx, v); errors.Is(err, errOtherClass) {
			break
		} else if err != nil {
			if last > next {
				break // what is due before it must not wait for it; the next step meets the error again
			}
			return next, 0, fmt.Errorf("offset %d: %w", last, err)
		}
		last = uint64(v.QueueOffset()) + 1
	}
	op := queue.Op{Sync: true, Internal: true, Object: l.object, AckDurable: true, Batches: l.batches, Cursors: []queue.Cursor{{Queue: l.q, Offset: last}}}
	from := 0
	for i := range op.Batches { // l.out grew while it was filled: only now does it stay where it is
		b := &op.Batches[i]
		b.Messages = l.out[from:l.ends[i]]
		from = l.ends[i]
	}
	err = l.cfg.Log.AppendWait(ctx, &op)
	switch {
	case err == nil:
		l.most = batchMessages
		return last, 0, nil
	case errors.Is(err, wal.ErrTooLarge) && last-next > 1: // a small log has small records
		l.most = int(last-next) / 2
		return next, 0, nil
	default:
		return next, 0, err
	}
}

// errOtherClass ends a record: what becomes visible when it is durable, and what waits for a segment, are not to wait for each other.
var errOtherClass = errors.New("timer: another class of durability")

// add encodes one due message for its destination, behind the previous one's batch if it goes to the same queue.
func (l *level) add(ctx context.Context, v message.View) error {
	fields := v.Fields()
	topic, id, ok := destination(fields.Properties)
	if !ok {
		l.cfg.Logger.Error("drop a delayed message without a destination", "level", l.number, "offset", v.QueueOffset())
		return nil
	}
	target, err := l.cfg.Resolve(ctx, topic, id)
	if errors.Is(err, ErrNoTarget) {
		l.cfg.Logger.Warn("drop a delayed message: its topic is gone", "level", l.number, "offset", v.QueueOffset(), "topic", topic)
		return nil
	}
	if err != nil {
		return err
	}
	if len(l.batches) > 0 && l.object != target.Object {
		return errOtherClass
	}
	l.object = target.Object
	fields.Topic, fields.QueueID = target.Topic, target.QueueID
	fields.Properties = message.RemoveProperties(nil, fields.Properties, message.PropertyDelay, message.PropertyRealTopic, message.PropertyRealQueueID)
	l.out = message.Append(l.out, &fields)
	n := len(l.batches)
	if n > 0 && l.batches[n-1].Queue == target.Queue {
		l.batches[n-1].Count++
		l.ends[n-1] = len(l.out)
		return nil
	}
	l.batches = append(l.batches, queue.Batch{Queue: target.Queue, Count: 1})
	l.ends = append(l.ends[:n], len(l.out))
	return nil
}

// destination returns the topic and the queue that stand in the properties of a delayed message.
func destination(props []byte) (topic string, queueID int32, ok bool) {
	topic = message.PropertyString(props, message.PropertyRealTopic)
	id, err := strconv.ParseInt(message.PropertyString(props, message.PropertyRealQueueID), 10, 32)
	return topic, int32(id), topic != "" && err == nil
}

func (l *level) sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// await waits until a message is at next.
func (l *level) await(ctx context.Context, next uint64) {
	l.waiter.Offset, l.waiter.Filter, l.waiter.Deadline = next, nil, l.cfg.Clock().Add(idlePoll)
	if !l.cfg.Log.Wait(l.q, &l.waiter) {
		return
	}
	select {
	case <-l.wake:
	case <-ctx.Done():
		if !l.cfg.Log.Cancel(&l.waiter) {
			<-l.wake
		}
	}
}
