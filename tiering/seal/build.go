package seal

import (
	"fmt"
	"slices"

	"github.com/varvemq/varve/internal/message"
	"github.com/varvemq/varve/tiering/segment"
)

// build writes the segment of a cut into a spool file and reads that back. A *diskError may pass; any other error says that the records cannot be in a segment.
func (s *Sealer) build(name string, c *cut, cfg segment.Config) (_ *spool, _ segment.Summary, err error) {
	sp, err := createSpool(s.cfg.FS, name)
	if err != nil {
		return nil, segment.Summary{}, err
	}
	defer func() {
		if err != nil {
			_ = sp.remove() // the next attempt creates it anew, and the next start empties the directory
		}
	}()
	w, err := segment.NewWriter(sp, cfg)
	if err != nil {
		return nil, segment.Summary{}, err
	}
	c.sort()
	for rest := c.pieces; len(rest) > 0; {
		ordinal := rest[0].ordinal
		n := slices.IndexFunc(rest, func(p piece) bool { return p.ordinal != ordinal })
		if n < 0 {
			n = len(rest)
		}
		if err := writeQueue(w, c.queues[ordinal], rest[:n]); err != nil {
			return nil, segment.Summary{}, err
		}
		rest = rest[n:]
	}
	sum, err := w.Finish()
	if err == nil {
		err = sp.flush()
	}
	if err == nil {
		err = sp.verify(sum.Size, sum.CRC)
	}
	return sp, sum, err
}

// writeQueue writes what a cut has of a queue.
func writeQueue(w *segment.Writer, q queue, pieces []piece) error {
	if q.state != QueueLive {
		q.Queue = unknownQueue(q.Ordinal, pieces)
	}
	if err := w.Queue(q.Queue, q.compression); err != nil {
		return err
	}
	for i := range pieces {
		p := &pieces[i]
		var err error
		if p.hole {
			err = w.Hole(p.base, p.count)
		} else {
			err = w.Append(p.base, uint32(p.count), p.messages)
		}
		if err != nil {
			return fmt.Errorf("topic %q, queue %d, offset %d: %w", q.Topic, q.QueueID, p.base, err)
		}
	}
	return nil
}

// unknownQueue returns what the first message of a queue says of it. Without any there is nothing to say.
func unknownQueue(ordinal uint32, pieces []piece) segment.Queue {
	q := segment.Queue{Ordinal: ordinal}
	for i := range pieces {
		v, _, err := message.Next(pieces[i].messages)
		if err != nil {
			continue // a hole; or the writer finds it
		}
		q.Topic, q.QueueID = string(v.Topic()), v.QueueID()
		if _, delta, err := message.SplitPhysicalOffset(v.PhysicalOffset()); err == nil && delta <= pieces[i].base {
			q.ExtentBase = pieces[i].base - delta
		}
		return q
	}
	if last := &pieces[len(pieces)-1]; last.base+last.count > message.MaxDelta {
		q.ExtentBase = pieces[0].base
	}
	return q
}
