package fsck

import (
	"cmp"
	"maps"
	"slices"

	"github.com/varvemq/varve/metadata"
	"github.com/varvemq/varve/tiering/catalog"
	"github.com/varvemq/varve/tiering/manifest"
)

// queueCheck is a queue as far as it was walked through: it has [first, end).
type queueCheck struct{ first, end uint64 }

// checkRun checks that a queue goes on with a run. Below the first offset that is kept, all may be.
func (c *checker) checkRun(e *manifest.Entry, r *manifest.Run) {
	if c.in.Dead != nil && c.in.Dead(r.Ordinal) {
		return
	}
	kept := c.st.Trims[r.Ordinal]
	q, begun := c.queues[r.Ordinal]
	if !begun {
		q = &queueCheck{first: r.First}
		c.queues[r.Ordinal] = q
	}
	next := max(kept, q.end)
	key := catalog.ObjectKey(c.in.Shard, e.Epoch, e.Object, metadata.KindSegment)
	switch {
	case r.First > next && !c.lost:
		c.findObject(Error, KindQueueGap, key, e.Object, "queue %d: offsets [%d, %d) are in no segment", r.Ordinal, next, r.First)
	case begun && r.First < q.end && r.End > kept:
		c.findObject(Error, KindQueueOverlap, key, e.Object, "queue %d: offsets [%d, %d) are in an earlier segment as well", r.Ordinal, r.First, min(q.end, r.End))
	}
	q.end = max(q.end, r.End)
}

// checkRows compares the root's rows with what the pages have, and takes them for what follows: a queue may have nothing left in the pages.
func (c *checker) checkRows() {
	if c.lost {
		return
	}
	m := c.st.Manifest
	key := catalog.ObjectKey(c.in.Shard, m.Epoch, m.Object, metadata.KindRoot)
	rows := map[uint32]struct{}{}
	for i := range c.list.root.Queues {
		row := &c.list.root.Queues[i]
		rows[row.Ordinal] = struct{}{}
		if c.in.Dead != nil && c.in.Dead(row.Ordinal) {
			continue
		}
		q := c.queues[row.Ordinal]
		switch {
		case q == nil && row.First != row.End:
			c.findObject(Error, KindQueueRow, key, m.Object, "queue %d: the root says [%d, %d), the pages have nothing", row.Ordinal, row.First, row.End)
		case q == nil:
			c.queues[row.Ordinal] = &queueCheck{first: row.End, end: row.End}
		case row.First != q.first || row.End != q.end:
			c.findObject(Error, KindQueueRow, key, m.Object, "queue %d: the root says [%d, %d), the pages have [%d, %d)", row.Ordinal, row.First, row.End, q.first, q.end)
		}
	}
	for _, ordinal := range slices.Sorted(maps.Keys(c.queues)) {
		if _, ok := rows[ordinal]; !ok {
			c.findObject(Error, KindQueueRow, key, m.Object, "queue %d: the pages have [%d, %d), the root has no row of it", ordinal, c.queues[ordinal].first, c.queues[ordinal].end)
		}
	}
}

// checkLSNs checks how the segments cover the log.
func (c *checker) checkLSNs() {
	var segs []listed
	for i := range c.list.objects {
		if c.list.objects[i].kind == seg {
			segs = append(segs, c.list.objects[i])
		}
	}
	slices.SortFunc(segs, func(a, b listed) int {
		return cmp.Or(cmp.Compare(a.firstLSN, b.firstLSN), cmp.Compare(a.object, b.object))
	})
	rolled := uint64(1) // below it the manifest is, where retention makes gaps
	if c.st.Manifest != nil {
		rolled = c.st.Manifest.EndLSN
	}
	end, widest := uint64(0), -1
	for i := range segs {
		s := &segs[i]
		switch {
		case widest < 0:
			end = min(s.firstLSN, rolled) // what was before it may have gone
		case s.firstLSN < end && !sameMerge(s, &segs[widest]):
			c.findObject(Error, KindLSNOverlap, s.key(c.in.Shard), s.object, "LSN [%d, %d) is in segment %d as well", s.firstLSN, min(end, s.endLSN), segs[widest].object)
		}
		c.gap(end, s.firstLSN, rolled, s)
		if s.endLSN > end {
			end, widest = s.endLSN, i
		}
	}
	if len(segs) == 0 {
		end = rolled
	}
	c.gap(end, c.st.Head.LSN, rolled, nil)
	if end > c.st.Head.LSN && widest >= 0 {
		c.findObject(Error, KindLSNOverlap, segs[widest].key(c.in.Shard), segs[widest].object, "it ends at LSN %d, but only %d is committed", end, c.st.Head.LSN)
	}
}

// sameMerge reports two outputs of one merge: they have the same LSNs, and different queues or offsets.
func sameMerge(a, b *listed) bool {
	return a.level == 1 && b.level == 1 && a.firstLSN == b.firstLSN && a.endLSN == b.endLSN
}

// gap reports that no segment has the LSNs [from, to), if there are any.
func (c *checker) gap(from, to, rolled uint64, next *listed) {
	if from < min(to, rolled) {
		c.find(Info, KindLSNGap, "", "LSN [%d, %d) is in no segment of the manifest: dropped by retention", from, min(to, rolled))
		from = min(to, rolled)
	}
	if from < to && !c.lost {
		key := ""
		if next != nil {
			key = next.key(c.in.Shard)
		}
		c.find(Error, KindLSNGap, key, "LSN [%d, %d) is in no segment", from, to)
	}
}
