package segment

import (
	"fmt"
	"hash/crc32"
	"io"
	"net/netip"
	"slices"

	"github.com/varvemq/varve/internal/keysort"
	"github.com/varvemq/varve/internal/message"
)

// Config is what a segment says of itself. It goes into the footer as it is.
type Config struct {
	Identity

	FirstLSN, EndLSN uint64 // [FirstLSN, EndLSN)
	EtcdRevision     uint64
	Created          int64  // unix ms; the same in a retry, else the bytes differ
	Previous         uint32 // CRC of the predecessor's footer, 0: none
	Level            uint8  // 0 or 1

	// BlockBytes is when a block is full, at most and by default [MaxBlock].
	BlockBytes int
}

// Summary is what became of a segment.
type Summary struct {
	Footer  Footer
	Size    int64
	CRC     uint32   // crc32c of the whole object
	Extents []Extent // by ordinal
}

// Writer writes a segment. Queues come in ascending order of ordinals, a queue's messages and holes densely in order of offsets.
// After an error every call returns that error, and what was written is no segment.
type Writer struct {
	out io.Writer
	cfg Config
	tag uint64
	err error

	foot     Footer
	pos      int64
	crc      uint32
	queue    Queue
	open     bool   // there is a queue
	first    uint64 // offset of the queue in this segment
	next     uint64 // offset
	entries  []BlockRef
	block    blockBuilder
	lz       compressor
	header   []byte
	pages    pageBuilder
	keys     []uint64
	scratch  []uint32
	extents  []Extent
	lastTime bool // MinStore and MaxStore are set
	done     bool
}

// blockBuilder is the block under construction.
type blockBuilder struct {
	raw                []byte
	base               uint64
	count              uint32
	minStore, maxStore int64
	host               netip.AddrPort // zero: differs
	ntags              uint8
	tags               [MaxTags]int32
}

// NewWriter begins a segment on out, which is written to in order, in pieces of up to a block.
func NewWriter(out io.Writer, cfg Config) (*Writer, error) {
	if cfg.BlockBytes == 0 {
		cfg.BlockBytes = MaxBlock
	}
	if cfg.BlockBytes < 1 || cfg.BlockBytes > MaxBlock || cfg.Level > 1 || cfg.FirstLSN > cfg.EndLSN {
		return nil, invalid("blocks of %d bytes, level %d, LSNs [%d, %d)", cfg.BlockBytes, cfg.Level, cfg.FirstLSN, cfg.EndLSN)
	}
	if cfg.Shard == "" || len(cfg.Shard) > maxShardName {
		return nil, invalid("shard %q", cfg.Shard)
	}
	w := &Writer{out: out, cfg: cfg, tag: cfg.tag()}
	w.pages.init()
	return w, nil
}

// Queue ends the queue before and begins another, whose blocks are compressed in the way of c. One without messages and holes leaves no trace.
func (w *Writer) Queue(q Queue, c Compression) error {
	if w.err != nil {
		return w.err
	}
	if err := q.validate(); err != nil {
		return w.fail(err)
	}
	if c < Uncompressed || c > maxLevel {
		return w.fail(invalid("compression %d", c))
	}
	if w.open && q.Ordinal <= w.queue.Ordinal {
		return w.fail(invalid("queue %d after %d", q.Ordinal, w.queue.Ordinal))
	}
	if err := w.endQueue(); err != nil {
		return w.fail(err)
	}
	w.queue, w.lz.level, w.open = q, c, true
	return nil
}

// Append adds count messages, the first at offset base, to the queue. They are concatenated in RocketMQ's stored layout, and copied.
func (w *Writer) Append(base uint64, count uint32, messages []byte) error {
	if err := w.at(base, uint64(count)); err != nil {
		return err
	}
	if w.foot.Messages+uint64(count) > maxMessages {
		return w.fail(invalid("more than %d messages", uint64(maxMessages)))
	}
	left := count
	for ; len(messages) > 0 && left > 0; left-- {
		v, rest, err := message.Next(messages)
		if err == nil {
			err = w.add(v)
		}
		if err != nil {
			return w.fail(fmt.Errorf("segment: queue %d, offset %d: %w", w.queue.Ordinal, w.next, err))
		}
		messages = rest
	}
	if left != 0 || len(messages) != 0 {
		return w.fail(invalid("queue %d, batch of %d from %d on: %d messages missing, %d bytes left", w.queue.Ordinal, count, base, left, len(messages)))
	}
	return nil
}

// Hole declares count offsets from base on lost.
func (w *Writer) Hole(base, count uint64) error {
	if err := w.at(base, count); err != nil {
		return err
	}
	if base < w.queue.ExtentBase || base+count-w.queue.ExtentBase > message.MaxDelta+1 {
		return w.fail(invalid("queue %d: a hole of %d offsets from %d on leaves the extent", w.queue.Ordinal, count, base))
	}
	if err := w.flush(); err != nil {
		return w.fail(err)
	}
	for count > 0 {
		h := header{content: contentHole, tag: w.tag, ordinal: w.queue.Ordinal, base: w.next, count: uint32(min(count, 1<<32-1))}
		if err := w.put(&h, nil); err != nil {
			return w.fail(err)
		}
		w.entries = append(w.entries, BlockRef{
			Count: h.count, Size: len(w.header), Hole: true, ntags: tagsHole, crc: h.crc, Pos: w.pos - int64(len(w.header)), Number: w.foot.Messages,
		})
		w.foot.Holes++
		w.next += uint64(h.count)
		count -= uint64(h.count)
	}
	return nil
}

// at checks that the next offset is base, or that the queue begins with it.
func (w *Writer) at(base, count uint64) error {
	switch {
	case w.err != nil:
		return w.err
	case w.done || !w.open:
		return w.fail(invalid("no queue"))
	case count == 0 || count > maxOffset || base > maxOffset-count:
		return w.fail(invalid("queue %d: %d offsets from %d on", w.queue.Ordinal, count, base))
	case !w.begun():
		w.first, w.next = base, base
	case base != w.next:
		return w.fail(invalid("queue %d: offset %d where %d is next", w.queue.Ordinal, base, w.next))
	}
	return nil
}

func (w *Writer) begun() bool { return len(w.entries) > 0 || w.block.count > 0 }

// add checks a message and adds it to the block.
func (w *Writer) add(v message.View) error {
	if got := v.QueueOffset(); got != int64(w.next) {
		return invalid("the message says offset %d", got)
	}
	if err := checkPhysical(v, &w.queue, w.next); err != nil {
		return err
	}
	if len(v) > MaxMessage {
		return invalid("a message of %d bytes", len(v))
	}
	b := &w.block
	if b.count > 0 && len(b.raw)+len(v) > w.cfg.BlockBytes {
		if err := w.flush(); err != nil {
			return err
		}
	}
	host, stored := v.StoreHost(), v.StoreTimestamp()
	if b.count == 0 {
		b.base, b.host, b.minStore, b.maxStore = w.next, host, stored, stored
	}
	if host != b.host {
		b.host = netip.AddrPort{}
	}
	b.minStore, b.maxStore = min(b.minStore, stored), max(b.maxStore, stored)
	var tag int32
	tag, w.scratch = hashes(v, w.queue.Keys, w.scratch[:0])
	b.addTag(tag)
	w.foot.KeysLeftOut += uint64(max(0, len(w.scratch)-MaxKeysPerMessage))
	for _, h := range w.scratch[:min(len(w.scratch), MaxKeysPerMessage)] {
		w.keys = append(w.keys, uint64(h)<<32|w.foot.Messages)
	}
	b.raw = append(b.raw, v...)
	b.count++
	w.foot.Messages++
	w.next++
	return nil
}

// checkPhysical checks that a message's handle is that of its place in the queue.
func checkPhysical(v message.View, q *Queue, offset uint64) error {
	if offset < q.ExtentBase {
		return invalid("the extent begins at %d", q.ExtentBase)
	}
	want, err := message.PhysicalOffset(q.Ordinal, offset-q.ExtentBase)
	if err != nil {
		return err
	}
	if got := v.PhysicalOffset(); got != want {
		return invalid("the message says physical offset %d, not %d", got, want)
	}
	return nil
}

func (b *blockBuilder) addTag(tag int32) {
	if b.ntags == tagsAny || slices.Contains(b.tags[:b.ntags], tag) {
		return
	}
	if b.ntags == MaxTags {
		b.ntags = tagsAny
		return
	}
	b.tags[b.ntags] = tag
	b.ntags++
}

// flush writes the block, if there is one.
func (w *Writer) flush() error {
	b := &w.block
	if b.count == 0 {
		return nil
	}
	payload, codec := w.lz.compress(b.raw)
	h := header{
		content: contentMessages, codec: codec, host: b.host, payloadCRC: crcOf(payload), tag: w.tag, base: b.base, minStore: b.minStore, maxStore: b.maxStore,
		ordinal: w.queue.Ordinal, count: b.count, raw: uint32(len(b.raw)), stored: uint32(len(payload)),
	}
	at := w.pos
	if err := w.put(&h, payload); err != nil {
		return err
	}
	w.entries = append(w.entries, BlockRef{
		Count: b.count, Size: int(w.pos - at), Raw: len(b.raw), MinStore: b.minStore, MaxStore: b.maxStore, crc: h.crc, ntags: b.ntags, tags: b.tags, Pos: at,
		Number: w.foot.Messages - uint64(b.count),
	})
	if !w.lastTime {
		w.foot.MinStore, w.foot.MaxStore, w.lastTime = b.minStore, b.maxStore, true
	}
	w.foot.MinStore, w.foot.MaxStore = min(w.foot.MinStore, b.minStore), max(w.foot.MaxStore, b.maxStore)
	w.foot.Blocks++
	w.foot.RawBytes += uint64(len(b.raw))
	*b = blockBuilder{raw: b.raw[:0]}
	return nil
}

// put writes a header and its payload.
func (w *Writer) put(h *header, payload []byte) error {
	w.header = h.append(w.header[:0], w.pos)
	if err := w.write(w.header); err != nil {
		return err
	}
	return w.write(payload)
}

func (w *Writer) write(b []byte) error {
	if len(b) == 0 {
		return nil
	}
	n, err := w.out.Write(b)
	if err == nil && n != len(b) {
		err = io.ErrShortWrite
	}
	if err != nil {
		return fmt.Errorf("segment: write at %d: %w", w.pos, err)
	}
	w.pos += int64(n)
	w.crc = crc32.Update(w.crc, castagnoli, b)
	return nil
}

// endQueue writes the last block of the queue, and its part of the index.
func (w *Writer) endQueue() error {
	if !w.open {
		return nil
	}
	if err := w.flush(); err != nil {
		return err
	}
	w.open = false
	if len(w.entries) > 0 {
		info := QueueInfo{Queue: w.queue, First: w.first, End: w.next, Blocks: len(w.entries)}
		w.pages.add(&info, w.entries)
		x := Extent{Ordinal: info.Ordinal, First: info.First, End: info.End}
		for i := range w.entries {
			x.add(&w.entries[i])
		}
		w.extents = append(w.extents, x)
		w.entries = w.entries[:0]
		w.foot.Queues++
	}
	return nil
}

// Finish writes the indexes and the footer. The writer is used up.
func (w *Writer) Finish() (Summary, error) {
	if w.err != nil {
		return Summary{}, w.err
	}
	if err := w.finish(); err != nil {
		return Summary{}, w.fail(err)
	}
	w.err, w.done = invalid("the segment is finished"), true
	return Summary{Footer: w.foot, Size: w.pos, CRC: w.crc, Extents: w.extents}, nil
}

func (w *Writer) finish() error {
	if err := w.endQueue(); err != nil {
		return err
	}
	f := &w.foot
	f.Identity, f.FirstLSN, f.EndLSN, f.EtcdRevision = w.cfg.Identity, w.cfg.FirstLSN, w.cfg.EndLSN, w.cfg.EtcdRevision
	f.Created, f.Previous, f.Level, f.Keys = w.cfg.Created, w.cfg.Previous, w.cfg.Level, uint64(len(w.keys))
	f.keyPos = w.pos

	w.keys = keysort.ByHash(w.keys)
	var keyRows []keyRow
	bloom := newBloom(len(w.keys))
	buf := make([]byte, 0, keyPageSize)
	for page := range slices.Chunk(w.keys, keyPageEntries) {
		buf = buf[:0]
		for _, k := range page {
			buf = le.AppendUint64(buf, k)
			bloom.add(uint32(k >> 32))
		}
		keyRows = append(keyRows, keyRow{first: uint32(page[0] >> 32), crc: crcOf(buf)})
		if err := w.write(buf); err != nil {
			return err
		}
	}
	f.bloomPos = w.pos
	if err := w.write(bloom); err != nil {
		return err
	}
	f.indexPos = w.pos
	w.pages.cut()
	for i := range w.pages.rows {
		w.pages.rows[i].pos += f.indexPos
	}
	if err := w.write(w.pages.out); err != nil {
		return err
	}
	f.rootPos = w.pos
	r := root{pages: w.pages.rows, keys: keyRows, bloom: bloom.crcs(), bloomBlocks: bloomBlocks(f.Keys)}
	b := r.encode()
	if len(b) > maxRoot {
		return invalid("the index is too large: a root of %d bytes", len(b))
	}
	f.rootLen, f.rootCRC = uint32(len(b)), crcOf(b)
	if err := w.write(b); err != nil {
		return err
	}
	return w.write(f.append(nil))
}

func (w *Writer) fail(err error) error {
	w.err = err
	return err
}
