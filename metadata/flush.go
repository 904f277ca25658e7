package metadata

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// run flushes what has changed, every FlushInterval, until ctx ends or the shard is lost.
func (c *OffsetCommitter) run(ctx context.Context) {
	retry := newBackoff(c.cfg.RetryMin, c.cfg.RetryMax)
	pause := c.cfg.FlushInterval
	part := "committed offsets of shard " + c.own.rec.ID
	defer c.s.outage.forget(part)
	for {
		t := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			t.Stop()
			return
		case <-c.own.lost:
			t.Stop()
			return
		case <-t.C:
		}
		err := c.Flush(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case errors.Is(err, ErrFenced):
			c.s.log.Warn("committed offsets are given up: the shard is lost", "shard", c.own.rec.ID, "chunks", c.Pending())
			return
		case err != nil:
			c.s.outage.began(part, err)
			pause = retry.step()
		default:
			c.s.outage.ended(part)
			retry.reset()
			pause = c.cfg.FlushInterval
		}
	}
}

// Flush writes what has changed and returns when etcd has it.
func (c *OffsetCommitter) Flush(ctx context.Context) error {
	if err := acquire(ctx, c.writer); err != nil {
		return c.wrap("flush offsets", err)
	}
	defer func() { <-c.writer }()
	return c.flush(ctx)
}

func (c *OffsetCommitter) wrap(what string, err error) error {
	return fmt.Errorf("%s of shard %s: %w", what, c.own.rec.ID, err)
}

// flush writes all dirty chunks. The caller holds the writer's token. What fails stays dirty.
func (c *OffsetCommitter) flush(ctx context.Context) error {
	var chunks []*offsetChunk
	for i := range c.stripes {
		s := &c.stripes[i]
		s.mu.Lock()
		chunks = append(chunks, s.dirty...)
		s.mu.Unlock()
	}
	slices.SortFunc(chunks, func(a, b *offsetChunk) int {
		return cmp.Or(cmp.Compare(a.group, b.group), cmp.Compare(a.index, b.index))
	})
	return c.write(ctx, chunks)
}

// chunkWrite is a chunk in a transaction.
type chunkWrite struct {
	ch    *offsetChunk
	key   string
	value []byte
}

// write writes chunks, in transactions within the limits. The caller holds the writer's token.
func (c *OffsetCommitter) write(ctx context.Context, chunks []*offsetChunk) error {
	for len(chunks) > 0 {
		batch, n := c.take(chunks)
		chunks = chunks[n:]
		if len(batch) == 0 {
			continue
		}
		if err := c.commit(ctx, batch); err != nil {
			for _, w := range batch {
				c.requeue(w.ch)
			}
			return err
		}
		c.pending.Add(-int64(len(batch)))
	}
	return nil
}

// take encodes as many chunks as fit one transaction, takes them off the dirty lists, and returns how many chunks it looked at. A chunk is at most one
// of a group's, so that no more than MaxTxnOps chunks are of no more than MaxTxnGroups groups.
func (c *OffsetCommitter) take(chunks []*offsetChunk) (batch []chunkWrite, n int) {
	size := 0
	for ; n < len(chunks) && len(batch) < min(MaxTxnOps, MaxTxnGroups) && size+maxChunkBytes <= MaxTxnBytes; n++ {
		ch := chunks[n]
		s := c.stripe(ch.group)
		s.mu.Lock()
		if !ch.dirty {
			s.mu.Unlock()
			continue
		}
		ch.dirty = false
		s.dirty = slices.DeleteFunc(s.dirty, func(d *offsetChunk) bool { return d == ch })
		entries := make([]chunkEntry, 0, len(ch.offsets))
		for low, offset := range ch.offsets {
			entries = append(entries, chunkEntry{low: low, offset: offset})
		}
		s.mu.Unlock()
		slices.SortFunc(entries, func(a, b chunkEntry) int { return cmp.Compare(a.low, b.low) })
		w := chunkWrite{ch: ch, key: c.s.keys.chunk(c.own.rec.ID, ch.group, ch.index), value: encodeChunk(entries)}
		size += len(w.value)
		batch = append(batch, w)
	}
	return batch, n
}

// maxChunkBytes bounds the value of a chunk: 4,096 queues of "4095," and a 19-digit offset with its comma, and the frame.
const maxChunkBytes = ChunkQueues*(5+20) + 32

// requeue marks a chunk whose write failed, unless a commit has marked it since.
func (c *OffsetCommitter) requeue(ch *offsetChunk) {
	s := c.stripe(ch.group)
	s.mu.Lock()
	defer s.mu.Unlock()
	c.pending.Add(-1)
	c.mark(s, ch)
}

// commit makes one transaction. It compares each chunk's revision besides the epoch, so that an earlier attempt that is still under way cannot undo it.
func (c *OffsetCommitter) commit(ctx context.Context, batch []chunkWrite) error {
	modRevs := make([]int64, len(batch))
	for i, w := range batch {
		modRevs[i] = w.ch.modRev
	}
	first := true
	res, err := c.s.transact(ctx, "commit offsets", c.own, func(ctx context.Context) (plan, bool, error) {
		if !first { // an attempt of unknown outcome, or one that met its traces
			for i, w := range batch {
				kv, err := c.s.kv.Get(ctx, w.key)
				if err != nil {
					return plan{}, false, err
				}
				modRevs[i] = kv.ModRev
			}
		}
		first = false
		var p plan
		for i, w := range batch {
			p.compares = append(p.compares, Compare{Key: w.key, ModRev: modRevs[i]})
			p.ops = append(p.ops, Put(w.key, w.value))
		}
		return p, false, nil
	})
	if err != nil {
		return err
	}
	for _, w := range batch {
		w.ch.modRev = res.Rev
	}
	return nil
}

// through makes a change in memory and returns when etcd has it.
func (c *OffsetCommitter) through(ctx context.Context, what, group string, change func(s *offsetStripe) []*offsetChunk) error {
	if c.closed.Load() {
		return c.wrap(what, ErrClosed)
	}
	if err := ValidateName(group); err != nil {
		return c.wrap(what, err)
	}
	if err := acquire(ctx, c.writer); err != nil {
		return c.wrap(what, err)
	}
	defer func() { <-c.writer }()
	s := c.stripe(group)
	s.mu.Lock()
	chunks := change(s)
	s.mu.Unlock()
	if err := c.write(ctx, chunks); err != nil {
		return c.wrap(what, err)
	}
	return nil
}

// Reset sets offsets (by ordinal) of a group and returns when etcd has them. After an error memory has them, and etcd gets them with a later flush.
func (c *OffsetCommitter) Reset(ctx context.Context, group string, offsets map[uint32]int64) error {
	for ordinal, offset := range offsets {
		if offset < 0 || ordinal > MaxOrdinal {
			return c.wrap("reset offsets", fmt.Errorf("%w: ordinal %d, offset %d", ErrInvalid, ordinal, offset))
		}
	}
	return c.through(ctx, "reset offsets", group, func(s *offsetStripe) []*offsetChunk {
		var chunks []*offsetChunk
		for ordinal, offset := range offsets {
			c.set(s, group, ordinal, offset)
			chunks = append(chunks, s.chunk(group, ordinal>>ChunkBits))
		}
		return chunks
	})
}

// Delete removes offsets of a group (all if no ordinal is named) and returns when etcd has forgotten them. After an error memory has forgotten them, and
// etcd does so with a later flush.
func (c *OffsetCommitter) Delete(ctx context.Context, group string, ordinals ...uint32) error {
	return c.through(ctx, "delete offsets", group, func(s *offsetStripe) []*offsetChunk {
		g, ok := s.groups[group]
		if !ok {
			return nil
		}
		var chunks []*offsetChunk
		for _, ch := range g.chunks {
			n := len(ch.offsets)
			for _, o := range ordinals {
				ch.remove(o, o+1)
			}
			if len(ordinals) == 0 {
				clear(ch.offsets)
			}
			if len(ch.offsets) != n || ch.dirty {
				c.mark(s, ch)
				chunks = append(chunks, ch)
			}
		}
		return chunks
	})
}

// Clone copies the offsets of group from to group to, for the named ordinals (all if none is named), and returns when etcd has them.
func (c *OffsetCommitter) Clone(ctx context.Context, from, to string, ordinals ...uint32) error {
	offsets := map[uint32]int64{}
	c.Each(from, func(ordinal uint32, offset int64) bool {
		if len(ordinals) == 0 || slices.Contains(ordinals, ordinal) {
			offsets[ordinal] = offset
		}
		return true
	})
	return c.Reset(ctx, to, offsets)
}

// dropGroup deletes a group with its offsets: remove makes the transaction, with operations that empty the chunks.
func (c *OffsetCommitter) dropGroup(ctx context.Context, group string, remove func(wipe []Op) (TxnResult, error)) error {
	if err := acquire(ctx, c.writer); err != nil {
		return c.wrap("delete group "+group, err)
	}
	defer func() { <-c.writer }()
	s := c.stripe(group)
	var chunks []*offsetChunk
	var wipe []Op
	s.mu.Lock()
	if g, ok := s.groups[group]; ok {
		for _, ch := range g.chunks {
			chunks = append(chunks, ch)
			wipe = append(wipe, Put(c.s.keys.chunk(c.own.rec.ID, group, ch.index), encodeChunk(nil)))
		}
	}
	s.mu.Unlock()
	if len(wipe) >= MaxTxnOps {
		return c.wrap("delete group "+group, fmt.Errorf("%d chunks of offsets: %w", len(wipe), ErrTooLarge))
	}
	res, err := remove(wipe)
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, ch := range chunks {
		if err != nil && !errors.Is(err, ErrGroupNotFound) {
			c.mark(s, ch) // it may have been applied all the same: etcd shall have what memory has
			continue
		}
		clear(ch.offsets)
		ch.modRev = res.Rev
	}
	return err
}

// Close flushes and ends the committer. It is idempotent: after an error it may be called again; what Pending counts is lost with the process.
func (c *OffsetCommitter) Close(ctx context.Context) error {
	c.closeOnce.Do(c.stop)
	<-c.done
	if c.Pending() > 0 {
		if err := c.Flush(ctx); err != nil {
			return err
		}
	}
	c.closed.Store(true)
	c.own.offsets.CompareAndSwap(c, nil)
	return nil
}
