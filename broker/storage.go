package broker

import (
	"context"
	"fmt"
	"math"

	wire "github.com/varvemq/varve/internal/remoting"
	"github.com/varvemq/varve/metadata"
	"github.com/varvemq/varve/tiering/catalog"
	"github.com/varvemq/varve/tiering/manifest"
	"github.com/varvemq/varve/tiering/objstore"
	"github.com/varvemq/varve/tiering/segment"
)

// storage answers the front end's requests about sealed history.
type storage struct {
	b    *broker
	fsck fsckJob
}

func newStorage(b *broker) *storage { return &storage{b: b, fsck: fsckJob{b: b}} }

// Seal implements remoting.Storage.
func (s *storage) Seal(ctx context.Context, lsn uint64) (wire.SealProgress, error) {
	b := s.b
	p := wire.SealProgress{Target: lsn}
	if lsn == 0 {
		// What is appended by now is durable after this, and sealed by what follows.
		if err := b.queues.WAL().Sync(ctx); err != nil {
			return p, err
		}
		p.Target = b.queues.WAL().NextLSN(shardNumber(b.cfg.ShardName))
	}
	head := b.tier.sealer.Head()
	if head.LSN < p.Target {
		var err error
		head, err = b.tier.sealer.Seal(ctx)
		if err != nil && ctx.Err() == nil {
			return p, err
		}
		if head.LSN == 0 {
			head = b.tier.sealer.Head()
		}
	}
	p.LSN, p.Done = head.LSN, head.LSN >= p.Target
	if st := b.tier.sealer.Status(); !p.Done && st.Err != nil {
		p.LastError = st.Err.Error()
	}
	return p, nil
}

// Status implements remoting.Storage.
func (s *storage) Status() wire.StorageStatus {
	b := s.b
	sealing := b.tier.sealer.Status()
	st := wire.StorageStatus{
		Shard: b.cfg.ShardName, ObjectStore: b.bucket.URL(), Epoch: b.own.Epoch(), LSN: sealing.Head.LSN, NextLSN: b.queues.WAL().NextLSN(shardNumber(b.cfg.ShardName)),
		UnsealedBytes: sealing.Backlog, OldestUnsealed: sealing.Oldest.Milliseconds(), RecentSegments: len(b.tier.catalog.Recent()),
	}
	root, ptr := b.tier.catalog.Root()
	if root != nil {
		st.ManifestObjects, st.ManifestPages = ptr.Segments, len(root.Pages)
	}
	for range b.tier.catalog.Queues() {
		st.Queues++
	}
	if sealing.Err != nil {
		st.SealError, st.SealFailing = sealing.Err.Error(), sealing.Since.UnixMilli()
	}
	if err := b.tier.maintain.Err(); err != nil {
		st.MaintainError = err.Error()
	}
	return st
}

// Segments implements remoting.Storage.
func (s *storage) Segments(ctx context.Context, offset, limit int) (wire.SegmentList, error) {
	list := wire.SegmentList{Segments: []wire.SegmentInfo{}}
	n := 0
	for e, err := range s.b.tier.catalog.Entries(ctx, 0, math.MaxInt64) {
		if err != nil {
			return list, err
		}
		if n++; n <= offset {
			continue
		}
		if len(list.Segments) == limit {
			list.Next = offset + limit
			break
		}
		list.Segments = append(list.Segments, s.info(&e))
	}
	return list, nil
}

func (s *storage) info(e *manifest.Entry) wire.SegmentInfo {
	return wire.SegmentInfo{
		Object: e.Object, Epoch: e.Epoch, Level: e.Level, Key: catalog.ObjectKey(s.b.own.Shard(), e.Epoch, e.Object, metadata.KindSegment), Size: e.Size,
		RawBytes: e.RawBytes, Messages: e.Messages, FirstLSN: e.FirstLSN, EndLSN: e.EndLSN, MinStore: e.MinStore, MaxStore: e.MaxStore, FooterCRC: e.FooterCRC,
	}
}

// entry finds a listed segment by its number.
func (s *storage) entry(ctx context.Context, object uint64) (manifest.Entry, error) {
	for e, err := range s.b.tier.catalog.Entries(ctx, 0, math.MaxInt64) {
		if err != nil || e.Object == object {
			return e, err
		}
	}
	return manifest.Entry{}, fmt.Errorf("segment %d is not listed: %w", object, objstore.ErrNotFound)
}

// open opens a segment anew, past the readers that are kept.
func (s *storage) open(ctx context.Context, e manifest.Entry) (*segment.Reader, error) {
	b := s.b
	return segment.Open(ctx, b.tier.catalog.SegmentSource(e), e.Size, segment.Expect{
		Identity:  &segment.Identity{Cluster: b.clusterID, Shard: b.own.Shard(), Epoch: e.Epoch, Sequence: e.Object},
		FooterCRC: e.FooterCRC,
	})
}

// Inspect implements remoting.Storage.
func (s *storage) Inspect(ctx context.Context, object uint64) (wire.SegmentDetail, error) {
	e, err := s.entry(ctx, object)
	if err != nil {
		return wire.SegmentDetail{}, err
	}
	r, err := s.open(ctx, e)
	if err != nil {
		return wire.SegmentDetail{}, fmt.Errorf("segment %s: %w", s.info(&e).Key, err)
	}
	f := r.Footer()
	d := wire.SegmentDetail{
		SegmentInfo: s.info(&e), Cluster: s.b.clusterID.String(), Shard: f.Shard, EtcdRevision: f.EtcdRevision, Created: f.Created, Blocks: f.Blocks, Holes: f.Holes, Keys: f.Keys,
		Queues: []wire.SegmentQueue{},
	}
	for q, err := range r.Queues(ctx) {
		if err != nil {
			return d, fmt.Errorf("segment %s: %w", d.Key, err)
		}
		d.Queues = append(d.Queues, wire.SegmentQueue{
			Topic: q.Topic, Queue: q.QueueID, Ordinal: q.Ordinal, Incarnation: q.Incarnation, First: q.First, End: q.End, Blocks: q.Blocks,
		})
		if len(d.Queues) == maxInspectQueues {
			break
		}
	}
	return d, nil
}

// maxInspectQueues bounds an answer: a frame of the protocol has at most 16 MiB.
const maxInspectQueues = 20_000

// Verify implements remoting.Storage.
func (s *storage) Verify(ctx context.Context, object uint64) (wire.SegmentCheck, error) {
	e, err := s.entry(ctx, object)
	if err != nil {
		return wire.SegmentCheck{}, err
	}
	check := wire.SegmentCheck{SegmentInfo: s.info(&e), Faults: []string{}}
	r, err := s.open(ctx, e)
	if err == nil {
		err = segment.Verify(ctx, r)
	}
	if objstore.Retriable(err) || ctx.Err() != nil {
		return check, err
	}
	for _, fault := range flatten(err) {
		check.Faults = append(check.Faults, fault.Error())
	}
	return check, nil
}

// flatten takes joined errors apart.
func flatten(err error) []error {
	if err == nil {
		return nil
	}
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		var all []error
		for _, e := range joined.Unwrap() {
			all = append(all, flatten(e)...)
		}
		return all
	}
	return []error{err}
}
