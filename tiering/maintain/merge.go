package maintain

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/varvemq/varve/tiering/manifest"
	"github.com/varvemq/varve/tiering/segment"
)

// fate is what a merge does with a queue.
type fate struct {
	dead        bool   // it belongs to a tombstone
	first       uint64 // blocks wholly below it need not stay
	compression segment.Compression
}

// errOverlap says that segments cannot be merged as they are: it is a fault of theirs, and stays.
var errOverlap = errors.New("maintain: inputs do not join")

// merger merges inputs, in order, into outputs that are cut by (ordinal, offset).
type merger struct {
	inputs []*input
	// limit bounds an output's bytes, as far as they can be foretold.
	limit int64
	fate  func(ordinal uint32) fate
	// begin makes the next output. Only the last one may be open.
	begin func(ctx context.Context) (*output, error)

	outs    []*output
	planned float64 // bytes of the present output, by the inputs' measure
	drops   []manifest.Run
}

// merge makes the outputs, at least one, and declares what it left out.
func (m *merger) merge(ctx context.Context) error {
	for {
		ordinal, members := m.nextQueue()
		if len(members) == 0 {
			break
		}
		if err := m.mergeQueue(ctx, ordinal, members); err != nil {
			return fmt.Errorf("merge queue %d: %w", ordinal, err)
		}
		for _, in := range members {
			if err := in.advance(); err != nil {
				return err
			}
		}
	}
	if len(m.outs) == 0 { // cursors and the place in the order of LSNs stay
		if err := m.cut(ctx); err != nil {
			return err
		}
	}
	return m.last().finish()
}

// nextQueue returns the lowest queue that is left and the inputs that have it.
func (m *merger) nextQueue() (ordinal uint32, members []*input) {
	for _, in := range m.inputs {
		switch {
		case !in.ok || len(members) > 0 && in.queue.Ordinal > ordinal:
		case len(members) == 0 || in.queue.Ordinal < ordinal:
			ordinal, members = in.queue.Ordinal, []*input{in}
		default:
			members = append(members, in)
		}
	}
	return ordinal, members
}

func (m *merger) last() *output {
	if len(m.outs) == 0 {
		return nil
	}
	return m.outs[len(m.outs)-1]
}

// cut ends the present output, if there is one, and begins another.
func (m *merger) cut(ctx context.Context) error {
	if out := m.last(); out != nil {
		if err := out.finish(); err != nil {
			return err
		}
	}
	out, err := m.begin(ctx)
	if err != nil {
		return err
	}
	m.outs, m.planned = append(m.outs, out), 0
	return nil
}

func (m *merger) mergeQueue(ctx context.Context, ordinal uint32, members []*input) error {
	f := m.fate(ordinal)
	if f.dead {
		for _, in := range members {
			m.drop(ordinal, in.queue.First, in.queue.End)
		}
		return nil
	}
	queue, err := joinQueues(members)
	if err != nil {
		return err
	}
	keep, err := keepFrom(ctx, members, f.first)
	if err != nil {
		return err
	}
	begun := false
	for _, in := range members {
		from := max(in.queue.First, min(keep, in.queue.End))
		m.drop(ordinal, in.queue.First, from)
		if from == in.queue.End {
			continue
		}
		for ref, err := range in.r.Blocks(ctx, ordinal, from) {
			if err != nil {
				return fmt.Errorf("%s: %w", in.src.key, err)
			}
			bytes := float64(ref.Size) * in.weight
			if out := m.last(); out == nil || m.planned > 0 && m.full(out, bytes) {
				if err := m.cut(ctx); err != nil {
					return err
				}
				begun = false
			}
			if !begun {
				if err := m.last().w.Queue(queue, f.compression); err != nil {
					return err
				}
				begun = true
			}
			m.planned += bytes
			if err := m.copyBlock(ctx, in, &ref); err != nil {
				return err
			}
		}
	}
	return nil
}

// full reports whether an output has no room for so many bytes more. Where outputs turn out larger than inputs, what was written counts, too.
func (m *merger) full(out *output, bytes float64) bool {
	room := float64(m.limit - min(segment.MaxBlock, m.limit/8))
	return m.planned+bytes > room || float64(out.size())+bytes > room
}

func (m *merger) copyBlock(ctx context.Context, in *input, ref *segment.BlockRef) error {
	w := m.last().w
	if ref.Hole {
		return w.Hole(ref.Base, uint64(ref.Count))
	}
	b, err := in.read(ctx, ref)
	if err != nil {
		return err
	}
	return w.Append(b.Base, b.Count, b.Messages)
}

func (m *merger) drop(ordinal uint32, first, end uint64) {
	if first < end {
		m.drops = append(m.drops, manifest.Run{Ordinal: ordinal, First: first, End: end})
	}
}

// joinQueues returns what the outputs say of a queue: the newest, with all keys indexed that were in any input.
func joinQueues(members []*input) (segment.Queue, error) {
	queue := members[len(members)-1].queue.Queue
	for _, in := range members {
		q := in.queue.Queue
		queue.Keys = min(queue.Keys, q.Keys)
		if q.ExtentBase != queue.ExtentBase || q.Incarnation != queue.Incarnation || q.Topic != queue.Topic || q.QueueID != queue.QueueID {
			return segment.Queue{}, fmt.Errorf("%w: %s says %+v, another %+v", errOverlap, in.src.key, q, queue)
		}
	}
	return queue, nil
}

// keepFrom returns the offset that a queue's part of the outputs begins with: that of the first block that reaches to first or beyond, or of the last block
// with messages if that is lower, so that the end and the last store time are kept; if there are holes only, everything. What is left out below first by an
// earlier merge may have left a gap; nothing below it stays.
func keepFrom(ctx context.Context, members []*input, first uint64) (uint64, error) {
	keep := members[0].queue.First
	for i, in := range members[1:] {
		before := members[i].queue.End
		switch {
		case in.queue.First < before || in.queue.First > before && in.queue.First > first:
			return 0, fmt.Errorf("%w: %s begins at offset %d, %s ends at %d, the first offset is %d", errOverlap, in.src.key, in.queue.First, members[i].src.key, before, first)
		case in.queue.First > before:
			keep = in.queue.First
		}
	}
	if first <= keep {
		return keep, nil
	}
	reaches, reached := uint64(0), false   // the first block that reaches to first
	lastMessages, have := uint64(0), false // the last block with messages
	for _, in := range members {
		if in.queue.End <= keep {
			continue
		}
		for ref, err := range in.r.Blocks(ctx, in.queue.Ordinal, in.queue.First) {
			if err != nil {
				return 0, fmt.Errorf("%s: %w", in.src.key, err)
			}
			if !reached && ref.End() > first {
				reaches, reached = ref.Base, true
			}
			if !ref.Hole {
				lastMessages, have = ref.Base, true
			}
		}
	}
	switch {
	case !have:
		return keep, nil
	case reached:
		return min(reaches, lastMessages), nil
	default:
		return lastMessages, nil
	}
}

// ranges returns the offsets of a queue in inputs or outputs, without gaps between what adjoins.
func appendRange(to []manifest.Run, r manifest.Run) []manifest.Run {
	r.Bytes = 0
	if i := len(to) - 1; i >= 0 && to[i].Ordinal == r.Ordinal && to[i].End == r.First {
		to[i].End = r.End
		return to
	}
	return append(to, r)
}

// checkCoverage reports offsets that outputs and drops do not have exactly once, or that inputs do not have.
func checkCoverage(inputs, outputs, drops []manifest.Run) error {
	want, err := cover(inputs)
	if err != nil {
		return fmt.Errorf("inputs: %w", err)
	}
	got, err := cover(slices.Concat(outputs, drops))
	if err != nil {
		return fmt.Errorf("outputs: %w", err)
	}
	for i := range max(len(want), len(got)) {
		switch {
		case i >= len(got):
			return fmt.Errorf("%w: queue %d, offsets [%d, %d) are in no output", errCoverage, want[i].Ordinal, want[i].First, want[i].End)
		case i >= len(want):
			return fmt.Errorf("%w: queue %d, offsets [%d, %d) are in no input", errCoverage, got[i].Ordinal, got[i].First, got[i].End)
		case got[i] != want[i]:
			return fmt.Errorf("%w: queue %d, offsets [%d, %d), where inputs have queue %d, [%d, %d)",
				errCoverage, got[i].Ordinal, got[i].First, got[i].End, want[i].Ordinal, want[i].First, want[i].End)
		}
	}
	return nil
}

// errCoverage says that a merge has lost or doubled something. Nothing of it is used.
var errCoverage = errors.New("maintain: outputs do not have what inputs have")

// cover returns the union of ranges, which must not overlap.
func cover(runs []manifest.Run) ([]manifest.Run, error) {
	sorted := slices.Clone(runs)
	slices.SortFunc(sorted, compareRuns)
	var out []manifest.Run
	for i, r := range sorted {
		if r.First >= r.End || i > 0 && sorted[i-1].Ordinal == r.Ordinal && sorted[i-1].End > r.First {
			return nil, fmt.Errorf("%w: queue %d, offsets [%d, %d) twice or none", errCoverage, r.Ordinal, r.First, r.End)
		}
		out = appendRange(out, r)
	}
	return out, nil
}
