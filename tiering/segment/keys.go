package segment

import (
	"slices"

	"github.com/varvemq/varve/internal/message"
)

// KeyHash returns the part of message.KeyHash that the index keeps.
func keyHash(h uint64) uint32 { return uint32(h >> 32) }

// hashes returns the tag hash of a message, and appends the hashes of its keys, each once, UNIQ_KEY first.
func hashes(v message.View, mode KeyMode, dst []uint32) (int32, []uint32) {
	var tag, unique []byte
	topic, at := v.Topic(), len(dst)
	for name, value := range message.EachProperty(v.Properties()) {
		switch string(name) {
		case message.PropertyTags:
			tag = value
		case message.PropertyUniqKey:
			unique = value
		case message.PropertyKeys:
			if mode != KeysNone {
				message.EachKey(value, func(key []byte) { dst = append(dst, keyHash(message.KeyHash(topic, key))) })
			}
		}
	}
	hash := int32(message.TagHash(tag))
	if len(dst)-at > 1 {
		slices.Sort(dst[at:])
		dst = dst[:at+len(slices.Compact(dst[at:]))]
	}
	if mode != KeysAll || unique == nil {
		return hash, dst
	}
	h := keyHash(message.KeyHash(topic, unique))
	if i := slices.Index(dst[at:], h); i >= 0 {
		dst = slices.Delete(dst, at+i, at+i+1)
	}
	return hash, slices.Insert(dst, at, h)
}

// keyRow is a key page in the root.
type keyRow struct{ first, crc uint32 }

// keyPage is a page of the key index.
type keyPage []byte

func (p keyPage) len() int        { return len(p) / keySize }
func (p keyPage) at(i int) uint64 { return le.Uint64(p[i*keySize:]) }
func (p keyPage) search(h uint64) int {
	lo, hi := 0, p.len()
	for lo < hi {
		if mid := (lo + hi) / 2; p.at(mid) < h {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return lo
}

// bloom is a split-block bloom filter over the upper halves of key hashes.
type bloom []byte

//nolint:gochecknoglobals // a constant table
var bloomSalts = [8]uint32{0x47b6137b, 0x44974d91, 0x8824ad5b, 0xa2b7289d, 0x705495c7, 0x2df1424b, 0x9efc4947, 0x5c6bfb31}

// bloomBlocks returns the number of blocks of a filter for so many keys.
func bloomBlocks(keys uint64) uint32 {
	return uint32((keys*bloomBitsPerKey + bloomBlock*8 - 1) / (bloomBlock * 8))
}

func newBloom(keys int) bloom { return make(bloom, int(bloomBlocks(uint64(keys)))*bloomBlock) }

// bloomPlace returns the block of a hash, and what its bits come from.
func bloomPlace(h, blocks uint32) (block, bits uint32) {
	m := uint64(h^h>>16) * 0x9E3779B97F4A7C15
	m ^= m >> 29
	return uint32((m >> 32) * uint64(blocks) >> 32), uint32(m)
}

func (b bloom) add(h uint32) {
	block, bits := bloomPlace(h, uint32(len(b)/bloomBlock))
	p := b[int(block)*bloomBlock:][:bloomBlock]
	for i, salt := range bloomSalts {
		word := p[i*4:]
		le.PutUint32(word, le.Uint32(word)|1<<((bits*salt)>>27))
	}
}

// bloomHas looks at one block.
func bloomHas(p []byte, bits uint32) bool {
	if len(p) < bloomBlock {
		return true
	}
	for i, salt := range bloomSalts {
		if le.Uint32(p[i*4:])>>((bits*salt)>>27)&1 == 0 {
			return false
		}
	}
	return true
}

// crcs returns the checksums of the pages.
func (b bloom) crcs() []uint32 {
	var out []uint32
	for page := range slices.Chunk(b, bloomPageSize) {
		out = append(out, crcOf(page))
	}
	return out
}
