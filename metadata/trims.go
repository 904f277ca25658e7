package metadata

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"math"
	"slices"
)

// trimChunks is the number of chunks of trims written in one transaction: as many as fit if all were full.
const trimChunks = MaxTxnBytes / maxChunkBytes

// addTrims decodes a chunk of trims.
func (k keys) addTrims(trims map[uint32]uint64, shard string, kv KeyValue) error {
	chunk, err := k.parseTrimChunk(shard, kv.Key)
	if err != nil {
		return err
	}
	entries, err := decodeChunk(kv)
	if err != nil {
		return err
	}
	for _, e := range entries {
		trims[chunk<<ChunkBits|uint32(e.low)] = uint64(e.offset)
	}
	return nil
}

// PutTrims raises the first offsets kept of queues, by ordinal; it lowers none. Many chunks of ordinals take several transactions: after an error some
// may be raised.
func (o *Ownership) PutTrims(ctx context.Context, trims map[uint32]uint64) error {
	byChunk := map[uint32][]chunkEntry{}
	for _, ordinal := range slices.Sorted(maps.Keys(trims)) {
		if ordinal == 0 || ordinal > MaxOrdinal || trims[ordinal] > math.MaxInt64 {
			return fmt.Errorf("trim queue %d of shard %s to %d: %w", ordinal, o.rec.ID, trims[ordinal], ErrInvalid)
		}
		e := chunkEntry{low: uint16(ordinal & (ChunkQueues - 1)), offset: int64(trims[ordinal])}
		byChunk[ordinal>>ChunkBits] = append(byChunk[ordinal>>ChunkBits], e)
	}
	for batch := range slices.Chunk(slices.Sorted(maps.Keys(byChunk)), trimChunks) {
		if err := o.putTrims(ctx, batch, byChunk); err != nil {
			return err
		}
	}
	return nil
}

// putTrims raises the trims of a few chunks.
func (o *Ownership) putTrims(ctx context.Context, chunks []uint32, byChunk map[uint32][]chunkEntry) error {
	names := make([]string, len(chunks))
	for i, chunk := range chunks {
		names[i] = o.s.keys.trimChunk(o.rec.ID, chunk)
	}
	_, err := o.change(ctx, "put trims", names, func(kvs []KeyValue) ([]Op, bool, error) {
		var ops []Op
		for i, kv := range kvs {
			var have []chunkEntry
			if kv.Exists() {
				var err error
				if have, err = decodeChunk(kv); err != nil {
					return nil, false, err
				}
			}
			if merged, changed := raise(have, byChunk[chunks[i]]); changed {
				ops = append(ops, Put(kv.Key, encodeChunk(merged)))
			}
		}
		return ops, len(ops) == 0, nil
	})
	return err
}

// raise merges entries, both in order of low, to the higher offset of each queue, and reports whether that changes have. 0 says nothing.
func raise(have, by []chunkEntry) ([]chunkEntry, bool) {
	out, changed := slices.Clone(have), false
	for _, e := range by {
		i, found := slices.BinarySearchFunc(out, e.low, func(h chunkEntry, low uint16) int { return cmp.Compare(h.low, low) })
		switch {
		case found && out[i].offset < e.offset:
			out[i], changed = e, true
		case !found && e.offset > 0:
			out, changed = slices.Insert(out, i, e), true
		}
	}
	return out, changed
}
