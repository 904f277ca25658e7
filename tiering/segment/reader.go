package segment

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"
)

// Source is an object that can be read in parts.
type Source interface {
	// Get returns the n bytes from offset off on, fewer only if the object ends there. The caller owns them.
	Get(ctx context.Context, off int64, n int) ([]byte, error)
}

// Expect is what is known of a segment before it is opened; the zero values of its fields are not compared.
type Expect struct {
	Identity  *Identity
	FooterCRC uint32
}

// pageCacheBytes bounds the pages that a Reader keeps.
const pageCacheBytes = 1 << 20

// Reader reads a segment. It may be used by many goroutines. What it reads in addition to blocks, it keeps: at most the tail and 1 MiB of pages.
type Reader struct {
	src     Source
	size    int64
	foot    Footer
	tag     uint64
	root    *root
	tail    []byte // the object's bytes from tailPos on
	tailPos int64

	mu     sync.Mutex
	pages  map[int64]cachedPage // by position; guarded by mu
	cached int                  // bytes in pages; guarded by mu
	clock  uint64               // of the last use of a page; guarded by mu
}

type cachedPage struct {
	b    []byte
	used uint64
}

// Open reads the end of a segment of size bytes: one Get, or two if the root is longer than 64 KiB.
func Open(ctx context.Context, src Source, size int64, expect Expect) (*Reader, error) {
	r := &Reader{src: src, size: size, pages: make(map[int64]cachedPage)}
	n := min(size, TailBytes)
	if n < footerSize {
		return nil, fmt.Errorf("open: %w: %d bytes are less than a footer", ErrTruncated, size)
	}
	tail, err := r.get(ctx, size-n, int(n))
	if err != nil {
		return nil, fmt.Errorf("open: %w", err)
	}
	if r.foot, err = parseFooter(tail, size); err != nil {
		return nil, fmt.Errorf("open: %w", err)
	}
	f := &r.foot
	if expect.Identity != nil && *expect.Identity != f.Identity {
		return nil, fmt.Errorf("open: %w: it says it is %v", ErrIdentity, f.Identity)
	}
	if expect.FooterCRC != 0 && expect.FooterCRC != f.CRC {
		return nil, fmt.Errorf("open: %w: footer crc %08x, not %08x", ErrIdentity, f.CRC, expect.FooterCRC)
	}
	r.tag = f.tag()
	// Of the tail only what is not data is kept.
	from := max(size-n, f.indexPos)
	b := tail[from-(size-n):]
	if f.rootPos < size-n {
		if b, err = r.get(ctx, f.rootPos, int(size-f.rootPos)); err != nil {
			return nil, fmt.Errorf("open: %w", err)
		}
		from = f.rootPos
	}
	rootBytes := b[f.rootPos-from:][:f.rootLen]
	if got := crcOf(rootBytes); got != f.rootCRC {
		return nil, fmt.Errorf("open: %w", corrupt(SectionRoot, f.rootPos, "crc %08x, computed %08x", f.rootCRC, got))
	}
	if r.root, err = parseRoot(rootBytes, f); err != nil {
		return nil, fmt.Errorf("open: %w", err)
	}
	if f.rootPos > from {
		r.tail, r.tailPos = append([]byte(nil), b[:f.rootPos-from]...), from
	}
	return r, nil
}

// Footer returns the footer.
func (r *Reader) Footer() Footer { return r.foot }

// Size returns the bytes of the object.
func (r *Reader) Size() int64 { return r.size }

// MemoryBytes returns about the memory that the reader holds at most.
func (r *Reader) MemoryBytes() int {
	pages := min(int64(pageCacheBytes), r.foot.rootPos-r.foot.keyPos)
	return int(pages) + len(r.tail) + len(r.root.pages)*rootRowSize + len(r.root.keys)*keyRowSize + len(r.root.bloom)*4 + 512
}

// get returns bytes of the object.
func (r *Reader) get(ctx context.Context, pos int64, n int) ([]byte, error) {
	if r.inTail(pos, n) {
		return r.tail[pos-r.tailPos:][:n], nil
	}
	return r.fetch(ctx, pos, n)
}

func (r *Reader) inTail(pos int64, n int) bool {
	return len(r.tail) > 0 && pos >= r.tailPos && pos+int64(n) <= r.tailPos+int64(len(r.tail))
}

// fetch is get past the tail.
func (r *Reader) fetch(ctx context.Context, pos int64, n int) ([]byte, error) {
	b, err := r.src.Get(ctx, pos, n)
	if err != nil {
		return nil, fmt.Errorf("read %d bytes at %d: %w", n, pos, err)
	}
	if len(b) < n {
		return nil, fmt.Errorf("%w: %d of %d bytes at %d", ErrTruncated, len(b), n, pos)
	}
	return b[:n], nil
}

// fromCache returns a page that has been checked.
func (r *Reader) fromCache(pos int64) ([]byte, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	p, ok := r.pages[pos]
	if ok {
		r.clock++
		p.used = r.clock
		r.pages[pos] = p
	}
	return p.b, ok
}

// keep caches a page that has been checked, and gives up those not used for longest.
func (r *Reader) keep(pos int64, b []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, ok := r.pages[pos]; ok {
		return
	}
	r.clock++
	r.pages[pos] = cachedPage{b: bytes.Clone(b), used: r.clock} // b may be part of something larger
	r.cached += len(b)
	for r.cached > pageCacheBytes {
		oldest, used := int64(-1), r.clock+1
		for at, p := range r.pages {
			if p.used < used {
				oldest, used = at, p.used
			}
		}
		r.cached -= len(r.pages[oldest].b)
		delete(r.pages, oldest)
	}
}

// checked returns the page of n bytes at pos, whose crc is known.
func (r *Reader) checked(ctx context.Context, section string, pos int64, n int, crc uint32) ([]byte, error) {
	if b, ok := r.fromCache(pos); ok {
		return b, nil
	}
	b, err := r.get(ctx, pos, n)
	if err != nil {
		return nil, err
	}
	return r.check(ctx, section, pos, b, crc)
}

// check returns a page of the object whose crc is right, and keeps it. What is wrong in the tail, which is kept unchecked, may have been damaged on the way: it is
// read again.
func (r *Reader) check(ctx context.Context, section string, pos int64, b []byte, crc uint32) ([]byte, error) {
	if crcOf(b) != crc && r.inTail(pos, len(b)) {
		var err error
		if b, err = r.fetch(ctx, pos, len(b)); err != nil {
			return nil, err
		}
	}
	if got := crcOf(b); got != crc {
		return nil, corrupt(section, pos, "page crc %08x, computed %08x", crc, got)
	}
	r.keep(pos, b)
	return b, nil
}

// pageEnds returns where page i ends, and where its blocks end.
func (r *Reader) pageEnds(i int) (end, blocks int64) {
	if i+1 < len(r.root.pages) {
		next := &r.root.pages[i+1]
		return next.pos, next.block
	}
	return r.foot.rootPos, r.foot.keyPos
}

// page returns page i of the queue index. One that has to be fetched brings those behind it along, up to 64 KiB.
func (r *Reader) page(ctx context.Context, i int) (page, error) {
	row := &r.root.pages[i]
	end, blocks := r.pageEnds(i)
	b, ok := r.fromCache(row.pos)
	if !ok {
		last, until := i, end
		for last+1 < len(r.root.pages) {
			e, _ := r.pageEnds(last + 1)
			if e-row.pos > TailBytes {
				break
			}
			last, until = last+1, e
		}
		all, err := r.get(ctx, row.pos, int(until-row.pos))
		if err != nil {
			return page{}, err
		}
		for j := last; j >= i; j-- { // a damaged page behind the wanted one is not kept, and reported when it is wanted
			at := &r.root.pages[j]
			e, _ := r.pageEnds(j)
			b = all[at.pos-row.pos : e-row.pos : e-row.pos]
			if j == i {
				if b, err = r.check(ctx, SectionIndex, row.pos, b, at.crc); err != nil {
					return page{}, err
				}
			} else if crcOf(b) == at.crc {
				r.keep(at.pos, b)
			}
		}
	}
	return parsePage(b, row, blocks)
}

// Block is a block whose checksums are right.
type Block struct {
	BlockRef

	// Messages are the block's messages in RocketMQ's stored layout; none in a hole. They alias the bytes it was decoded from, or dst.
	Messages []byte
	// StoreHost is that of all messages, or the zero value if they differ.
	StoreHost netip.AddrPort
}

// ReadBlock fetches and decodes a block that the index named. dst is used for decompressed messages if it has room.
func (r *Reader) ReadBlock(ctx context.Context, ref *BlockRef, dst []byte) (Block, error) {
	if ref.Pos < 0 || ref.Size < blockHeader || ref.Size > MaxMessage+maxHeader || ref.Pos > r.foot.keyPos-int64(ref.Size) {
		return Block{}, invalid("a block of %d bytes at %d", ref.Size, ref.Pos)
	}
	b, err := r.get(ctx, ref.Pos, ref.Size)
	if err != nil {
		return Block{}, err
	}
	return r.Decode(ref, b, dst)
}

// Decode decodes a block from its bytes, which the caller has fetched: ref.Size bytes from ref.Pos on. Everything is checked, and that it is the block that
// the index meant. dst is used for decompressed messages if it has room.
func (r *Reader) Decode(ref *BlockRef, b, dst []byte) (Block, error) {
	if len(b) != ref.Size {
		return Block{}, fmt.Errorf("%w: %d of %d bytes of the block at %d", ErrTruncated, len(b), ref.Size, ref.Pos)
	}
	h, n, err := parseHeader(b, ref.Pos)
	if errors.Is(err, ErrTruncated) { // nothing is missing: its length is wrong
		err = corrupt(SectionBlock, ref.Pos, "a header that does not fit in %d bytes", len(b))
	}
	if err != nil {
		return Block{}, err
	}
	if h.crc != ref.crc || h.tag != r.tag || n+int(h.stored) != ref.Size || int(h.raw) != ref.Raw || h.ordinal != ref.Ordinal || h.base != ref.Base ||
		h.count != ref.Count || (h.content == contentHole) != ref.Hole || h.minStore != ref.MinStore || h.maxStore != ref.MaxStore {
		return Block{}, corrupt(SectionBlock, ref.Pos, "queue %d, %d from offset %d on, crc %08x, is not what the index says: queue %d, %d from %d on, crc %08x",
			h.ordinal, h.count, h.base, h.crc, ref.Ordinal, ref.Count, ref.Base, ref.crc)
	}
	raw, err := h.payload(b[n:], dst, ref.Pos)
	if err != nil {
		return Block{}, err
	}
	return Block{BlockRef: *ref, Messages: raw, StoreHost: h.host}, nil
}
