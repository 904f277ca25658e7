// Package keysort sorts the entries of key indexes: 64-bit numbers with a key's hash in the upper half and a place in the lower.
package keysort

import "slices"

// small is the length below which a comparison sort is faster than eight passes over 256 counters.
const small = 256

// ByHash sorts keys whose lower halves rise already, as those of an index that was filled in order do, by radix of the upper halves. It
// returns the sorted keys, which may be in keys or in memory of its own; keys is not to be used any more.
func ByHash(keys []uint64) []uint64 {
	if len(keys) < small {
		slices.Sort(keys)
		return keys
	}
	other := make([]uint64, len(keys))
	for shift := 32; shift < 64; shift += 8 {
		var at [257]int
		for _, k := range keys {
			at[k>>shift&0xff+1]++
		}
		for i := range 256 {
			at[i+1] += at[i]
		}
		for _, k := range keys {
			d := k >> shift & 0xff
			other[at[d]] = k
			at[d]++
		}
		keys, other = other, keys
	}
	return keys
}
