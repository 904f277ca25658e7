package message

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net/netip"
)

// PhysicalOffset is divided in an ordinal and an offset.
const (
	ordinalBits = 28
	deltaBits   = 35
	// MaxOrdinal is the largest queue ordinal.
	MaxOrdinal = 1<<ordinalBits - 1
	// MaxDelta is the largest offset relative to the base of an ordinal's extent.
	MaxDelta = 1<<deltaBits - 1
)

const upperHex = "0123456789ABCDEF"

// PhysicalOffset packs a queue ordinal and an offset relative to the base of
// its extent into the 63-bit number that RocketMQ calls the commit log offset.
// It returns ErrInvalidID if one is too large.
func PhysicalOffset(ordinal uint32, delta uint64) (int64, error) {
	if ordinal > MaxOrdinal || delta > MaxDelta {
		return 0, fmt.Errorf("ordinal %d, offset %d: %w", ordinal, delta, ErrInvalidID)
	}
	return int64(ordinal)<<deltaBits | int64(delta), nil
}

// SplitPhysicalOffset is the inverse of PhysicalOffset. It returns ErrInvalidID
// for a negative number, which no Varve broker has issued.
func SplitPhysicalOffset(offset int64) (ordinal uint32, delta uint64, err error) {
	if offset < 0 {
		return 0, 0, fmt.Errorf("physical offset %d: %w", offset, ErrInvalidID)
	}
	return uint32(offset >> deltaBits), uint64(offset) & MaxDelta, nil
}

// AppendOffsetID appends the offset message id of a message: the upper-case hex
// form of the store host and the physical offset, 32 characters (IPv6: 56).
func AppendOffsetID(dst []byte, host netip.AddrPort, physicalOffset int64) []byte {
	var b [hostSizeV6 + 8]byte
	raw := appendHost(b[:0], host)
	raw = binary.BigEndian.AppendUint64(raw, uint64(physicalOffset))
	return appendHex(dst, raw)
}

// OffsetID is AppendOffsetID as a string.
func OffsetID(host netip.AddrPort, physicalOffset int64) string {
	var b [2 * (hostSizeV6 + 8)]byte
	return string(AppendOffsetID(b[:0], host, physicalOffset))
}

// ParseOffsetID decodes an offset message id. Lower case is accepted too.
// A port outside 0 to 65535 is ErrInvalidID.
func ParseOffsetID(id string) (host netip.AddrPort, physicalOffset int64, err error) {
	if len(id) != 2*(hostSizeV4+8) && len(id) != 2*(hostSizeV6+8) {
		return netip.AddrPort{}, 0, fmt.Errorf("message id of %d characters: %w", len(id), ErrInvalidID)
	}
	var buf [hostSizeV6 + 8]byte
	n, err := hex.Decode(buf[:], []byte(id))
	if err != nil {
		return netip.AddrPort{}, 0, fmt.Errorf("message id %q: %w", id, ErrInvalidID)
	}
	raw := buf[:n]
	if binary.BigEndian.Uint32(raw[n-12:]) > 65535 {
		return netip.AddrPort{}, 0, fmt.Errorf("message id %q: port: %w", id, ErrInvalidID)
	}
	return hostAt(raw[:n-8]), int64(binary.BigEndian.Uint64(raw[n-8:])), nil
}

// appendHex appends raw in upper-case hex.
func appendHex(dst, raw []byte) []byte {
	for _, c := range raw {
		dst = append(dst, upperHex[c>>4], upperHex[c&15])
	}
	return dst
}
