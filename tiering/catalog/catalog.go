package catalog

import (
	"context"
	"errors"
	"iter"

	"github.com/varvemq/varve/metadata"
	"github.com/varvemq/varve/tiering/manifest"
	"github.com/varvemq/varve/tiering/segment"
)

// Errors that a caller branches on; they come wrapped with the queue.
var (
	// ErrTrimmed says that an offset is below the queue's first.
	ErrTrimmed = errors.New("catalog: offset is trimmed")
	// ErrBeyond says that an offset is at or above the queue's end, or that nothing of the queue was ever sealed.
	ErrBeyond = errors.New("catalog: offset is not sealed")
	// ErrNotListed says that no listed segment has an offset that is within the queue's bounds: the manifest is not what it must be.
	ErrNotListed = errors.New("catalog: no listed segment has the offset")

	errStub = errors.New("catalog: not implemented")
)

// Located is a run and the segment that has it.
type Located = manifest.Located

// Recent is a segment that etcd lists, and what it has of each queue.
type Recent struct {
	metadata.Segment

	Runs []manifest.Run // by ordinal; immutable
	// LastStores has the highest store time of each of Runs, 0 if it has holes only. If it is nil the segment's MaxStore stands for all. Immutable.
	LastStores []int64
}

// Catalog is a shard's listed segments.
type Catalog struct{}

// Open reads the root and the queue index of each segment that etcd lists.
func Open(ctx context.Context, cfg Config, st *metadata.SealedState) (*Catalog, error) {
	return nil, errStub
}

// Bounds returns the offsets [first, end) of a queue that are in listed segments and not trimmed, or false if nothing of it was ever sealed. No I/O.
func (c *Catalog) Bounds(ordinal uint32) (first, end uint64, ok bool) { return 0, 0, false }

// Queues yields every queue ever sealed and not dropped, by ordinal. No I/O.
func (c *Catalog) Queues() iter.Seq[manifest.QueueRow] {
	return func(func(manifest.QueueRow) bool) {}
}

// Find returns the segment that has an offset of a queue, and its run.
func (c *Catalog) Find(ctx context.Context, ordinal uint32, offset uint64) (manifest.Entry, manifest.Run, error) {
	return manifest.Entry{}, manifest.Run{}, errStub
}

// Since yields a queue's runs in order of offsets, from the first whose segment's MaxStore is ms or later.
func (c *Catalog) Since(ctx context.Context, ordinal uint32, ms int64) iter.Seq2[Located, error] {
	return func(yield func(Located, error) bool) { yield(Located{}, errStub) }
}

// Entries yields the segments whose store times overlap [beginMs, endMs], newest LSNs first.
func (c *Catalog) Entries(ctx context.Context, beginMs, endMs int64) iter.Seq2[manifest.Entry, error] {
	return func(yield func(manifest.Entry, error) bool) { yield(manifest.Entry{}, errStub) }
}

// Lists reports whether root, pages or recent segments refer to an object.
func (c *Catalog) Lists(ctx context.Context, object, firstLSN, endLSN uint64, kind string) (bool, error) {
	return true, errStub
}

// Recent returns the segments in etcd, by FirstLSN, then Object.
func (c *Catalog) Recent() []Recent { return nil }

// Root returns the manifest's root, nil if there is none yet, and the pointer to it. Do not change it.
func (c *Catalog) Root() (*manifest.Root, metadata.ManifestPointer) {
	return nil, metadata.ManifestPointer{}
}

// Page opens a page.
func (c *Catalog) Page(ctx context.Context, ref manifest.PageRef) (*manifest.Page, error) {
	return nil, errStub
}

// Add takes in a segment that was committed.
func (c *Catalog) Add(r Recent) {}

// Replace takes in segments for others.
func (c *Catalog) Replace(in []uint64, out []Recent) {}

// SetManifest takes in a new root, whose pages have the rolled segments.
func (c *Catalog) SetManifest(root *manifest.Root, ptr metadata.ManifestPointer, rolled []uint64) {}

// SetTrims raises first offsets.
func (c *Catalog) SetTrims(trims map[uint32]uint64) {}

// DropQueues forgets queues, for good.
func (c *Catalog) DropQueues(ordinals []uint32) {}

// RunsOf returns what a segment has of each queue, and the last store times.
func RunsOf(ctx context.Context, r *segment.Reader) ([]manifest.Run, map[uint32]int64, error) {
	return nil, nil, errStub
}

// NewRecent reads what a segment that etcd lists has of each queue.
func NewRecent(ctx context.Context, seg metadata.Segment, r *segment.Reader) (Recent, error) {
	return Recent{}, errStub
}

// RecentOf makes a Recent of what a Writer says of the segment it has written.
func RecentOf(seg metadata.Segment, sum *segment.Summary) Recent { return Recent{Segment: seg} }

// EntryOf returns a segment as the manifest lists it.
func EntryOf(seg *metadata.Segment) manifest.Entry {
	return manifest.Entry{
		Object: seg.Object, Epoch: seg.Epoch, Level: seg.Level, Size: seg.Size, FooterCRC: seg.FooterCRC, FirstLSN: seg.FirstLSN, EndLSN: seg.EndLSN,
		MinStore: seg.MinStore, MaxStore: seg.MaxStore, Messages: seg.Messages, RawBytes: seg.RawBytes,
	}
}

// OpenSegment returns a reader of a listed segment.
func (c *Catalog) OpenSegment(ctx context.Context, e manifest.Entry) (*segment.Reader, error) {
	return nil, errStub
}

// SegmentSource returns a listed segment's bytes, by ranged GETs.
func (c *Catalog) SegmentSource(e manifest.Entry) segment.Source { return nil }
