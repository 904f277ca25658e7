package manifest

import (
	"encoding/binary"
	"hash/crc32"
)

// The constants of docs/format/manifest.md.
const (
	rootMagic     = "VARVEMAN"
	footerMagic   = "VARVEPAG"
	indexMagic    = "VPIX"
	formatVersion = 1

	rootHeader     = 97 // without the shard's name
	rootLeader     = 16 // the first bytes, the same in every version
	maxRootHeader  = 4096
	minPageRow     = 13 // bytes of a row in the table of pages
	minQueueRow    = 6
	footerSize     = 512
	footerTrailer  = 16 // the last bytes, the same in every version
	indexHeader    = 16
	segmentRowSize = 8
	blockRowSize   = 24
	maxIndex       = 16 << 20

	// MaxRootBytes bounds a root.
	MaxRootBytes = 64 << 20
	// MaxPageSegments bounds the segments of a page.
	MaxPageSegments = 1024
	// MaxPageRuns bounds the runs of a page.
	MaxPageRuns = 4 << 20
	// MaxPageBytes bounds a page.
	MaxPageBytes = 256 << 20

	maxQueueRuns    = 64 << 10 // bytes
	directoryTarget = 4 << 10
	maxDirectory    = 8 << 10
	segmentsPer     = 64 // block
	maxSegmentEntry = 128
	tailBytes       = 64 << 10

	maxShardName = 255
	maxOffset    = 1<<63 - 1
	maxSize      = 1<<63 - 1
	maxLevel     = 1
)

//nolint:gochecknoglobals // a constant table
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

//nolint:gochecknoglobals // a constant
var le = binary.LittleEndian

func crcOf(b []byte) uint32 { return crc32.Checksum(b, castagnoli) }

// decoder reads fields from the front of b. After a fault bad is true, and all it returns is zero.
type decoder struct {
	b   []byte
	bad bool
}

func (d *decoder) fail() {
	d.b, d.bad = nil, true
}

func (d *decoder) uvarint() uint64 {
	v, n := binary.Uvarint(d.b)
	if n <= 0 {
		d.fail()
		return 0
	}
	d.b = d.b[n:]
	return v
}

func (d *decoder) varint() int64 {
	v, n := binary.Varint(d.b)
	if n <= 0 {
		d.fail()
		return 0
	}
	d.b = d.b[n:]
	return v
}

// bounded reads a uvarint of at most limit.
func (d *decoder) bounded(limit uint64) uint64 {
	v := d.uvarint()
	if v > limit {
		d.fail()
		return 0
	}
	return v
}

func (d *decoder) byte() byte {
	if len(d.b) == 0 {
		d.fail()
		return 0
	}
	v := d.b[0]
	d.b = d.b[1:]
	return v
}

func (d *decoder) uint32() uint32 {
	if len(d.b) < 4 {
		d.fail()
		return 0
	}
	v := le.Uint32(d.b)
	d.b = d.b[4:]
	return v
}

// after reads a uvarint and adds it to before; the sum is at most limit.
func (d *decoder) after(before, limit uint64) uint64 {
	return before + d.bounded(limit-min(before, limit))
}

// times reads the lowest and the highest of store times; before is the lowest one before.
func (d *decoder) times(before int64) (lowest, highest int64) {
	lowest = before + d.varint()
	highest = lowest + int64(d.uvarint())
	if highest < lowest {
		d.fail()
	}
	return lowest, highest
}
