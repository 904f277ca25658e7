package metadata

import (
	"context"
	"errors"
	"fmt"
	"slices"
)

// MaxLevel is the highest level of a segment.
const MaxLevel = 1

// QueueCursor is what an internal reader of a queue has consumed.
type QueueCursor struct {
	Ordinal uint32 `json:"o"`
	Offset  uint64 `json:"c"`
}

// Segment is a committed segment that is not in the manifest yet: the value of shards/<shard>/segments/<object>. The key is written once.
type Segment struct {
	Object    uint64 `json:"object"`
	Epoch     uint64 `json:"epoch"`
	Level     uint8  `json:"level"`
	Size      int64  `json:"size"`
	FooterCRC uint32 `json:"crc"`
	// FirstLSN and EndLSN: its records are of [FirstLSN, EndLSN). Those of level 0 join without gaps.
	FirstLSN uint64 `json:"first"`
	EndLSN   uint64 `json:"end"`
	MinStore int64  `json:"min_store"`
	MaxStore int64  `json:"max_store"`
	Messages uint64 `json:"messages"`
	RawBytes uint64 `json:"raw"`
	Queues   uint64 `json:"queues"`
	// Cursors are those that moved within its LSNs, with their last values, by ordinal. 6,000 always fit; what is too large is [ErrTooLarge].
	Cursors []QueueCursor `json:"cursors,omitempty"`
	// Revision is the etcd revision of the key. It is not stored in the value.
	Revision int64 `json:"-"`
}

// same reports whether two values are of the same object. As numbers are never used again, it stands for a comparison of revisions.
func (s *Segment) same(t *Segment) bool {
	return s.Object == t.Object && s.Epoch == t.Epoch && s.Level == t.Level && s.Size == t.Size && s.FooterCRC == t.FooterCRC &&
		s.FirstLSN == t.FirstLSN && s.EndLSN == t.EndLSN
}

// validateOwn reports a segment that this epoch cannot commit at a level.
func (o *Ownership) validateOwn(seg *Segment, level uint8) error {
	if err := seg.check(); err != nil {
		return fmt.Errorf("segment %d: %w: %w", seg.Object, err, ErrInvalid)
	}
	if seg.Epoch != o.rec.Epoch || seg.Level != level {
		return fmt.Errorf("segment %d: epoch %d, level %d, not %d and %d: %w", seg.Object, seg.Epoch, seg.Level, o.rec.Epoch, level, ErrInvalid)
	}
	return nil
}

// CommitSegment commits a segment of level 0 whose bytes are in the bucket, and moves the head: to head's LSN, WAL, position, epoch, footer crc and
// object; the rest of head is ignored. It returns the head as stored. [ErrConflict] says that the committed LSN is not the segment's first, or that it has
// no intent of this epoch. If this very commit was applied already, that is success.
func (o *Ownership) CommitSegment(ctx context.Context, seg Segment, head SealHead) (SealHead, error) {
	what := fmt.Sprintf("commit segment %d", seg.Object)
	if err := o.validateOwn(&seg, 0); err != nil {
		return SealHead{}, fmt.Errorf("%s: %w", what, err)
	}
	if head.LSN != seg.EndLSN || head.Object != seg.Object || head.FooterCRC != seg.FooterCRC || head.Epoch != seg.Epoch {
		return SealHead{}, fmt.Errorf("%s: head %+v: %w", what, head, ErrInvalid)
	}
	k := o.s.keys
	put, err := addPut(nil, k.segment(o.rec.ID, seg.Object), &seg)
	if err != nil {
		return SealHead{}, fmt.Errorf("%s: %w", what, err)
	}
	var next SealHead
	res, err := o.change(ctx, what, []string{k.head(o.rec.ID), k.upload(o.rec.ID, seg.Object)}, func(kvs []KeyValue) ([]Op, bool, error) {
		have, err := k.decodeHead(o.rec.ID, kvs[0])
		if err != nil {
			return nil, false, err
		}
		if have.LSN == head.LSN && have.Object == head.Object && have.FooterCRC == head.FooterCRC && have.Epoch == head.Epoch {
			next = have
			return nil, true, nil
		}
		if have.LSN != seg.FirstLSN {
			return nil, false, conflict("it begins at LSN %d, but %d is committed", seg.FirstLSN, have.LSN)
		}
		if err := o.decodeIntent(kvs[1], seg.Object, KindSegment); err != nil {
			return nil, false, err
		}
		next = head
		next.NextObject, next.SettledLosses, next.PositionLost = have.NextObject, have.SettledLosses, false
		ops, err := addPut(slices.Clone(put), kvs[0].Key, &next)
		return append(ops, Delete(kvs[1].Key)), false, err
	})
	if err != nil {
		return SealHead{}, err
	}
	if res.Succeeded {
		next.Revision = res.Rev
	}
	return next, nil
}

// MaxReplaceOps bounds 2 for each segment that comes, 1 for each that goes, and the record of garbage.
const MaxReplaceOps = MaxTxnOps - 2

// ReplaceSegments puts segments of level 1, out, whose bytes are in the bucket, into the place of others, or removes those if there is no out. The
// segments in, which are identified by their object (their Revision is not looked at), become garbage. [ErrConflict] says that one of in is not there,
// or that one of out has no intent of this epoch. If this very replacement was applied already, that is success.
func (o *Ownership) ReplaceSegments(ctx context.Context, in, out []Segment, why string) error {
	what := fmt.Sprintf("replace %d segments by %d", len(in), len(out))
	if err := o.validateReplace(in, out); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	k, shard := o.s.keys, o.rec.ID
	trash := make([]GarbageObject, len(in))
	var ins, outs, intents []string
	var ops []Op
	var err error
	for i := range in {
		trash[i] = GarbageObject{Object: in[i].Object, Epoch: in[i].Epoch, Kind: KindSegment, FirstLSN: in[i].FirstLSN, EndLSN: in[i].EndLSN}
		ins = append(ins, k.segment(shard, in[i].Object))
		ops = append(ops, Delete(ins[i]))
	}
	for i := range out {
		outs, intents = append(outs, k.segment(shard, out[i].Object)), append(intents, k.upload(shard, out[i].Object))
		if ops, err = addPut(append(ops, Delete(intents[i])), outs[i], &out[i]); err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
	}
	gkey := k.garbage(shard, in[0].Object)
	if ops, err = addPut(ops, gkey, o.newGarbage(trash, why)); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	_, err = o.change(ctx, what, slices.Concat(ins, outs, intents, []string{gkey}), func(kvs []KeyValue) ([]Op, bool, error) {
		inKVs, rest := kvs[:len(in)], kvs[len(in):]
		outKVs, intentKVs, garbage := rest[:len(out)], rest[len(out):2*len(out)], rest[2*len(out)]
		if done, err := o.replaced(out, inKVs, outKVs, garbage, trash); err != nil || done {
			return nil, done, err
		}
		for i := range in {
			if err := o.there(&in[i], inKVs[i]); err != nil {
				return nil, false, err
			}
		}
		for i := range out {
			if outKVs[i].Exists() {
				return nil, false, conflict("segment %d is there", out[i].Object)
			}
			if err := o.decodeIntent(intentKVs[i], out[i].Object, KindSegment); err != nil {
				return nil, false, err
			}
		}
		if garbage.Exists() {
			return nil, false, conflict("object %d is garbage", in[0].Object)
		}
		return ops, false, nil
	})
	return err
}

// replaced reports whether a replacement was applied: all that goes is gone, and all that comes is there, or, if nothing comes, the garbage is on record.
func (o *Ownership) replaced(out []Segment, inKVs, outKVs []KeyValue, garbage KeyValue, trash []GarbageObject) (bool, error) {
	if slices.ContainsFunc(inKVs, KeyValue.Exists) {
		return false, nil
	}
	for i := range out {
		if err := o.there(&out[i], outKVs[i]); err != nil {
			return false, err
		}
	}
	if len(out) > 0 || !garbage.Exists() {
		return len(out) > 0, nil
	}
	have, err := o.s.keys.decodeGarbage(o.rec.ID, garbage)
	return err == nil && slices.Equal(have.Objects, trash), err
}

// there reports a segment that etcd does not have.
func (o *Ownership) there(seg *Segment, kv KeyValue) error {
	if !kv.Exists() {
		return conflict("segment %d is not there", seg.Object)
	}
	have, err := o.s.keys.decodeSegment(o.rec.ID, kv)
	if err == nil && !have.same(seg) {
		err = conflict("segment %d is another one", seg.Object)
	}
	return err
}

// validateReplace reports arguments of ReplaceSegments that make no sense.
func (o *Ownership) validateReplace(in, out []Segment) error {
	if len(in) == 0 {
		return fmt.Errorf("nothing to replace: %w", ErrInvalid)
	}
	if n := 2*len(out) + len(in) + 1; n > MaxReplaceOps {
		return fmt.Errorf("%d operations: %w", n, ErrTooLarge)
	}
	var errs []error
	first, end, seen := in[0].FirstLSN, in[0].EndLSN, map[uint64]struct{}{}
	for i := range in {
		first, end = min(first, in[i].FirstLSN), max(end, in[i].EndLSN)
		seen[in[i].Object] = struct{}{}
		if err := in[i].check(); err != nil {
			errs = append(errs, fmt.Errorf("segment %d: %w: %w", in[i].Object, err, ErrInvalid))
		}
	}
	for i := range out {
		seen[out[i].Object] = struct{}{}
		errs = append(errs, o.validateOwn(&out[i], 1))
		if out[i].FirstLSN < first || out[i].EndLSN > end {
			errs = append(errs, fmt.Errorf("segment %d: LSNs [%d, %d) are not of [%d, %d): %w", out[i].Object, out[i].FirstLSN, out[i].EndLSN, first, end, ErrInvalid))
		}
	}
	if len(seen) != len(in)+len(out) {
		errs = append(errs, fmt.Errorf("a segment is named twice: %w", ErrInvalid))
	}
	return errors.Join(errs...)
}
