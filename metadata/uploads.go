package metadata

import (
	"context"
	"errors"
	"fmt"
)

// The kinds of objects in the bucket that have numbers.
const (
	KindSegment = "seg"
	KindRoot    = "root"
	KindPage    = "page"
)

// MaxReserve bounds the objects that are reserved at once.
const MaxReserve = 28

// Upload is an intent: the value of shards/<shard>/uploads/<object>. It is there from before an object is written until the object is committed, or
// known to be deleted.
type Upload struct {
	Object uint64 `json:"object"`
	// Epoch is that of the owner who reserved the number. It is part of the object's name.
	Epoch uint64 `json:"epoch"`
	// Kind is [KindSegment], [KindRoot] or [KindPage].
	Kind string `json:"kind"`
	// StartedMs is the time of the reservation.
	StartedMs int64 `json:"started_ms"`
	// Revision is the etcd revision of the intent. It is not stored in the value.
	Revision int64 `json:"-"`
}

// ReserveObjects reserves the next number for an object of each kind and writes the intents, in order. A number is handed out once, ever. An attempt of
// unknown outcome is not looked for: it may leave intents of this epoch that nobody uses, which a later epoch sweeps.
func (o *Ownership) ReserveObjects(ctx context.Context, kinds []string) ([]Upload, error) {
	what := fmt.Sprintf("reserve %d objects", len(kinds))
	errs := make([]error, 0, len(kinds))
	for _, kind := range kinds {
		errs = append(errs, checkKind(kind))
	}
	if err := errors.Join(errs...); err != nil || len(kinds) == 0 {
		return nil, fmt.Errorf("%s: %w", what, errors.Join(ErrInvalid, err))
	}
	if len(kinds) > MaxReserve {
		return nil, fmt.Errorf("%s: at most %d at once: %w", what, MaxReserve, ErrTooLarge)
	}
	k, now := o.s.keys, o.s.cfg.Now().UnixMilli()
	out := make([]Upload, len(kinds))
	res, err := o.change(ctx, what, []string{k.head(o.rec.ID)}, func(kvs []KeyValue) ([]Op, bool, error) {
		head, err := k.decodeHead(o.rec.ID, kvs[0])
		if err != nil {
			return nil, false, err
		}
		var ops []Op
		for i, kind := range kinds {
			out[i] = Upload{Object: head.NextObject, Epoch: o.rec.Epoch, Kind: kind, StartedMs: now}
			head.NextObject++
			if ops, err = addPut(ops, k.upload(o.rec.ID, out[i].Object), &out[i]); err != nil {
				return nil, false, err
			}
		}
		ops, err = addPut(ops, kvs[0].Key, &head)
		return ops, false, err
	})
	if err != nil {
		return nil, err
	}
	for i := range out {
		out[i].Revision = res.Rev
	}
	return out, nil
}

// DropUpload removes an intent, after its object was deleted or was found to be absent. One that is gone is no error.
func (o *Ownership) DropUpload(ctx context.Context, u Upload) error {
	k := o.s.keys
	_, err := o.change(ctx, fmt.Sprintf("drop upload %d", u.Object), []string{k.upload(o.rec.ID, u.Object)}, func(kvs []KeyValue) ([]Op, bool, error) {
		if !kvs[0].Exists() {
			return nil, true, nil
		}
		have, err := k.decodeUpload(o.rec.ID, kvs[0])
		if err != nil {
			return nil, false, err
		}
		if have.Epoch != u.Epoch || have.Kind != u.Kind {
			return nil, false, conflict("it is a %s of epoch %d", have.Kind, have.Epoch)
		}
		return []Op{Delete(kvs[0].Key)}, false, nil
	})
	return err
}

// decodeIntent decodes the intent that a commit needs: of this epoch and of a kind.
func (o *Ownership) decodeIntent(kv KeyValue, object uint64, kind string) error {
	if !kv.Exists() {
		return conflict("object %d has no intent", object)
	}
	u, err := o.s.keys.decodeUpload(o.rec.ID, kv)
	if err != nil {
		return err
	}
	if u.Epoch != o.rec.Epoch || u.Kind != kind {
		return conflict("the intent of object %d is for a %s of epoch %d", object, u.Kind, u.Epoch)
	}
	return nil
}
