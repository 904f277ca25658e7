package queue

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/varvemq/varve/internal/message"
	"github.com/varvemq/varve/tiering/catalog"
	"github.com/varvemq/varve/tiering/coldread"
	"github.com/varvemq/varve/tiering/manifest"
)

// Tier is the sealed history of the shard, from which a queue is read below what its log has. It is a *coldread.Reader.
type Tier interface {
	// Block returns the block, the hole or the blocks passed over (none of their messages has one of the tag hashes) that hold an offset.
	Block(ctx context.Context, ordinal uint32, offset uint64, tags []int64) (coldread.Block, error)
	// OffsetByTime returns the first sealed offset with a store time of ms or later, and whether there is one.
	OffsetByTime(ctx context.Context, ordinal uint32, ms int64) (uint64, bool, error)
	// ByKey yields the messages that may have a key, by its message.KeyHash, newest segment first.
	ByKey(ctx context.Context, hash uint64, begin, end int64, yield func(ordinal uint32, offset uint64, m message.View) bool) error
}

var _ Tier = (*coldread.Reader)(nil)

// tierRef makes an interface fit an atomic pointer.
type tierRef struct{ Tier }

// GapError says that the log and the segments of a shard do not fit together: messages between them are missing.
type GapError struct {
	Ordinal               uint32
	SealedEnd             uint64 // end of what is in segments
	LogFirst, LogNext     uint64 // what the log has
	logBeginsBehindSealed bool
}

func (e *GapError) Error() string {
	if e.logBeginsBehindSealed {
		return fmt.Sprintf("queue %d: segments end at offset %d, the log begins at %d: what is between them is missing", e.Ordinal, e.SealedEnd, e.LogFirst)
	}
	return fmt.Sprintf("queue %d: the log ends at offset %d, below the end of the segments, %d: it is older than they are", e.Ordinal, e.LogNext, e.SealedEnd)
}

// Attach joins the log to the sealed history of its shard, of which rows has every queue: queues that the log does not know, because it is new, go on where
// their segments end. Call it once, before the queues are used. A *GapError says that the two do not fit; then some queues may have been changed,
// and the log is of no use.
func (l *Log) Attach(t Tier, rows []manifest.QueueRow) error {
	sealed := make(map[uint32]struct{}, len(rows))
	for i := range rows {
		sealed[rows[i].Ordinal] = struct{}{}
		if err := l.Queue(rows[i].Ordinal).attach(&rows[i]); err != nil {
			return fmt.Errorf("queue: attach: %w", err)
		}
	}
	for _, q := range l.allQueues() {
		if _, ok := sealed[q.ordinal]; ok || q.dropped.Load() {
			continue
		}
		if err := q.attachUnsealed(); err != nil {
			return fmt.Errorf("queue: attach: %w", err)
		}
	}
	l.tier.Store(&tierRef{t})
	return nil
}

func (q *Queue) attach(row *manifest.QueueRow) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.dropped.Load() {
		return nil
	}
	gap := &GapError{Ordinal: q.ordinal, SealedEnd: row.End, LogFirst: q.min.Load(), LogNext: q.next}
	switch local := len(q.closed)+len(q.live) > 0; {
	case local && gap.LogFirst > row.End, !local && q.next > row.End:
		gap.logBeginsBehindSealed = true
		return gap
	case local && q.next < row.End:
		return gap
	case !local:
		q.next = row.End
		q.min.Store(row.End)
		q.visible.Store(row.End)
	}
	q.lastStore = max(q.lastStore, row.LastStore)
	q.first.Store(row.First)
	if q.cursor.Load() < row.Cursor {
		q.cursor.Store(row.Cursor)
	}
	return nil
}

// attachUnsealed checks a queue that has nothing in segments: the log must have it from its beginning on. One without records, of which the log only knows where
// it ended, is that of a topic that is gone.
func (q *Queue) attachUnsealed() error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if first := q.min.Load(); first > 0 && len(q.closed)+len(q.live) > 0 {
		return &GapError{Ordinal: q.ordinal, LogFirst: first, LogNext: q.next, logBeginsBehindSealed: true}
	}
	return nil
}

// RaiseFirst moves the first offsets of queues, below which retention has dropped everything. They never fall.
func (l *Log) RaiseFirst(firsts map[uint32]uint64) {
	for ordinal, first := range firsts {
		if q := l.Lookup(ordinal); q != nil {
			raise(&q.first, min(first, q.visible.Load()))
		}
	}
}

// Cold reports whether a read at an offset has to ask object storage: it may take long.
func (l *Log) Cold(q *Queue, off uint64) bool {
	return q.cold(off) && off >= q.first.Load() && l.tier.Load() != nil
}

// coldPause is waited when the first offset of a queue is about to move past an offset.
const coldPause = time.Millisecond

// block returns what segments have at an offset that is no longer in the log.
func (l *Log) block(ctx context.Context, q *Queue, off uint64, tags []int64) (coldread.Block, error) {
	t := l.tier.Load()
	if t == nil {
		return coldread.Block{}, errMoved // trimmed meanwhile: the bounds say so
	}
	b, err := t.Block(ctx, q.ordinal, off, tags)
	switch {
	case errors.Is(err, catalog.ErrTrimmed):
		select { // retention has told the catalog, and tells the queue next
		case <-ctx.Done():
			return b, ctx.Err()
		case <-time.After(coldPause):
			return b, errMoved
		}
	case err != nil:
		return b, err
	case off < b.First || off >= b.End:
		return b, fmt.Errorf("segments answer offsets [%d, %d)", b.First, b.End)
	}
	return b, nil
}

// scannedPerSkip is what blocks passed over by their tags count as, of the messages that a read may look at.
const scannedPerSkip = 256

// cold takes messages below hi from segments.
func (r *reading) cold(ctx context.Context, hi uint64) error {
	if r.count >= r.req.MaxMessages || r.scanned >= r.req.MaxScan {
		r.full = true
		return nil
	}
	b, err := r.log.block(ctx, r.queue, r.off, r.tags())
	switch {
	case err != nil:
		return err
	case b.Hole:
		r.full = r.count > 0 || r.off == r.req.Offset
		r.off = min(b.End, hi)
		return nil
	case b.Skipped:
		r.scanned += scannedPerSkip
		r.off = min(b.End, hi)
		return nil
	}
	return r.batch(&extent{first: b.First, count: uint32(b.End - b.First)}, b.Messages, min(hi, b.End))
}

// TagHasher is a [Filter] that knows the hashes (message.TagHash) of the tags it matches: blocks without them need not be read.
type TagHasher interface{ Hashes() []int64 }

func (r *reading) tags() []int64 {
	if h, ok := r.req.Filter.(TagHasher); ok && r.hashes == nil {
		r.hashes = h.Hashes()
	}
	return r.hashes
}

// coldAt calls f with the message at an offset that is no longer in the log.
func (l *Log) coldAt(ctx context.Context, q *Queue, off uint64, f func(message.View) error) error {
	b, err := l.block(ctx, q, off, nil)
	if err != nil {
		return err
	}
	if b.Hole {
		return fmt.Errorf("offset %d of queue %d is lost: %w", off, q.ordinal, ErrNotFound)
	}
	for m := b.Messages; len(m) > 0; m = m[len(nextView(m)):] {
		if v := nextView(m); uint64(v.QueueOffset()) == off {
			return f(v)
		}
	}
	return fmt.Errorf("offset %d of queue %d is missing in its block", off, q.ordinal)
}

// coldSince returns the first offset with a store time of ms or later that is no longer in the log, if there is one.
func (l *Log) coldSince(ctx context.Context, q *Queue, ms int64) (uint64, bool, error) {
	t, begin := l.tier.Load(), q.min.Load()
	if t == nil || q.first.Load() >= begin {
		return 0, false, nil
	}
	if begin < q.Max() { // the log is asked first: it is quick
		at, err := l.StoreTime(ctx, q, begin)
		if err != nil && !errors.Is(err, ErrNotFound) {
			return 0, false, err
		}
		if err == nil && at < ms && !q.cold(begin) {
			return 0, false, nil
		}
	}
	off, ok, err := t.OffsetByTime(ctx, q.ordinal, ms)
	if err != nil || !ok || off >= begin && !q.cold(off) {
		return 0, false, err
	}
	return off, true, nil
}

// sealedKeys looks for a key in the segments.
func (s *keySearch) sealedKeys(ctx context.Context) error {
	t := s.log.tier.Load()
	if t == nil || s.left == 0 {
		return nil
	}
	return t.ByKey(ctx, message.KeyHash(s.q.Topic, s.q.Key), s.q.Begin, s.q.End, func(ordinal uint32, off uint64, v message.View) bool {
		q := s.log.Lookup(ordinal)
		if q == nil {
			return true
		}
		if lo, hi := q.bounds(); off >= lo && off < hi && s.matches(v) && !s.seen(v) {
			s.take(v)
		}
		return s.left > 0
	})
}
