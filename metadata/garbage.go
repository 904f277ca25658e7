package metadata

import (
	"context"
	"fmt"
	"slices"
)

// GarbageObject is an object that nothing refers to any more.
type GarbageObject struct {
	Object uint64 `json:"object"`
	Epoch  uint64 `json:"epoch"`
	// Kind is [KindSegment], [KindRoot] or [KindPage].
	Kind     string `json:"kind"`
	FirstLSN uint64 `json:"first"`
	EndLSN   uint64 `json:"end"`
}

// Garbage is a positive record of objects that nothing refers to any more: the value of shards/<shard>/garbage/<number of the first>.
type Garbage struct {
	Objects []GarbageObject `json:"objects"`
	// SinceMs is when they were given up: it decides how long they are kept, not whether they are garbage.
	SinceMs int64  `json:"since_ms"`
	Why     string `json:"why"`
	// Key is the number of the first object, and Revision the record's etcd revision. They are not stored in the value.
	Key      uint64 `json:"-"`
	Revision int64  `json:"-"`
}

// DropGarbage removes a record, after its objects were deleted. One that is gone is no error.
func (o *Ownership) DropGarbage(ctx context.Context, g Garbage) error {
	k := o.s.keys
	_, err := o.change(ctx, fmt.Sprintf("drop garbage %d", g.Key), []string{k.garbage(o.rec.ID, g.Key)}, func(kvs []KeyValue) ([]Op, bool, error) {
		if !kvs[0].Exists() {
			return nil, true, nil
		}
		have, err := k.decodeGarbage(o.rec.ID, kvs[0])
		if err != nil {
			return nil, false, err
		}
		if !slices.Equal(have.Objects, g.Objects) {
			return nil, false, conflict("it has other objects")
		}
		return []Op{Delete(kvs[0].Key)}, false, nil
	})
	return err
}

// newGarbage makes the record of objects given up now.
func (o *Ownership) newGarbage(objects []GarbageObject, why string) *Garbage {
	return &Garbage{Objects: objects, SinceMs: o.s.cfg.Now().UnixMilli(), Why: why, Key: objects[0].Object}
}
