package coldread

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/varvemq/varve/internal/message"
	"github.com/varvemq/varve/tiering/catalog"
	"github.com/varvemq/varve/tiering/objstore"
	"github.com/varvemq/varve/tiering/segment"
)

const ordinal = 7 // of the only queue that sealNext makes

// mustRead reads a block and checks it.
func (w *world) mustRead(r *Reader, offset uint64, tags ...int64) Block {
	w.tb.Helper()
	b, err := r.Block(w.tb.Context(), ordinal, offset, tags)
	if err == nil {
		err = w.check(ordinal, offset, tags, &b)
	}
	if err != nil {
		w.tb.Fatal(err)
	}
	return b
}

// value returns what a counter says.
func value(t *testing.T, c prometheus.Counter) float64 {
	t.Helper()
	reg := prometheus.NewRegistry()
	reg.MustRegister(c)
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	return families[0].GetMetric()[0].GetCounter().GetValue()
}

func TestSingleFlight(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, objstore.NewMem())
		w.sealNext(20, 100, nil)
		r := w.open(Config{})
		w.hook = func(context.Context, uint64, int64, int) { time.Sleep(time.Second) }
		var wg sync.WaitGroup
		for i := range 64 {
			wg.Go(func() { w.mustRead(r, uint64(i%20)) })
		}
		wg.Wait()
		if n := w.gets.Load(); n != 1 {
			t.Errorf("%d GETs, want 1", n)
		}
		if h, m := value(t, r.m.hits), value(t, r.m.misses); h != 63 || m != 1 {
			t.Errorf("%v hits, %v misses", h, m)
		}
	})
}

// TestAbandon: the GET of a reader that gives up is cancelled if nobody else waits for it, and only then.
func TestAbandon(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, objstore.NewMem())
		w.sealNext(20, 100, nil)
		r := w.open(Config{})
		var hang atomic.Bool
		hang.Store(true)
		cancelled := 0
		w.hook = func(ctx context.Context, _ uint64, _ int64, _ int) {
			if !hang.Load() {
				time.Sleep(10 * time.Second)
				return
			}
			<-ctx.Done()
			cancelled++
		}
		first, cancelFirst := context.WithCancel(t.Context())
		second, cancelSecond := context.WithCancel(t.Context())
		errs := make(chan error, 2)
		for _, ctx := range []context.Context{first, second} {
			go func() {
				_, err := r.Block(ctx, ordinal, 3, nil)
				errs <- err
			}()
		}
		synctest.Wait()
		cancelFirst()
		if err := <-errs; !errors.Is(err, context.Canceled) {
			t.Errorf("the first: %v", err)
		}
		synctest.Wait()
		if cancelled != 0 {
			t.Error("cancelled although one waits for it")
		}
		hang.Store(false)
		cancelSecond()
		if err := <-errs; !errors.Is(err, context.Canceled) {
			t.Errorf("the second: %v", err)
		}
		w.mustRead(r, 3) // comes while the old one is ending
		if cancelled != 1 || w.gets.Load() != 2 {
			t.Errorf("%d cancelled, %d GETs", cancelled, w.gets.Load())
		}
		w.checkBounds(t, r)
	})
}

func TestSkip(t *testing.T) {
	t.Parallel()
	w := newWorld(t, objstore.NewMem())
	w.blockBytes = 1 // a block per message
	w.sealNext(100, 50, func(i int) string {
		if i == 60 {
			return "rare"
		}
		return "common"
	})
	w.sealNext(10, 50, func(int) string { return "common" })
	r := w.open(Config{})
	rare := message.TagHash("rare")
	for _, tt := range []struct{ at, first, end uint64 }{{0, 0, 60}, {59, 59, 60}, {61, 61, 100}, {100, 100, 110}} {
		if b := w.mustRead(r, tt.at, rare); !b.Skipped || b.First != tt.first || b.End != tt.end {
			t.Errorf("at %d: [%d, %d), skipped: %t", tt.at, b.First, b.End, b.Skipped)
		}
	}
	if n := w.gets.Load(); n != 0 {
		t.Errorf("%d GETs of blocks that do not match", n)
	}
	if b := w.mustRead(r, 60, rare); b.Skipped || b.End != 61 {
		t.Errorf("the match: %+v", b)
	}
	w.mustRead(r, 70) // in the cache now
	if b := w.mustRead(r, 70, rare, message.TagHash("other")); !b.Skipped || b.End != 100 {
		t.Errorf("a block in the cache that does not match: [%d, %d)", b.First, b.End)
	}
	if b, err := r.Block(t.Context(), ordinal, 0, []int64{}); err != nil || !b.Skipped {
		t.Errorf("no tags at all match: %+v, %v", b, err)
	}
	if n := value(t, r.m.skipped); n < 60 {
		t.Errorf("%v blocks were skipped, says the metric", n)
	}
}

// TestReadAhead: a sequential reader finds all but its first blocks there, fetched in few GETs, also beyond a segment's end; windows grow to their bound.
func TestReadAhead(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, objstore.NewMem())
		w.blockBytes, w.level = 64<<10, segment.Uncompressed
		for range 4 {
			w.sealNext(800, 8<<10, nil) // 100 blocks and more of 64 KiB
		}
		r := w.open(Config{CacheBytes: 16 << 20, ReadAhead: 1 << 20})
		largest, blocks := 0, 0
		w.hook = func(_ context.Context, _ uint64, _ int64, n int) { largest = max(largest, n) }
		for at := uint64(0); at < 3200; {
			b := w.mustRead(r, at)
			if b.First == at {
				blocks++
			}
			if at = min(at+3, b.End); at == b.End { // a few messages at a time
				synctest.Wait()
			}
		}
		if m := value(t, r.m.misses); m > 2 {
			t.Errorf("%v misses in a sequence", m)
		}
		if n := w.gets.Load(); blocks < 450 || n > int64(blocks/6) {
			t.Errorf("%d GETs for %d blocks", n, blocks)
		}
		if largest < 512<<10 || largest > 1<<20+100<<10 {
			t.Errorf("the largest GET is for %d bytes", largest)
		}
		if waste := value(t, r.m.wasted); waste != 0 {
			t.Errorf("%v bytes were fetched in vain", waste)
		}
		// One who jumps about reads nothing ahead.
		gets, ahead := w.gets.Load(), value(t, r.m.aheadBytes)
		for at := uint64(5); at < 2500; at += 123 {
			w.mustRead(r, at)
			synctest.Wait()
		}
		if n := w.gets.Load() - gets; n > 21 || value(t, r.m.aheadBytes) != ahead {
			t.Errorf("%d GETs, %v bytes ahead for random reads", n, value(t, r.m.aheadBytes)-ahead)
		}
		w.checkBounds(t, r)
	})
}

// TestFilteredReadAhead: of what is fetched ahead of a filtered reader, blocks that do not match are not part, unless they are a small gap.
func TestFilteredReadAhead(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, objstore.NewMem())
		w.blockBytes, w.level = 16<<10, segment.Uncompressed
		w.sealNext(2000, 4000, func(i int) string { // stretches of 100 messages, about 25 blocks
			return [...]string{"wanted", "other"}[i/100%2]
		})
		r := w.open(Config{})
		wanted, at := message.TagHash("wanted"), uint64(0)
		for at < 2000 {
			at = w.mustRead(r, at, wanted).End
			synctest.Wait()
		}
		if read := w.bytes.Load(); read < 1000*4000 || read > 1200*4000 {
			t.Errorf("%d bytes were read for 4,000,000 that match", read)
		}
		if n := w.gets.Load(); n > 60 {
			t.Errorf("%d GETs", n)
		}
	})
}

// TestManySequentialReaders: their windows shrink so that they do not drive out one another's blocks.
func TestManySequentialReaders(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, objstore.NewMem())
		w.blockBytes, w.level = 8<<10, segment.Uncompressed
		w.sealNext(16000, 1000, nil) // 2,000 blocks
		r := w.open(Config{CacheBytes: 2 << 20})
		at := make([]uint64, 32)
		for i := range at {
			at[i] = uint64(500 * i)
		}
		blocks := 0
		for range 50 {
			for i := range at {
				at[i] = w.mustRead(r, at[i]).End
				blocks++
				synctest.Wait()
			}
		}
		if waste, read := value(t, r.m.wasted), w.bytes.Load(); waste > float64(read)/20 {
			t.Errorf("%v of %v bytes were fetched in vain", waste, read)
		}
		if n := w.gets.Load(); n > int64(blocks*5/8) {
			t.Errorf("%d GETs for %d blocks", n, blocks)
		}
		w.checkBounds(t, r)
	})
}

// TestScan: what is come back to survives a scan of much more than the cache holds.
func TestScan(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, objstore.NewMem())
		w.blockBytes, w.level = 8<<10, segment.Uncompressed
		w.sealNext(8000, 1000, nil)
		r := w.open(Config{CacheBytes: 512 << 10})
		hot := []uint64{100, 2000, 5000}
		for _, at := range slices.Concat(hot, hot) {
			w.mustRead(r, at)
		}
		for at := uint64(0); at < 8000; {
			b := w.mustRead(r, at)
			at = min(at+5, b.End)
			if b.End == at {
				synctest.Wait()
			}
		}
		gets := w.gets.Load()
		for _, at := range hot {
			w.mustRead(r, at)
		}
		if n := w.gets.Load() - gets; n != 0 {
			t.Errorf("%d of the hot blocks were driven out", n)
		}
	})
}

// TestBudgets: with readers of all kinds, GETs and bytes under way stay within their bounds, and so does the cache.
func TestBudgets(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, objstore.NewMem())
		w.blockBytes, w.level = 16<<10, segment.Uncompressed
		for range 3 {
			w.sealNext(2000, 1000, nil)
		}
		cfg := Config{Concurrency: 5, InFlightBytes: 400 << 10, CacheBytes: 600 << 10, HedgeAfter: 5 * time.Millisecond}
		r := w.open(cfg)
		var slow atomic.Int64
		w.hook = func(ctx context.Context, _ uint64, _ int64, _ int) {
			select {
			case <-time.After(time.Duration(slow.Add(1)%5) * 10 * time.Millisecond):
			case <-ctx.Done():
			}
			if n := r.cache.size(); n > cfg.CacheBytes {
				t.Errorf("%d bytes in the cache", n)
			}
		}
		var wg sync.WaitGroup
		for i := range 12 {
			wg.Go(func() {
				if i%4 == 0 {
					if err := w.iterate(t.Context(), r, w.queues[0], uint64(i*100)); err != nil {
						t.Error(err)
					}
					return
				}
				for at := uint64(i * 400); at < uint64(i*400+1000); {
					at = w.mustRead(r, at).End
				}
			})
		}
		wg.Wait()
		if most := w.most.Load(); most > 5 || most < 4 {
			t.Errorf("%d GETs at once, want 5 at most", most)
		}
		if most := w.mostB.Load(); most > cfg.InFlightBytes || most < cfg.InFlightBytes/4 {
			t.Errorf("%d bytes under way, want %d at most", most, cfg.InFlightBytes)
		}
		w.checkBounds(t, r)
	})
}

// TestHedge: a GET that hangs is answered by another one, and cancelled.
func TestHedge(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name        string
		first, next time.Duration // that GETs take, 0: they hang
		want        time.Duration
		gets        int64
	}{
		{"the first hangs", 0, 10 * time.Millisecond, 60 * time.Millisecond, 2},
		{"the second hangs", 80 * time.Millisecond, 0, 80 * time.Millisecond, 2},
		{"the first is quick", 40 * time.Millisecond, 0, 40 * time.Millisecond, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, objstore.NewMem())
				w.sealNext(5, 100, nil)
				r := w.open(Config{HedgeAfter: 50 * time.Millisecond})
				ended := 0
				w.hook = func(ctx context.Context, _ uint64, _ int64, _ int) {
					d := tt.first
					if w.gets.Load() > 1 {
						d = tt.next
					}
					if d > 0 {
						time.Sleep(d)
						return
					}
					<-ctx.Done()
					ended++
				}
				begin := time.Now()
				w.mustRead(r, 2)
				if took := time.Since(begin).Truncate(time.Millisecond); took != tt.want || w.gets.Load() != tt.gets {
					t.Errorf("%v, %d GETs; want %v, %d", took, w.gets.Load(), tt.want, tt.gets)
				}
				synctest.Wait()
				if want := int(tt.gets - 1); ended != want {
					t.Errorf("%d GETs were cancelled, want %d", ended, want)
				}
				w.checkBounds(t, r)
			})
		})
	}
}

// TestClose: who waits gets ErrClosed, and nothing goes on.
func TestClose(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, objstore.NewMem())
		w.sealNext(50, 100, nil)
		r := w.open(Config{HedgeAfter: time.Second})
		w.hook = func(ctx context.Context, _ uint64, _ int64, _ int) { <-ctx.Done() }
		errs := make(chan error, 4)
		go func() {
			_, err := r.Block(t.Context(), ordinal, 3, nil)
			errs <- err
		}()
		go func() {
			for _, err := range r.Iterate(t.Context(), ordinal, 0) {
				errs <- err
			}
		}()
		go func() {
			_, _, err := r.OffsetByTime(t.Context(), ordinal, 1020)
			errs <- err
		}()
		go func() {
			errs <- r.ByKey(t.Context(), message.KeyHash("t", "k5"), 0, 0, func(uint32, uint64, message.View) bool { return true })
		}()
		time.Sleep(5 * time.Second)
		if err := r.Close(); err != nil {
			t.Error(err)
		}
		for range 4 {
			if err := <-errs; !errors.Is(err, ErrClosed) {
				t.Errorf("%v, want ErrClosed", err)
			}
		}
		if _, err := r.Block(t.Context(), ordinal, 3, nil); !errors.Is(err, ErrClosed) {
			t.Errorf("after Close: %v", err)
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
}

// TestIterateStops: who breaks off, or cancels, leaves nothing behind.
func TestIterateStops(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, objstore.NewMem())
		w.blockBytes = 1000
		w.sealNext(500, 500, nil)
		r := w.open(Config{InFlightBytes: 50_000})
		for b, err := range r.Iterate(t.Context(), ordinal, 100) {
			if err != nil {
				t.Fatal(err)
			}
			if b.First > 200 {
				break
			}
		}
		ctx, cancel := context.WithCancel(t.Context())
		var last error
		for b, err := range r.Iterate(ctx, ordinal, 100) {
			if last = err; b.First > 200 {
				cancel()
			}
		}
		if !errors.Is(last, context.Canceled) {
			t.Errorf("cancelled: %v", last)
		}
		cancel()
		synctest.Wait()
		if n := r.bulk.used.Load(); n != 0 {
			t.Errorf("%d bytes are reserved", n)
		}
		for _, err := range r.Iterate(t.Context(), 99, 0) {
			t.Errorf("a queue that is not there: %v", err)
		}
		w.trims[ordinal] = 50
		for _, err := range r.Iterate(t.Context(), ordinal, 49) {
			if !errors.Is(err, catalog.ErrTrimmed) {
				t.Errorf("below the first offset: %v", err)
			}
		}
		w.checkBounds(t, r)
	})
}

func TestByKey(t *testing.T) {
	t.Parallel()
	w := newWorld(t, objstore.NewMem())
	w.blockBytes = 1000
	for range 30 {
		w.sealNext(40, 50, nil)
	}
	q := w.queues[0]
	r := w.open(Config{})
	find := func(key string, begin, end int64, limit int) (out []uint64) {
		t.Helper()
		if err := r.ByKey(t.Context(), message.KeyHash("t", key), begin, end, func(_ uint32, offset uint64, m message.View) bool {
			if string(m) != string(q.messages[offset].b) {
				t.Errorf("offset %d: another message", offset)
			}
			out = append(out, offset)
			return len(out) < limit
		}); err != nil {
			t.Fatal(err)
		}
		return out
	}
	if got := find("k777", 0, 0, 10); !slices.Equal(got, []uint64{777}) || w.gets.Load() != 1 {
		t.Errorf("%d, with %d GETs of blocks, want one", got, w.gets.Load())
	}
	for _, tt := range []struct {
		name       string
		begin, end int64
		want       int
	}{{"in its time", 1777, 1777, 1}, {"before", 0, 1700, 0}, {"after", 1860, 0, 0}} {
		if got := find("k777", tt.begin, tt.end, 10); len(got) != tt.want {
			t.Errorf("%s: %d", tt.name, got)
		}
	}
	if got := find("none", 0, 0, 10); len(got) != 0 || w.gets.Load() != 1 {
		t.Errorf("none: %d, %d GETs", got, w.gets.Load())
	}
	w.trims[ordinal] = 778
	if got := find("k777", 0, 0, 10); len(got) != 0 {
		t.Errorf("trimmed: %d", got)
	}
	w.dead[ordinal] = true
	if got := find("k999", 0, 0, 10); len(got) != 0 {
		t.Errorf("dropped: %d", got)
	}
}

// TestByKeyOrder: the newest come first, and a consumer that has enough ends it.
func TestByKeyOrder(t *testing.T) {
	t.Parallel()
	w := newWorld(t, objstore.NewMem())
	w.queues = []*modelQueue{{Queue: segment.Queue{Ordinal: ordinal, Topic: "t"}}}
	for s := range 20 {
		for i := range 10 {
			w.queues[0].add(t, int64(1000+s), "", "same", []byte{byte(i)})
		}
		w.sealRest()
	}
	r := w.open(Config{})
	var got []uint64
	if err := r.ByKey(t.Context(), message.KeyHash("t", "same"), 0, 0, func(_ uint32, offset uint64, _ message.View) bool {
		got = append(got, offset)
		return len(got) < 25
	}); err != nil {
		t.Fatal(err)
	}
	for i, offset := range got {
		if want := uint64(199 - i); offset != want {
			t.Errorf("number %d is offset %d, want %d", i, offset, want)
		}
	}
	if len(got) != 25 || w.gets.Load() > 3 {
		t.Errorf("%d messages, %d GETs", len(got), w.gets.Load())
	}
	w.checkBounds(t, r)
}

func TestConfig(t *testing.T) {
	t.Parallel()
	err := Config{CacheBytes: -1, Decoders: -1, DiskCacheBytes: 1}.Validate()
	for _, want := range []string{"catalog", "cache_bytes", "decoders", "disk_cache_bytes without"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: want %q", err, want)
		}
	}
}

func TestMetrics(t *testing.T) {
	t.Parallel()
	w := newWorld(t, objstore.NewMem())
	w.sealNext(5, 100, nil)
	reg := prometheus.NewPedanticRegistry()
	r := w.open(Config{Registerer: reg})
	w.mustRead(r, 1)
	w.mustRead(r, 1)
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			name := f.GetName()
			for _, l := range m.GetLabel() {
				name += fmt.Sprintf("{%s}", l.GetValue())
			}
			got[name] = m.GetCounter().GetValue() + m.GetGauge().GetValue()
		}
	}
	raw := float64(len(w.queues[0].concat(0, 5)))
	for name, want := range map[string]float64{
		"varve_coldread_hits_total": 1, "varve_coldread_misses_total": 1, "varve_coldread_gets_total": 1, "varve_coldread_bytes_total{memory}": 2 * raw,
		"varve_coldread_cache_bytes": raw + overhead, "varve_coldread_in_flight_bytes": 0, "varve_coldread_hedges_total": 0,
	} {
		if v, ok := got[name]; !ok || v != want {
			t.Errorf("%s is %v, %t; want %v", name, v, ok, want)
		}
	}
}
