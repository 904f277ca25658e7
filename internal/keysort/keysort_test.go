package keysort

import (
	"math/rand/v2"
	"slices"
	"testing"
)

func TestByHash(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(1, 2))
	for _, n := range []int{0, 1, 2, small - 1, small, 10_000} {
		for _, hashes := range []uint32{1, 7, 1 << 31} {
			keys := make([]uint64, n)
			for i := range keys {
				keys[i] = uint64(rng.Uint32N(hashes))<<32 | uint64(i)
			}
			want := slices.Clone(keys)
			slices.Sort(want)
			if got := ByHash(keys); !slices.Equal(got, want) {
				t.Errorf("%d keys with %d hashes are not sorted", n, hashes)
			}
		}
	}
}
