package manifest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"sort"

	"github.com/varvemq/varve/internal/message"
	"github.com/varvemq/varve/tiering/segment"
)

// Page reads a page. It may be used by many goroutines. It keeps what it read to open it, at most 64 KiB or the index; other parts are in the cache, if there is one.
type Page struct {
	src     segment.Source
	size    int64
	foot    footer
	index   *index
	tail    []byte // the object's bytes from tailPos on
	tailPos int64
	cache   *Cache
}

// OpenPage reads the end of a page that a root names: one Get, or two if its index is longer than 64 KiB. If ref's crc is 0, it is not compared, nor are epoch and object.
func OpenPage(ctx context.Context, src segment.Source, ref PageRef) (*Page, error) {
	return (*Cache)(nil).OpenPage(ctx, src, ref)
}

// OpenPage is [OpenPage] for a page whose parts are kept in the cache. If the page itself is there, nothing is read.
func (c *Cache) OpenPage(ctx context.Context, src segment.Source, ref PageRef) (*Page, error) {
	key := CacheKey{Object: ref.Object, Pos: -1}
	if v, ok := c.Get(key); ok {
		if p, ok := v.(*Page); ok && p.foot.crc == ref.CRC {
			return p, nil
		}
	}
	p, err := openPage(ctx, src, ref)
	if err != nil {
		return nil, fmt.Errorf("open page: %w", err)
	}
	p.cache = c
	c.Put(key, p, int64(p.MemoryBytes()))
	return p, nil
}

func openPage(ctx context.Context, src segment.Source, ref PageRef) (*Page, error) {
	n := min(ref.Size, tailBytes)
	if n < footerSize {
		return nil, fmt.Errorf("%w: %d bytes are less than a footer", ErrTruncated, ref.Size)
	}
	p := &Page{src: src, size: ref.Size}
	tail, err := p.get(ctx, ref.Size-n, int(n))
	if err != nil {
		return nil, err
	}
	if p.foot, err = parseFooter(tail, ref.Size); err != nil {
		return nil, err
	}
	f := &p.foot
	if ref.CRC != 0 && (ref.CRC != f.crc || ref.Object != f.Object || ref.Epoch != f.Epoch) {
		return nil, fmt.Errorf("%w: page %d of epoch %d, footer crc %08x, not %d of %d, %08x", ErrIdentity, f.Object, f.Epoch, f.crc, ref.Object, ref.Epoch, ref.CRC)
	}
	from, b := ref.Size-n, tail
	if f.indexPos < from {
		if b, err = p.get(ctx, f.indexPos, int(ref.Size-f.indexPos)); err != nil {
			return nil, err
		}
		from = f.indexPos
	}
	x := b[f.indexPos-from:][:f.indexLen]
	if got := crcOf(x); got != f.indexCRC {
		return nil, corrupt(SectionIndex, f.indexPos, "crc %08x, computed %08x", f.indexCRC, got)
	}
	if p.index, err = parseIndex(x, f); err != nil {
		return nil, err
	}
	p.tail, p.tailPos = bytes.Clone(b[:f.indexPos-from]), from
	return p, nil
}

// Identity returns what the page says it is.
func (p *Page) Identity() PageIdentity { return p.foot.PageIdentity }

// Ref returns how a root names the page.
func (p *Page) Ref() PageRef { return p.foot.ref(p.size) }

// Counts returns how many queues and runs the page has.
func (p *Page) Counts() (queues, runs uint64) { return uint64(p.foot.queues), p.foot.runs }

// MemoryBytes returns about the memory that the page holds.
func (p *Page) MemoryBytes() int {
	return len(p.tail) + len(p.index.segs)*16 + len(p.index.dir)*32 + 768
}

// get returns bytes of the object.
func (p *Page) get(ctx context.Context, pos int64, n int) ([]byte, error) {
	if p.inTail(pos, n) {
		return p.tail[pos-p.tailPos:][:n], nil
	}
	return p.fetch(ctx, pos, n)
}

func (p *Page) inTail(pos int64, n int) bool {
	return pos >= p.tailPos && pos+int64(n) <= p.tailPos+int64(len(p.tail))
}

// fetch is get past the tail.
func (p *Page) fetch(ctx context.Context, pos int64, n int) ([]byte, error) {
	b, err := p.src.Get(ctx, pos, n)
	if err != nil {
		return nil, fmt.Errorf("read %d bytes at %d: %w", n, pos, err)
	}
	if len(b) < n {
		return nil, fmt.Errorf("%w: %d of %d bytes at %d", ErrTruncated, len(b), n, pos)
	}
	return b[:n], nil
}

// part returns a part of the page whose crc is known.
func (p *Page) part(ctx context.Context, section string, pos int64, n int, crc uint32) ([]byte, error) {
	key := CacheKey{Object: p.foot.Object, Pos: pos}
	if v, ok := p.cache.Get(key); ok {
		if b, ok := v.([]byte); ok && len(b) == n {
			return b, nil
		}
	}
	b, err := p.get(ctx, pos, n)
	if err != nil {
		return nil, err
	}
	keep := !p.inTail(pos, n)
	if crcOf(b) != crc && !keep { // the tail is kept unchecked: it may have been damaged on the way
		if b, err = p.fetch(ctx, pos, n); err != nil {
			return nil, err
		}
		keep = true
	}
	if got := crcOf(b); got != crc {
		return nil, corrupt(section, pos, "crc %08x, computed %08x", crc, got)
	}
	if keep {
		p.cache.Put(key, b, int64(n))
	}
	return b, nil
}

// dirBlock returns block i of the directory.
func (p *Page) dirBlock(ctx context.Context, i int) (dirBlock, error) {
	row, until, last := &p.index.dir[i], p.foot.dirPos, uint32(message.MaxOrdinal)
	if i+1 < len(p.index.dir) {
		until, last = p.index.dir[i+1].runs, p.index.dir[i+1].ordinal-1
	}
	b, err := p.part(ctx, SectionDirectory, row.pos, int(row.size), row.crc)
	return newDirBlock(b, row, until, last), err
}

// entry returns a queue's entry in the directory, or [ErrNotFound].
func (p *Page) entry(ctx context.Context, ordinal uint32) (dirEntry, error) {
	rows := p.index.dir
	i := sort.Search(len(rows), func(i int) bool { return rows[i].ordinal > ordinal }) - 1
	if i >= 0 {
		b, err := p.dirBlock(ctx, i)
		for ok := err == nil; ok; {
			if ok, err = b.next(); ok && b.entry.ordinal == ordinal {
				return b.entry, nil
			}
		}
		if err != nil {
			return dirEntry{}, err
		}
	}
	return dirEntry{}, fmt.Errorf("queue %d: %w", ordinal, ErrNotFound)
}

// runs returns a queue's runs, or [ErrNotFound].
func (p *Page) runs(ctx context.Context, ordinal uint32) (runIter, error) {
	e, err := p.entry(ctx, ordinal)
	if err != nil {
		return runIter{}, err
	}
	b, err := p.part(ctx, SectionRuns, e.pos, e.size, e.crc)
	return newRunIter(b, &e, p.foot.segments), err
}

// Range returns the offsets [first, end) that the page has of a queue, or [ErrNotFound].
func (p *Page) Range(ctx context.Context, ordinal uint32) (first, end uint64, err error) {
	e, err := p.entry(ctx, ordinal)
	return e.first, e.end, err
}

// Find returns the segment that has an offset of a queue, and its run, or [ErrNotFound].
func (p *Page) Find(ctx context.Context, ordinal uint32, offset uint64) (Entry, Run, error) {
	it, err := p.runs(ctx, ordinal)
	for ok := err == nil; ok; {
		if ok, err = it.more(); ok && offset >= it.run.First && offset < it.run.End {
			e, err := p.segment(ctx, it.at)
			return e, it.run, err
		}
	}
	if err == nil {
		err = fmt.Errorf("queue %d, offset %d: %w", ordinal, offset, ErrNotFound)
	}
	return Entry{}, Run{}, err
}

// Located is a run and the segment that has it.
type Located struct {
	Entry
	Run
}

// Runs yields a queue's runs with their segments, in order of offsets. An error ends it; a queue that is not in the page has none.
func (p *Page) Runs(ctx context.Context, ordinal uint32) iter.Seq2[Located, error] {
	return func(yield func(Located, error) bool) {
		it, err := p.runs(ctx, ordinal)
		if errors.Is(err, ErrNotFound) {
			return
		}
		var block []Entry
		have := -1
		for ok := err == nil; ok; {
			if ok, err = it.more(); !ok {
				break
			}
			if i := it.at / segmentsPer; i != have {
				if block, err = p.block(ctx, block[:0], i); err != nil {
					break
				}
				have = i
			}
			if !yield(Located{Entry: block[it.at%segmentsPer], Run: it.run}, nil) {
				return
			}
		}
		if err != nil {
			yield(Located{}, err)
		}
	}
}

// block decodes block i of the segment table to dst.
func (p *Page) block(ctx context.Context, dst []Entry, i int) ([]Entry, error) {
	row := p.index.segs[i]
	b, err := p.part(ctx, SectionSegments, row.pos, int(row.size), row.crc)
	if err != nil {
		return nil, err
	}
	return appendEntries(dst, b, row.pos, min(segmentsPer, int(p.foot.segments)-i*segmentsPer), &p.foot)
}

// segment returns segment i.
func (p *Page) segment(ctx context.Context, i int) (Entry, error) {
	b, err := p.block(ctx, make([]Entry, 0, segmentsPer), i/segmentsPer)
	if err != nil {
		return Entry{}, err
	}
	return b[i%segmentsPer], nil
}

// Entries returns the page's segments in order.
func (p *Page) Entries(ctx context.Context) ([]Entry, error) {
	all := make([]Entry, 0, p.foot.segments)
	var err error
	for i := range p.index.segs {
		n := len(all)
		if all, err = p.block(ctx, all, i); err != nil {
			return nil, err
		}
		if n > 0 && all[n-1].Compare(&all[n]) >= 0 {
			return nil, corrupt(SectionSegments, p.index.segs[i].pos, "segment %d after %d", all[n].Object, all[n-1].Object)
		}
	}
	return all, nil
}

// Queues yields the queues of the page by ordinal, each with its offsets and the bytes of none. An error ends it.
func (p *Page) Queues(ctx context.Context) iter.Seq2[Run, error] {
	return func(yield func(Run, error) bool) {
		for i := range p.index.dir {
			b, err := p.dirBlock(ctx, i)
			for ok := err == nil; ok; {
				if ok, err = b.next(); ok && !yield(Run{Ordinal: b.entry.ordinal, First: b.entry.first, End: b.entry.end}, nil) {
					return
				}
			}
			if err != nil {
				yield(Run{}, err)
				return
			}
		}
	}
}

// All returns the page's segments with all their runs: what it is written anew from. It reads runs in pieces of a block of the directory, and keeps none in the cache.
func (p *Page) All(ctx context.Context) ([]PageSegment, error) {
	entries, err := p.Entries(ctx)
	if err != nil {
		return nil, err
	}
	segs := make([]PageSegment, len(entries))
	for i := range segs {
		segs[i].Entry = entries[i]
	}
	var total uint64
	for i := range p.index.dir {
		n, err := p.allOf(ctx, segs, i)
		if err != nil {
			return nil, err
		}
		total += n
	}
	if total != p.foot.runs {
		return nil, corrupt(SectionDirectory, p.foot.dirPos, "%d runs, not %d", total, p.foot.runs)
	}
	return segs, nil
}

// allOf adds the runs of the queues in block i of the directory, and returns their number.
func (p *Page) allOf(ctx context.Context, segs []PageSegment, i int) (uint64, error) {
	blk, err := p.dirBlock(ctx, i)
	if err != nil {
		return 0, err
	}
	all, err := p.get(ctx, blk.row.runs, int(blk.until-blk.row.runs))
	if err != nil {
		return 0, err
	}
	var n uint64
	for {
		ok, err := blk.next()
		if !ok || err != nil {
			return n, err
		}
		e := &blk.entry
		b := all[e.pos-blk.row.runs:][:e.size]
		if crcOf(b) != e.crc {
			if b, err = p.part(ctx, SectionRuns, e.pos, e.size, e.crc); err != nil {
				return n, err
			}
		}
		it := newRunIter(b, e, p.foot.segments)
		for more := true; more; {
			if more, err = it.more(); err != nil {
				return n, err
			}
			if more {
				segs[it.at].Runs = append(segs[it.at].Runs, it.run)
				n++
			}
		}
	}
}
