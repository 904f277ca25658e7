package metadata

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// offsetStripes is the number of locks that groups are spread over.
const offsetStripes = 32

// OffsetKey names a committed offset.
type OffsetKey struct {
	Group   string
	Ordinal uint32
}

// OffsetConfig configures an [OffsetCommitter]. The zero value of a field means its default.
type OffsetConfig struct {
	// FlushInterval is the longest time between the flushes of changed offsets. Default: [DefaultFlushInterval].
	FlushInterval time.Duration
	// RetryMin and RetryMax bound the pause after a flush that failed. Default: 100 ms and 5 s.
	RetryMin, RetryMax time.Duration
}

func (c OffsetConfig) withDefaults() OffsetConfig {
	if c.FlushInterval == 0 {
		c.FlushInterval = DefaultFlushInterval
	}
	if c.RetryMin == 0 {
		c.RetryMin = 100 * time.Millisecond
	}
	if c.RetryMax == 0 {
		c.RetryMax = max(5*time.Second, c.RetryMin)
	}
	return c
}

// Validate reports all faults at once, wrapping [ErrInvalid].
func (c OffsetConfig) Validate() error {
	var faults []string
	for _, d := range []struct {
		key string
		d   time.Duration
	}{{"flush_interval", c.FlushInterval}, {"retry_min", c.RetryMin}, {"retry_max", c.RetryMax}} {
		if d.d < 0 {
			faults = append(faults, fmt.Sprintf("%s: %v is negative", d.key, d.d))
		}
	}
	if c.RetryMax != 0 && c.RetryMax < c.RetryMin {
		faults = append(faults, fmt.Sprintf("retry_max: %v is less than retry_min %v", c.RetryMax, c.RetryMin))
	}
	return joinFaults("offsets", faults)
}

// OffsetCommitter keeps the committed offsets of one shard in memory and writes the changed ones to etcd.
type OffsetCommitter struct {
	s   *Store
	own *Ownership
	cfg OffsetConfig

	seed    maphash.Seed
	stripes [offsetStripes]offsetStripe
	pending atomic.Int64 // chunks that etcd does not have: the sum over the stripes' dirty lists, and those in a flush

	// writer holds one token: transactions take turns. It guards the chunks' modRev, and is held during I/O.
	writer    chan struct{}
	stop      context.CancelFunc
	done      chan struct{}
	closed    atomic.Bool
	closeOnce sync.Once
}

// offsetStripe holds some of the groups.
type offsetStripe struct {
	mu     sync.Mutex // guards all below and what hangs on it, modRev excepted
	groups map[string]*groupOffsets
	dirty  []*offsetChunk
}

type groupOffsets struct {
	name   string
	chunks map[uint32]*offsetChunk
}

// offsetChunk holds the offsets of up to ChunkQueues consecutive ordinals.
type offsetChunk struct {
	group   string
	index   uint32
	offsets map[uint16]int64
	dirty   bool // on the stripe's dirty list
	// modRev is the key's revision as last written or read.
	modRev int64
}

// LoadOffsets reads all committed offsets of a shard from etcd.
func (s *Store) LoadOffsets(ctx context.Context, shard string) (map[OffsetKey]int64, error) {
	out := map[OffsetKey]int64{}
	err := s.eachChunk(ctx, shard, func(group string, chunk uint32, entries []chunkEntry, _ int64) {
		for _, e := range entries {
			out[OffsetKey{Group: group, Ordinal: chunk<<ChunkBits | uint32(e.low)}] = e.offset
		}
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// eachChunk reads all chunks of a shard.
func (s *Store) eachChunk(ctx context.Context, shard string, fn func(group string, chunk uint32, entries []chunkEntry, modRev int64)) error {
	err := rangeAll(ctx, s.kv, s.keys.offsets(shard), rangePage/4, func(page RangeResult, _ int64) error {
		for _, kv := range page.KVs {
			group, chunk, err := s.keys.parseChunk(shard, kv.Key)
			if err != nil {
				return err
			}
			entries, err := decodeChunk(kv)
			if err != nil {
				return err
			}
			fn(group, chunk, entries, kv.ModRev)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("load offsets of shard %s: %w", shard, err)
	}
	return nil
}

// OpenOffsets loads the shard's offsets and starts to flush changes. An ownership has one committer, to be closed before the release.
func (s *Store) OpenOffsets(ctx context.Context, own *Ownership, cfg OffsetConfig) (*OffsetCommitter, error) {
	if err := errors.Join(cfg.Validate(), owning(own, "")); err != nil {
		return nil, fmt.Errorf("open offsets: %w", err)
	}
	c := &OffsetCommitter{s: s, own: own, cfg: cfg.withDefaults(), seed: maphash.MakeSeed(), writer: make(chan struct{}, 1), done: make(chan struct{})}
	for i := range c.stripes {
		c.stripes[i].groups = map[string]*groupOffsets{}
	}
	var empty []Compare
	err := s.eachChunk(ctx, own.rec.ID, func(group string, index uint32, entries []chunkEntry, modRev int64) {
		if len(entries) == 0 {
			empty = append(empty, Compare{Key: s.keys.chunk(own.rec.ID, group, index), ModRev: modRev})
			return
		}
		ch := c.stripe(group).chunk(group, index)
		ch.modRev = modRev
		for _, e := range entries {
			ch.offsets[e.low] = e.offset
		}
	})
	if err == nil {
		err = s.sweepChunks(ctx, own, empty)
	}
	if err != nil {
		return nil, err
	}
	if !own.offsets.CompareAndSwap(nil, c) {
		return nil, fmt.Errorf("open offsets of shard %s: already open: %w", own.rec.ID, ErrInvalid)
	}
	bg, stop := context.WithCancel(context.WithoutCancel(ctx))
	c.stop = stop
	go func() { // waited for in Close
		defer close(c.done)
		c.run(bg)
	}()
	return c, nil
}

// sweepChunks deletes empty chunks that an earlier epoch left. An owner does not delete chunks it has written: a transaction still under way, made when
// the key did not exist, could then bring deleted offsets back. Those of an earlier epoch are fenced.
func (s *Store) sweepChunks(ctx context.Context, own *Ownership, empty []Compare) error {
	for batch := range slices.Chunk(empty, MaxTxnOps) {
		_, err := s.transact(ctx, "sweep empty chunks", own, func(context.Context) (plan, bool, error) {
			p := plan{compares: slices.Clone(batch)}
			for i, cmp := range batch {
				kv, err := s.kv.Get(ctx, cmp.Key)
				if err != nil {
					return plan{}, false, err
				}
				if p.compares[i].ModRev = kv.ModRev; kv.Exists() {
					p.ops = append(p.ops, Delete(cmp.Key))
				}
			}
			return p, len(p.ops) == 0, nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func (c *OffsetCommitter) stripe(group string) *offsetStripe {
	return &c.stripes[maphash.String(c.seed, group)%offsetStripes]
}

// chunk returns a chunk, which it makes if there is none. The caller holds the lock.
func (s *offsetStripe) chunk(group string, index uint32) *offsetChunk {
	g, ok := s.groups[group]
	if !ok {
		g = &groupOffsets{name: strings.Clone(group), chunks: map[uint32]*offsetChunk{}}
		s.groups[g.name] = g
	}
	ch, ok := g.chunks[index]
	if !ok {
		ch = &offsetChunk{group: g.name, index: index, offsets: map[uint16]int64{}}
		g.chunks[index] = ch
	}
	return ch
}

// set changes an offset and marks its chunk. The caller holds the stripe's lock.
func (c *OffsetCommitter) set(s *offsetStripe, group string, ordinal uint32, offset int64) {
	ch := s.chunk(group, ordinal>>ChunkBits)
	low := uint16(ordinal & (ChunkQueues - 1))
	if have, ok := ch.offsets[low]; ok && have == offset {
		return
	}
	ch.offsets[low] = offset
	c.mark(s, ch)
}

// mark puts a chunk on the dirty list. The caller holds the stripe's lock.
func (c *OffsetCommitter) mark(s *offsetStripe, ch *offsetChunk) {
	if !ch.dirty {
		ch.dirty = true
		s.dirty = append(s.dirty, ch)
		c.pending.Add(1)
	}
}

// Offset returns the committed offset of a queue, this process's own commits included.
func (c *OffsetCommitter) Offset(group string, ordinal uint32) (int64, bool) {
	s := c.stripe(group)
	s.mu.Lock()
	defer s.mu.Unlock()
	g, ok := s.groups[group]
	if !ok {
		return 0, false
	}
	ch, ok := g.chunks[ordinal>>ChunkBits]
	if !ok {
		return 0, false
	}
	offset, ok := ch.offsets[uint16(ordinal&(ChunkQueues-1))]
	return offset, ok
}

// Commit sets a group's offset in a queue; the last call wins, also when it is lower. It reaches etcd within FlushInterval. It does not allocate,
// unless the group or the queue is new. A negative offset, an ordinal of more than 28 bits and a name that [ValidateName] refuses are ignored: the
// caller checks what clients send.
func (c *OffsetCommitter) Commit(group string, ordinal uint32, offset int64) {
	if offset < 0 || ordinal > MaxOrdinal {
		return
	}
	s := c.stripe(group)
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, known := s.groups[group]; !known && ValidateName(group) != nil {
		return
	}
	c.set(s, group, ordinal, offset)
}

// Groups returns the groups that have a committed offset, in order of name.
func (c *OffsetCommitter) Groups() []string {
	var out []string
	for i := range c.stripes {
		s := &c.stripes[i]
		s.mu.Lock()
		for name, g := range s.groups {
			for _, ch := range g.chunks {
				if len(ch.offsets) > 0 {
					out = append(out, name)
					break
				}
			}
		}
		s.mu.Unlock()
	}
	slices.Sort(out)
	return out
}

// Each calls fn for every committed offset of a group, in order of ordinal, until it returns false. It works on a copy: fn may commit.
func (c *OffsetCommitter) Each(group string, fn func(ordinal uint32, offset int64) bool) {
	s := c.stripe(group)
	s.mu.Lock()
	all := map[uint32]int64{}
	if g, ok := s.groups[group]; ok {
		for index, ch := range g.chunks {
			for low, offset := range ch.offsets {
				all[index<<ChunkBits|uint32(low)] = offset
			}
		}
	}
	s.mu.Unlock()
	for _, ordinal := range slices.Sorted(maps.Keys(all)) {
		if !fn(ordinal, all[ordinal]) {
			return
		}
	}
}

// Pending returns the number of chunks that etcd does not have yet; one that was changed again while it is being written counts twice.
func (c *OffsetCommitter) Pending() int { return int(c.pending.Load()) }

// Forget removes queues of deleted topics from all groups; etcd learns of it with the next flush. Ordinals are never used again, so that a crash in
// between leaves a few stale numbers and no harm.
func (c *OffsetCommitter) Forget(ordinals []OrdinalRange) {
	for i := range c.stripes {
		s := &c.stripes[i]
		s.mu.Lock()
		for _, g := range s.groups {
			for _, ch := range g.chunks {
				for _, r := range ordinals {
					if ch.remove(r.First, r.First+uint32(r.Count)) {
						c.mark(s, ch)
					}
				}
			}
		}
		s.mu.Unlock()
	}
}

// remove deletes the offsets of the ordinals [from, to) and reports whether there were any.
func (ch *offsetChunk) remove(from, to uint32) bool {
	base := ch.index << ChunkBits
	if to <= base || from >= base+ChunkQueues {
		return false
	}
	n := len(ch.offsets)
	maps.DeleteFunc(ch.offsets, func(low uint16, _ int64) bool { o := base | uint32(low); return o >= from && o < to })
	return len(ch.offsets) != n
}
