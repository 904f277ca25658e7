package segment

import (
	"encoding/binary"

	"github.com/varvemq/varve/internal/message"
)

// page is a page of the queue index, its crc checked. What it says is checked as it is read.
type page struct {
	row    rootRow
	end    int64  // where the blocks of the page must end at the latest
	names  []byte // the encoded topics
	topics uint64
	tags   []byte
	table  []byte
	runs   []byte
}

// decoder reads fields from the front of b. After a fault ok is false, and all it returns is zero.
type decoder struct {
	b   []byte
	bad bool
}

func (d *decoder) uvarint() uint64 {
	v, n := binary.Uvarint(d.b)
	if n <= 0 {
		d.b, d.bad = nil, true
		return 0
	}
	d.b = d.b[n:]
	return v
}

func (d *decoder) varint() int64 {
	v, n := binary.Varint(d.b)
	if n <= 0 {
		d.b, d.bad = nil, true
		return 0
	}
	d.b = d.b[n:]
	return v
}

// take returns the next n bytes.
func (d *decoder) take(n uint64) []byte {
	if n > uint64(len(d.b)) {
		d.b, d.bad = nil, true
		return nil
	}
	b := d.b[:n]
	d.b = d.b[n:]
	return b
}

func (d *decoder) byte() byte {
	if b := d.take(1); b != nil {
		return b[0]
	}
	return 0
}

func (d *decoder) uint32() uint32 {
	if b := d.take(4); b != nil {
		return le.Uint32(b)
	}
	return 0
}

// bounded reads a uvarint of at most limit.
func (d *decoder) bounded(limit uint64) uint64 {
	v := d.uvarint()
	if v > limit {
		d.b, d.bad = nil, true
		return 0
	}
	return v
}

func (p *page) corrupt(format string, args ...any) error {
	return corrupt(SectionIndex, p.row.pos, format, args...)
}

// parsePage finds the parts of a page.
func parsePage(b []byte, row *rootRow, end int64) (page, error) {
	p := page{row: *row, end: end}
	d := decoder{b: b}
	p.topics = d.bounded(uint64(len(b)))
	before := d.b
	for range p.topics {
		d.uvarint()
		d.take(d.bounded(maxTopicName))
	}
	p.names = before[:len(before)-len(d.b)]
	p.tags = d.take(4 * d.bounded(uint64(len(b))))
	p.table = d.take(runTableRow * d.bounded(uint64(len(b))))
	p.runs = d.b
	if d.bad || len(p.table) == 0 || len(b) > maxPage {
		return page{}, p.corrupt("%d bytes that do not add up", len(b))
	}
	for i := 1; i < p.len(); i++ {
		if p.ordinal(i) <= p.ordinal(i-1) {
			return page{}, p.corrupt("run %d of queue %d after %d", i, p.ordinal(i), p.ordinal(i-1))
		}
	}
	if p.ordinal(0) != row.ordinal {
		return page{}, p.corrupt("it begins with queue %d, not %d", p.ordinal(0), row.ordinal)
	}
	return p, nil
}

func (p *page) len() int             { return len(p.table) / runTableRow }
func (p *page) ordinal(i int) uint32 { return le.Uint32(p.table[i*runTableRow:]) }

// find returns the run of a queue.
func (p *page) find(ordinal uint32) (int, bool) {
	lo, hi := 0, p.len()
	for lo < hi {
		if mid := (lo + hi) / 2; p.ordinal(mid) < ordinal {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return lo, lo < p.len() && p.ordinal(lo) == ordinal
}

// run is a run under iteration.
type run struct {
	page     *page
	info     QueueInfo // without the topic
	topic    uint64
	flags    byte
	left     int
	entries  decoder
	base     uint64
	number   uint64
	pos      int64
	store    int64
	at       int64 // position of the first block
	firstNum uint64
}

// run decodes the head of run i.
func (p *page) run(i int) (run, error) {
	place := int(le.Uint16(p.table[i*runTableRow+4:]))
	if place >= len(p.runs) {
		return run{}, p.corrupt("run %d at %d", i, place)
	}
	d := decoder{b: p.runs[place:]}
	r := run{page: p, flags: d.byte()}
	r.topic = d.uvarint()
	r.info.Ordinal, r.info.Keys = p.ordinal(i), KeyMode(r.flags&runKeysMask)
	r.info.QueueID = int32(d.bounded(1<<31 - 1))
	r.info.ExtentBase = d.bounded(maxOffset)
	r.info.First = d.bounded(maxOffset)
	r.info.End = r.info.First + d.bounded(maxOffset-r.info.First)
	r.info.Blocks = int(d.bounded(uint64(p.end)))
	r.base = r.info.First + d.bounded(r.info.End-r.info.First)
	r.pos = p.row.block + int64(d.bounded(uint64(p.end-p.row.block)))
	r.number = p.row.number + d.bounded(maxMessages-min(p.row.number, maxMessages))
	r.store = p.row.store + d.varint()
	r.left = int(d.bounded(uint64(len(p.runs))))
	r.entries, r.at, r.firstNum = d, r.pos, r.number
	switch {
	case d.bad || r.left == 0 || r.topic >= p.topics || r.flags > runKeysMask|runContinued|runContinues || r.info.Keys > KeysNone ||
		r.info.Ordinal > message.MaxOrdinal || r.info.Blocks < r.left || r.info.End == r.info.First:
		return run{}, p.corrupt("run of queue %d", r.info.Ordinal)
	case i == 0 && (r.base != p.row.base || r.pos != p.row.block || r.number != p.row.number):
		return run{}, p.corrupt("the page does not begin where the root says")
	case i > 0 && r.flags&runContinued != 0, i < p.len()-1 && r.flags&runContinues != 0,
		(r.flags&runContinued == 0) != (r.base == r.info.First):
		return run{}, p.corrupt("queue %d: flags %#x at offset %d", r.info.Ordinal, r.flags, r.base)
	}
	return r, nil
}

// topicName resolves the topic of a run.
func (r *run) topicName() (uint64, string) {
	d := decoder{b: r.page.names}
	for range r.topic {
		d.uvarint()
		d.take(d.uvarint())
	}
	incarnation := d.uvarint()
	return incarnation, string(d.take(d.uvarint()))
}

// queueInfo returns what the run says of its queue.
func (r *run) queueInfo() QueueInfo {
	info := r.info
	info.Incarnation, info.Topic = r.topicName()
	return info
}

// next decodes the next entry into e, or returns false at the end.
func (r *run) next(e *BlockRef) (bool, error) {
	if r.left == 0 {
		if r.flags&runContinues == 0 && r.base != r.info.End {
			return false, r.page.corrupt("queue %d ends at offset %d, not %d", r.info.Ordinal, r.base, r.info.End)
		}
		return false, nil
	}
	r.left--
	d := &r.entries
	e.ntags = d.byte()
	e.Ordinal, e.Base, e.Number, e.Pos, e.Hole = r.info.Ordinal, r.base, r.number, r.pos, e.ntags == tagsHole
	e.Count = uint32(d.bounded(min(1<<32-1, r.info.End-r.base)))
	e.Size = int(d.bounded(uint64(min(r.page.end-r.pos, MaxMessage+maxHeader))))
	e.crc = d.uint32()
	e.Raw, e.MinStore, e.MaxStore = 0, 0, 0
	if !e.Hole {
		r.nextMessages(e)
	}
	if d.bad || e.Count == 0 || e.Size < blockHeader || e.MinStore > e.MaxStore || e.Hole && e.Size != blockHeader {
		return false, r.page.corrupt("entry of queue %d at offset %d", r.info.Ordinal, r.base)
	}
	r.base += uint64(e.Count)
	r.pos += int64(e.Size)
	return true, nil
}

// nextMessages decodes what an entry of a block with messages has more than one of a hole.
func (r *run) nextMessages(e *BlockRef) {
	d := &r.entries
	e.Raw = int(d.bounded(MaxMessage))
	e.MinStore = r.store + d.varint()
	e.MaxStore = e.MinStore + int64(d.uvarint())
	r.store = e.MinStore
	r.number += uint64(e.Count)
	if e.ntags == tagsAny {
		return
	}
	if e.ntags > MaxTags {
		d.bad = true
		return
	}
	for i := range e.ntags {
		at := d.bounded(uint64(len(r.page.tags)))
		if d.bad || at*4+4 > uint64(len(r.page.tags)) {
			d.bad = true
			return
		}
		e.tags[i] = int32(le.Uint32(r.page.tags[at*4:]))
	}
}
