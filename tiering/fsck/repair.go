package fsck

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/varvemq/varve/metadata"
	"github.com/varvemq/varve/tiering/catalog"
	"github.com/varvemq/varve/tiering/objstore"
)

// RepairInput says on whose authority orphans are deleted.
type RepairInput struct {
	Bucket  objstore.Store
	Cluster uuid.UUID
	Shard   string
	// Epoch is the owner's, and Valid reports whether its lease holds: asked before each deletion.
	Epoch uint64
	Valid func() bool
	// Read reads etcd's part of the shard's history, linearizably.
	Read func(context.Context) (*metadata.SealedState, error)
	// Grace is how old an object must be. The time of day decides nothing else.
	Grace time.Duration
	// Now is the time of day. Default: time.Now.
	Now func() time.Time
}

// ErrNotOwner says that the shard has another owner.
var ErrNotOwner = errors.New("fsck: the shard is not owned any more")

// Repair deletes those of the orphans that are of an epoch below the owner's and older than the grace period, and that, by etcd and the manifest as they are now, are not listed,
// and named by no intent and no record of garbage: these are deleted by those who wrote them down. Since an object without an intent can never be committed, none of this can
// change afterwards. It returns the keys of what it has deleted.
func Repair(ctx context.Context, in RepairInput, orphans []Orphan) (deleted []string, err error) {
	if in.Now == nil {
		in.Now = time.Now
	}
	if len(orphans) == 0 {
		return nil, nil
	}
	st, err := in.Read(ctx)
	if err != nil {
		return nil, fmt.Errorf("repair shard %s: %w", in.Shard, err)
	}
	list, err := Load(ctx, in.Bucket, in.Cluster, in.Shard, st)
	if err != nil {
		return nil, fmt.Errorf("repair shard %s: nothing was deleted: %w", in.Shard, err)
	}
	c := &checker{in: Input{Shard: in.Shard}, st: st}
	pending := c.pending()
	for i := range orphans {
		o := &orphans[i]
		_, named := pending[o.Object]
		if o.Epoch >= in.Epoch || o.Epoch == 0 || o.Object >= st.Head.NextObject || named || list.Has(o.Object) || o.Key != catalog.ObjectKey(in.Shard, o.Epoch, o.Object, o.Kind) {
			continue
		}
		info, err := in.Bucket.Head(ctx, o.Key)
		if errors.Is(err, objstore.ErrNotFound) {
			continue
		}
		if err != nil {
			return deleted, fmt.Errorf("repair shard %s: %w", in.Shard, err)
		}
		if in.Now().Sub(info.Modified) < in.Grace {
			continue
		}
		if !in.Valid() {
			return deleted, fmt.Errorf("repair shard %s: %w", in.Shard, ErrNotOwner)
		}
		if err := in.Bucket.Delete(ctx, o.Key); err != nil {
			return deleted, fmt.Errorf("repair shard %s: %w", in.Shard, err)
		}
		deleted = append(deleted, o.Key)
	}
	return deleted, nil
}
