package metadata

import (
	"bytes"
	"context"
	"fmt"
)

// Group returns a group from the snapshot, without a lock and without calling etcd.
func (s *Store) Group(name string) (*Group, bool) { return s.groups.get(name) }

// ListGroups returns all groups in order of name.
func (s *Store) ListGroups() []*Group { return s.groups.list() }

// WatchGroups is [Store.WatchTopics] for groups.
func (s *Store) WatchGroups(fn func(GroupEvent)) (stop func()) { return s.groupSubs.add(fn) }

// PutGroup creates or replaces a group.
func (s *Store) PutGroup(ctx context.Context, own *Ownership, g Group) (*Group, error) {
	if err := g.Validate(); err != nil {
		return nil, fmt.Errorf("put group %s: %w", g.Name, err)
	}
	if err := owning(own, ""); err != nil {
		return nil, fmt.Errorf("put group %s: %w", g.Name, err)
	}
	g = *g.Clone()
	key := s.keys.group(g.Name)
	value, err := encode(key, &g)
	if err != nil {
		return nil, err
	}
	res, err := s.transact(ctx, "put group "+g.Name, own, func(ctx context.Context) (plan, bool, error) {
		kv, err := s.kv.Get(ctx, key)
		if err != nil {
			return plan{}, false, err
		}
		if kv.Exists() && bytes.Equal(kv.Value, value) {
			g.Revision = kv.ModRev
			return plan{}, true, nil
		}
		return plan{compares: []Compare{{Key: key, ModRev: kv.ModRev}}, ops: []Op{Put(key, value)}}, false, nil
	})
	if err != nil {
		return nil, err
	}
	if res.Succeeded {
		g.Revision = res.Rev
	}
	s.groups.applyLocal(g.Name, &g, g.Revision)
	return &g, nil
}

// DeleteGroup deletes a group and, withOffsets, its committed offsets in own's shard, in one transaction. It returns [ErrGroupNotFound] if there is no
// such group; offsets are deleted all the same.
func (s *Store) DeleteGroup(ctx context.Context, own *Ownership, name string, withOffsets bool) error {
	if err := owning(own, ""); err != nil {
		return fmt.Errorf("delete group %s: %w", name, err)
	}
	offsets := own.offsets.Load()
	if !withOffsets || offsets == nil {
		return s.deleteGroup(ctx, own, name, withOffsets)
	}
	return offsets.dropGroup(ctx, name, func() error { return s.deleteGroup(ctx, own, name, true) })
}

func (s *Store) deleteGroup(ctx context.Context, own *Ownership, name string, withOffsets bool) error {
	key := s.keys.group(name)
	existed, decided := false, false
	res, err := s.transact(ctx, "delete group "+name, own, func(ctx context.Context) (plan, bool, error) {
		kv, err := s.kv.Get(ctx, key)
		if err != nil {
			return plan{}, false, err
		}
		existed = existed || kv.Exists()
		p := plan{compares: []Compare{{Key: key, ModRev: kv.ModRev}}}
		if kv.Exists() {
			p.ops = append(p.ops, Delete(key))
		} else if decided && !withOffsets {
			return plan{}, true, nil
		}
		decided = true
		if withOffsets {
			p.ops = append(p.ops, DeletePrefix(s.keys.groupOffsets(own.rec.ID, name)))
		}
		return p, len(p.ops) == 0, nil
	})
	switch {
	case err != nil:
		return err
	case res.Succeeded && existed:
		s.groups.applyLocal(name, nil, res.Rev)
	case !existed:
		return fmt.Errorf("delete group %s: %w", name, ErrGroupNotFound)
	}
	return nil
}
