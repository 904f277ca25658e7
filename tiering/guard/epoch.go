package guard

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/google/uuid"

	"github.com/varvemq/varve/metadata"
	"github.com/varvemq/varve/tiering/objstore"
)

// Epoch is an epoch object: that a shard was acquired.
type Epoch struct {
	Cluster uuid.UUID `json:"cluster"`
	Shard   string    `json:"shard"`
	Epoch   uint64    `json:"epoch"`
	// Revision is etcd's after the acquisition.
	Revision int64 `json:"etcd_revision"`
	// Broker and WAL say who acquired it.
	Broker string `json:"broker"`
	WAL    string `json:"wal"`
	// Claim is that of the shard's record, a uuid of this acquisition: a repeated [MarkEpoch] has the same, another owner's has another.
	Claim     string `json:"claim"`
	CreatedMs int64  `json:"created_ms"`
}

// epochsPrefix is where the epoch objects of all shards are.
const epochsPrefix = "epochs/"

// epochsKept is how many epoch objects a shard keeps.
const epochsKept = 2

// EpochPrefix returns the prefix of a shard's epoch objects.
func EpochPrefix(shard string) string { return epochsPrefix + "s-" + metadata.EscapeName(shard) + "/" }

// EpochKey returns the key of an epoch object.
func EpochKey(shard string, epoch uint64) string {
	return fmt.Sprintf("%s%016x", EpochPrefix(shard), epoch)
}

// ParseEpochKey returns the shard and the epoch of an epoch object's key, and whether it is one.
func ParseEpochKey(key string) (shard string, epoch uint64, ok bool) {
	rest, ok := strings.CutPrefix(key, epochsPrefix+"s-")
	part, hex, ok2 := strings.Cut(rest, "/")
	if !ok || !ok2 || len(hex) != 16 {
		return "", 0, false
	}
	shard, err := metadata.UnescapeName(part)
	if err != nil || shard == "" {
		return "", 0, false
	}
	epoch, err = strconv.ParseUint(hex, 16, 64)
	return shard, epoch, err == nil && epoch > 0 && EpochKey(shard, epoch) == key
}

func (e *Epoch) validate() error {
	if e.Cluster == uuid.Nil || e.Shard == "" || e.Epoch == 0 || e.Revision <= 0 || e.Claim == "" {
		return fmt.Errorf("%w: epoch %d of shard %q, cluster %s, revision %d, claim %q", ErrCorrupt, e.Epoch, e.Shard, e.Cluster, e.Revision, e.Claim)
	}
	return nil
}

// MarkEpoch creates the epoch object of an acquisition, after it and before anything is written under the epoch. One that is there and not this very acquisition's is an
// [ErrEpochTaken]. A call that failed with [objstore.Retriable] may be repeated with the same e.
func MarkEpoch(ctx context.Context, bucket objstore.Store, e Epoch) error {
	if err := e.validate(); err != nil {
		return fmt.Errorf("mark epoch: %w", err)
	}
	b, err := json.Marshal(struct {
		V int `json:"v"`
		Epoch
	}{formatVersion, e})
	if err != nil {
		return fmt.Errorf("mark epoch %d of shard %s: %w", e.Epoch, e.Shard, err)
	}
	key := EpochKey(e.Shard, e.Epoch)
	err = objstore.PutBytes(ctx, bucket, key, b, objstore.PutOptions{IfNoneMatch: true})
	if errors.Is(err, objstore.ErrPrecondition) {
		var have []byte
		if have, err = objstore.ReadAll(ctx, bucket, key, maxSmall); err == nil && !bytes.Equal(have, b) {
			err = fmt.Errorf("%w: %s in %s has %s", ErrEpochTaken, key, bucket.URL(), have)
		}
	}
	if err != nil {
		return fmt.Errorf("mark epoch %d of shard %s: %w", e.Epoch, e.Shard, err)
	}
	return nil
}

// ListEpochs returns the marked epochs of a shard, ascending.
func ListEpochs(ctx context.Context, bucket objstore.Store, shard string) ([]uint64, error) {
	var epochs []uint64
	for info, err := range bucket.List(ctx, EpochPrefix(shard)) {
		if err != nil {
			return nil, fmt.Errorf("list the epochs of shard %s: %w", shard, err)
		}
		if _, epoch, ok := ParseEpochKey(info.Key); ok {
			epochs = append(epochs, epoch)
		}
	}
	return epochs, nil
}

// MarkedShards returns the marked epochs of all shards in the bucket, ascending, by shard.
func MarkedShards(ctx context.Context, bucket objstore.Store) (map[string][]uint64, error) {
	out := map[string][]uint64{}
	for info, err := range bucket.List(ctx, epochsPrefix) {
		if err != nil {
			return nil, fmt.Errorf("list the epochs: %w", err)
		}
		if shard, epoch, ok := ParseEpochKey(info.Key); ok {
			out[shard] = append(out[shard], epoch)
		}
	}
	return out, nil
}

// ReadEpoch reads an epoch object.
func ReadEpoch(ctx context.Context, bucket objstore.Store, shard string, epoch uint64) (*Epoch, error) {
	key := EpochKey(shard, epoch)
	b, err := objstore.ReadAll(ctx, bucket, key, maxSmall)
	if err != nil {
		return nil, fmt.Errorf("read epoch %d of shard %s: %w", epoch, shard, err)
	}
	var doc struct {
		V int `json:"v"`
		Epoch
	}
	if err := json.Unmarshal(b, &doc); err != nil {
		return nil, fmt.Errorf("read %s in %s: %w: %w", key, bucket.URL(), ErrCorrupt, err)
	}
	if doc.V != formatVersion {
		return nil, fmt.Errorf("read %s in %s: version %d: %w", key, bucket.URL(), doc.V, ErrVersion)
	}
	if err := doc.validate(); err != nil || doc.Shard != shard || doc.Epoch.Epoch != epoch {
		return nil, fmt.Errorf("read %s in %s: it says epoch %d of shard %q: %w", key, bucket.URL(), doc.Epoch.Epoch, doc.Shard, errors.Join(ErrCorrupt, err))
	}
	return &doc.Epoch, nil
}

// PruneEpochs deletes the epoch objects older than the newest two. The caller owns the shard under the epoch own, and has marked it; a higher one is an [ErrEpochTaken].
func PruneEpochs(ctx context.Context, bucket objstore.Store, shard string, own uint64) error {
	epochs, err := ListEpochs(ctx, bucket, shard)
	if err != nil {
		return err
	}
	if len(epochs) > 0 && epochs[len(epochs)-1] > own {
		return fmt.Errorf("prune the epochs of shard %s: epoch %d is marked, this is %d: %w", shard, epochs[len(epochs)-1], own, ErrEpochTaken)
	}
	var keys []string
	for _, epoch := range epochs[:max(0, len(epochs)-epochsKept)] {
		keys = append(keys, EpochKey(shard, epoch))
	}
	if len(keys) == 0 {
		return nil
	}
	if err := bucket.Delete(ctx, keys...); err != nil {
		return fmt.Errorf("prune the epochs of shard %s: %w", shard, err)
	}
	return nil
}
