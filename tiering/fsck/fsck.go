package fsck

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/google/uuid"

	"github.com/varvemq/varve/metadata"
	"github.com/varvemq/varve/tiering/manifest"
	"github.com/varvemq/varve/tiering/objstore"
)

// WALInfo is the log of the shard's owner: it has the records of [First, End).
type WALInfo struct {
	UUID       string
	First, End uint64
}

// Input is what is compared.
type Input struct {
	Bucket  objstore.Store
	Cluster uuid.UUID
	Shard   string
	// Epoch is the owner's; without an owner that of the shard's record.
	Epoch uint64
	// Read reads etcd's part of the shard's history, linearizably: Store.SealedState.
	Read func(context.Context) (*metadata.SealedState, error)
	// WAL returns what the log has, nil if it is not known.
	WAL func() *WALInfo
	// Dead reports ordinals of deleted topics, of which anything may be gone. May be nil.
	Dead func(ordinal uint32) bool
	// Deep reads every byte of every segment.
	Deep bool
	// Concurrency bounds the requests under way. Default: 8.
	Concurrency int
	// Progress is told how many objects were checked, of how many as far as is known, by one goroutine at a time. May be nil.
	Progress func(checked, total int64)
}

// Run checks. It fails only if it cannot go on: etcd or the bucket do not answer.
func Run(ctx context.Context, in Input) (*Report, error) {
	if in.Concurrency <= 0 {
		in.Concurrency = 8
	}
	c := &checker{in: in, report: &Report{}, queues: map[uint32]*queueCheck{}}
	if err := c.run(ctx); err != nil {
		return nil, fmt.Errorf("check the storage of shard %s: %w", in.Shard, err)
	}
	slices.SortStableFunc(c.report.Findings, func(a, b Finding) int { return cmp.Compare(rank(a.Severity), rank(b.Severity)) })
	return c.report, nil
}

func rank(s Severity) int { return slices.Index([]Severity{Error, Warning, Info}, s) }

// checker is a check.
type checker struct {
	in      Input
	st      *metadata.SealedState
	list    *listing
	checked atomic.Int64
	tellMu  sync.Mutex // held while Progress is called

	mu     sync.Mutex // guards report
	report *Report

	queues map[uint32]*queueCheck
	lost   bool // segments are unknown, since a root or a page cannot be read
}

func (c *checker) run(ctx context.Context) error {
	first := c.wal()
	var err error
	if c.st, err = c.in.Read(ctx); err != nil {
		return err
	}
	c.checkWAL(first, c.wal())
	c.report.Revision = c.st.Revision
	c.list = &listing{}
	if err := c.load(ctx); err != nil {
		return err
	}
	c.checkRecords()
	if err := c.checkBucket(ctx); err != nil {
		return err
	}
	if err := c.checkEpochs(ctx); err != nil {
		return err
	}
	if err := c.checkSegments(ctx); err != nil {
		return err
	}
	c.checkLSNs()
	return c.lookAgain(ctx)
}

func (c *checker) wal() *WALInfo {
	if c.in.WAL == nil {
		return nil
	}
	return c.in.WAL()
}

func (c *checker) tell(n int64) {
	checked := c.checked.Add(n)
	if c.in.Progress != nil {
		c.tellMu.Lock()
		defer c.tellMu.Unlock()
		c.in.Progress(checked, int64(len(c.list.objects)))
	}
}

// checkWAL compares the head with the log as it was before and after etcd was read: the log's beginning and its end move only forward.
func (c *checker) checkWAL(before, after *WALInfo) {
	h := &c.st.Head
	switch {
	case before == nil || after == nil:
	case h.WALUUID == "":
	case h.WALUUID != after.UUID:
		c.find(Error, KindWALGap, "", "what no segment has is in the log %s, this one is %s", h.WALUUID, after.UUID)
	case h.PositionLost:
		c.find(Warning, KindSkipped, "", "the position in the log was lost in a restoration, and is not found yet")
	case before.First > h.Position:
		c.find(Error, KindWALGap, "", "segments have what is below position %d, the log begins at %d", h.Position, before.First)
	case after.End < h.Position:
		c.find(Error, KindWALGap, "", "segments have what is below position %d, the log ends at %d", h.Position, after.End)
	}
}

// lookAgain drops the findings about objects that are not listed any more: they were replaced or removed, and perhaps deleted, while the check ran.
func (c *checker) lookAgain(ctx context.Context) error {
	if !slices.ContainsFunc(c.report.Findings, func(f Finding) bool { return f.object != 0 }) {
		return nil
	}
	st, err := c.in.Read(ctx)
	if err != nil {
		return err
	}
	if sameLists(st, c.st) {
		return nil
	}
	now, err := Load(ctx, c.in.Bucket, c.in.Cluster, c.in.Shard, st)
	if err != nil {
		if _, lost := errors.AsType[*UnreadableError](err); lost { // then all may still be listed
			return nil
		}
		return err
	}
	c.report.Findings = slices.DeleteFunc(c.report.Findings, func(f Finding) bool { return f.object != 0 && !now.Has(f.object) })
	return nil
}

// sameLists reports whether two states list the same objects.
func sameLists(a, b *metadata.SealedState) bool {
	if (a.Manifest == nil) != (b.Manifest == nil) || a.Manifest != nil && a.Manifest.Object != b.Manifest.Object {
		return false
	}
	return slices.EqualFunc(a.Segments, b.Segments, func(x, y metadata.Segment) bool { return x.Object == y.Object })
}

// entryOf returns a segment in etcd as the manifest would list it.
func entryOf(s *metadata.Segment) manifest.Entry {
	return manifest.Entry{
		Object: s.Object, Epoch: s.Epoch, Level: s.Level, Size: s.Size, FooterCRC: s.FooterCRC, FirstLSN: s.FirstLSN, EndLSN: s.EndLSN,
		MinStore: s.MinStore, MaxStore: s.MaxStore, Messages: s.Messages, RawBytes: s.RawBytes,
	}
}
