package manifest

import (
	"cmp"
	"encoding/binary"
)

// Compare orders segments as a manifest lists them.
func (e *Entry) Compare(f *Entry) int {
	return cmp.Or(cmp.Compare(e.FirstLSN, f.FirstLSN), cmp.Compare(e.Object, f.Object))
}

// check says what is wrong with an entry.
func (e *Entry) check() string {
	switch {
	case e.Level > maxLevel:
		return "level"
	case e.Size < 0:
		return "size"
	case e.FirstLSN > e.EndLSN:
		return "LSNs"
	case e.MinStore > e.MaxStore:
		return "store times"
	}
	return ""
}

func appendEntry(b []byte, e, before *Entry) []byte {
	b = binary.AppendVarint(b, int64(e.Object-before.Object))
	b = binary.AppendVarint(b, int64(e.Epoch-before.Epoch))
	b = append(b, e.Level)
	b = binary.AppendUvarint(b, uint64(e.Size))
	b = le.AppendUint32(b, e.FooterCRC)
	b = binary.AppendUvarint(b, e.FirstLSN-before.FirstLSN)
	b = binary.AppendUvarint(b, e.EndLSN-e.FirstLSN)
	b = binary.AppendVarint(b, e.MinStore-before.MinStore)
	b = binary.AppendUvarint(b, uint64(e.MaxStore-e.MinStore))
	b = binary.AppendUvarint(b, e.Messages)
	return binary.AppendUvarint(b, e.RawBytes)
}

// appendEntries decodes a block of the segment table, whose crc was checked, to dst.
func appendEntries(dst []Entry, b []byte, pos int64, count int, f *footer) ([]Entry, error) {
	d := decoder{b: b}
	var before Entry
	for i := range count {
		e := Entry{Object: before.Object + uint64(d.varint()), Epoch: before.Epoch + uint64(d.varint()), Level: d.byte()}
		e.Size = int64(d.bounded(maxSize))
		e.FooterCRC = d.uint32()
		e.FirstLSN = d.after(before.FirstLSN, f.endLSN)
		e.EndLSN = d.after(e.FirstLSN, f.endLSN)
		e.MinStore, e.MaxStore = d.times(before.MinStore)
		e.Messages = d.uvarint()
		e.RawBytes = d.uvarint()
		if d.bad || e.check() != "" || e.FirstLSN < f.firstLSN || i > 0 && before.Compare(&e) >= 0 {
			return nil, corrupt(SectionSegments, pos, "segment %d of the block", i)
		}
		dst = append(dst, e)
		before = e
	}
	if len(d.b) != 0 {
		return nil, corrupt(SectionSegments, pos, "%d bytes too many", len(d.b))
	}
	return dst, nil
}
