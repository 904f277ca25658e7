package metadata

import (
	"encoding/json"
	"fmt"
	"strconv"
)

const versionPrefix = `{"v":1`

// encode makes the versioned JSON of a record, which must be a struct.
func encode(key string, record any) ([]byte, error) {
	b, err := json.Marshal(record)
	if err != nil {
		return nil, fmt.Errorf("encode %s: %w: %w", key, ErrInvalid, err)
	}
	out := append(make([]byte, 0, len(b)+len(versionPrefix)), versionPrefix...)
	if len(b) > 2 {
		out = append(out, ',')
	}
	out = append(out, b[1:]...)
	if len(out) > MaxValueBytes {
		return nil, fmt.Errorf("encode %s: %d bytes: %w", key, len(out), ErrTooLarge)
	}
	return out, nil
}

// decode reads versioned JSON into a record.
func decode(kv KeyValue, record any) error {
	var head struct {
		V *int `json:"v"`
	}
	if err := json.Unmarshal(kv.Value, &head); err != nil {
		return fmt.Errorf("decode %s: %w: %w", kv.Key, ErrCorrupt, err)
	}
	if head.V == nil {
		return fmt.Errorf("decode %s: no version: %w", kv.Key, ErrCorrupt)
	}
	if *head.V != FormatVersion {
		return fmt.Errorf("decode %s: version %d: %w", kv.Key, *head.V, ErrVersion)
	}
	if err := json.Unmarshal(kv.Value, record); err != nil {
		return fmt.Errorf("decode %s: %w: %w", kv.Key, ErrCorrupt, err)
	}
	return nil
}

func (k keys) decodeTopic(kv KeyValue) (*Topic, error) {
	var t Topic
	if err := decode(kv, &t); err != nil {
		return nil, err
	}
	t.Revision = kv.ModRev
	if k.topic(t.Name) != kv.Key {
		return nil, fmt.Errorf("decode %s: names topic %q: %w", kv.Key, t.Name, ErrCorrupt)
	}
	if err := checkOrdinals(t.Ordinals); err != nil {
		return nil, fmt.Errorf("decode %s: %w", kv.Key, err)
	}
	if t.Queues() < max(t.ReadQueues, t.WriteQueues) {
		return nil, fmt.Errorf("decode %s: %d ordinals for %d queues: %w", kv.Key, t.Queues(), max(t.ReadQueues, t.WriteQueues), ErrCorrupt)
	}
	return &t, nil
}

func (k keys) decodeTombstone(kv KeyValue) (*Tombstone, error) {
	var t Tombstone
	if err := decode(kv, &t); err != nil {
		return nil, err
	}
	t.Revision = kv.ModRev
	if k.tombstone(t.Incarnation) != kv.Key {
		return nil, fmt.Errorf("decode %s: incarnation %d: %w", kv.Key, t.Incarnation, ErrCorrupt)
	}
	if err := checkOrdinals(t.Ordinals); err != nil {
		return nil, fmt.Errorf("decode %s: %w", kv.Key, err)
	}
	return &t, nil
}

func (k keys) decodeGroup(kv KeyValue) (*Group, error) {
	var g Group
	if err := decode(kv, &g); err != nil {
		return nil, err
	}
	g.Revision = kv.ModRev
	if k.group(g.Name) != kv.Key {
		return nil, fmt.Errorf("decode %s: names group %q: %w", kv.Key, g.Name, ErrCorrupt)
	}
	return &g, nil
}

func (k keys) decodeShard(kv KeyValue) (*Shard, error) {
	var s Shard
	if err := decode(kv, &s); err != nil {
		return nil, err
	}
	s.Revision = kv.ModRev
	if k.shard(s.ID) != kv.Key || s.Epoch == 0 || s.Tail != TailClean && s.Tail != TailDirty {
		return nil, fmt.Errorf("decode %s: shard %q, epoch %d, tail %q: %w", kv.Key, s.ID, s.Epoch, s.Tail, ErrCorrupt)
	}
	return &s, nil
}

// checkOrdinals reports ranges that leave gaps, overlap or exceed the ordinals there are.
func checkOrdinals(ranges []OrdinalRange) error {
	queue := int32(0)
	for _, r := range ranges {
		if r.Queue != queue || r.Count <= 0 || r.Count > MaxQueuesPerTopic-queue || r.First == 0 || uint64(r.First)+uint64(r.Count)-1 > MaxOrdinal {
			return fmt.Errorf("ordinals %+v: %w", r, ErrCorrupt)
		}
		queue += r.Count
	}
	return nil
}

// chunkEntry is the committed offset of one queue of a chunk.
type chunkEntry struct {
	low    uint16
	offset int64
}

// encodeChunk encodes entries, which are in ascending order of low.
func encodeChunk(entries []chunkEntry) []byte {
	dst := append(make([]byte, 0, 32+16*len(entries)), versionPrefix+`,"q":[`...)
	prev := uint16(0)
	for i, e := range entries {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = strconv.AppendUint(dst, uint64(e.low-prev), 10)
		prev = e.low
	}
	dst = append(dst, `],"o":[`...)
	for i, e := range entries {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = strconv.AppendInt(dst, e.offset, 10)
	}
	return append(dst, "]}"...)
}

// decodeChunk is the inverse of encodeChunk.
func decodeChunk(kv KeyValue) ([]chunkEntry, error) {
	var c struct {
		Q []uint16 `json:"q"`
		O []int64  `json:"o"`
	}
	if err := decode(kv, &c); err != nil {
		return nil, err
	}
	if len(c.Q) != len(c.O) || len(c.Q) > ChunkQueues {
		return nil, fmt.Errorf("decode %s: %d queues, %d offsets: %w", kv.Key, len(c.Q), len(c.O), ErrCorrupt)
	}
	out := make([]chunkEntry, len(c.Q))
	low := 0
	for i, d := range c.Q {
		low += int(d)
		if low >= ChunkQueues || i > 0 && d == 0 || c.O[i] < 0 {
			return nil, fmt.Errorf("decode %s: entry %d: %w", kv.Key, i, ErrCorrupt)
		}
		out[i] = chunkEntry{low: uint16(low), offset: c.O[i]}
	}
	return out, nil
}
