package segment

import (
	"fmt"
	"hash/crc32"
)

// Footer is what the end of a segment says of it.
type Footer struct {
	Identity

	FirstLSN, EndLSN   uint64 // [FirstLSN, EndLSN)
	EtcdRevision       uint64 // known when the segment was begun
	Created            int64  // unix ms, information only
	MinStore, MaxStore int64  // unix ms; 0 without messages
	Blocks, Holes      uint64
	Queues, Messages   uint64
	Keys, KeysLeftOut  uint64
	RawBytes           uint64
	Previous           uint32 // CRC of the predecessor's footer, 0: none
	Level              uint8
	CRC                uint32 // of this footer: stands for the whole segment

	keyPos, bloomPos, indexPos, rootPos int64
	rootLen, rootCRC                    uint32
}

// DataBytes returns the bytes of the object that are blocks.
func (f *Footer) DataBytes() int64 { return f.keyPos }

// append adds the footer's bytes to dst and sets CRC.
func (f *Footer) append(dst []byte) []byte {
	at := len(dst)
	dst = append(dst, f.Cluster[:]...)
	for _, v := range [...]uint64{
		f.Epoch, f.Sequence, f.FirstLSN, f.EndLSN, f.EtcdRevision, uint64(f.Created), uint64(f.MinStore), uint64(f.MaxStore), f.Blocks, f.Holes, f.Queues, f.Messages,
		f.Keys, f.KeysLeftOut, f.RawBytes, uint64(f.keyPos), uint64(f.bloomPos), uint64(f.indexPos), uint64(f.rootPos),
	} {
		dst = le.AppendUint64(dst, v)
	}
	dst = le.AppendUint32(dst, f.rootLen)
	dst = le.AppendUint32(dst, f.rootCRC)
	dst = le.AppendUint32(dst, f.Previous)
	dst = append(dst, f.Level, byte(len(f.Shard)))
	dst = append(dst, f.Shard...)
	dst = append(dst, make([]byte, footerSize-footerTrailer-(len(dst)-at))...)
	trailer := len(dst)
	dst = le.AppendUint32(dst, 0)
	dst = le.AppendUint16(dst, formatVersion)
	dst = le.AppendUint16(dst, footerSize)
	dst = append(dst, footerMagic...)
	f.CRC = footerCRC(dst[at:])
	le.PutUint32(dst[trailer:], f.CRC)
	return dst
}

// footerCRC covers a footer but for the field it stands in.
func footerCRC(b []byte) uint32 {
	n := len(b) - footerTrailer
	return crc32.Update(crcOf(b[:n]), castagnoli, b[n+4:])
}

// parseFooter decodes the footer at the end of tail, which is the end of an object of size bytes.
func parseFooter(tail []byte, size int64) (Footer, error) {
	var f Footer
	pos := size - footerSize
	if len(tail) < footerSize || pos < 0 {
		return f, fmt.Errorf("%w: %d bytes are less than a footer", ErrTruncated, size)
	}
	end := tail[len(tail)-footerTrailer:]
	isMagic := string(end[8:]) == footerMagic
	n := int(le.Uint16(end[6:]))
	if !isMagic {
		// One damaged place is damage; what looks like no footer at all is the end of something else.
		b := append([]byte(nil), tail[len(tail)-footerSize:]...)
		copy(b[footerSize-8:], footerMagic)
		if footerCRC(b) == le.Uint32(end) {
			return f, corrupt(SectionFooter, pos, "magic %q", end[8:])
		}
		return f, fmt.Errorf("%w: the object of %d bytes does not end in a footer", ErrTruncated, size)
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

func (f *Footer) decode(b []byte) {
	copy(f.Cluster[:], b)
	f.Epoch, f.Sequence = le.Uint64(b[16:]), le.Uint64(b[24:])
	u := func(i int) uint64 { return le.Uint64(b[32+8*i:]) }
	f.FirstLSN, f.EndLSN, f.EtcdRevision, f.Created = u(0), u(1), u(2), int64(u(3))
	f.MinStore, f.MaxStore, f.Blocks, f.Holes = int64(u(4)), int64(u(5)), u(6), u(7)
	f.Queues, f.Messages, f.Keys, f.KeysLeftOut, f.RawBytes = u(8), u(9), u(10), u(11), u(12)
	f.keyPos, f.bloomPos, f.indexPos, f.rootPos = int64(u(13)), int64(u(14)), int64(u(15)), int64(u(16))
	f.rootLen, f.rootCRC, f.Previous, f.Level = le.Uint32(b[168:]), le.Uint32(b[172:]), le.Uint32(b[176:]), b[180]
	f.Shard = string(b[182:][:b[181]])
	f.CRC = le.Uint32(b[footerSize-footerTrailer:])
}

// check reports positions and counts that contradict each other.
func (f *Footer) check(size int64) error {
	pos := size - footerSize
	switch {
	case f.keyPos < 0 || f.bloomPos < f.keyPos || f.indexPos < f.bloomPos || f.rootPos < f.indexPos || f.rootPos > pos:
		return corrupt(SectionFooter, pos, "sections at %d, %d, %d, %d", f.keyPos, f.bloomPos, f.indexPos, f.rootPos)
	case f.rootPos+int64(f.rootLen) != pos:
		return corrupt(SectionFooter, pos, "a root of %d bytes at %d in an object of %d", f.rootLen, f.rootPos, size)
	case f.rootLen < rootHeader || f.rootLen > maxRoot:
		return corrupt(SectionFooter, pos, "a root of %d bytes", f.rootLen)
	case f.Messages > maxMessages || f.Keys > uint64(size)/keySize || int64(f.Keys)*keySize != f.bloomPos-f.keyPos:
		return corrupt(SectionFooter, pos, "%d messages, %d keys in %d bytes", f.Messages, f.Keys, f.bloomPos-f.keyPos)
	case f.bloomPos+int64(bloomBlocks(f.Keys))*bloomBlock != f.indexPos:
		return corrupt(SectionFooter, pos, "a bloom filter of %d bytes for %d keys", f.indexPos-f.bloomPos, f.Keys)
	case len(f.Shard) == 0:
		return corrupt(SectionFooter, pos, "no shard")
	case f.FirstLSN > f.EndLSN || f.Level > 1:
		return corrupt(SectionFooter, pos, "LSNs [%d, %d), level %d", f.FirstLSN, f.EndLSN, f.Level)
	}
	return nil
}
