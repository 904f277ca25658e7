package message

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net/netip"
	"sync/atomic"
	"time"
)

// IDGenerator makes values of UNIQ_KEY as RocketMQ's clients do: the hex form of
// address (4 or 16), process id (2), salt (4), milliseconds since the start of
// the month (4) and a counter (2). It is safe for concurrent use. Ids are unique
// while fewer than 65,536 are made in a millisecond and no two generators share
// address, process id and salt.
type IDGenerator struct {
	prefix  []byte // in hex, never written after New
	counter atomic.Uint32
	month   atomic.Pointer[monthSpan]
}

// monthSpan is a calendar month, in milliseconds since 1970.
type monthSpan struct{ start, next int64 }

// NewIDGenerator returns a generator. The salt stands for the hash of Java's
// class loader: any number that differs between generators of one process.
func NewIDGenerator(addr netip.Addr, pid int, salt uint32) *IDGenerator {
	var b [hostSizeV6 + 6]byte
	raw := appendHost(b[:0], netip.AddrPortFrom(addr, 0))
	raw = raw[:len(raw)-4]
	raw = binary.BigEndian.AppendUint16(raw, uint16(pid))
	raw = binary.BigEndian.AppendUint32(raw, salt)
	return &IDGenerator{prefix: appendHex(nil, raw)}
}

// Append appends a new id to dst. The month is that of now in its own location.
func (g *IDGenerator) Append(dst []byte, now time.Time) []byte {
	ms := now.UnixMilli()
	month := g.month.Load()
	if month == nil || ms < month.start || ms >= month.next {
		month = monthOf(now)
		g.month.Store(month)
	}
	var tail [6]byte
	binary.BigEndian.PutUint32(tail[:], uint32(ms-month.start))
	binary.BigEndian.PutUint16(tail[4:], uint16(g.counter.Add(1)-1))
	dst = append(dst, g.prefix...)
	return appendHex(dst, tail[:])
}

// Next returns a new id.
func (g *IDGenerator) Next(now time.Time) string {
	var b [2 * (16 + 12)]byte
	return string(g.Append(b[:0], now))
}

// UniqKeyTime returns the time in an id made by a RocketMQ client, taken as the
// nearest one before now with the id's distance from the start of its month, in
// the location of now. Clients in another time zone are hours off. It returns
// ErrInvalidID if id is not 32 or 56 hex characters.
func UniqKeyTime(id string, now time.Time) (time.Time, error) {
	if len(id) != 32 && len(id) != 56 {
		return time.Time{}, fmt.Errorf("unique key of %d characters: %w", len(id), ErrInvalidID)
	}
	var buf [28]byte
	n, err := hex.Decode(buf[:], []byte(id))
	if err != nil {
		return time.Time{}, fmt.Errorf("unique key %q: %w", id, ErrInvalidID)
	}
	span := int64(binary.BigEndian.Uint32(buf[n-6:]))
	month := monthOf(now)
	if month.start+span >= now.UnixMilli() {
		month = monthOf(time.UnixMilli(month.start - 1).In(now.Location()))
	}
	return time.UnixMilli(month.start + span).In(now.Location()), nil
}

// monthOf returns the month of a time in its location.
func monthOf(t time.Time) *monthSpan {
	start := time.Date(t.Year(), t.Month(), 1, 0, 0, 0, 0, t.Location())
	return &monthSpan{start: start.UnixMilli(), next: start.AddDate(0, 1, 0).UnixMilli()}
}
