package maintain

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"

	"github.com/varvemq/varve/tiering/objstore"
	"github.com/varvemq/varve/tiering/segment"
)

const (
	// streamBuffer is what is buffered of an input's blocks.
	streamBuffer = 128 << 10
	// skipBytes is how many bytes of blocks are read over rather than asking anew behind them.
	skipBytes = 4 << 20
	// reopens bounds how often a read that broke off is begun anew. The object store does so too, but an input may lie idle for long while others are read.
	reopens = 8
)

// input is a segment that is merged: its queues in order, and its blocks from one read from start to end.
type input struct {
	src    *object
	r      *segment.Reader
	data   int64 // bytes of blocks
	next   func() (segment.QueueInfo, error, bool)
	stop   func()
	queue  segment.QueueInfo // the present one
	ok     bool              // there is one
	body   io.ReadCloser     // nil: not open
	buf    *bufio.Reader
	pos    int64 // of the next byte of body
	left   int   // reopens
	block  []byte
	raw    []byte
	weight float64 // bytes of the object for each of its blocks: it has indexes, too
}

// openInput opens a segment for a merge.
func openInput(ctx context.Context, src *object, expect segment.Expect) (*input, error) {
	r, err := segment.Open(ctx, src, src.size, expect)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", src.key, err)
	}
	foot := r.Footer()
	in := &input{src: src, r: r, data: foot.DataBytes(), left: reopens, weight: 1}
	if in.data > 0 {
		in.weight = float64(src.size) / float64(in.data)
	}
	in.next, in.stop = iter.Pull2(r.Queues(ctx))
	if err := in.advance(); err != nil {
		in.stop()
		return nil, err
	}
	return in, nil
}

// advance moves to the next queue.
func (in *input) advance() error {
	info, err, ok := in.next()
	if err != nil {
		return fmt.Errorf("%s: %w", in.src.key, err)
	}
	in.queue, in.ok = info, ok
	return nil
}

func (in *input) close() error {
	in.stop()
	return in.shut()
}

// shut ends the read of the blocks.
func (in *input) shut() error {
	if in.body == nil {
		return nil
	}
	err := in.body.Close()
	in.body = nil
	return err
}

// read returns a block, decoded. It is valid until the next call. Positions do not fall.
func (in *input) read(ctx context.Context, ref *segment.BlockRef) (segment.Block, error) {
	if cap(in.block) < ref.Size {
		in.block = make([]byte, ref.Size)
	}
	if cap(in.raw) < ref.Raw {
		in.raw = make([]byte, ref.Raw)
	}
	b := in.block[:ref.Size]
	err := in.fill(ctx, ref.Pos, b)
	var block segment.Block
	if err == nil {
		block, err = in.r.Decode(ref, b, in.raw)
	}
	if err != nil {
		return segment.Block{}, fmt.Errorf("%s: %w", in.src.key, err)
	}
	return block, nil
}

// fill reads the bytes at a position, and begins anew when the read breaks off.
func (in *input) fill(ctx context.Context, pos int64, b []byte) error {
	if cached := in.src.cached(pos, len(b)); cached != nil {
		copy(b, cached)
		return nil
	}
	for {
		err := in.tryFill(ctx, pos, b)
		if err == nil || ctx.Err() != nil || in.left == 0 || !objstore.Retriable(err) && !errors.Is(err, segment.ErrTruncated) {
			return err
		}
		in.left--
		_ = in.shut() // it is broken
	}
}

func (in *input) tryFill(ctx context.Context, pos int64, b []byte) error {
	if in.body != nil && (pos < in.pos || pos-in.pos > skipBytes) {
		if err := in.shut(); err != nil {
			return err
		}
	}
	if in.body == nil {
		body, err := in.src.bucket.Get(ctx, in.src.key, pos, in.data-pos)
		if err != nil {
			return err
		}
		in.body, in.pos = body, pos
		if in.buf == nil {
			in.buf = bufio.NewReaderSize(body, streamBuffer)
		} else {
			in.buf.Reset(body)
		}
	}
	skipped, err := in.buf.Discard(int(pos - in.pos))
	in.pos += int64(skipped)
	if err == nil {
		var n int
		n, err = io.ReadFull(in.buf, b)
		in.pos += int64(n)
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		if objstore.Class(err) == nil {
			err = fmt.Errorf("%w: the object ends at %d", segment.ErrTruncated, in.pos)
		}
	}
	return err
}
