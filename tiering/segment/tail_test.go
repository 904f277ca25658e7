package segment

import (
	"bytes"
	"context"
	"testing"
)

// onceBad is a Source whose first answer has flipped bits in a range of the object.
type onceBad struct {
	memory

	from, to int64
}

// Get implements Source.
func (s *onceBad) Get(ctx context.Context, off int64, n int) ([]byte, error) {
	first := s.gets.Load() == 0
	b, err := s.memory.Get(ctx, off, n)
	for i := max(s.from-off, 0); first && i < min(s.to-off, int64(len(b))); i += 97 {
		b[i] ^= 1
	}
	return b, err
}

// TestTailDamagedOnTheWay: what was damaged between the object and the reader when this was opened is not kept: the segment can be read, and only the object is asked
// again for what was wrong.
func TestTailDamagedOnTheWay(t *testing.T) {
	t.Parallel()
	rng := seed(t)
	queues := build(t, rng, shape{queues: 300, pieces: 4, batch: 5, body: 50, holes: 0.2})
	b, sum := write(t, testConfig(), queues)
	f := &sum.Footer
	src := &onceBad{memory: memory{b: bytes.Clone(b)}, from: f.indexPos, to: f.rootPos}
	r, err := Open(t.Context(), src, sum.Size, Expect{Identity: &f.Identity, FooterCRC: f.CRC})
	if err != nil {
		t.Fatal(err)
	}
	check(t, rng, r, queues)
	if err := Verify(t.Context(), r); err != nil {
		t.Error(err)
	}
}
