package metadata

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// SealHead is where the sealing of a shard stands: the value of shards/<shard>/head. A shard that has none is at NextObject 1 and LSN 1.
type SealHead struct {
	// NextObject is the lowest object number that was never reserved.
	NextObject uint64 `json:"next_object"`
	// LSN is the committed LSN: the first that is in no segment.
	LSN uint64 `json:"lsn"`
	// WALUUID names the WAL that Position belongs to.
	WALUUID string `json:"wal,omitempty"`
	// Position is the position in that WAL behind the last sealed record.
	Position uint64 `json:"position"`
	// Epoch is that of the last commit, 0 before the first.
	Epoch uint64 `json:"epoch"`
	// FooterCRC is that of the newest level 0 segment, and Object its number; 0 before the first.
	FooterCRC uint32 `json:"footer_crc"`
	Object    uint64 `json:"object"`
	// SettledLosses is how many of the shard's lost tails the queues have been moved beyond.
	SettledLosses uint32 `json:"settled_losses,omitempty"`
	// PositionLost says that the head was restored from the bucket: Position is below the true one, which is found by the LSN.
	PositionLost bool `json:"position_lost,omitempty"`
	// Revision is the etcd revision of the head, 0 when there is none yet. It is not stored in the value.
	Revision int64 `json:"-"`
}

// SealedState is all that etcd has of a shard's sealed history.
type SealedState struct {
	Head SealHead
	// Manifest is nil before the first roll.
	Manifest *ManifestPointer
	// Segments are those that are not in the manifest yet, by FirstLSN, then Object.
	Segments []Segment
	// Uploads and Garbage are by number.
	Uploads []Upload
	Garbage []Garbage
	// Trims has the first offset kept of each queue, by ordinal, that ever was trimmed.
	Trims map[uint32]uint64
	// Revision is the etcd revision at which all of it was read.
	Revision int64
}

// sealedPage is the number of keys of sealing read at once: 32 MiB if all were as large as they may be, which is rare.
const sealedPage = 128

// compactedReads bounds how often a read that compaction overtook is begun anew.
const compactedReads = 5

// SealedState reads what etcd has of a shard's sealed history, all at one revision.
func (s *Store) SealedState(ctx context.Context, shard string) (*SealedState, error) {
	for try := 1; ; try++ {
		st, err := s.sealedState(ctx, shard)
		if err == nil {
			return st, nil
		}
		if !errors.Is(err, ErrCompacted) || try == compactedReads {
			return nil, fmt.Errorf("read sealed state of shard %s: %w", shard, err)
		}
	}
}

func (s *Store) sealedState(ctx context.Context, shard string) (*SealedState, error) {
	st := &SealedState{Head: SealHead{NextObject: 1, LSN: 1}, Trims: map[uint32]uint64{}}
	err := rangeAll(ctx, s.kv, s.keys.below(shard), sealedPage, func(page RangeResult, rev int64) error {
		st.Revision = rev
		for _, kv := range page.KVs {
			if err := s.keys.addSealed(st, shard, kv); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	req := RangeRequest{Prefix: s.keys.trims(shard), Limit: sealedPage, Rev: st.Revision}
	err = rangeFrom(ctx, s.kv, req, func(page RangeResult, _ int64) error {
		for _, kv := range page.KVs {
			if err := s.keys.addTrims(st.Trims, shard, kv); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	slices.SortFunc(st.Segments, func(a, b Segment) int {
		return cmp.Or(cmp.Compare(a.FirstLSN, b.FirstLSN), cmp.Compare(a.Object, b.Object))
	})
	return st, st.check()
}

// addSealed decodes one key below a shard's into the state. A key of no known kind is refused: it may mean anything.
func (k keys) addSealed(st *SealedState, shard string, kv KeyValue) error {
	var err error
	switch rest := strings.TrimPrefix(kv.Key, k.below(shard)); {
	case rest == KeyLive:
	case rest == KeyHead:
		st.Head, err = k.decodeHead(shard, kv)
	case rest == KeyManifest:
		st.Manifest, err = k.decodeManifest(shard, kv)
	case strings.HasPrefix(rest, KeySegments):
		st.Segments, err = appendDecoded(st.Segments, shard, kv, k.decodeSegment)
	case strings.HasPrefix(rest, KeyUploads):
		st.Uploads, err = appendDecoded(st.Uploads, shard, kv, k.decodeUpload)
	case strings.HasPrefix(rest, KeyGarbage):
		st.Garbage, err = appendDecoded(st.Garbage, shard, kv, k.decodeGarbage)
	default:
		err = fmt.Errorf("key %q: unknown: %w", kv.Key, ErrCorrupt)
	}
	return err
}

func appendDecoded[T any](to []T, shard string, kv KeyValue, decode func(string, KeyValue) (T, error)) ([]T, error) {
	v, err := decode(shard, kv)
	return append(to, v), err
}

// check reports numbers and LSNs that the head does not know of. The keys were read together, so that nothing excuses them.
func (st *SealedState) check() error {
	known := func(what string, object uint64) error {
		if object >= st.Head.NextObject {
			return fmt.Errorf("%s %d, but the next object is %d: %w", what, object, st.Head.NextObject, ErrCorrupt)
		}
		return nil
	}
	var errs []error
	if st.Manifest != nil {
		errs = append(errs, known("manifest root", st.Manifest.Object))
	}
	for _, seg := range st.Segments {
		errs = append(errs, known("segment", seg.Object))
		if seg.EndLSN > st.Head.LSN {
			errs = append(errs, fmt.Errorf("segment %d ends at LSN %d, but %d is committed: %w", seg.Object, seg.EndLSN, st.Head.LSN, ErrCorrupt))
		}
	}
	for _, u := range st.Uploads {
		errs = append(errs, known("upload", u.Object))
	}
	for _, g := range st.Garbage {
		for _, o := range g.Objects {
			errs = append(errs, known("garbage", o.Object))
		}
	}
	return errors.Join(errs...)
}
