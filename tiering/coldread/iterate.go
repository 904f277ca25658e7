package coldread

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"

	"github.com/varvemq/varve/tiering/catalog"
	"github.com/varvemq/varve/tiering/manifest"
	"github.com/varvemq/varve/tiering/segment"
)

// Position is a place in a queue.
type Position struct {
	Ordinal uint32
	Offset  uint64
}

// QueueBlock is a block of one of several queues.
type QueueBlock struct {
	Block

	Ordinal uint32
}

// Iterate yields a queue's blocks and holes from the one that has offset from on, to the sealed end: for export and replay in bulk. It keeps several large GETs under way, as far
// as three quarters of InFlightBytes allow, and passes by the caches. A consumer that stops keeps its share of them. An error ends it; whoever wants to pass over a
// damaged block goes on at [ObjectError].End. The messages of several blocks may be in one piece of memory, which lives as long as one of them. A consumer that is done with a
// block's messages may say so with [Block.Release]: that spares much of the work of the memory management.
func (r *Reader) Iterate(ctx context.Context, ordinal uint32, from uint64) iter.Seq2[Block, error] {
	return func(yield func(Block, error) bool) {
		for b, err := range r.IterateQueues(ctx, []Position{{ordinal, from}}) {
			if !yield(b.Block, err) {
				return
			}
		}
	}
}

// IterateQueues is [Reader.Iterate] for several queues: it goes from segment to segment and fetches with one GET what of them is adjacent there, while Iterate for each would
// need a GET for each queue in each segment. Each queue's blocks come in order.
func (r *Reader) IterateQueues(ctx context.Context, from []Position) iter.Seq2[QueueBlock, error] {
	return func(yield func(QueueBlock, error) bool) {
		from = slices.SortedFunc(slices.Values(from), func(a, b Position) int { return cmp.Compare(a.Ordinal, b.Ordinal) })
		var t trial
		for {
			s := stream{r: r, from: from}
			err := s.run(ctx, func(b QueueBlock) bool { return yield(b, nil) })
			if err == nil {
				return
			}
			if s.moved {
				t = trial{}
			}
			if err = t.again(ctx, r, s.failed.entry, err, false); err != nil {
				yield(QueueBlock{}, fmt.Errorf("read queue %d: %w", s.failed.ordinal, err))
				return
			}
			r.m.repeats.Inc()
		}
	}
}

// chunkBytes is what a GET of Iterate asks for.
const chunkBytes = 8 << 20

// chunk is a range of a segment that is fetched with one GET, or an error in its place.
type chunk struct {
	of   origin
	seg  opened
	refs []segment.BlockRef
	cost int64 // reserved in the bulk budget

	done chan struct{} // closed when buf and err are set
	buf  *buffer       // each block has a reference to it
	err  error
}

// decoded is a block, or an error in its place.
type decoded struct {
	of    origin
	block Block
	err   error
	last  *chunk        // that ends with this block
	done  chan struct{} // closed when block and err are set
}

// origin is what an error is about.
type origin struct {
	ordinal uint32
	entry   manifest.Entry // zero: the catalog
}

// queueRun is what is to be read of a queue in a segment.
type queueRun struct {
	ordinal   uint32
	from, end uint64
}

// opening is a segment that is being opened.
type opening struct {
	of   origin
	seg  opened
	runs []queueRun // by ordinal, which is their order in the segment
	err  error
	done chan struct{}
}

// stream is one pass of Iterate: a chain of goroutines that finds runs, makes chunks of them, fetches and decodes them.
type stream struct {
	r      *Reader
	from   []Position // by ordinal; the next offsets to be yielded
	moved  bool       // something was yielded
	failed origin     // of the error
}

// run yields blocks until yield returns false or an error.
func (s *stream) run(ctx context.Context, yield func(QueueBlock) bool) error {
	ctx, cancel := context.WithCancel(ctx)
	segs := make(chan *opening, s.r.cfg.Concurrency)
	chunks := make(chan *chunk, s.r.cfg.Concurrency)
	blocks := make(chan *decoded, s.r.cfg.Decoders+1)
	from := slices.Clone(s.from)
	ok := s.r.attach(cancel, func() {
		s.r.wg.Go(func() { s.findRuns(ctx, from, segs) })
		s.r.wg.Go(func() { s.makeChunks(ctx, segs, chunks) })
		s.decodeChunks(ctx, chunks, blocks)
	})
	if !ok {
		cancel()
		return ErrClosed
	}
	defer func() {
		cancel()
		for d := range blocks { // until all has ended
			<-d.done
			s.give(d.last)
			d.block.Release()
		}
	}()
	at := make(map[uint32]int, len(s.from))
	for i := range s.from {
		at[s.from[i].Ordinal] = i
	}
	for d := range blocks {
		<-d.done
		if d.err != nil {
			s.failed = d.of
			s.give(d.last)
			return d.err
		}
		s.from[at[d.of.ordinal]].Offset, s.moved = d.block.End, true
		more := yield(QueueBlock{d.block, d.of.ordinal})
		s.give(d.last)
		if !more {
			return nil
		}
	}
	return ctx.Err()
}

// give gives back what a chunk has reserved.
func (s *stream) give(c *chunk) {
	if c != nil && c.cost > 0 {
		s.r.bulk.give(c.cost)
	}
}

// foundRun is where a queue goes on.
type foundRun struct {
	Position

	ok    bool
	entry manifest.Entry
	run   manifest.Run
}

// findRuns sends the segments that have the queues, oldest first, each being opened. An error is the last it sends.
func (s *stream) findRuns(ctx context.Context, from []Position, segs chan<- *opening) {
	defer close(segs)
	queues := make([]foundRun, len(from))
	for i := range from {
		queues[i].Position = from[i]
	}
	for {
		o := &opening{done: make(chan struct{})}
		if queues, o.err = s.find(ctx, queues, &o.of); o.err == nil && len(queues) == 0 {
			return
		}
		if o.err == nil {
			o.next(queues)
			s.r.wg.Go(func() {
				defer close(o.done)
				o.seg, o.err = s.r.open(ctx, o.of.entry)
			})
		} else {
			close(o.done)
		}
		stop := len(o.runs) == 0
		select {
		case segs <- o:
		case <-ctx.Done():
			return
		}
		if stop {
			return
		}
	}
}

// find finds where queues go on, and leaves out those that have ended.
func (s *stream) find(ctx context.Context, queues []foundRun, failed *origin) ([]foundRun, error) {
	left := queues[:0]
	for i := range queues {
		q := queues[i]
		if !q.ok {
			var err error
			q.entry, q.run, err = s.r.cfg.Catalog.Find(ctx, q.Ordinal, q.Offset)
			if errors.Is(err, catalog.ErrBeyond) {
				continue
			}
			if err != nil {
				failed.ordinal = q.Ordinal
				return nil, err
			}
			q.ok = true
		}
		left = append(left, q)
	}
	return left, nil
}

// next makes the opening that of the oldest segment, for all queues that go on there, and moves them to its end.
func (o *opening) next(queues []foundRun) {
	oldest := &queues[0].entry
	for i := range queues {
		if e := &queues[i].entry; e.FirstLSN < oldest.FirstLSN || e.FirstLSN == oldest.FirstLSN && e.Object < oldest.Object {
			oldest = e
		}
	}
	o.of.entry = *oldest
	for i := range queues {
		q := &queues[i]
		if q.entry.Object != o.of.entry.Object {
			continue
		}
		o.runs = append(o.runs, queueRun{ordinal: q.Ordinal, from: q.Offset, end: q.run.End})
		q.Offset, q.ok = q.run.End, false
	}
	o.of.ordinal = o.runs[0].ordinal
}

// makeChunks cuts segments into chunks, and begins a GET for each when there is room. An error is the last it sends.
func (s *stream) makeChunks(ctx context.Context, segs <-chan *opening, chunks chan<- *chunk) {
	defer close(chunks)
	for o := range segs {
		<-o.done
		if o.err == nil {
			o.err = s.chunksOf(ctx, o, chunks)
		}
		if o.err != nil {
			c := &chunk{of: o.of, err: o.err, done: make(chan struct{})}
			close(c.done)
			select {
			case chunks <- c:
			case <-ctx.Done():
			}
			return
		}
	}
}

func (s *stream) chunksOf(ctx context.Context, o *opening, chunks chan<- *chunk) error {
	c := &chunk{of: o.of, seg: o.seg}
	limit := min(chunkBytes, max(1, s.r.bulk.limit/4))
	for _, run := range o.runs {
		at := run.from
		for ref, err := range o.seg.index.Blocks(ctx, run.ordinal, run.from) {
			if err != nil {
				return err
			}
			if len(c.refs) > 0 {
				pos, n := c.place()
				if gap := ref.Pos - (pos + int64(n)); gap < 0 || gap > gapBytes || int64(n)+gap+int64(ref.Size) > limit || len(c.refs) == maxWalk {
					if err := s.send(ctx, c, chunks); err != nil {
						return err
					}
					c = &chunk{of: o.of, seg: o.seg}
				}
			}
			c.refs = append(c.refs, ref)
			at = ref.End()
		}
		if at != run.end {
			o.of.ordinal = run.ordinal
			return fmt.Errorf("queue %d ends at offset %d, not %d: %w", run.ordinal, at, run.end, segment.ErrNotFound)
		}
	}
	if len(c.refs) == 0 {
		return nil
	}
	return s.send(ctx, c, chunks)
}

// place is the range of a chunk.
func (c *chunk) place() (pos int64, n int) {
	last := &c.refs[len(c.refs)-1]
	pos = c.refs[0].Pos
	return pos, int(last.Pos + int64(last.Size) - pos)
}

// send begins a chunk's GET and passes it on.
func (s *stream) send(ctx context.Context, c *chunk, chunks chan<- *chunk) error {
	pos, n := c.place()
	c.cost = int64(n)
	for i := range c.refs {
		if ref := &c.refs[i]; ref.Raw > segment.MaxBlock {
			c.cost += int64(ref.Raw) // large ones are too many bytes to be decoded for nothing
		}
	}
	if err := s.r.bulk.take(ctx, c.cost); err != nil {
		return err
	}
	c.done = make(chan struct{})
	g := ranged{src: c.seg.src, pos: pos, n: n, budget: s.r.bulk, minor: true}
	s.r.wg.Go(func() {
		defer close(c.done)
		if c.buf, c.err = s.r.get(ctx, &g); c.err == nil {
			c.buf.refs.Store(int32(len(c.refs)))
		}
	})
	select {
	case chunks <- c:
		return nil
	case <-ctx.Done():
		<-c.done
		s.give(c)
		return ctx.Err()
	}
}

// decodeChunks decodes the chunks' blocks in order, as many at once as there are decoders.
func (s *stream) decodeChunks(ctx context.Context, chunks <-chan *chunk, blocks chan<- *decoded) {
	defer close(blocks)
	bad := false
	for c := range chunks {
		<-c.done
		if bad || ctx.Err() != nil {
			s.give(c)
			continue
		}
		if c.err != nil {
			d := &decoded{of: c.of, err: c.err, last: c, done: make(chan struct{})}
			close(d.done)
			s.pass(ctx, d, blocks)
			bad = true
			continue
		}
		pos, _ := c.place()
		r := s.r
		r.m.merged.Add(float64(len(c.refs) - 1))
		for i := range c.refs {
			ref := &c.refs[i]
			d := &decoded{of: origin{ref.Ordinal, c.seg.entry}, done: make(chan struct{})}
			if i == len(c.refs)-1 {
				d.last = c
			}
			r.wg.Go(func() {
				defer close(d.done)
				d.block, d.err = s.decode(ctx, c, ref, c.buf.b[ref.Pos-pos:][:ref.Size])
			})
			if !s.pass(ctx, d, blocks) {
				if bad = true; d.last == nil {
					s.give(c)
				}
				break
			}
		}
	}
}

// pass sends a block on; false if nobody wants it.
func (s *stream) pass(ctx context.Context, d *decoded, blocks chan<- *decoded) bool {
	select {
	case blocks <- d:
		return true
	case <-ctx.Done():
		<-d.done
		s.give(d.last)
		return false
	}
}

// decode decodes a block of a chunk. It takes over the block's reference to the chunk's buffer.
func (s *stream) decode(ctx context.Context, c *chunk, ref *segment.BlockRef, b []byte) (Block, error) {
	if ref.Hole {
		c.buf.drop()
		return Block{First: ref.Base, End: ref.End(), Hole: true}, nil
	}
	var dst *buffer
	var into []byte
	if ref.Size < ref.Raw { // it is compressed; where compression gained less than the header it may be, too
		dst = s.r.buffers.get(ref.Raw)
		into = dst.b
	}
	d, err := s.r.decodeInto(ctx, c.seg.index, ref, b, into)
	switch {
	case err != nil:
		c.buf.drop()
		dst.drop()
		if ctx.Err() != nil {
			return Block{}, err
		}
		return s.r.anew(ctx, c.seg, ref, err, &ranged{budget: s.r.bulk, minor: true})
	case isPart(d.Messages, b):
		dst.drop()
		dst = c.buf
	default:
		c.buf.drop()
	}
	block := newBlock(&d)
	block.memory = dst
	return block, nil
}
