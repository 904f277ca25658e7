package segment

import (
	"github.com/pierrec/lz4/v4"
)

// Compression says how the blocks of a queue are compressed: the topic's setting. Levels 1 to 9 save more than [Fast] and take more time: level 1 about three
// times as much, level 4 six times, level 9 thirty times. Reading does not differ.
type Compression int8

// The compressions that have names.
const (
	Uncompressed Compression = -1
	Fast         Compression = 0
	maxLevel     Compression = 9
)

// compressor compresses payloads. Its results depend on its input alone.
type compressor struct {
	level Compression
	fast  lz4.Compressor
	high  *lz4.CompressorHC // made when it is needed: it is large
	dst   []byte
}

const (
	sampleFrom = 64 << 10 // blocks from this size on are tried on samples first
	sampleSize = 16 << 10
	sampleGain = 64 // one byte in so many has to be saved in a sample
	minGain    = 32 // and in the block
)

// compress returns the payload to store: in memory of c, or raw itself.
func (c *compressor) compress(raw []byte) ([]byte, byte) {
	if c.level == Uncompressed {
		return raw, codecNone
	}
	if len(raw) >= sampleFrom && !c.shrinks(raw[:sampleSize], sampleGain, Fast) && !c.shrinks(raw[len(raw)/2:][:sampleSize], sampleGain, Fast) {
		return raw, codecNone
	}
	if !c.shrinks(raw, minGain, c.level) {
		return raw, codecNone
	}
	return c.dst, codecLZ4
}

// shrinks compresses b into c.dst and reports whether that saves at least one byte in part.
func (c *compressor) shrinks(b []byte, part int, level Compression) bool {
	limit := len(b) - (len(b)+part-1)/part
	if cap(c.dst) < limit {
		c.dst = make([]byte, max(limit, MaxBlock))
	}
	var n int
	var err error
	if level == Fast {
		n, err = c.fast.CompressBlock(b, c.dst[:limit])
	} else {
		if c.high == nil {
			c.high = new(lz4.CompressorHC)
		}
		c.high.Level = 2 << level // the number of candidates that are tried; the library has names from 512 on
		n, err = c.high.CompressBlock(b, c.dst[:limit])
	}
	c.dst = c.dst[:max(n, 0)]
	return err == nil && n > 0
}
