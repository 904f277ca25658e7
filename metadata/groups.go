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
	if offsets := own.offsets.Load(); withOffsets && offsets != nil {
		return offsets.dropGroup(ctx, name, func(wipe []Op) (TxnResult, error) { return s.deleteGroup(ctx, own, name, wipe) })
	}
	var wipe []Op
	if withOffsets {
		wipe = []Op{DeletePrefix(s.keys.groupOffsets(own.rec.ID, name))}
	}
	_, err := s.deleteGroup(ctx, own, name, wipe)
	return err
}

// deleteGroup deletes a group's record together with what wipe deletes.
func (s *Store) deleteGroup(ctx context.Context, own *Ownership, name string, wipe []Op) (TxnResult, error) {
	key := s.keys.group(name)
	existed := false
	res, err := s.transact(ctx, "delete group "+name, own, func(ctx context.Context) (plan, bool, error) {
		kv, err := s.kv.Get(ctx, key)
		if err != nil {
			return plan{}, false, err
		}
		p := plan{compares: []Compare{{Key: key, ModRev: kv.ModRev}}, ops: wipe}
		if kv.Exists() {
			existed = true
			p.ops = append([]Op{Delete(key)}, wipe...)
		}
		return p, len(p.ops) == 0, nil
	})
	if err == nil && !existed {
		return res, fmt.Errorf("delete group %s: %w", name, ErrGroupNotFound)
	}
	if err == nil && res.Succeeded {
		s.groups.applyLocal(name, nil, res.Rev)
	}
	return res, err
}
