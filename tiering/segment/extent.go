package segment

import (
	"context"
	"iter"
)

// Extent is what a segment has of a queue, as a manifest lists it.
type Extent struct {
	Ordinal    uint32
	First, End uint64 // offsets [First, End), holes included
	Bytes      uint64 // of its blocks as stored, headers included
	MaxStore   int64  // highest store time, unix ms; 0 if there are holes only
}

// add takes in a block of the queue.
func (x *Extent) add(e *BlockRef) {
	x.Bytes += uint64(e.Size)
	if !e.Hole {
		x.MaxStore = max(x.MaxStore, e.MaxStore)
	}
}

// Extents yields what the segment has of each queue, in the order of ordinals. It reads the whole queue index, page by page. An error ends it.
func (r *Reader) Extents(ctx context.Context) iter.Seq2[Extent, error] {
	return func(yield func(Extent, error) bool) {
		var before run // that goes on in the page
		var x Extent
		for i := range r.root.pages {
			p, err := r.page(ctx, i)
			for j := 0; err == nil && j < p.len(); j++ {
				var at run
				if at, err = p.run(j); err != nil {
					break
				}
				if at.flags&runContinued == 0 {
					x = Extent{Ordinal: at.info.Ordinal, First: at.info.First, End: at.info.End}
				}
				if before.flags&runContinues != 0 != (at.flags&runContinued != 0) || at.flags&runContinued != 0 && !at.continues(&before) {
					err = p.corrupt("queue %d goes on at offset %d, which the page before does not say", at.info.Ordinal, at.base)
					break
				}
				if err = at.sum(&x); err != nil {
					break
				}
				if before = at; at.flags&runContinues == 0 && !yield(x, nil) {
					return
				}
			}
			if err == nil && i == len(r.root.pages)-1 && before.flags&runContinues != 0 {
				err = p.corrupt("queue %d goes on behind the last page", before.info.Ordinal)
			}
			if err != nil {
				yield(Extent{}, err)
				return
			}
		}
	}
}

// continues reports whether the run goes on where another, read to its end, stopped.
func (r *run) continues(before *run) bool {
	return r.base == before.base && r.pos == before.pos && r.number == before.number && r.info == withTopic(before, r)
}

// sum reads the run to its end.
func (r *run) sum(x *Extent) error {
	var e BlockRef
	for {
		ok, err := r.next(&e)
		if !ok || err != nil {
			return err
		}
		x.add(&e)
	}
}
