package metadata

import (
	"context"
	"errors"
	"fmt"
	"slices"
)

// ManifestPointer names the root of a shard's manifest: the value of shards/<shard>/manifest.
type ManifestPointer struct {
	Object uint64 `json:"object"`
	Epoch  uint64 `json:"epoch"`
	// Size and CRC are of the root object's bytes.
	Size int64  `json:"size"`
	CRC  uint32 `json:"crc"`
	// EndLSN is above every LSN of the segments the manifest lists, of which there are Segments.
	EndLSN   uint64 `json:"end"`
	Segments uint64 `json:"segments"`
	// Revision is the etcd revision of the pointer. It is not stored in the value.
	Revision int64 `json:"-"`
}

// same reports whether two pointers are to the same root. As numbers are never used again, it stands for a comparison of revisions.
func (m *ManifestPointer) same(n *ManifestPointer) bool {
	a, b := *m, *n
	a.Revision, b.Revision = 0, 0
	return a == b
}

// MaxManifestOps bounds the segments rolled, the intents, the pointer and the record of garbage.
const MaxManifestOps = MaxTxnOps - 4

// CommitManifest makes next, whose root and pages are in the bucket, the manifest in the place of old (nil: there is none). rolled are segments that it
// lists and that leave etcd; intents are those of its root and its new pages; garbage, if any, is what it refers to no more. It returns the pointer as
// stored. [ErrConflict] says that old is not the manifest, a rolled segment is not there, an intent of this epoch is missing, or that garbage is on record.
// If this very commit was applied already, that is success.
func (o *Ownership) CommitManifest(
	ctx context.Context, old *ManifestPointer, next ManifestPointer, rolled []Segment, intents []uint64, garbage []GarbageObject, why string,
) (ManifestPointer, error) {
	what := fmt.Sprintf("commit manifest %d", next.Object)
	if err := o.validateManifest(next, rolled, intents, garbage); err != nil {
		return ManifestPointer{}, fmt.Errorf("%s: %w", what, err)
	}
	k, shard := o.s.keys, o.rec.ID
	names := []string{k.manifest(shard)}
	ops, err := addPut(nil, names[0], &next)
	for i := range rolled {
		names = append(names, k.segment(shard, rolled[i].Object))
	}
	for _, object := range intents {
		names = append(names, k.upload(shard, object))
	}
	for _, key := range names[1:] {
		ops = append(ops, Delete(key))
	}
	if len(garbage) > 0 && err == nil {
		names = append(names, k.garbage(shard, garbage[0].Object))
		ops, err = addPut(ops, names[len(names)-1], o.newGarbage(garbage, why))
	}
	if err != nil {
		return ManifestPointer{}, fmt.Errorf("%s: %w", what, err)
	}
	res, err := o.change(ctx, what, names, func(kvs []KeyValue) ([]Op, bool, error) {
		done, err := o.manifestReplaces(kvs[0], old, &next)
		if done || err != nil {
			return nil, done, err
		}
		for i := range rolled {
			if err := o.there(&rolled[i], kvs[1+i]); err != nil {
				return nil, false, err
			}
		}
		for i, object := range intents {
			kind := KindPage
			if object == next.Object {
				kind = KindRoot
			}
			if err := o.decodeIntent(kvs[1+len(rolled)+i], object, kind); err != nil {
				return nil, false, err
			}
		}
		if len(garbage) > 0 && kvs[len(kvs)-1].Exists() {
			return nil, false, conflict("object %d is garbage", garbage[0].Object)
		}
		return ops, false, nil
	})
	if err != nil {
		return ManifestPointer{}, err
	}
	if res.Succeeded {
		next.Revision = res.Rev
	}
	return next, nil
}

// manifestReplaces reports whether the manifest is next already, and a conflict if it is neither that nor old.
func (o *Ownership) manifestReplaces(kv KeyValue, old, next *ManifestPointer) (bool, error) {
	if !kv.Exists() {
		if old != nil {
			return false, conflict("there is no manifest, not %d", old.Object)
		}
		return false, nil
	}
	have, err := o.s.keys.decodeManifest(o.rec.ID, kv)
	switch {
	case err != nil:
		return false, err
	case have.same(next):
		next.Revision = have.Revision
		return true, nil
	case old == nil || !have.same(old) || old.Revision != 0 && old.Revision != have.Revision:
		return false, conflict("the manifest is %d", have.Object)
	}
	return false, nil
}

// validateManifest reports arguments of CommitManifest that make no sense.
func (o *Ownership) validateManifest(next ManifestPointer, rolled []Segment, intents []uint64, garbage []GarbageObject) error {
	n := 1 + len(rolled) + len(intents)
	if len(garbage) > 0 {
		n++
	}
	if n > MaxManifestOps {
		return fmt.Errorf("%d operations: %w", n, ErrTooLarge)
	}
	var errs []error
	if err := next.check(); err != nil {
		errs = append(errs, fmt.Errorf("%w: %w", err, ErrInvalid))
	}
	if next.Epoch != o.rec.Epoch {
		errs = append(errs, fmt.Errorf("epoch %d is not %d: %w", next.Epoch, o.rec.Epoch, ErrInvalid))
	}
	if !slices.Contains(intents, next.Object) {
		errs = append(errs, fmt.Errorf("its root's intent is not named: %w", ErrInvalid))
	}
	seen := map[uint64]struct{}{}
	for i := range rolled {
		seen[rolled[i].Object] = struct{}{}
	}
	for _, object := range intents {
		seen[object] = struct{}{}
	}
	for _, g := range garbage {
		if _, ok := seen[g.Object]; ok {
			errs = append(errs, fmt.Errorf("object %d is garbage and is not: %w", g.Object, ErrInvalid))
		}
	}
	if len(seen) != len(rolled)+len(intents) {
		errs = append(errs, fmt.Errorf("an object is named twice: %w", ErrInvalid))
	}
	if len(garbage) > 0 {
		if err := checkGarbage(garbage); err != nil {
			errs = append(errs, fmt.Errorf("garbage: %w: %w", err, ErrInvalid))
		}
	}
	return errors.Join(errs...)
}
