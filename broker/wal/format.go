package wal

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"slices"
	"strconv"
	"strings"
)

// The constants of docs/format/wal.md.
const (
	magic           = "VARVEWAL"
	closeMagic      = "VARVECLS"
	formatVersion   = 1
	pageSize        = 4096 // where the records begin
	headerCovered   = 128  // bytes of the page that the header's crc covers
	closeMarkOffset = 2048
	closeMarkSize   = 256
	maxSections     = 8
	sectionEntry    = 24
	firstSection    = 32 // place of the first entry in a close mark
	align           = 8
	recordHeader    = 48
	partHeader      = 40
	bootSize        = 16
	stateHeader     = 32
	tableEntry      = 16
	maxParts        = 255
	typeData        = 1
	typeMark        = 2
)

//nolint:gochecknoglobals // a constant table
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func pad(n int) int { return (n + align - 1) &^ (align - 1) }

func fileName(seq uint64) string { return fmt.Sprintf("%020d.wal", seq) }

func parseFileName(name string) (uint64, bool) {
	digits, ok := strings.CutSuffix(name, ".wal")
	if !ok || len(digits) != 20 {
		return 0, false
	}
	seq, err := strconv.ParseUint(digits, 10, 64)
	return seq, err == nil && seq > 0
}

func spareName(n uint64) string { return fmt.Sprintf("spare-%d.tmp", n) }

func isSpareName(name string) bool {
	return strings.HasPrefix(name, "spare-") && strings.HasSuffix(name, ".tmp")
}

// fileHeader is the first page of a file without its close mark.
type fileHeader struct {
	uuid    [16]byte
	seq     uint64
	base    Position
	created int64
	size    int64 // of the file when it got its name
}

// put fills a zeroed page.
func (h fileHeader) put(page []byte) {
	copy(page, magic)
	le := binary.LittleEndian
	le.PutUint32(page[8:], formatVersion)
	copy(page[16:], h.uuid[:])
	le.PutUint64(page[32:], h.seq)
	le.PutUint64(page[40:], uint64(h.base))
	le.PutUint64(page[48:], uint64(h.created))
	le.PutUint64(page[56:], uint64(h.size))
	le.PutUint32(page[12:], headerCRC(page))
}

func headerCRC(page []byte) uint32 {
	return crc32.Update(crc32.Checksum(page[:12], castagnoli), castagnoli, page[16:headerCovered])
}

func parseHeader(name string, page []byte) (fileHeader, error) {
	le := binary.LittleEndian
	var h fileHeader
	switch {
	case string(page[:8]) != magic:
		return h, corrupt(name, 0, "bad magic")
	case le.Uint32(page[12:]) != headerCRC(page):
		return h, corrupt(name, 12, "bad header checksum")
	case le.Uint32(page[8:]) != formatVersion:
		return h, fmt.Errorf("%s: version %d: %w", name, le.Uint32(page[8:]), ErrVersion)
	case !isZero(page[64:headerCovered]):
		return h, corrupt(name, 64, "reserved bytes of the header are not zero")
	}
	copy(h.uuid[:], page[16:])
	h.seq = le.Uint64(page[32:])
	h.base = Position(le.Uint64(page[40:]))
	h.created = int64(le.Uint64(page[48:]))
	h.size = int64(le.Uint64(page[56:]))
	return h, nil
}

// section is the place of a section in its file.
type section struct {
	off, n int64
	crc    uint32
}

type closeMark struct {
	end      Position
	sections []section
}

// put fills closeMarkSize zeroed bytes; page is the file's header, which the checksum covers too.
func (m closeMark) put(page, b []byte) {
	le := binary.LittleEndian
	copy(b, closeMagic)
	le.PutUint32(b[12:], uint32(len(m.sections)))
	le.PutUint64(b[16:], uint64(m.end))
	for i, s := range m.sections {
		e := b[firstSection+i*sectionEntry:]
		le.PutUint64(e, uint64(s.off))
		le.PutUint64(e[8:], uint64(s.n))
		le.PutUint32(e[16:], s.crc)
	}
	le.PutUint32(b[8:], closeCRC(page, b))
}

func closeCRC(page, b []byte) uint32 {
	crc := crc32.Checksum(page[16:48], castagnoli)
	return crc32.Update(crc32.Update(crc, castagnoli, b[:8]), castagnoli, b[12:closeMarkSize])
}

// parseCloseMark reports false when there is none, or a torn one: both mean that the file is not closed.
func parseCloseMark(page []byte) (closeMark, bool) {
	le := binary.LittleEndian
	b := page[closeMarkOffset:][:closeMarkSize]
	n := int(le.Uint32(b[12:]))
	if string(b[:8]) != closeMagic || le.Uint32(b[8:]) != closeCRC(page, b) || n > maxSections {
		return closeMark{}, false
	}
	m := closeMark{end: Position(le.Uint64(b[16:])), sections: make([]section, n)}
	for i := range m.sections {
		e := b[firstSection+i*sectionEntry:]
		m.sections[i] = section{off: int64(le.Uint64(e)), n: int64(le.Uint64(e[8:])), crc: le.Uint32(e[16:])}
	}
	return m, true
}

// header is the fixed part of a record.
type header struct {
	n       int
	crc     uint32
	pos     Position
	durable Position
	lsn     uint64
	shard   Shard
	typ     uint8
	parts   int
}

// RecordSize returns the bytes that a record of these parts takes in the stream: what to reserve for it.
func RecordSize(parts []Part) int {
	n := recordHeader
	for i := range parts {
		n += partHeader + pad(len(parts[i].Payload))
	}
	return n
}

// putRecord fills b, which is zeroed and as long as the record.
func putRecord(b []byte, h header, parts []Part, seed uint32) {
	le := binary.LittleEndian
	le.PutUint32(b, uint32(len(b)))
	le.PutUint64(b[8:], uint64(h.pos))
	le.PutUint64(b[16:], uint64(h.durable))
	le.PutUint64(b[24:], h.lsn)
	le.PutUint32(b[32:], h.shard.ID)
	le.PutUint32(b[36:], h.shard.Epoch)
	b[40] = h.typ
	b[41] = uint8(len(parts))
	at := recordHeader
	for i := range parts {
		p := &parts[i]
		e := b[at : at+partHeader : at+partHeader]
		e[0], e[1] = uint8(p.Kind), p.Codec
		le.PutUint32(e[4:], uint32(len(p.Payload)))
		le.PutUint32(e[8:], p.Queue)
		le.PutUint32(e[12:], p.Count)
		le.PutUint64(e[16:], p.Base)
		le.PutUint64(e[24:], uint64(p.MinStoreTime))
		le.PutUint64(e[32:], uint64(p.MaxStoreTime))
		copy(b[at+partHeader:], p.Payload)
		at += partHeader + pad(len(p.Payload))
	}
	le.PutUint32(b[4:], crc32.Update(seed, castagnoli, b[8:]))
}

// readHeader decodes recordHeader bytes; it checks nothing.
func readHeader(b []byte) header {
	le := binary.LittleEndian
	return header{
		n: int(le.Uint32(b)), crc: le.Uint32(b[4:]), pos: Position(le.Uint64(b[8:])), durable: Position(le.Uint64(b[16:])),
		lsn: le.Uint64(b[24:]), shard: Shard{ID: le.Uint32(b[32:]), Epoch: le.Uint32(b[36:])}, typ: b[40], parts: int(b[41]),
	}
}

func (h header) record(parts []Part) Record {
	return Record{Pos: h.pos, LSN: h.lsn, Shard: h.shard, Len: h.n, Durable: h.durable, Parts: parts}
}

// parseParts appends the parts of a whole record with a good crc to dst; they alias b. Where the rules of the format are
// broken all the same it returns the offset and the reason.
func parseParts(b []byte, h header, dst []Part) (parts []Part, at int, reason string) {
	if reason = h.check(b); reason != "" {
		return dst, 24, reason
	}
	le := binary.LittleEndian
	at = recordHeader
	for range h.parts {
		if len(b)-at < partHeader {
			return dst, at, "part runs over the end of its record"
		}
		e := b[at:]
		n := int(le.Uint32(e[4:]))
		if n > len(e)-partHeader || pad(n) > len(e)-partHeader {
			return dst, at + 4, "payload runs over the end of its record"
		}
		p := Part{
			Kind: PartKind(e[0]), Codec: e[1], Queue: le.Uint32(e[8:]), Count: le.Uint32(e[12:]), Base: le.Uint64(e[16:]),
			MinStoreTime: int64(le.Uint64(e[24:])), MaxStoreTime: int64(le.Uint64(e[32:])),
			Payload: e[partHeader : partHeader+n : partHeader+n],
		}
		if p.Kind < PartBatch || p.Kind > partState || (p.Kind == partState) != (h.typ == typeMark) {
			return dst, at, "unknown kind of part"
		}
		if e[2] != 0 || e[3] != 0 || !isZero(e[partHeader+n:partHeader+pad(n)]) {
			return dst, at, "reserved bytes of a part are not zero"
		}
		dst = append(dst, p)
		at += partHeader + pad(n)
	}
	if at != len(b) {
		return dst, at, "bytes behind the last part"
	}
	return dst, 0, ""
}

// check looks at what is left of the header when the crc and the position are right.
func (h header) check(b []byte) string {
	switch {
	case !isZero(b[42:recordHeader]):
		return "reserved bytes of a record are not zero"
	case h.durable > h.pos:
		return "durable position above the record's own"
	case h.typ == typeMark && (h.lsn != 0 || h.shard != Shard{} || h.parts != 1):
		return "mark that is none"
	case h.typ == typeData && h.parts == 0:
		return "data record without parts"
	case h.typ != typeData && h.typ != typeMark:
		return "unknown type of record"
	}
	return ""
}

// shardState is the next LSN of a shard, and its epoch.
type shardState struct {
	Shard
	next uint64
}

// markKind says why a mark was written.
type markKind uint8

const (
	markFile  markKind = 1 // the first record of a file
	markOpen  markKind = 2 // after a recovery, before anything is served
	markIdle  markKind = 3
	markClose markKind = 4 // the last record of an orderly close
	markLoss  markKind = 5 // the owner has settled the loss of a machine
	markAsync markKind = 6 // records are delivered at Written from here on
)

// state is what every mark carries, as the payload of its only part.
type state struct {
	boot     [bootSize]byte // of the machine, zero: unknown
	asyncCap int64          // bytes that may be delivered at Written ahead of what is durable
	lost     bool           // a machine was lost and the owner has not settled it
	async    bool           // records may have been delivered at Written since the last orderly close or settled loss
	shards   map[uint32]*shardState
}

func (st state) size() int { return stateHeader + len(st.shards)*tableEntry }

func (st state) put() []byte {
	le := binary.LittleEndian
	b := make([]byte, stateHeader, st.size())
	copy(b, st.boot[:])
	le.PutUint64(b[16:], uint64(st.asyncCap))
	if st.lost {
		b[24] = 1
	}
	if !st.async {
		b[25] = 1
	}
	ids := make([]uint32, 0, len(st.shards))
	for id := range st.shards {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	for _, id := range ids {
		b = st.shards[id].put(b)
	}
	return b
}

func (s *shardState) put(b []byte) []byte {
	b = binary.LittleEndian.AppendUint32(b, s.ID)
	b = binary.LittleEndian.AppendUint32(b, s.Epoch)
	return binary.LittleEndian.AppendUint64(b, s.next)
}

func parseState(b []byte) (state, bool) {
	le := binary.LittleEndian
	if len(b) < stateHeader || b[24] > 1 || b[25] > 1 || !isZero(b[26:stateHeader]) {
		return state{}, false
	}
	st := state{asyncCap: int64(le.Uint64(b[16:])), lost: b[24] == 1, async: b[25] == 0}
	copy(st.boot[:], b)
	var ok bool
	st.shards, ok = parseTable(b[stateHeader:])
	return st, ok
}

func parseTable(b []byte) (map[uint32]*shardState, bool) {
	if len(b)%tableEntry != 0 {
		return nil, false
	}
	m := make(map[uint32]*shardState, len(b)/tableEntry)
	for ; len(b) > 0; b = b[tableEntry:] {
		s := &shardState{
			Shard: Shard{ID: binary.LittleEndian.Uint32(b), Epoch: binary.LittleEndian.Uint32(b[4:])},
			next:  binary.LittleEndian.Uint64(b[8:]),
		}
		if m[s.ID] != nil || s.next == 0 {
			return nil, false
		}
		m[s.ID] = s
	}
	return m, true
}

func isZero(b []byte) bool {
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}
