package catalog

import (
	"context"
	"errors"
	"fmt"

	"github.com/varvemq/varve/metadata"
	"github.com/varvemq/varve/tiering/manifest"
	"github.com/varvemq/varve/tiering/segment"
)

// readOrScan is readRecent for a segment that may be damaged: one whose index, root or footer cannot be read must not keep a broker from all the others. What it has of
// each queue is then taken from the headers of its blocks; who reads it meets the damage.
func (c *Catalog) readOrScan(ctx context.Context, seg *metadata.Segment) (Recent, error) {
	rec, err := c.readRecent(ctx, seg)
	var corrupt *segment.CorruptError
	if err == nil || !errors.As(err, &corrupt) {
		return rec, err
	}
	rec, serr := c.scanRecent(ctx, seg, corrupt.Section == segment.SectionFooter)
	if serr != nil {
		return Recent{}, errors.Join(err, serr)
	}
	c.cfg.Logger.Error("a segment is damaged; what it has is taken from its blocks", "shard", c.cfg.Shard, "error", err)
	return rec, nil
}

// scanRecent learns from the blocks of a segment what it has of each queue. It must be all that etcd says it has, and no header may be damaged: it could be that of a
// hole. noEnd says that the footer does not tell where the blocks end.
func (c *Catalog) scanRecent(ctx context.Context, seg *metadata.Segment, noEnd bool) (Recent, error) {
	e := EntryOf(seg)
	id := segment.Identity{Cluster: c.cfg.Cluster, Shard: c.cfg.Shard, Epoch: e.Epoch, Sequence: e.Object}
	bad := func(format string, args ...any) error {
		return fmt.Errorf("scan segment %s: %w: %s", ObjectKey(c.cfg.Shard, e.Epoch, e.Object, metadata.KindSegment), ErrMismatch, fmt.Sprintf(format, args...))
	}
	src := c.SegmentSource(e)
	out := newRecent(*seg, 0)
	var messages, raw uint64
	ended := false
	for b, err := range segment.Scan(ctx, src, e.Size, &id) {
		if err != nil {
			return Recent{}, bad("%v", err)
		}
		if b.Count == 0 && noEnd && !ended { // the end of the blocks
			like, err := segment.LikeBlock(ctx, src, b.Pos)
			if err != nil {
				return Recent{}, err
			}
			ended = !like
		}
		if b.Count == 0 && ended {
			continue
		}
		if b.Count == 0 || ended {
			return Recent{}, bad("no block at %d", b.Pos)
		}
		if !b.Hole {
			messages, raw = messages+uint64(b.Count), raw+uint64(b.Raw)
		}
		if n := len(out.Runs); n == 0 || out.Runs[n-1].Ordinal < b.Ordinal {
			out.Runs = append(out.Runs, manifest.Run{Ordinal: b.Ordinal, First: b.Base, End: b.Base})
			out.LastStores = append(out.LastStores, 0)
		}
		n := len(out.Runs) - 1
		if run := &out.Runs[n]; run.Ordinal != b.Ordinal || run.End != b.Base {
			return Recent{}, bad("offset %d of queue %d at %d follows offset %d of queue %d", b.Base, b.Ordinal, b.Pos, run.End, run.Ordinal)
		}
		out.Runs[n].End = b.End()
		out.Runs[n].Bytes += uint64(b.Size)
		out.LastStores[n] = max(out.LastStores[n], b.MaxStore)
	}
	if messages != seg.Messages || raw != seg.RawBytes || uint64(len(out.Runs)) != seg.Queues {
		return Recent{}, bad("%d messages of %d bytes in %d queues, not %d, %d, %d", messages, raw, len(out.Runs), seg.Messages, seg.RawBytes, seg.Queues)
	}
	return out, nil
}
