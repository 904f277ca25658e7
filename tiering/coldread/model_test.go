package coldread

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/varvemq/varve/internal/message"
	"github.com/varvemq/varve/internal/vfs"
	"github.com/varvemq/varve/tiering/catalog"
	"github.com/varvemq/varve/tiering/objstore"
	"github.com/varvemq/varve/tiering/objstore/faulty"
	"github.com/varvemq/varve/tiering/segment"
)

// shapes are configurations under which all must hold.
func shapes() map[string]struct {
	cfg   Config
	block int
	level segment.Compression
} {
	type shape = struct {
		cfg   Config
		block int
		level segment.Compression
	}
	return map[string]shape{
		"default":            {Config{}, 0, segment.Fast},
		"tiny blocks":        {Config{}, 1, segment.Fast},
		"uncompressed":       {Config{}, 600, segment.Uncompressed},
		"tiny cache":         {Config{CacheBytes: 1500}, 400, segment.Fast},
		"no cache to speak":  {Config{CacheBytes: 1, InFlightBytes: 1}, 300, segment.Fast},
		"tiny windows":       {Config{ReadAhead: 1000, CacheBytes: 20_000}, 200, segment.Fast},
		"no read-ahead":      {Config{ReadAhead: -1}, 300, segment.Fast},
		"one at a time":      {Config{Concurrency: 1, Decoders: 1, InFlightBytes: 2000}, 500, segment.Fast},
		"hedged":             {Config{HedgeAfter: time.Nanosecond, Concurrency: 4, Decoders: 3}, 500, segment.Fast},
		"disk":               {Config{DiskCacheBytes: 1 << 20, CacheBytes: 2000}, 400, segment.Fast},
		"small disk, hedged": {Config{DiskCacheBytes: 3000, CacheBytes: 1000, HedgeAfter: time.Microsecond}, 300, segment.Fast},
	}
}

// again calls f until it does not fail in a way that faults excuse.
func again(f func() error) error {
	for {
		err := f()
		if err == nil || !objstore.Retriable(err) && !isDamage(err) && !isManifestDamage(err) && !errors.Is(err, catalog.ErrMismatch) {
			return err
		}
	}
}

// TestModel reads at random and in sequence, by offset, time and key, while the store fails and segments are replaced and deleted beneath.
func TestModel(t *testing.T) {
	t.Parallel()
	for name, s := range shapes() {
		for i, title := range []string{"", ", real catalog", ", faults", ", real catalog, faults"} {
			isReal, faults := i%2 == 1, i >= 2
			t.Run(name+title, func(t *testing.T) {
				t.Parallel()
				rng := random(t)
				w := newWorld(t, objstore.NewMem())
				w.blockBytes, w.level, w.onlyGet = s.block, s.level, rng.IntN(3) == 0
				w.fill(rng, 4, 10, 30, 200)
				if faults {
					w.store = faulty.New(w.bucket, faulty.Config{Seed: rng.Uint64(), Latency: time.Microsecond, Rates: map[faulty.Fault]float64{
						faulty.Throttled: 0.02, faulty.ServerError: 0.05, faulty.ResetBody: 0.05, faulty.TruncateBody: 0.05, faulty.FlipBit: 0.05,
					}})
				}
				if isReal {
					w.openReal()
				}
				cfg := s.cfg
				if cfg.DiskCacheBytes > 0 {
					cfg.FS, cfg.DiskCache = vfs.NewCrash(nil), "cache"
				}
				r := w.open(cfg)
				var stop atomic.Bool
				var mutator, readers sync.WaitGroup
				changes := rand.New(rand.NewPCG(rng.Uint64(), 1))
				mutator.Go(func() { w.mutate(changes, &stop) })
				for i := range 4 {
					mine := rand.New(rand.NewPCG(rng.Uint64(), uint64(i)))
					readers.Go(func() { w.readModel(t, r, mine) })
				}
				readers.Wait()
				stop.Store(true)
				mutator.Wait()
				w.checkBounds(t, r)
			})
		}
	}
}

// checkBounds checks that the budgets are whole again, and that the cache has what it says.
func (w *world) checkBounds(t *testing.T, r *Reader) {
	t.Helper()
	if err := r.Close(); err != nil {
		t.Error(err)
	}
	if u, b := r.urgent.used.Load(), r.bulk.used.Load(); u != 0 || b != 0 || len(r.gets)+len(r.minorGets)+len(r.decoders) != 0 {
		t.Errorf("%d and %d bytes are reserved at the end, %d GETs, %d decoders taken", u, b, len(r.gets), len(r.decoders))
	}
	if most := w.most.Load(); most > int64(r.cfg.Concurrency) {
		t.Errorf("%d GETs at once, want %d at most", most, r.cfg.Concurrency)
	}
	c, bytes, ahead, n := r.cache, int64(0), int64(0), 0
	for run, items := range c.runs {
		for i, it := range items {
			if it.run != run || !it.listed || it.fetch != nil || i > 0 && items[i-1].ref.End() > it.ref.Base {
				t.Errorf("run %v: item %d is %+v", run, i, it.ref)
			}
			bytes += it.cost()
			if it.ahead {
				ahead += it.cost()
			}
			n++
		}
	}
	if bytes != c.bytes || ahead != c.aheadBytes || n != c.probation.Len()+c.kept.Len() || bytes > c.limit {
		t.Errorf("the cache has %d items of %d bytes, %d ahead; it says %d items, %d, %d", n, bytes, ahead, c.probation.Len()+c.kept.Len(), c.bytes, c.aheadBytes)
	}
}

// mutate compacts segments and deletes them, and trims, until it is stopped.
func (w *world) mutate(rng *rand.Rand, stop *atomic.Bool) {
	for n := 0; !stop.Load() && n < 100; n++ {
		time.Sleep(time.Duration(rng.IntN(1000)) * time.Microsecond)
		segs := w.snapshot()
		if i := rng.IntN(len(segs)); i+1 < len(segs) && segs[i].paged == segs[i+1].paged && rng.IntN(2) == 0 && len(segs) > 4 {
			w.remove(w.compact(i, 2)...)
		} else {
			w.remove(w.compact(i, 1)...)
		}
		if rng.IntN(100) == 0 {
			q := w.queues[0]
			w.mu.Lock()
			w.trims[q.Ordinal] = min(w.trims[q.Ordinal]+uint64(rng.IntN(20)), uint64(len(q.messages)/2))
			if w.real != nil {
				w.real.SetTrims(map[uint32]uint64{q.Ordinal: w.trims[q.Ordinal]})
			}
			w.mu.Unlock()
		}
	}
}

func (w *world) readModel(t *testing.T, r *Reader, rng *rand.Rand) {
	t.Helper()
	rounds := 6
	if os.Getenv("VARVE_LONG") != "" {
		rounds = 200
	}
	for range rounds {
		q := w.queues[rng.IntN(len(w.queues))]
		var err error
		switch rng.IntN(7) {
		case 0, 1:
			for range 20 {
				if err = w.readAt(t.Context(), r, rng, q, rng.Uint64N(uint64(len(q.messages)+3))); err != nil {
					break
				}
			}
		case 2:
			err = w.readOn(t.Context(), r, rng, q)
		case 3:
			err = w.readByTime(t.Context(), r, q, int64(1000+rng.IntN(int(w.lsn)+10)))
		case 4:
			err = w.readByKey(t.Context(), r, q, fmt.Sprintf("k%d", rng.IntN(52)))
		case 5:
			err = w.iterate(t.Context(), r, q, rng.Uint64N(uint64(len(q.messages))+1))
		case 6:
			err = w.iterateAll(t.Context(), r, rng)
		}
		if err != nil {
			t.Error(err)
			return
		}
	}
}

func someTags(rng *rand.Rand) []int64 {
	if rng.IntN(2) == 0 {
		return nil
	}
	return []int64{message.TagHash([...]string{"a", "b", "c", "d"}[rng.IntN(4)])}
}

// readAt reads a block, and checks it.
func (w *world) readAt(ctx context.Context, r *Reader, rng *rand.Rand, q *modelQueue, offset uint64) error {
	tags := someTags(rng)
	before, _, _ := w.Bounds(q.Ordinal)
	var b Block
	err := again(func() (err error) {
		b, err = r.Block(ctx, q.Ordinal, offset, tags)
		return err
	})
	after, _, _ := w.Bounds(q.Ordinal)
	switch {
	case offset >= uint64(len(q.messages)):
		if !errors.Is(err, catalog.ErrBeyond) {
			return fmt.Errorf("queue %d, offset %d: %w, want ErrBeyond", q.Ordinal, offset, err)
		}
		return nil
	case errors.Is(err, catalog.ErrTrimmed) && offset < after:
		return nil
	case err == nil && offset < before:
		return fmt.Errorf("queue %d, offset %d: read, and trimmed to %d", q.Ordinal, offset, before)
	case err != nil:
		return err
	}
	return w.check(q.Ordinal, offset, tags, &b)
}

// readOn reads a stretch in sequence, a few messages at a time.
func (w *world) readOn(ctx context.Context, r *Reader, rng *rand.Rand, q *modelQueue) error {
	tags := someTags(rng)
	at := rng.Uint64N(uint64(len(q.messages)))
	for n := 0; at < uint64(len(q.messages)) && n < 100; n++ {
		var b Block
		err := again(func() (err error) {
			b, err = r.Block(ctx, q.Ordinal, at, tags)
			return err
		})
		if errors.Is(err, catalog.ErrTrimmed) {
			at, _, _ = w.Bounds(q.Ordinal)
			continue
		}
		if err == nil {
			err = w.check(q.Ordinal, at, tags, &b)
		}
		if err != nil {
			return err
		}
		if at += 1 + rng.Uint64N(8); at > b.End || b.Skipped {
			at = b.End
		}
	}
	return nil
}

func (w *world) readByTime(ctx context.Context, r *Reader, q *modelQueue, ms int64) error {
	before, _, _ := w.Bounds(q.Ordinal)
	var offset uint64
	var ok bool
	if err := again(func() (err error) {
		offset, ok, err = r.OffsetByTime(ctx, q.Ordinal, ms)
		return err
	}); err != nil {
		return err
	}
	after, _, _ := w.Bounds(q.Ordinal)
	want := slices.IndexFunc(q.messages, func(m modelMessage) bool { return m.store >= ms })
	if ok != (want >= 0) || ok && (offset < max(uint64(want), before) || offset > max(uint64(want), after)) {
		return fmt.Errorf("queue %d, time %d: %d, %t, want %d, first offset %d to %d", q.Ordinal, ms, offset, ok, want, before, after)
	}
	return nil
}

func (w *world) readByKey(ctx context.Context, r *Reader, q *modelQueue, key string) error {
	before, _, _ := w.Bounds(q.Ordinal)
	found := map[uint64]bool{}
	err := again(func() error {
		clear(found)
		var bad error
		err := r.ByKey(ctx, message.KeyHash(q.Topic, key), 0, 0, func(ordinal uint32, offset uint64, m message.View) bool {
			if ordinal != q.Ordinal {
				return true
			}
			if found[offset] || string(m) != string(q.messages[offset].b) {
				bad = fmt.Errorf("queue %d, key %s: offset %d, again: %t", ordinal, key, offset, found[offset])
			}
			found[offset] = true
			return true
		})
		return errors.Join(bad, err)
	})
	if err != nil {
		return err
	}
	after, _, _ := w.Bounds(q.Ordinal)
	for i, m := range q.messages {
		at := uint64(i)
		if want := m.key == key && m.b != nil; at >= after && found[at] != want || at < before && found[at] {
			return fmt.Errorf("queue %d, key %s: offset %d found: %t, want %t", q.Ordinal, key, at, found[at], want)
		}
	}
	return nil
}

func (w *world) iterate(ctx context.Context, r *Reader, q *modelQueue, from uint64) error {
	at := from
	err := again(func() error {
		for b, err := range r.Iterate(ctx, q.Ordinal, at) {
			if errors.Is(err, catalog.ErrTrimmed) {
				at, _, _ = w.Bounds(q.Ordinal)
				return fmt.Errorf("%w: trimmed", objstore.ErrTransient)
			}
			if err == nil {
				err = w.check(q.Ordinal, at, nil, &b)
			}
			if err != nil {
				return err
			}
			if at = b.End; at%2 == 0 {
				b.Release()
			}
		}
		return nil
	})
	if err == nil && at != uint64(len(q.messages)) {
		err = fmt.Errorf("queue %d from %d on: ended at %d of %d", q.Ordinal, from, at, len(q.messages))
	}
	return err
}

// iterateAll iterates over some queues at once, from anywhere.
func (w *world) iterateAll(ctx context.Context, r *Reader, rng *rand.Rand) error {
	var from []Position
	at := map[uint32]uint64{}
	for _, i := range rng.Perm(len(w.queues))[:1+rng.IntN(len(w.queues))] {
		q := w.queues[i]
		at[q.Ordinal] = rng.Uint64N(uint64(len(q.messages)) + 1)
	}
	err := again(func() error {
		from = from[:0]
		for ordinal, offset := range at {
			first, _, _ := w.Bounds(ordinal)
			at[ordinal] = max(first, offset)
			from = append(from, Position{ordinal, at[ordinal]})
		}
		for b, err := range r.IterateQueues(ctx, from) {
			if errors.Is(err, catalog.ErrTrimmed) {
				return fmt.Errorf("%w: trimmed", objstore.ErrTransient)
			}
			if err == nil {
				err = w.check(b.Ordinal, at[b.Ordinal], nil, &b.Block)
			}
			if err != nil {
				return err
			}
			at[b.Ordinal] = b.End
			b.Release()
		}
		return nil
	})
	for ordinal, offset := range at {
		if want := uint64(len(w.queue(ordinal).messages)); err == nil && offset != want {
			err = fmt.Errorf("queue %d ended at %d of %d", ordinal, offset, want)
		}
	}
	return err
}

// TestEveryOffset reads each offset of a world alone and in sequence, in both directions.
func TestEveryOffset(t *testing.T) {
	t.Parallel()
	rng := random(t)
	w := newWorld(t, objstore.NewMem())
	w.blockBytes = 700
	w.fill(rng, 3, 5, 30, 300)
	r := w.open(Config{CacheBytes: 10_000})
	for _, q := range w.queues {
		for i := range q.messages {
			for _, at := range []int{i, len(q.messages) - 1 - i} {
				if err := w.readAt(t.Context(), r, rng, q, uint64(at)); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	w.checkBounds(t, r)
}
