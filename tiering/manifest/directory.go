package manifest

import "encoding/binary"

// dirEntry is a queue in the directory.
type dirEntry struct {
	ordinal    uint32
	count      int   // of runs
	pos        int64 // of the runs
	size       int
	crc        uint32
	first, end uint64 // offsets
}

// appendDirEntry encodes an entry; before is the ordinal of the one before in the block, or its own if it is the first.
func appendDirEntry(b []byte, e *dirEntry, before uint32) []byte {
	b = binary.AppendUvarint(b, uint64(e.ordinal-before))
	b = binary.AppendUvarint(b, uint64(e.count))
	b = binary.AppendUvarint(b, uint64(e.size))
	b = le.AppendUint32(b, e.crc)
	b = binary.AppendUvarint(b, e.first)
	return binary.AppendUvarint(b, e.end-e.first)
}

// dirBlock is a block of the directory under iteration, its crc checked. What it says is checked as it is read.
type dirBlock struct {
	d     decoder
	row   *dirRow
	until int64  // where the runs of its last queue end
	last  uint32 // the highest ordinal that may be in it
	left  uint32
	entry dirEntry
}

func newDirBlock(b []byte, row *dirRow, until int64, last uint32) dirBlock {
	return dirBlock{d: decoder{b: b}, row: row, until: until, last: last, left: row.queues, entry: dirEntry{ordinal: row.ordinal, pos: row.runs}}
}

// next decodes the next entry into entry, or returns false at the end.
func (b *dirBlock) next() (bool, error) {
	e := &b.entry
	at := e.pos + int64(e.size)
	if b.left == 0 {
		if len(b.d.b) != 0 || at != b.until {
			return false, corrupt(SectionDirectory, b.row.pos, "%d bytes too many, runs up to %d", len(b.d.b), at)
		}
		return false, nil
	}
	ordinal := b.d.after(uint64(e.ordinal), uint64(b.last))
	if first := b.left == b.row.queues; first != (ordinal == uint64(e.ordinal)) {
		b.d.fail()
	}
	e.ordinal, e.pos = uint32(ordinal), at
	e.count = int(b.d.bounded(MaxPageSegments))
	e.size = int(b.d.bounded(uint64(min(maxQueueRuns, b.until-at))))
	e.crc = b.d.uint32()
	e.first = b.d.bounded(maxOffset)
	e.end = b.d.after(e.first, maxOffset)
	if b.d.bad || e.count == 0 || e.size < 3*e.count || e.first == e.end {
		return false, corrupt(SectionDirectory, b.row.pos, "entry %d", b.row.queues-b.left)
	}
	b.left--
	return true, nil
}
