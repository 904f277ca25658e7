package seal

import (
	"cmp"
	"maps"
	"slices"

	"github.com/varvemq/varve/metadata"
	"github.com/varvemq/varve/tiering/segment"
)

// maxCursors bounds the queues whose cursors are in one segment's value in etcd.
const maxCursors = 4096

// piece is a batch or a hole.
type piece struct {
	ordinal  uint32
	hole     bool
	base     uint64
	count    uint64
	messages []byte // the log's own bytes
}

// queue is what Topics says of a queue, the same for a whole cut.
type queue struct {
	segment.Queue

	compression segment.Compression
	state       QueueState
}

// cut is what a segment is made of: the records [first, end), which end at position pos. It refers to the log's bytes.
type cut struct {
	first, end uint64 // LSNs; first is the committed one, behind which there may be a gap
	epoch      uint32 // of the last record, or of the one before the cut
	pos        uint64
	records    int
	bytes      int64 // of the records in the log
	full       bool  // there may be more behind it
	pieces     []piece
	queues     map[uint32]queue
	cursors    map[uint32]uint64
}

// gatherer takes records into a cut.
type gatherer struct {
	cut

	topics Topics
	limit  int64
	max    uint64 // own epoch
	skip   bool   // pass over records that are sealed already
}

// take is a Source's fn.
func (g *gatherer) take(r *Record) (bool, error) {
	if g.skip && g.records == 0 && r.LSN < g.end {
		return true, nil
	}
	if err := g.check(r); err != nil {
		return false, err
	}
	size := int64(r.End - r.Pos)
	if g.records > 0 && (g.bytes+size > g.limit || g.tooManyCursors(r.Cursors)) {
		g.full = true
		return false, nil
	}
	for i := range r.Batches {
		b := &r.Batches[i]
		g.add(piece{ordinal: b.Ordinal, base: b.Base, count: uint64(b.Count), messages: b.Messages})
	}
	for i := range r.Holes {
		h := &r.Holes[i]
		g.add(piece{ordinal: h.Ordinal, hole: true, base: h.Base, count: h.Count})
	}
	for _, c := range r.Cursors {
		if g.queue(c.Ordinal).state != QueueDeleted {
			g.cursors[c.Ordinal] = c.Offset
		}
	}
	g.end, g.epoch, g.pos = r.LSN+1, r.Epoch, r.End
	g.records++
	g.bytes += size
	g.full = g.bytes >= g.limit
	return !g.full, nil
}

// check reports a record that does not follow the one before.
func (g *gatherer) check(r *Record) error {
	switch {
	case r.LSN < g.end || r.LSN == 1<<64-1:
		return disorder("LSN %d at position %d, where %d is next", r.LSN, r.Pos, g.end)
	case r.LSN > g.end && r.Epoch <= g.epoch: // a gap is right only where a higher epoch has begun
		return disorder("LSN %d of epoch %d at position %d, where %d is next: LSNs [%d, %d) are missing, and no higher epoch than %d has begun",
			r.LSN, r.Epoch, r.Pos, g.end, g.end, r.LSN, g.epoch)
	case g.records > 0 && (r.Epoch < g.epoch || r.Pos < g.pos):
		return disorder("LSN %d at position %d is of epoch %d, the record before it at [, %d) of epoch %d", r.LSN, r.Pos, r.Epoch, g.pos, g.epoch)
	case uint64(r.Epoch) > g.max:
		return disorder("LSN %d at position %d is of epoch %d, above our own, %d", r.LSN, r.Pos, r.Epoch, g.max)
	case r.End <= r.Pos:
		return disorder("LSN %d at positions [%d, %d)", r.LSN, r.Pos, r.End)
	}
	return nil
}

func (g *gatherer) add(p piece) {
	if g.queue(p.ordinal).state != QueueDeleted {
		g.pieces = append(g.pieces, p)
	}
}

func (g *gatherer) queue(ordinal uint32) queue {
	q, ok := g.queues[ordinal]
	if !ok {
		q.Queue, q.compression, q.state = g.topics.Queue(ordinal)
		if q.state != QueueLive {
			q.Queue = segment.Queue{} // what is not known is learned from the messages
		}
		q.Ordinal = ordinal
		g.queues[ordinal] = q
	}
	return q
}

// tooManyCursors reports whether the cursors of another record are more than fit.
func (g *gatherer) tooManyCursors(more []metadata.QueueCursor) bool {
	n := len(g.cursors)
	if n+len(more) <= maxCursors {
		return false
	}
	seen := make(map[uint32]struct{}, len(more))
	for _, c := range more {
		_, have := g.cursors[c.Ordinal]
		if _, twice := seen[c.Ordinal]; !have && !twice {
			seen[c.Ordinal] = struct{}{}
		}
	}
	return n+len(seen) > maxCursors
}

// sort brings the pieces into the order of a segment.
func (c *cut) sort() {
	slices.SortStableFunc(c.pieces, func(a, b piece) int {
		return cmp.Or(cmp.Compare(a.ordinal, b.ordinal), cmp.Compare(a.base, b.base))
	})
}

// sortedCursors returns the cursors by ordinal.
func (c *cut) sortedCursors() []metadata.QueueCursor {
	var out []metadata.QueueCursor
	for _, ordinal := range slices.Sorted(maps.Keys(c.cursors)) {
		out = append(out, metadata.QueueCursor{Ordinal: ordinal, Offset: c.cursors[ordinal]})
	}
	return out
}
