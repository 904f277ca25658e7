package manifest

import (
	"context"
	"testing"
)

// onceBad is a source whose first answer has flipped bits in front of a position.
type onceBad struct {
	memory

	to int64
}

// Get implements segment.Source.
func (s *onceBad) Get(ctx context.Context, off int64, n int) ([]byte, error) {
	first := s.gets.Load() == 0
	b, err := s.memory.Get(ctx, off, n)
	for i := int64(0); first && i < min(s.to-off, int64(len(b))); i += 97 {
		b[i] ^= 1
	}
	return b, err
}

// TestTailDamagedOnTheWay: what was damaged between the object and the page when this was opened is not kept, with a cache or without.
func TestTailDamagedOnTheWay(t *testing.T) {
	t.Parallel()
	rng := seed(t)
	segs := build(rng, shape{segments: 30, queues: 200, present: 0.5})
	b, ref := encode(t, segs)
	good, _ := open(t, b, ref)
	for _, cache := range []*Cache{nil, NewCache(1 << 20)} {
		src := &onceBad{memory: memory{b: b}, to: good.foot.indexPos}
		p, err := cache.OpenPage(t.Context(), src, ref)
		if err != nil {
			t.Fatal(err)
		}
		check(t, rng, p, segs)
		before := src.gets.Load()
		check(t, rng, p, segs)
		if n := src.gets.Load() - before; cache != nil && n > 0 {
			t.Errorf("%d reads of what was read before", n)
		}
	}
}
