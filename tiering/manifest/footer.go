package manifest

import (
	"fmt"
	"hash/crc32"

	"github.com/varvemq/varve/internal/message"
)

// footer is what the end of a page says of it.
type footer struct {
	PageIdentity

	firstLSN, endLSN   uint64
	minStore, maxStore int64
	bytes, runs        uint64
	dirPos, segPos     int64 // of the directory and the segment table
	indexPos           int64
	indexLen, indexCRC uint32
	segments, queues   uint32
	crc                uint32 // of the footer
}

// append adds the footer's bytes to dst and sets crc.
func (f *footer) append(dst []byte) []byte {
	at := len(dst)
	dst = append(dst, f.Cluster[:]...)
	for _, v := range [...]uint64{
		f.Epoch, f.Object, f.firstLSN, f.endLSN, uint64(f.minStore), uint64(f.maxStore), f.bytes, f.runs, uint64(f.dirPos), uint64(f.segPos), uint64(f.indexPos),
	} {
		dst = le.AppendUint64(dst, v)
	}
	for _, v := range [...]uint32{f.indexLen, f.indexCRC, f.segments, f.queues} {
		dst = le.AppendUint32(dst, v)
	}
	dst = append(dst, byte(len(f.Shard)))
	dst = append(dst, f.Shard...)
	dst = append(dst, make([]byte, footerSize-footerTrailer-(len(dst)-at))...)
	trailer := len(dst)
	dst = le.AppendUint32(dst, 0)
	dst = le.AppendUint16(dst, formatVersion)
	dst = le.AppendUint16(dst, footerSize)
	dst = append(dst, footerMagic...)
	f.crc = footerCRC(dst[at:])
	le.PutUint32(dst[trailer:], f.crc)
	return dst
}

// footerCRC covers a footer but for the field it stands in.
func footerCRC(b []byte) uint32 {
	n := len(b) - footerTrailer
	return crc32.Update(crcOf(b[:n]), castagnoli, b[n+4:])
}

// parseFooter decodes the footer at the end of tail, which is the end of a page of size bytes.
func parseFooter(tail []byte, size int64) (footer, error) {
	var f footer
	pos := size - footerSize
	if len(tail) < footerSize || pos < 0 {
		return f, fmt.Errorf("%w: %d bytes are less than a footer", ErrTruncated, size)
	}
	end := tail[len(tail)-footerTrailer:]
	n := int(le.Uint16(end[6:]))
	if string(end[8:]) != footerMagic {
		// One damaged place is damage; what looks like no footer at all is the end of something else.
		b := append([]byte(nil), tail[len(tail)-footerSize:]...)
		copy(b[footerSize-8:], footerMagic)
		if footerCRC(b) == le.Uint32(end) {
			return f, corrupt(SectionFooter, pos, "magic %q", end[8:])
		}
		return f, fmt.Errorf("%w: the object of %d bytes does not end in a page's footer", ErrTruncated, size)
	}
	if n < footerTrailer || n > len(tail) {
		return f, corrupt(SectionFooter, pos, "a footer of %d bytes", n)
	}
	b := tail[len(tail)-n:]
	if got, want := footerCRC(b), le.Uint32(end); got != want {
		return f, corrupt(SectionFooter, pos, "crc %08x, computed %08x", want, got)
	}
	if v := le.Uint16(end[4:]); v != formatVersion {
		return f, fmt.Errorf("%w %d", ErrVersion, v)
	}
	if n != footerSize {
		return f, corrupt(SectionFooter, pos, "a footer of %d bytes", n)
	}
	f.decode(b)
	return f, f.check(size)
}

func (f *footer) decode(b []byte) {
	copy(f.Cluster[:], b)
	u := func(i int) uint64 { return le.Uint64(b[16+8*i:]) }
	f.Epoch, f.Object, f.firstLSN, f.endLSN, f.minStore, f.maxStore, f.bytes, f.runs = u(0), u(1), u(2), u(3), int64(u(4)), int64(u(5)), u(6), u(7)
	f.dirPos, f.segPos, f.indexPos = int64(u(8)), int64(u(9)), int64(u(10))
	f.indexLen, f.indexCRC, f.segments, f.queues = le.Uint32(b[104:]), le.Uint32(b[108:]), le.Uint32(b[112:]), le.Uint32(b[116:])
	f.Shard = string(b[121:][:b[120]])
	f.crc = le.Uint32(b[footerSize-footerTrailer:])
}

// check reports positions and counts that contradict each other.
func (f *footer) check(size int64) error {
	pos := size - footerSize
	switch {
	case size > MaxPageBytes:
		return corrupt(SectionFooter, pos, "a page of %d bytes", size)
	case f.dirPos < 0 || f.segPos < f.dirPos || f.indexPos < f.segPos || f.indexPos > pos:
		return corrupt(SectionFooter, pos, "sections at %d, %d, %d", f.dirPos, f.segPos, f.indexPos)
	case f.indexPos+int64(f.indexLen) != pos || f.indexLen < indexHeader || f.indexLen > maxIndex:
		return corrupt(SectionFooter, pos, "an index of %d bytes at %d in a page of %d", f.indexLen, f.indexPos, size)
	case f.segments == 0 || f.segments > MaxPageSegments || f.runs > MaxPageRuns || uint64(f.queues) > f.runs || f.queues > message.MaxOrdinal+1:
		return corrupt(SectionFooter, pos, "%d segments, %d queues, %d runs", f.segments, f.queues, f.runs)
	case (f.queues == 0) != (f.runs == 0) || (f.queues == 0) != (f.dirPos == 0) || (f.queues == 0) != (f.segPos == f.dirPos):
		return corrupt(SectionFooter, pos, "%d queues, %d runs in %d bytes, a directory of %d", f.queues, f.runs, f.dirPos, f.segPos-f.dirPos)
	case f.Shard == "" || f.firstLSN > f.endLSN || f.minStore > f.maxStore:
		return corrupt(SectionFooter, pos, "shard %q, LSNs [%d, %d), store times [%d, %d]", f.Shard, f.firstLSN, f.endLSN, f.minStore, f.maxStore)
	}
	return nil
}

// ref returns how a root names the page.
func (f *footer) ref(size int64) PageRef {
	return PageRef{
		Object: f.Object, Epoch: f.Epoch, Size: size, CRC: f.crc, FirstLSN: f.firstLSN, EndLSN: f.endLSN, MinStore: f.minStore, MaxStore: f.maxStore,
		Segments: f.segments, Bytes: f.bytes,
	}
}
