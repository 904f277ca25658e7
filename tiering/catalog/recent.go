package catalog

import (
	"context"
	"sort"

	"github.com/varvemq/varve/metadata"
	"github.com/varvemq/varve/tiering/manifest"
	"github.com/varvemq/varve/tiering/segment"
)

// Recent is a segment that etcd lists, and what it has of each queue.
type Recent struct {
	metadata.Segment

	Runs []manifest.Run // by ordinal; immutable
	// LastStores has the highest store time of each of Runs, 0 if it has holes only. If it is nil the segment's MaxStore stands for all. Immutable.
	LastStores []int64
}

// LastStore returns the highest store time of a run, or a later time.
func (r *Recent) LastStore(i int) int64 {
	if i < len(r.LastStores) {
		return r.LastStores[i]
	}
	return r.MaxStore
}

// run returns what the segment has of a queue, or nil.
func (r *Recent) run(ordinal uint32) *manifest.Run {
	i := sort.Search(len(r.Runs), func(i int) bool { return r.Runs[i].Ordinal >= ordinal })
	if i == len(r.Runs) || r.Runs[i].Ordinal != ordinal {
		return nil
	}
	return &r.Runs[i]
}

// take takes in what the segment has of a queue.
func (r *Recent) take(x *segment.Extent) {
	r.Runs = append(r.Runs, manifest.Run{Ordinal: x.Ordinal, First: x.First, End: x.End, Bytes: x.Bytes})
	r.LastStores = append(r.LastStores, x.MaxStore)
}

// RecentOf makes a Recent of what a Writer says of the segment it has written.
func RecentOf(seg metadata.Segment, sum *segment.Summary) Recent {
	r := newRecent(seg, len(sum.Extents))
	for i := range sum.Extents {
		r.take(&sum.Extents[i])
	}
	return r
}

func newRecent(seg metadata.Segment, queues int) Recent {
	return Recent{Segment: seg, Runs: make([]manifest.Run, 0, queues), LastStores: make([]int64, 0, queues)}
}

// NewRecent reads what a segment that etcd lists has of each queue.
func NewRecent(ctx context.Context, seg metadata.Segment, r *segment.Reader) (Recent, error) {
	out := newRecent(seg, 0)
	for x, err := range r.Extents(ctx) {
		if err != nil {
			return Recent{}, err
		}
		out.take(&x)
	}
	return out, nil
}

// SegmentOf returns a segment of size bytes as etcd lists it, by what its footer says. It has no cursors.
func SegmentOf(f *segment.Footer, size int64) metadata.Segment {
	return metadata.Segment{
		Object: f.Sequence, Epoch: f.Epoch, Level: f.Level, Size: size, FooterCRC: f.CRC, FirstLSN: f.FirstLSN, EndLSN: f.EndLSN,
		MinStore: f.MinStore, MaxStore: f.MaxStore, Messages: f.Messages, RawBytes: f.RawBytes, Queues: f.Queues,
	}
}

// EntryOf returns a segment as the manifest lists it.
func EntryOf(seg *metadata.Segment) manifest.Entry {
	return manifest.Entry{
		Object: seg.Object, Epoch: seg.Epoch, Level: seg.Level, Size: seg.Size, FooterCRC: seg.FooterCRC, FirstLSN: seg.FirstLSN, EndLSN: seg.EndLSN,
		MinStore: seg.MinStore, MaxStore: seg.MaxStore, Messages: seg.Messages, RawBytes: seg.RawBytes,
	}
}
