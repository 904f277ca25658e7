package fsck

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"golang.org/x/sync/errgroup"

	"github.com/varvemq/varve/metadata"
	"github.com/varvemq/varve/tiering/catalog"
	"github.com/varvemq/varve/tiering/manifest"
	"github.com/varvemq/varve/tiering/objstore"
	"github.com/varvemq/varve/tiering/segment"
)

// segmentCheck is what a segment says of itself; without a footer it could not be read.
type segmentCheck struct {
	entry manifest.Entry
	foot  *segment.Footer
	runs  []manifest.Run // by ordinal, without bytes
}

// checkSegments checks all segments, in the order of the lists: those of the pages, then etcd's.
func (c *checker) checkSegments(ctx context.Context) error {
	var last *segmentCheck
	if c.list.root != nil {
		for i := range c.list.root.Pages {
			ref := &c.list.root.Pages[i]
			p, _, err := readPage(ctx, c.in.Bucket, c.in.Cluster, c.in.Shard, ref)
			var segs []manifest.PageSegment
			if err == nil {
				segs, err = p.All(ctx)
			}
			if err != nil {
				if outage(err) {
					return err
				}
				c.notRead(ref, err)
				continue
			}
			if last, err = c.checkSome(ctx, segs, last, true); err != nil {
				return err
			}
		}
		c.checkRows()
	}
	segs := make([]manifest.PageSegment, len(c.st.Segments))
	for i := range c.st.Segments {
		segs[i].Entry = entryOf(&c.st.Segments[i])
	}
	if _, err := c.checkSome(ctx, segs, last, false); err != nil {
		return err
	}
	return nil
}

// notRead reports a page that could be opened, but not read as a whole.
func (c *checker) notRead(ref *manifest.PageRef, err error) {
	if c.lost {
		return // it was reported when it was opened
	}
	c.findObject(Error, faultKind(err), catalog.ObjectKey(c.in.Shard, ref.Epoch, ref.Object, metadata.KindPage), ref.Object, "%v", err)
}

// checkSome checks segments. In a page are their runs as well; of the others, what they say themselves is taken.
func (c *checker) checkSome(ctx context.Context, segs []manifest.PageSegment, last *segmentCheck, inPage bool) (*segmentCheck, error) {
	checks := make([]segmentCheck, len(segs))
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(c.in.Concurrency)
	for i := range segs {
		g.Go(func() error {
			defer c.tell(1)
			var err error
			checks[i], err = c.checkSegment(gctx, &segs[i].Entry)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	for i := range checks {
		ch := &checks[i]
		runs := segs[i].Runs
		if !inPage {
			runs = ch.runs
		} else if ch.foot != nil {
			c.compareRuns(&segs[i], ch.runs)
		}
		c.checkChain(last, ch)
		last = ch
		for j := range runs {
			c.checkRun(&ch.entry, &runs[j])
		}
		if ch.foot == nil && !inPage {
			c.lost = true // its queues are not known
		}
		ch.runs = nil
	}
	return last, nil
}

// checkSegment opens a segment, and reads all of it if the check is deep.
func (c *checker) checkSegment(ctx context.Context, e *manifest.Entry) (segmentCheck, error) {
	out := segmentCheck{entry: *e}
	o := c.list.find(e.Object)
	if o == nil || !o.seen {
		return out, nil // reported as missing
	}
	key := o.key(c.in.Shard)
	id := segment.Identity{Cluster: c.in.Cluster, Shard: c.in.Shard, Epoch: e.Epoch, Sequence: e.Object}
	r, err := segment.Open(ctx, &objstore.Object{Store: c.in.Bucket, Key: key}, e.Size, segment.Expect{Identity: &id, FooterCRC: e.FooterCRC})
	if err == nil {
		out.runs, err = runsOf(ctx, r)
	}
	if err != nil {
		return out, c.unreadable(e, key, err)
	}
	f := r.Footer()
	out.foot = &f
	if f.FirstLSN != e.FirstLSN || f.EndLSN != e.EndLSN || f.Level != e.Level || f.Messages != e.Messages || f.RawBytes != e.RawBytes || f.MinStore != e.MinStore || f.MaxStore != e.MaxStore {
		c.findObject(Error, KindMismatch, key, e.Object, "it says LSN [%d, %d), level %d, %d messages, %d bytes, stored %d to %d; listed are [%d, %d), level %d, %d, %d, %d to %d",
			f.FirstLSN, f.EndLSN, f.Level, f.Messages, f.RawBytes, f.MinStore, f.MaxStore, e.FirstLSN, e.EndLSN, e.Level, e.Messages, e.RawBytes, e.MinStore, e.MaxStore)
	}
	if c.in.Deep {
		if err := segment.Verify(ctx, r); err != nil {
			return out, c.unreadable(e, key, err)
		}
	}
	return out, nil
}

// unreadable reports a segment that cannot be read, and returns an outage of the bucket.
func (c *checker) unreadable(e *manifest.Entry, key string, err error) error {
	if outage(err) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	c.findObject(Error, faultKind(err), key, e.Object, "%v", err)
	return nil
}

func runsOf(ctx context.Context, r *segment.Reader) ([]manifest.Run, error) {
	var runs []manifest.Run
	for q, err := range r.Queues(ctx) {
		if err != nil {
			return nil, err
		}
		runs = append(runs, manifest.Run{Ordinal: q.Ordinal, First: q.First, End: q.End})
	}
	return runs, nil
}

// compareRuns compares what a page says of a segment's queues with what that says itself.
func (c *checker) compareRuns(s *manifest.PageSegment, runs []manifest.Run) {
	same := slices.EqualFunc(s.Runs, runs, func(a, b manifest.Run) bool { return a.Ordinal == b.Ordinal && a.First == b.First && a.End == b.End })
	if !same {
		key := catalog.ObjectKey(c.in.Shard, s.Epoch, s.Object, metadata.KindSegment)
		c.findObject(Error, KindMismatch, key, s.Object, "it has %s, the manifest says %s", describe(runs, s.Runs), describe(s.Runs, runs))
	}
}

// describe shows the first run that others have not.
func describe(runs, others []manifest.Run) string {
	for _, r := range runs {
		if !slices.ContainsFunc(others, func(o manifest.Run) bool { return o.Ordinal == r.Ordinal && o.First == r.First && o.End == r.End }) {
			return fmt.Sprintf("%d queues, of queue %d offsets [%d, %d)", len(runs), r.Ordinal, r.First, r.End)
		}
	}
	return fmt.Sprintf("%d queues", len(runs))
}

// checkChain checks that a segment of level 0 names the one before it, if that is one of level 0 as well.
func (c *checker) checkChain(last, next *segmentCheck) {
	if last == nil || next.foot == nil || last.entry.Level != 0 || next.entry.Level != 0 || last.entry.EndLSN != next.entry.FirstLSN {
		return
	}
	if next.foot.Previous != last.entry.FooterCRC {
		key := catalog.ObjectKey(c.in.Shard, next.entry.Epoch, next.entry.Object, metadata.KindSegment)
		c.findObject(Error, KindChain, key, next.entry.Object, "it follows a segment with the footer crc %08x, not %08x, that of segment %d", next.foot.Previous, last.entry.FooterCRC, last.entry.Object)
	}
}
