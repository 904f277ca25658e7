package metadata

import (
	"errors"
	"fmt"
	"slices"
)

// decodeHead decodes a shard's head, which is at its beginning if there is none.
func (k keys) decodeHead(_ string, kv KeyValue) (SealHead, error) {
	h := SealHead{NextObject: 1, LSN: 1}
	if !kv.Exists() {
		return h, nil
	}
	h = SealHead{}
	if err := decode(kv, &h); err != nil {
		return SealHead{}, err
	}
	h.Revision = kv.ModRev
	if h.NextObject == 0 || h.LSN == 0 || h.Object >= h.NextObject || (h.Object == 0) != (h.Epoch == 0) || (h.Object == 0) != (h.LSN == 1) {
		return SealHead{}, fmt.Errorf("decode %s: %+v: %w", kv.Key, h, ErrCorrupt)
	}
	return h, nil
}

func (k keys) decodeSegment(shard string, kv KeyValue) (Segment, error) {
	var s Segment
	if err := decode(kv, &s); err != nil {
		return Segment{}, err
	}
	s.Revision = kv.ModRev
	if k.segment(shard, s.Object) != kv.Key {
		return Segment{}, fmt.Errorf("decode %s: object %d: %w", kv.Key, s.Object, ErrCorrupt)
	}
	if err := s.check(); err != nil {
		return Segment{}, fmt.Errorf("decode %s: %w: %w", kv.Key, err, ErrCorrupt)
	}
	return s, nil
}

func (k keys) decodeUpload(shard string, kv KeyValue) (Upload, error) {
	var u Upload
	if err := decode(kv, &u); err != nil {
		return Upload{}, err
	}
	u.Revision = kv.ModRev
	if k.upload(shard, u.Object) != kv.Key || u.Object == 0 || u.Epoch == 0 || checkKind(u.Kind) != nil {
		return Upload{}, fmt.Errorf("decode %s: object %d, epoch %d, kind %q: %w", kv.Key, u.Object, u.Epoch, u.Kind, ErrCorrupt)
	}
	return u, nil
}

func (k keys) decodeManifest(shard string, kv KeyValue) (*ManifestPointer, error) {
	var m ManifestPointer
	if err := decode(kv, &m); err != nil {
		return nil, err
	}
	m.Revision = kv.ModRev
	if err := m.check(); err != nil || k.manifest(shard) != kv.Key {
		return nil, fmt.Errorf("decode %s: %+v: %w", kv.Key, m, ErrCorrupt)
	}
	return &m, nil
}

func (k keys) decodeGarbage(shard string, kv KeyValue) (Garbage, error) {
	var g Garbage
	if err := decode(kv, &g); err != nil {
		return Garbage{}, err
	}
	if err := checkGarbage(g.Objects); err != nil {
		return Garbage{}, fmt.Errorf("decode %s: %w: %w", kv.Key, err, ErrCorrupt)
	}
	g.Revision, g.Key = kv.ModRev, g.Objects[0].Object
	if k.garbage(shard, g.Key) != kv.Key {
		return Garbage{}, fmt.Errorf("decode %s: object %d: %w", kv.Key, g.Key, ErrCorrupt)
	}
	return g, nil
}

// check reports what no segment can be.
func (s *Segment) check() error {
	switch {
	case s.Object == 0 || s.Epoch == 0:
		return fmt.Errorf("object %d, epoch %d", s.Object, s.Epoch)
	case s.Level > MaxLevel:
		return fmt.Errorf("level %d", s.Level)
	case s.Size <= 0:
		return fmt.Errorf("%d bytes", s.Size)
	case s.FirstLSN == 0 || s.FirstLSN >= s.EndLSN:
		return fmt.Errorf("LSNs [%d, %d)", s.FirstLSN, s.EndLSN)
	case s.Messages > 0 && s.MinStore > s.MaxStore:
		return fmt.Errorf("store times [%d, %d]", s.MinStore, s.MaxStore)
	}
	for i, c := range s.Cursors {
		if c.Ordinal == 0 || c.Ordinal > MaxOrdinal || i > 0 && c.Ordinal <= s.Cursors[i-1].Ordinal {
			return fmt.Errorf("cursor %d of queue %d", i, c.Ordinal)
		}
	}
	return nil
}

// check reports what no pointer to a manifest can be.
func (m *ManifestPointer) check() error {
	if m.Object == 0 || m.Epoch == 0 || m.Size <= 0 || m.EndLSN == 0 {
		return fmt.Errorf("object %d, epoch %d, %d bytes, end %d", m.Object, m.Epoch, m.Size, m.EndLSN)
	}
	return nil
}

// checkKind reports a kind of object that there is not.
func checkKind(kind string) error {
	if !slices.Contains([]string{KindSegment, KindRoot, KindPage}, kind) {
		return fmt.Errorf("kind %q", kind)
	}
	return nil
}

// checkGarbage reports objects that no record of garbage can name.
func checkGarbage(objects []GarbageObject) error {
	if len(objects) == 0 {
		return errors.New("no objects")
	}
	seen := make(map[uint64]struct{}, len(objects))
	for _, o := range objects {
		if _, twice := seen[o.Object]; twice || o.Object == 0 || o.Epoch == 0 || checkKind(o.Kind) != nil || o.FirstLSN > o.EndLSN {
			return fmt.Errorf("object %d, epoch %d, kind %q, LSNs [%d, %d)", o.Object, o.Epoch, o.Kind, o.FirstLSN, o.EndLSN)
		}
		seen[o.Object] = struct{}{}
	}
	return nil
}
