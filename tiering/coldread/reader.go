package coldread

import (
	"context"
	"fmt"
	"net/netip"
	"sync"

	"github.com/varvemq/varve/tiering/manifest"
	"github.com/varvemq/varve/tiering/segment"
)

// Block is a piece of a queue's sealed history.
type Block struct {
	// First and End are its offsets [First, End). First may be below the offset that was asked for, and below the queue's first offset.
	First, End uint64
	// Messages are in RocketMQ's stored layout, concatenated; nil in a hole and in what is skipped. They are shared: nobody may change them.
	Messages []byte
	// Hole says that the offsets are lost, Skipped that by the index none of the messages has one of the tags (they may include holes).
	Hole, Skipped bool
	// StoreHost is that of all messages, or the zero value if they differ.
	StoreHost netip.AddrPort
	MaxStore  int64 // unix ms; 0 in a hole

	memory *buffer // of Messages, if it may be used again
}

// Release gives back the memory of the messages, if they are of [Reader.Iterate]. Nobody may use them after that, nor call Release for another copy of the block. It need not be called.
func (b *Block) Release() {
	b.memory.drop()
	b.Messages, b.memory = nil, nil
}

// Reader reads sealed history. It may be used by many goroutines.
type Reader struct {
	cfg     Config
	m       *metrics
	cache   *cache
	cursors *cursors
	disk    *diskCache // nil: none

	gets, minorGets, decoders tokens
	urgent, bulk              *budget
	buffers                   buffers

	wg       sync.WaitGroup
	mu       sync.Mutex // guards the rest
	closed   bool
	next     uint64
	stops    map[uint64]func()          // what cancels the work that goes on
	doubtful map[uint64]*segment.Reader // by object: segments that were damaged, as they are opened anew; nil: not yet
}

// New returns a Reader. The configuration must be valid. A disk cache that cannot be made is logged and left out.
func New(cfg Config) *Reader {
	cfg = cfg.withDefaults()
	r := &Reader{
		cfg: cfg, cache: newCache(cfg.CacheBytes), cursors: newCursors(),
		gets: make(tokens, cfg.Concurrency), minorGets: make(tokens, max(1, cfg.Concurrency-cfg.Concurrency/4)), decoders: make(tokens, cfg.Decoders),
		urgent: newBudget(max(1, cfg.InFlightBytes/4)), bulk: newBudget(max(1, cfg.InFlightBytes-cfg.InFlightBytes/4)),
		stops: make(map[uint64]func()), doubtful: make(map[uint64]*segment.Reader),
	}
	r.m = newMetrics(func() float64 { return float64(r.cache.size()) }, func() float64 { return float64(r.urgent.used.Load() + r.bulk.used.Load()) })
	r.cache.m = r.m
	if cfg.Registerer != nil {
		if err := r.m.register(cfg.Registerer); err != nil {
			cfg.Logger.Warn("metrics of cold reads are not registered", "error", err)
		}
	}
	if cfg.DiskCacheBytes > 0 {
		var err error
		if r.disk, err = openDiskCache(cfg.FS, cfg.DiskCache, cfg.DiskCacheBytes, cfg.Logger); err != nil {
			cfg.Logger.Warn("cold reads go without a disk cache", "dir", cfg.DiskCache, "error", err)
		}
	}
	return r
}

// spawn runs f beside the caller, until it ends or is cancelled; false if the Reader is closed. The context outlives the caller's.
func (r *Reader) spawn(ctx context.Context, f func(ctx context.Context)) (cancel func(), ok bool) {
	ctx, cancel = context.WithCancel(context.WithoutCancel(ctx))
	ok = r.attach(cancel, func() {
		defer cancel()
		f(ctx)
	})
	if !ok {
		cancel()
	}
	return cancel, ok
}

// attach runs f in a goroutine that Close cancels and waits for; false if the Reader is closed.
func (r *Reader) attach(cancel, f func()) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return false
	}
	id := r.next
	r.next++
	r.stops[id] = cancel
	r.wg.Go(func() {
		f()
		r.mu.Lock()
		defer r.mu.Unlock()
		delete(r.stops, id)
	})
	return true
}

func (r *Reader) isClosed() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.closed
}

// Close ends all reads, with [ErrClosed] or the error of a cancelled context, and waits for what goes on beside them.
func (r *Reader) Close() error {
	r.mu.Lock()
	r.closed = true
	for _, stop := range r.stops {
		stop()
	}
	r.mu.Unlock()
	r.wg.Wait()
	if r.disk == nil {
		return nil
	}
	return r.disk.close()
}

// Block returns the block that has an offset of a queue. With tags (message.TagHash), blocks that have none of them by the index are skipped without being fetched, as many as
// are adjacent and looked at in one go. The catalog's errors pass through: catalog.ErrTrimmed below the queue's first offset, catalog.ErrBeyond at its sealed end.
func (r *Reader) Block(ctx context.Context, ordinal uint32, offset uint64, tags []int64) (Block, error) {
	var t trial
	for {
		var a attempt
		b, err := r.block(ctx, ordinal, offset, tags, &a)
		if err == nil {
			return b, nil
		}
		if err = t.again(ctx, r, a.entry, err, a.shared); err != nil {
			return Block{}, fmt.Errorf("read queue %d at offset %d: %w", ordinal, offset, err)
		}
		r.m.repeats.Inc()
	}
}

// attempt is what a failed attempt has met.
type attempt struct {
	entry  manifest.Entry
	shared bool // the GET was begun by others
}

func (r *Reader) block(ctx context.Context, ordinal uint32, offset uint64, tags []int64, a *attempt) (Block, error) {
	e, _, err := r.cfg.Catalog.Find(ctx, ordinal, offset)
	if err != nil {
		return Block{}, err
	}
	a.entry = e
	run := runKey{e.Object, ordinal}
	it := r.cache.join(run, offset, tags)
	var f *fetch
	if it == nil {
		seg, err := r.open(ctx, e)
		if err != nil {
			return Block{}, err
		}
		b, ref, err := r.walk(ctx, seg, ordinal, offset, tags)
		if err != nil {
			return Block{}, err
		}
		if b.Hole || b.Skipped {
			r.step(ctx, &step{run: run, first: b.First, end: b.End, offset: offset, tags: tags})
			return b, nil
		}
		it, f = r.cache.joinOrBegin(seg, &ref, offset)
	}
	if a.shared = f == nil; a.shared {
		r.m.hits.Inc()
	} else {
		r.m.misses.Inc()
		r.start(ctx, f)
	}
	r.step(ctx, &step{run: run, first: it.ref.Base, end: it.ref.End(), offset: offset, tags: tags, bytes: int64(it.ref.Raw), miss: f != nil})
	return r.wait(ctx, it)
}

// wait returns the item's block when it is there.
func (r *Reader) wait(ctx context.Context, it *item) (Block, error) {
	defer r.cache.leave(it)
	select {
	case <-it.done:
	case <-ctx.Done():
		return Block{}, ctx.Err()
	}
	if it.err == nil {
		r.m.fromMemory.Add(float64(len(it.block.Messages)))
	}
	return it.block, it.err
}

// walk finds an offset in a segment's index. It returns a hole, or what can be skipped, or else the block to read.
func (r *Reader) walk(ctx context.Context, seg opened, ordinal uint32, offset uint64, tags []int64) (b Block, ref segment.BlockRef, err error) {
	n := 0
	for e, err := range seg.index.Blocks(ctx, ordinal, offset) {
		if err != nil {
			return Block{}, ref, err
		}
		switch {
		case n == 0:
			ref = e
			b = Block{First: e.Base, Hole: e.Hole, Skipped: !e.Hole && tags != nil && !e.MayMatch(tags)}
			if !b.Hole && !b.Skipped {
				return b, ref, nil
			}
		case n == maxWalk, b.Hole && !e.Hole, b.Skipped && !e.Hole && e.MayMatch(tags):
			return b, ref, nil
		}
		if n++; !e.Hole {
			r.m.skipped.Inc()
		}
		b.End, b.MaxStore = e.End(), max(b.MaxStore, e.MaxStore)
	}
	if n == 0 {
		return Block{}, ref, fmt.Errorf("queue %d, offset %d: %w", ordinal, offset, segment.ErrNotFound)
	}
	return b, ref, nil
}

// load returns a block that an index has named.
func (r *Reader) load(ctx context.Context, seg opened, ref *segment.BlockRef, offset uint64, a *attempt) (Block, error) {
	it, f := r.cache.joinOrBegin(seg, ref, offset)
	if a.shared = f == nil; a.shared {
		r.m.hits.Inc()
	} else {
		r.m.misses.Inc()
		r.start(ctx, f)
	}
	return r.wait(ctx, it)
}
