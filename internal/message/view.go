package message

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"net/netip"
)

// View is one stored message. It aliases the bytes it was parsed from and is
// valid as long as they are. Make it with [Parse] or [Next], which check every
// length; the accessors of a View made otherwise may panic.
type View []byte

// Parse checks that b is exactly one stored message and returns a view of it.
// It does not check the body's CRC; see [View.CheckCRC].
func Parse(b []byte) (View, error) {
	v, rest, err := Next(b)
	if err != nil {
		return nil, err
	}
	if len(rest) != 0 {
		return nil, fmt.Errorf("%d bytes after the message: %w", len(rest), ErrCorrupt)
	}
	return v, nil
}

// Next checks the first of the concatenated messages in b and returns a view of
// it and the bytes after it. It must not be called with no bytes left: that is ErrTruncated.
func Next(b []byte) (View, []byte, error) {
	if len(b) < MinSize {
		return nil, nil, fmt.Errorf("%d bytes: %w", len(b), ErrTruncated)
	}
	total := int64(binary.BigEndian.Uint32(b[posTotalSize:]))
	magic := binary.BigEndian.Uint32(b[posMagic:])
	if magic != MagicV1 && magic != MagicV2 {
		return nil, nil, fmt.Errorf("magic %#08x: %w", magic, ErrUnknownMagic)
	}
	if total < MinSize {
		return nil, nil, fmt.Errorf("total size %d: %w", total, ErrCorrupt)
	}
	if total > int64(len(b)) {
		return nil, nil, fmt.Errorf("total size %d of %d bytes: %w", total, len(b), ErrTruncated)
	}
	v := View(b[:total:total])
	if err := v.check(); err != nil {
		return nil, nil, err
	}
	return v, b[total:], nil
}

// check validates the lengths within a message whose total size is right.
func (v View) check() error {
	pos := v.bodyPos()
	for _, width := range [...]int{4, v.topicWidth(), 2} {
		if pos+width > len(v) {
			return fmt.Errorf("length at %d of %d bytes: %w", pos, len(v), ErrCorrupt)
		}
		n := v.length(pos, width)
		pos += width
		if n < 0 || n > len(v)-pos {
			return fmt.Errorf("length %d at %d of %d bytes: %w", n, pos-width, len(v), ErrCorrupt)
		}
		pos += n
	}
	if pos != len(v) {
		return fmt.Errorf("fields end at %d of %d bytes: %w", pos, len(v), ErrCorrupt)
	}
	return nil
}

// length reads a signed length of 1, 2 or 4 bytes, as Java does.
func (v View) length(pos, width int) int {
	switch width {
	case 1:
		return int(int8(v[pos]))
	case 2:
		return int(int16(binary.BigEndian.Uint16(v[pos:])))
	default:
		return int(int32(binary.BigEndian.Uint32(v[pos:])))
	}
}

func (v View) topicWidth() int {
	if v.Magic() == MagicV2 {
		return 2
	}
	return 1
}

func (v View) bornHostSize() int { return hostSize(v.SysFlag()&SysFlagBornHostV6 != 0) }

func (v View) storeHostSize() int { return hostSize(v.SysFlag()&SysFlagStoreHostV6 != 0) }

func (v View) storeTimestampPos() int { return posBornHost + v.bornHostSize() }

func (v View) storeHostPos() int { return v.storeTimestampPos() + 8 }

func (v View) reconsumePos() int { return v.storeHostPos() + v.storeHostSize() }

// bodyPos returns the position of the body's length.
func (v View) bodyPos() int { return v.reconsumePos() + 4 + 8 }

// topicPos returns the position of the topic's length.
func (v View) topicPos() int {
	p := v.bodyPos()
	return p + 4 + v.length(p, 4)
}

// propertiesPos returns the position of the length of the properties.
func (v View) propertiesPos() int {
	p, w := v.topicPos(), v.topicWidth()
	return p + w + v.length(p, w)
}

func (v View) int32At(pos int) int32 { return int32(binary.BigEndian.Uint32(v[pos:])) }

func (v View) int64At(pos int) int64 { return int64(binary.BigEndian.Uint64(v[pos:])) }

// TotalSize returns the length of the message in bytes.
func (v View) TotalSize() int { return len(v) }

// Magic returns MagicV1 or MagicV2.
func (v View) Magic() uint32 { return binary.BigEndian.Uint32(v[posMagic:]) }

// BodyCRC returns the stored checksum of the body; see [BodyCRC].
func (v View) BodyCRC() uint32 { return binary.BigEndian.Uint32(v[posBodyCRC:]) }

// QueueID returns the queue id.
func (v View) QueueID() int32 { return v.int32At(posQueueID) }

// Flag returns the user's flag.
func (v View) Flag() int32 { return v.int32At(posFlag) }

// QueueOffset returns the offset in the queue.
func (v View) QueueOffset() int64 { return v.int64At(posQueueOffset) }

// PhysicalOffset returns the physical offset; see [SplitPhysicalOffset].
func (v View) PhysicalOffset() int64 { return v.int64At(posPhysicalOffset) }

// SysFlag returns the system flag.
func (v View) SysFlag() int32 { return v.int32At(posSysFlag) }

// BornTimestamp returns the producer's time in milliseconds since 1970.
func (v View) BornTimestamp() int64 { return v.int64At(posBornTimestamp) }

// BornHost returns the producer's address.
func (v View) BornHost() netip.AddrPort { return hostAt(v[posBornHost:v.storeTimestampPos()]) }

// StoreTimestamp returns the broker's time in milliseconds since 1970.
func (v View) StoreTimestamp() int64 { return v.int64At(v.storeTimestampPos()) }

// StoreHost returns the broker's advertised address.
func (v View) StoreHost() netip.AddrPort { return hostAt(v[v.storeHostPos():v.reconsumePos()]) }

// ReconsumeTimes returns how often the message was sent back.
func (v View) ReconsumeTimes() int32 { return v.int32At(v.reconsumePos()) }

// PreparedTransactionOffset returns the offset of the half message that this message commits, or zero.
func (v View) PreparedTransactionOffset() int64 { return v.int64At(v.reconsumePos() + 4) }

// Body returns the body as stored, compressed if the system flag says so.
func (v View) Body() []byte {
	p := v.bodyPos()
	return v.span(p, 4)
}

// Topic returns the topic's bytes.
func (v View) Topic() []byte { return v.span(v.topicPos(), v.topicWidth()) }

// Properties returns the raw property string; see [Property] and [EachProperty].
func (v View) Properties() []byte { return v.span(v.propertiesPos(), 2) }

// Property returns the value of a property; see [Property].
func (v View) Property(name string) ([]byte, bool) { return Property(v.Properties(), name) }

// TagHash returns the hash of the message's tag, zero if it has none; see [TagHash].
func (v View) TagHash() int64 {
	tag, _ := v.Property(PropertyTags)
	return TagHash(tag)
}

// CheckCRC reports ErrCorrupt if the body does not match its checksum.
func (v View) CheckCRC() error {
	if got := BodyCRC(v.Body()); got != v.BodyCRC() {
		return fmt.Errorf("body crc %#08x, stored %#08x: %w", got, v.BodyCRC(), ErrCorrupt)
	}
	return nil
}

// Fields returns the message's fields. Body and Properties alias v; Topic is a copy.
func (v View) Fields() Fields {
	return Fields{
		Topic: string(v.Topic()), QueueID: v.QueueID(), Flag: v.Flag(), SysFlag: v.SysFlag(),
		QueueOffset: v.QueueOffset(), PhysicalOffset: v.PhysicalOffset(),
		BornTimestamp: v.BornTimestamp(), BornHost: v.BornHost(),
		StoreTimestamp: v.StoreTimestamp(), StoreHost: v.StoreHost(),
		ReconsumeTimes: v.ReconsumeTimes(), PreparedTransactionOffset: v.PreparedTransactionOffset(),
		Body: v.Body(), Properties: v.Properties(),
	}
}

// span returns the bytes after a length of the given width.
func (v View) span(pos, width int) []byte {
	n := v.length(pos, width)
	pos += width
	return v[pos : pos+n : pos+n]
}

// BodyCRC returns the checksum that the layout stores for a body: CRC-32 (IEEE) without its top bit.
func BodyCRC(body []byte) uint32 { return crc32.ChecksumIEEE(body) & 0x7fffffff }

// hostAt decodes an address and a port that fill b.
func hostAt(b []byte) netip.AddrPort {
	n := len(b) - 4
	addr, _ := netip.AddrFromSlice(b[:n])
	return netip.AddrPortFrom(addr, uint16(binary.BigEndian.Uint32(b[n:])))
}
