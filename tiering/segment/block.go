package segment

import (
	"fmt"
	"hash/crc32"
	"net/netip"

	"github.com/pierrec/lz4/v4"

	"github.com/varvemq/varve/internal/message"
)

// header is a block's header.
type header struct {
	content, codec     byte
	host               netip.AddrPort // zero: not the same in all messages
	payloadCRC         uint32
	tag                uint64
	base               uint64
	minStore, maxStore int64
	ordinal, count     uint32
	raw, stored        uint32
	crc                uint32 // set by append and parse
}

// append adds the bytes of the header of a block at pos.
func (h *header) append(dst []byte, pos int64) []byte {
	at := len(dst)
	dst = append(dst, blockMagic...)
	dst = append(dst, formatVersion, h.content, h.codec, byte(h.host.Addr().BitLen()/8))
	dst = le.AppendUint32(dst, 0)
	dst = le.AppendUint32(dst, h.payloadCRC)
	dst = le.AppendUint64(dst, h.tag)
	dst = le.AppendUint64(dst, h.base)
	dst = le.AppendUint64(dst, uint64(h.minStore))
	dst = le.AppendUint64(dst, uint64(h.maxStore))
	dst = le.AppendUint32(dst, h.ordinal)
	dst = le.AppendUint32(dst, h.count)
	dst = le.AppendUint32(dst, h.raw)
	dst = le.AppendUint32(dst, h.stored)
	if h.host.IsValid() {
		dst = append(dst, h.host.Addr().AsSlice()...)
		dst = le.AppendUint16(dst, h.host.Port())
		for (len(dst)-at)%8 != 0 {
			dst = append(dst, 0)
		}
	}
	h.crc = headerCRC(dst[at:], pos)
	le.PutUint32(dst[at+8:], h.crc)
	return dst
}

// headerCRC covers the position and all of a header but the field it stands in.
func headerCRC(b []byte, pos int64) uint32 {
	var place [8]byte
	le.PutUint64(place[:], uint64(pos))
	crc := crc32.Update(crcOf(place[:]), castagnoli, b[:8])
	return crc32.Update(crc, castagnoli, b[12:])
}

// headerLen returns the length of the header that begins with b.
func headerLen(hostLen byte) (int, bool) {
	switch hostLen {
	case 0:
		return blockHeader, true
	case 4:
		return blockHeader + hostFieldV4, true
	case 16:
		return blockHeader + hostFieldV6, true
	}
	return 0, false
}

// parseHeader decodes and checks the header of a block at pos that begins b, and returns its length.
func parseHeader(b []byte, pos int64) (h header, n int, err error) {
	if len(b) < blockHeader {
		return h, 0, fmt.Errorf("%w: %d bytes of a block header at %d", ErrTruncated, len(b), pos)
	}
	if string(b[:4]) != blockMagic {
		return h, 0, corrupt(SectionBlock, pos, "magic %q", b[:4])
	}
	n, ok := headerLen(b[7])
	if !ok {
		return h, 0, corrupt(SectionBlock, pos, "a store host of %d bytes", b[7])
	}
	if len(b) < n {
		return h, 0, fmt.Errorf("%w: %d bytes of a block header at %d", ErrTruncated, len(b), pos)
	}
	h.crc = le.Uint32(b[8:])
	if got := headerCRC(b[:n], pos); got != h.crc {
		return h, 0, corrupt(SectionBlock, pos, "header crc %08x, computed %08x", h.crc, got)
	}
	if v := b[4]; v != formatVersion {
		return h, 0, fmt.Errorf("block at %d: %w %d", pos, ErrVersion, v)
	}
	h.content, h.codec = b[5], b[6]
	h.payloadCRC, h.tag, h.base = le.Uint32(b[12:]), le.Uint64(b[16:]), le.Uint64(b[24:])
	h.minStore, h.maxStore = int64(le.Uint64(b[32:])), int64(le.Uint64(b[40:]))
	h.ordinal, h.count, h.raw, h.stored = le.Uint32(b[48:]), le.Uint32(b[52:]), le.Uint32(b[56:]), le.Uint32(b[60:])
	if hostLen := int(b[7]); hostLen > 0 {
		addr, _ := netip.AddrFromSlice(b[64 : 64+hostLen])
		h.host = netip.AddrPortFrom(addr, le.Uint16(b[64+hostLen:]))
	}
	return h, n, h.check(pos)
}

// check reports fields that contradict each other or exceed their limits.
func (h *header) check(pos int64) error {
	if h.ordinal > message.MaxOrdinal || h.count == 0 || h.base > maxOffset-uint64(h.count) || h.minStore > h.maxStore {
		return corrupt(SectionBlock, pos, "queue %d, %d offsets from %d on, times %d to %d", h.ordinal, h.count, h.base, h.minStore, h.maxStore)
	}
	switch h.content {
	case contentHole:
		if h.raw != 0 || h.stored != 0 || h.codec != codecNone || h.host.IsValid() || h.minStore != 0 || h.maxStore != 0 {
			return corrupt(SectionBlock, pos, "a hole with contents")
		}
		return nil
	case contentMessages:
	default:
		return fmt.Errorf("block at %d: %w: content %d", pos, ErrVersion, h.content)
	}
	if h.raw > MaxMessage || h.raw > MaxBlock && h.count != 1 || uint64(h.raw) < uint64(h.count)*message.MinSize {
		return corrupt(SectionBlock, pos, "%d messages in %d bytes", h.count, h.raw)
	}
	switch h.codec {
	case codecNone:
		if h.stored != h.raw {
			return corrupt(SectionBlock, pos, "%d bytes stored of %d raw", h.stored, h.raw)
		}
	case codecLZ4:
		if h.stored >= h.raw || uint64(h.raw) > uint64(h.stored)*expansion+expansionSlack {
			return corrupt(SectionBlock, pos, "%d bytes of lz4 for %d raw", h.stored, h.raw)
		}
	default:
		return fmt.Errorf("block at %d: %w: codec %d", pos, ErrVersion, h.codec)
	}
	return nil
}

// payload checks and decompresses a block's payload into dst, or returns the payload itself if it is stored raw.
func (h *header) payload(b, dst []byte, pos int64) ([]byte, error) {
	if len(b) != int(h.stored) {
		return nil, fmt.Errorf("%w: %d of %d bytes of the block at %d", ErrTruncated, len(b), h.stored, pos)
	}
	if got := crcOf(b); got != h.payloadCRC {
		return nil, corrupt(SectionBlock, pos, "payload crc %08x, computed %08x", h.payloadCRC, got)
	}
	if h.codec == codecNone {
		return b, nil
	}
	if cap(dst) < int(h.raw) {
		dst = make([]byte, h.raw)
	}
	dst = dst[:h.raw]
	n, err := lz4.UncompressBlock(b, dst)
	if err != nil || n != int(h.raw) {
		return nil, corrupt(SectionBlock, pos, "%d of %d bytes from lz4: %v", n, h.raw, err)
	}
	return dst, nil
}
