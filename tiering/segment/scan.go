package segment

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"net/netip"
)

// window is a piece of an object that is read from start to end.
type window struct {
	src  Source
	size int64
	pos  int64
	b    []byte
}

// windowBytes is what is read at once.
const windowBytes = 4 << 20

// at returns the n bytes at pos, fewer at the end of the object. Positions may not fall by more than what is in the window.
func (w *window) at(ctx context.Context, pos int64, n int) ([]byte, error) {
	n = int(min(int64(n), w.size-pos))
	if pos < w.pos || pos+int64(n) > w.pos+int64(len(w.b)) {
		want := int(min(int64(max(n, windowBytes)), w.size-pos))
		b, err := w.src.Get(ctx, pos, want)
		if err != nil {
			return nil, fmt.Errorf("read %d bytes at %d: %w", want, pos, err)
		}
		w.pos, w.b = pos, b
		n = min(n, len(b))
	}
	return w.b[pos-w.pos:][:n], nil
}

// Scanned is a block that a scan found, or a damaged place.
type Scanned struct {
	Block

	// Damage is a CorruptError, or wraps ErrTruncated or ErrVersion: then Pos and Size are the place, and if Size covers a block whose header is intact, the queue
	// and offsets are set, too. There are no messages.
	Damage error
}

// Scan yields the blocks of a segment by their headers, without its indexes: for an object whose index or footer is damaged. The identity is what its name says;
// nil believes the footer or, if that is damaged, the first header. Tags and message numbers are not set. An error ends it.
func Scan(ctx context.Context, src Source, size int64, id *Identity) iter.Seq2[Scanned, error] {
	return func(yield func(Scanned, error) bool) {
		s := scanner{w: window{src: src, size: size}, end: size}
		if err := s.init(ctx, id); err != nil {
			yield(Scanned{}, err)
			return
		}
		for pos := int64(0); pos < s.end; {
			found, err := s.next(ctx, pos)
			if err != nil {
				yield(Scanned{}, err)
				return
			}
			if found.Size == 0 || !yield(found, nil) {
				return
			}
			pos = found.Pos + int64(found.Size)
		}
	}
}

type scanner struct {
	w      window
	end    int64 // of what may be blocks
	hasTag bool
	tag    uint64
}

// init learns what the footer and the caller know.
func (s *scanner) init(ctx context.Context, id *Identity) error {
	if s.w.size >= footerSize {
		b, err := s.w.src.Get(ctx, s.w.size-footerSize, footerSize)
		if err != nil {
			return fmt.Errorf("scan: read the footer: %w", err)
		}
		if f, err := parseFooter(b, s.w.size); err == nil {
			s.end = f.keyPos
			s.tag, s.hasTag = f.tag(), true
		}
	}
	if id != nil {
		s.tag, s.hasTag = id.tag(), true
	}
	return nil
}

// next returns the block at pos, or the damage there up to where the next block begins.
func (s *scanner) next(ctx context.Context, pos int64) (Scanned, error) {
	h, n, bad, err := s.header(ctx, pos)
	if err != nil {
		return Scanned{}, err
	}
	if bad != nil {
		end, err := s.resync(ctx, pos+1)
		if err != nil {
			return Scanned{}, err
		}
		return Scanned{Block: Block{BlockRef: BlockRef{Pos: pos, Size: int(end - pos)}}, Damage: bad}, nil
	}
	found := Scanned{Block: Block{
		BlockRef: BlockRef{
			Ordinal: h.ordinal, Base: h.base, Count: h.count, Pos: pos, Size: n + int(h.stored), Raw: int(h.raw), MinStore: h.minStore, MaxStore: h.maxStore,
			Hole: h.content == contentHole, crc: h.crc, ntags: tagsAny,
		},
		StoreHost: h.host,
	}}
	b, err := s.w.at(ctx, pos, found.Size)
	if err != nil {
		return Scanned{}, err
	}
	if found.Messages, err = h.payload(b[min(n, len(b)):], nil, pos); err != nil {
		found.Messages, found.StoreHost, found.Damage = nil, netip.AddrPort{}, err
		found.Size = int(min(int64(found.Size), s.w.size-pos))
	} else if h.codec == codecNone {
		found.Messages = bytes.Clone(found.Messages)
	}
	return found, nil
}

// header reads a header. bad says why there is none.
func (s *scanner) header(ctx context.Context, pos int64) (h header, n int, bad, err error) {
	b, err := s.w.at(ctx, pos, int(min(maxHeader, s.end-pos)))
	if err != nil {
		return h, 0, nil, err
	}
	h, n, bad = parseHeader(b, pos)
	if bad != nil {
		return h, n, bad, nil
	}
	if !s.hasTag {
		s.tag, s.hasTag = h.tag, true
	}
	if h.tag != s.tag {
		return h, n, corrupt(SectionBlock, pos, "a block of another segment"), nil
	}
	return h, n, nil, nil
}

// resync returns where the next header begins at pos or later, or the end.
func (s *scanner) resync(ctx context.Context, pos int64) (int64, error) {
	for pos < s.end {
		b, err := s.w.at(ctx, pos, int(min(windowBytes/2, s.end-pos)))
		if err != nil {
			return 0, err
		}
		if len(b) < len(blockMagic) {
			return s.end, nil
		}
		i := bytes.Index(b, []byte(blockMagic))
		if i < 0 {
			pos += int64(len(b) - len(blockMagic) + 1)
			continue
		}
		pos += int64(i)
		_, _, bad, err := s.header(ctx, pos)
		if err != nil {
			return 0, err
		}
		var c *CorruptError
		if bad == nil || !errors.As(bad, &c) && !errors.Is(bad, ErrTruncated) {
			return pos, nil
		}
		pos++
	}
	return s.end, nil
}

// LikeBlock reports whether what stands at pos may be a block with a damaged header: half of its magic is right.
func LikeBlock(ctx context.Context, src Source, pos int64) (bool, error) {
	b, err := src.Get(ctx, pos, len(blockMagic))
	if err != nil {
		return false, err
	}
	same := 0
	for i := range b {
		if b[i] == blockMagic[i] {
			same++
		}
	}
	return same >= len(blockMagic)/2, nil
}
