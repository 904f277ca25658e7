package manifest

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"

	"github.com/varvemq/varve/internal/message"
)

// Encode returns the root's bytes. It encodes what cannot be decoded again, too: see [Root.Validate].
func (r *Root) Encode() []byte {
	pages, queues := r.encodePages(), r.encodeQueues()
	shard := r.Shard[:min(len(r.Shard), maxShardName)]
	n := rootHeader + len(shard)
	b := make([]byte, 0, n+len(pages)+len(queues))
	b = append(b, rootMagic...)
	b = le.AppendUint16(b, formatVersion)
	b = le.AppendUint16(b, uint16(n))
	b = le.AppendUint32(b, 0)
	b = append(b, r.Cluster[:]...)
	for _, v := range [...]uint64{r.Epoch, r.Object, r.EtcdRevision, uint64(r.Created), r.EndLSN} {
		b = le.AppendUint64(b, v)
	}
	for _, v := range [...]uint32{
		uint32(len(r.Pages)), uint32(len(r.Queues)), uint32(len(pages)), crcOf(pages), uint32(len(queues)), crcOf(queues),
	} {
		b = le.AppendUint32(b, v)
	}
	b = append(b, byte(len(shard)))
	b = append(b, shard...)
	le.PutUint32(b[12:], headerCRC(b))
	return append(append(b, pages...), queues...)
}

// headerCRC covers a root's header but for the field it stands in.
func headerCRC(b []byte) uint32 { return crc32.Update(crcOf(b[:12]), castagnoli, b[rootLeader:]) }

func (r *Root) encodePages() []byte {
	b := make([]byte, 0, 64*len(r.Pages))
	var before PageRef
	for i := range r.Pages {
		p := &r.Pages[i]
		b = binary.AppendVarint(b, int64(p.Object-before.Object))
		b = binary.AppendVarint(b, int64(p.Epoch-before.Epoch))
		b = binary.AppendUvarint(b, uint64(p.Size))
		b = le.AppendUint32(b, p.CRC)
		b = binary.AppendUvarint(b, p.FirstLSN-before.FirstLSN)
		b = binary.AppendUvarint(b, p.EndLSN-p.FirstLSN)
		b = binary.AppendVarint(b, p.MinStore-before.MinStore)
		b = binary.AppendUvarint(b, uint64(p.MaxStore-p.MinStore))
		b = binary.AppendUvarint(b, uint64(p.Segments))
		b = binary.AppendUvarint(b, p.Bytes)
		before = *p
	}
	return b
}

func (r *Root) encodeQueues() []byte {
	b := make([]byte, 0, 24*len(r.Queues))
	var before QueueRow
	for i := range r.Queues {
		q := &r.Queues[i]
		b = binary.AppendUvarint(b, uint64(q.Ordinal-before.Ordinal))
		b = binary.AppendUvarint(b, q.First)
		b = binary.AppendUvarint(b, q.End-q.First)
		b = binary.AppendVarint(b, q.LastStore-before.LastStore)
		b = binary.AppendUvarint(b, q.Cursor)
		b = binary.AppendUvarint(b, q.Bytes)
		before = *q
	}
	return b
}

// Validate reports why a root cannot be read again once it is encoded: an order that is not kept, or a value that cannot be. It wraps [ErrInvalid].
func (r *Root) Validate() error {
	if _, err := DecodeRoot(r.Encode()); err != nil {
		return fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	if len(r.Shard) > maxShardName {
		return invalid("shard name of %d bytes", len(r.Shard))
	}
	return nil
}

// DecodeRoot decodes a root. It keeps nothing of b.
func DecodeRoot(b []byte) (*Root, error) {
	if len(b) < rootLeader {
		return nil, fmt.Errorf("%w: a root of %d bytes", ErrTruncated, len(b))
	}
	n := int(le.Uint16(b[10:]))
	switch {
	case string(b[:8]) != rootMagic:
		return nil, corrupt(SectionRoot, 0, "magic %q", b[:8])
	case n < rootLeader || n > maxRootHeader:
		return nil, corrupt(SectionRoot, 0, "a header of %d bytes", n)
	case n > len(b):
		return nil, fmt.Errorf("%w: a root of %d bytes, with a header of %d", ErrTruncated, len(b), n)
	}
	if got, want := headerCRC(b[:n]), le.Uint32(b[12:]); got != want {
		return nil, corrupt(SectionRoot, 0, "crc %08x, computed %08x", want, got)
	}
	if v := le.Uint16(b[8:]); v != formatVersion {
		return nil, fmt.Errorf("%w %d", ErrVersion, v)
	}
	if n < rootHeader || n != rootHeader+int(b[rootHeader-1]) || n == rootHeader {
		return nil, corrupt(SectionRoot, 0, "a header of %d bytes", n)
	}
	u := func(i int) uint64 { return le.Uint64(b[32+8*i:]) }
	r := &Root{Epoch: u(0), Object: u(1), EtcdRevision: u(2), Created: int64(u(3)), EndLSN: u(4), Shard: string(b[rootHeader:n])}
	copy(r.Cluster[:], b[16:])
	pagesLen, queuesLen := int64(le.Uint32(b[80:])), int64(le.Uint32(b[88:]))
	switch end := int64(n) + pagesLen + queuesLen; {
	case end > MaxRootBytes:
		return nil, corrupt(SectionRoot, 0, "tables of %d and %d bytes", pagesLen, queuesLen)
	case end > int64(len(b)):
		return nil, fmt.Errorf("%w: a root of %d bytes, not %d", ErrTruncated, len(b), end)
	case end < int64(len(b)):
		return nil, corrupt(SectionRoot, end, "%d bytes too many", int64(len(b))-end)
	}
	table := func(section string, at, n int64, crc uint32) ([]byte, error) {
		t := b[at : at+n]
		if got := crcOf(t); got != crc {
			return nil, corrupt(section, at, "crc %08x, computed %08x", crc, got)
		}
		return t, nil
	}
	pages, err := table(SectionPages, int64(n), pagesLen, le.Uint32(b[84:]))
	if err == nil {
		err = r.decodePages(pages, le.Uint32(b[72:]), int64(n))
	}
	if err != nil {
		return nil, err
	}
	queues, err := table(SectionQueues, int64(n)+pagesLen, queuesLen, le.Uint32(b[92:]))
	if err == nil {
		err = r.decodeQueues(queues, le.Uint32(b[76:]), int64(n)+pagesLen)
	}
	if err != nil {
		return nil, err
	}
	return r, nil
}

func (r *Root) decodePages(b []byte, count uint32, at int64) error {
	if uint64(count)*minPageRow > uint64(len(b)) {
		return corrupt(SectionPages, at, "%d pages in %d bytes", count, len(b))
	}
	d := decoder{b: b}
	r.Pages = make([]PageRef, count)
	var before PageRef
	for i := range r.Pages {
		pos := at + int64(len(b)-len(d.b))
		p := PageRef{Object: before.Object + uint64(d.varint()), Epoch: before.Epoch + uint64(d.varint())}
		p.Size = int64(d.bounded(MaxPageBytes))
		p.CRC = d.uint32()
		p.FirstLSN = d.after(before.FirstLSN, r.EndLSN)
		p.EndLSN = d.after(p.FirstLSN, r.EndLSN)
		p.MinStore, p.MaxStore = d.times(before.MinStore)
		p.Segments = uint32(d.bounded(MaxPageSegments))
		p.Bytes = d.uvarint()
		if d.bad || p.Segments == 0 || p.Size <= footerSize {
			return corrupt(SectionPages, pos, "page %d", i)
		}
		r.Pages[i], before = p, p
	}
	if len(d.b) != 0 {
		return corrupt(SectionPages, at+int64(len(b)-len(d.b)), "%d bytes too many", len(d.b))
	}
	return nil
}

func (r *Root) decodeQueues(b []byte, count uint32, at int64) error {
	if uint64(count)*minQueueRow > uint64(len(b)) {
		return corrupt(SectionQueues, at, "%d queues in %d bytes", count, len(b))
	}
	d := decoder{b: b}
	r.Queues = make([]QueueRow, count)
	var before QueueRow
	for i := range r.Queues {
		pos := at + int64(len(b)-len(d.b))
		q := QueueRow{Ordinal: uint32(d.after(uint64(before.Ordinal), message.MaxOrdinal))}
		q.First = d.bounded(maxOffset)
		q.End = d.after(q.First, maxOffset)
		q.LastStore = before.LastStore + d.varint()
		q.Cursor = d.bounded(maxOffset + 1)
		q.Bytes = d.uvarint()
		if d.bad || i > 0 && q.Ordinal == before.Ordinal {
			return corrupt(SectionQueues, pos, "row %d, after that of queue %d", i, before.Ordinal)
		}
		r.Queues[i], before = q, q
	}
	if len(d.b) != 0 {
		return corrupt(SectionQueues, at+int64(len(b)-len(d.b)), "%d bytes too many", len(d.b))
	}
	return nil
}
