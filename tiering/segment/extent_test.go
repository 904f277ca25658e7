package segment

import (
	"bytes"
	"errors"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestExtents: what the writer sums up is what the blocks have, and what a reader finds.
func TestExtents(t *testing.T) {
	t.Parallel()
	for name, s := range map[string]shape{
		"one queue": {queues: 1, pieces: 3, batch: 3, body: 50}, "queues of many pages": {queues: 5, pieces: 3000, batch: 2, body: 30, holes: 0.3},
		"many queues": {queues: 3000, pieces: 2, batch: 2, body: 20, holes: 0.1}, "holes": {queues: 30, pieces: 3, batch: 1, body: 1, holes: 1}, "nothing": {},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			queues := build(t, seed(t), s)
			cfg := testConfig()
			cfg.BlockBytes = 600
			b, sum := write(t, cfg, queues)
			r, _ := open(t, b)
			var want, got []Extent
			for i := range queues {
				q := &queues[i]
				x := Extent{Ordinal: q.Ordinal, First: q.first(), End: q.end()}
				for e, err := range r.Blocks(t.Context(), q.Ordinal, q.first()) {
					if err != nil {
						t.Fatal(err)
					}
					x.Bytes += uint64(e.Size)
				}
				for _, p := range q.pieces {
					for _, m := range p.msgs {
						x.MaxStore = max(x.MaxStore, m.store)
					}
				}
				want = append(want, x)
			}
			for x, err := range r.Extents(t.Context()) {
				if err != nil {
					t.Fatal(err)
				}
				got = append(got, x)
			}
			if !slices.Equal(got, want) || !slices.Equal(sum.Extents, want) || sum.Footer.Queues != uint64(len(want)) {
				t.Errorf("read: %s\nwritten: %s", cmp.Diff(want, got), cmp.Diff(want, sum.Extents))
			}
			var bytes uint64
			for _, x := range got {
				bytes += x.Bytes
			}
			if f := r.Footer(); bytes != uint64(f.DataBytes()) {
				t.Errorf("%d bytes of queues in %d of blocks", bytes, f.DataBytes())
			}
		})
	}
}

// TestExtentsDamaged: a damaged index gives an error, never other extents.
func TestExtentsDamaged(t *testing.T) {
	t.Parallel()
	good, _ := small(t)
	r, _ := open(t, good)
	var want []Extent
	for x := range r.Extents(t.Context()) {
		want = append(want, x)
	}
	for at := r.foot.indexPos; at < r.foot.rootPos; at++ {
		bad := bytes.Clone(good)
		bad[at] ^= 4
		r, _ := open(t, bad)
		var last error
		for x, err := range r.Extents(t.Context()) {
			if last = err; err == nil && !slices.Contains(want, x) {
				t.Fatalf("byte %d: %+v", at, x)
			}
		}
		var c *CorruptError
		if !errors.As(last, &c) || c.Section != SectionIndex {
			t.Fatalf("byte %d: %v", at, last)
		}
	}
}
