package manifest

import "github.com/varvemq/varve/internal/message"

// dirRow is a block of the directory in the index.
type dirRow struct {
	runs    int64 // position of the runs of its first queue
	pos     int64 // of the block
	ordinal uint32
	size    uint32
	crc     uint32
	queues  uint32
}

// segRow is a block of the segment table in the index.
type segRow struct {
	pos  int64
	size uint32
	crc  uint32
}

// index has the places and checksums of a page's blocks.
type index struct {
	segs []segRow
	dir  []dirRow
}

func (x *index) encode() []byte {
	b := make([]byte, 0, indexHeader+len(x.segs)*segmentRowSize+len(x.dir)*blockRowSize)
	b = append(b, indexMagic...)
	b = le.AppendUint16(b, formatVersion)
	b = le.AppendUint16(b, 0)
	b = le.AppendUint32(b, uint32(len(x.segs)))
	b = le.AppendUint32(b, uint32(len(x.dir)))
	for _, s := range x.segs {
		b = le.AppendUint32(b, s.size)
		b = le.AppendUint32(b, s.crc)
	}
	for i := range x.dir {
		d := &x.dir[i]
		b = le.AppendUint64(b, uint64(d.runs))
		for _, v := range [...]uint32{d.ordinal, d.size, d.crc, d.queues} {
			b = le.AppendUint32(b, v)
		}
	}
	return b
}

// parseIndex decodes the index of a page and checks it against the footer.
func parseIndex(b []byte, f *footer) (*index, error) {
	bad := func(format string, args ...any) (*index, error) {
		return nil, corrupt(SectionIndex, f.indexPos, format, args...)
	}
	if len(b) < indexHeader || string(b[:4]) != indexMagic || le.Uint16(b[4:]) != formatVersion || le.Uint16(b[6:]) != 0 {
		return bad("%d bytes that begin with %x", len(b), b[:min(len(b), 8)])
	}
	segs, dirs := int64(le.Uint32(b[8:])), int64(le.Uint32(b[12:]))
	if int64(len(b)) != indexHeader+segs*segmentRowSize+dirs*blockRowSize || segs != (int64(f.segments)+segmentsPer-1)/segmentsPer ||
		(dirs == 0) != (f.queues == 0) {
		return bad("%d blocks of segments, %d of the directory in %d bytes", segs, dirs, len(b))
	}
	x := &index{segs: make([]segRow, segs), dir: make([]dirRow, dirs)}
	b, pos := b[indexHeader:], f.segPos
	for i := range x.segs {
		s := segRow{pos: pos, size: le.Uint32(b[i*segmentRowSize:]), crc: le.Uint32(b[i*segmentRowSize+4:])}
		if pos += int64(s.size); s.size == 0 || s.size > segmentsPer*maxSegmentEntry {
			return bad("block %d of segments: %d bytes", i, s.size)
		}
		x.segs[i] = s
	}
	if pos != f.indexPos {
		return bad("the segment table ends at %d", pos)
	}
	b, pos = b[segs*segmentRowSize:], f.dirPos
	var queues uint64
	for i := range x.dir {
		r := b[i*blockRowSize:]
		d := dirRow{runs: int64(le.Uint64(r)), pos: pos, ordinal: le.Uint32(r[8:]), size: le.Uint32(r[12:]), crc: le.Uint32(r[16:]), queues: le.Uint32(r[20:])}
		pos += int64(d.size)
		queues += uint64(d.queues)
		switch {
		case d.size == 0 || d.size > maxDirectory || d.queues == 0:
			return bad("block %d of the directory: %d queues in %d bytes", i, d.queues, d.size)
		case i == 0 && d.runs != 0, i > 0 && (d.runs <= x.dir[i-1].runs || d.ordinal <= x.dir[i-1].ordinal), d.runs < 0 || d.runs >= f.dirPos,
			d.ordinal > message.MaxOrdinal:
			return bad("block %d of the directory: queue %d, runs at %d", i, d.ordinal, d.runs)
		}
		x.dir[i] = d
	}
	if pos != f.segPos || queues != uint64(f.queues) {
		return bad("the directory ends at %d, with %d queues", pos, queues)
	}
	return x, nil
}
