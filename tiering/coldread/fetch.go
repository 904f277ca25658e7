package coldread

import (
	"context"

	"github.com/varvemq/varve/tiering/manifest"
	"github.com/varvemq/varve/tiering/segment"
)

// opened is a segment that can be read.
type opened struct {
	entry manifest.Entry
	index *segment.Reader
	src   segment.Source
}

// open opens a segment. Its blocks are read by src.
func (r *Reader) open(ctx context.Context, e manifest.Entry) (opened, error) {
	src := r.cfg.Catalog.SegmentSource(e)
	r.mu.Lock()
	index, doubtful := r.doubtful[e.Object]
	r.mu.Unlock()
	var err error
	switch {
	case index != nil:
	case !doubtful:
		index, err = r.cfg.Catalog.OpenSegment(ctx, e)
	default:
		if index, err = segment.Open(ctx, bounded{r, src}, e.Size, segment.Expect{FooterCRC: e.FooterCRC}); err == nil {
			r.mu.Lock()
			r.doubtful[e.Object] = index
			r.mu.Unlock()
		}
	}
	return opened{entry: e, index: index, src: src}, err
}

// bounded is a source whose GETs count among those of blocks.
type bounded struct {
	r   *Reader
	src segment.Source
}

// Get implements segment.Source.
func (b bounded) Get(ctx context.Context, off int64, n int) ([]byte, error) {
	if err := b.r.acquire(ctx, false); err != nil {
		return nil, err
	}
	defer b.r.release(false)
	return b.src.Get(ctx, off, n)
}

// maxDoubtful bounds the segments that are opened past the catalog.
const maxDoubtful = 16

// doubt says that a segment's index was damaged. The catalog's reader may have taken in the damage on the way, and would keep it: the segment is opened anew, past the catalog.
func (r *Reader) doubt(object uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for old := range r.doubtful {
		if len(r.doubtful) < maxDoubtful {
			break
		}
		delete(r.doubtful, old)
	}
	r.doubtful[object] = nil
}

// start runs a fetch beside the caller.
func (r *Reader) start(ctx context.Context, f *fetch) {
	cancel, ok := r.spawn(ctx, func(ctx context.Context) {
		err := r.run(ctx, f)
		for _, it := range f.items {
			r.cache.complete(it, nil, err) // those that are not done
		}
		if f.ahead {
			r.urgent.give(f.bytes)
		}
	})
	if !ok {
		for _, it := range f.items {
			r.cache.complete(it, nil, ErrClosed)
		}
		if f.ahead {
			r.urgent.give(f.bytes)
		}
		return
	}
	r.cache.started(f, cancel)
}

// run fetches what is not in the disk cache, and completes the items. An error is that of all items that are not complete.
func (r *Reader) run(ctx context.Context, f *fetch) error {
	missing := f.items
	if r.disk != nil {
		var err error
		if missing, err = r.fromDisk(ctx, f); err != nil || len(missing) == 0 {
			return err
		}
	}
	pos, n := span(missing)
	if !f.ahead {
		if err := r.urgent.take(ctx, int64(n)); err != nil {
			return err
		}
		defer r.urgent.give(int64(n))
	}
	g := ranged{src: f.seg.src, pos: pos, n: n, budget: r.urgent, minor: f.ahead}
	buf, err := r.get(ctx, &g)
	if isDamage(err) { // the answer was too short
		r.m.repeats.Inc()
		buf, err = r.get(ctx, &g)
	}
	if err != nil {
		return err
	}
	defer buf.drop()
	r.m.merged.Add(float64(len(missing) - 1))
	good := missing[:0:0]
	for _, it := range missing {
		b := buf.b[it.ref.Pos-pos:][:it.ref.Size]
		block, err := r.decode(ctx, f.seg.index, &it.ref, b)
		if err == nil {
			good = append(good, it)
		} else {
			block, err = r.anew(ctx, f.seg, &it.ref, err, &g)
		}
		if err != nil && ctx.Err() != nil {
			return err
		}
		r.cache.complete(it, &block, err)
	}
	if r.disk != nil && len(good) == len(missing) {
		r.disk.put(f.seg.entry.Object, missing, buf.b)
	}
	return nil
}

// fromDisk completes the items that the disk cache has, and returns the others.
func (r *Reader) fromDisk(ctx context.Context, f *fetch) ([]*item, error) {
	var missing []*item
	for _, it := range f.items {
		b := r.disk.get(f.seg.entry.Object, &it.ref)
		if b == nil {
			missing = append(missing, it)
			continue
		}
		block, err := r.decode(ctx, f.seg.index, &it.ref, b)
		switch {
		case err == nil:
			r.m.fromDisk.Add(float64(len(b)))
			r.cache.complete(it, &block, nil)
		case ctx.Err() != nil:
			return nil, err
		default:
			r.disk.drop(f.seg.entry.Object, &it.ref)
			missing = append(missing, it)
		}
	}
	return missing, nil
}

// anew fetches a block alone whose bytes turned out to be bad: they may have been damaged on the way. Its bytes are within what like has reserved.
func (r *Reader) anew(ctx context.Context, seg opened, ref *segment.BlockRef, bad error, like *ranged) (Block, error) {
	if !isDamage(bad) {
		return Block{}, bad
	}
	r.m.repeats.Inc()
	g := ranged{src: seg.src, pos: ref.Pos, n: ref.Size, budget: like.budget, minor: like.minor}
	var block Block
	err := r.acquire(ctx, g.minor)
	if err == nil {
		var buf *buffer
		buf, err = r.getOnce(ctx, &g)
		r.release(g.minor)
		if err == nil {
			block, err = r.decode(ctx, seg.index, ref, buf.b)
			buf.drop()
		}
	}
	if err != nil && isDamage(err) {
		err = &ObjectError{Key: r.key(seg.entry), Ordinal: ref.Ordinal, First: ref.Base, End: ref.End(), Err: err}
	}
	return block, err
}

// decode decodes a block when there is a decoder. The messages have memory of their own.
func (r *Reader) decode(ctx context.Context, index *segment.Reader, ref *segment.BlockRef, b []byte) (Block, error) {
	dst := make([]byte, ref.Raw)
	d, err := r.decodeInto(ctx, index, ref, b, dst)
	if err != nil {
		return Block{}, err
	}
	if isPart(d.Messages, b) {
		copy(dst, d.Messages)
		d.Messages = dst
	}
	return newBlock(&d), nil
}

func (r *Reader) decodeInto(ctx context.Context, index *segment.Reader, ref *segment.BlockRef, b, dst []byte) (segment.Block, error) {
	if err := r.decoders.take(ctx); err != nil {
		return segment.Block{}, err
	}
	defer r.decoders.give()
	return index.Decode(ref, b, dst)
}

// isPart reports whether messages are the end of a block's bytes, which is so if the block is not compressed.
func isPart(messages, b []byte) bool {
	return len(messages) > 0 && len(messages) <= len(b) && &messages[0] == &b[len(b)-len(messages)]
}

func newBlock(d *segment.Block) Block {
	return Block{First: d.Base, End: d.End(), Messages: d.Messages, StoreHost: d.StoreHost, MaxStore: d.MaxStore}
}
