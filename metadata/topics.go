package metadata

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
)

// counters is the value of the key ordinals.
type counters struct {
	Next        uint32 `json:"next"`
	Incarnation uint64 `json:"incarnation"`
}

// readCounters returns the counters and the revision to compare.
func (s *Store) readCounters(ctx context.Context) (counters, int64, error) {
	kv, err := s.kv.Get(ctx, s.keys.ordinals())
	if err != nil {
		return counters{}, 0, err
	}
	c := counters{Next: 1}
	if !kv.Exists() {
		return c, 0, nil
	}
	if err := decode(kv, &c); err != nil {
		return counters{}, 0, err
	}
	if c.Next == 0 || c.Next > MaxOrdinal+1 {
		return counters{}, 0, fmt.Errorf("decode %s: next ordinal %d: %w", kv.Key, c.Next, ErrCorrupt)
	}
	return c, kv.ModRev, nil
}

// take allocates n consecutive ordinals.
func (c *counters) take(n int32) (uint32, error) {
	if uint64(c.Next)+uint64(n)-1 > MaxOrdinal {
		return 0, fmt.Errorf("%d more ordinals after %d: %w", n, c.Next-1, ErrOrdinalsExhausted)
	}
	first := c.Next
	c.Next += uint32(n)
	return first, nil
}

// grow returns the ranges of a topic with ordinals for queues up to n.
func (c *counters) grow(ranges []OrdinalRange, n int32) ([]OrdinalRange, error) {
	t := Topic{Ordinals: ranges}
	have := t.Queues()
	if n <= have {
		return ranges, nil
	}
	first, err := c.take(n - have)
	if err != nil {
		return nil, err
	}
	out := slices.Clone(ranges)
	if i := len(out) - 1; i >= 0 && out[i].First+uint32(out[i].Count) == first {
		out[i].Count += n - have
		return out, nil
	}
	return append(out, OrdinalRange{Queue: have, First: first, Count: n - have}), nil
}

// Topic returns a topic from the snapshot, without a lock and without calling etcd.
func (s *Store) Topic(name string) (*Topic, bool) { return s.topics.get(name) }

// ListTopics returns all topics in order of name.
func (s *Store) ListTopics() []*Topic { return s.topics.list() }

// WatchTopics calls fn for every change from now on, in order of revision, one at a time, after the snapshot has it. fn must not block or call stop. A
// call that has begun may still be running when stop returns.
func (s *Store) WatchTopics(fn func(TopicEvent)) (stop func()) { return s.topicSubs.add(fn) }

// getTopic reads a topic from etcd; it is nil if there is none.
func (s *Store) getTopic(ctx context.Context, name string) (KeyValue, *Topic, error) {
	kv, err := s.kv.Get(ctx, s.keys.topic(name))
	if err != nil || !kv.Exists() {
		return kv, nil, err
	}
	t, err := s.keys.decodeTopic(kv)
	return kv, t, err
}

// owning reports an ownership that cannot be used for a shard ("" is any).
func owning(own *Ownership, shard string) error {
	if own == nil {
		return fmt.Errorf("%w: no ownership", ErrInvalid)
	}
	if shard != "" && shard != own.rec.ID {
		return fmt.Errorf("%w: shard %q is not the owned %q", ErrInvalid, shard, own.rec.ID)
	}
	return nil
}

// CreateTopic creates a topic and allocates its ordinals, in one transaction. It fills in Incarnation, Ordinals, CreatedMs (if 0), Shard and Revision.
// If the topic exists it is returned with [ErrTopicExists].
func (s *Store) CreateTopic(ctx context.Context, own *Ownership, t Topic) (*Topic, error) {
	if err := errors.Join(t.Validate(), owning(own, t.Shard)); err != nil {
		return nil, fmt.Errorf("create topic %s: %w", t.Name, err)
	}
	if have, ok := s.Topic(t.Name); ok {
		return have, fmt.Errorf("create topic %s: %w", t.Name, ErrTopicExists)
	}
	if err := acquire(ctx, s.alloc); err != nil {
		return nil, fmt.Errorf("create topic %s: %w", t.Name, err)
	}
	defer func() { <-s.alloc }()
	t = *t.Clone()
	t.Shard = own.rec.ID
	if t.CreatedMs == 0 {
		t.CreatedMs = s.cfg.Now().UnixMilli()
	}
	var written [][]byte // by attempts, all but the last of unknown outcome
	var found *Topic
	res, err := s.transact(ctx, "create topic "+t.Name, own, func(ctx context.Context) (plan, bool, error) {
		kv, have, err := s.getTopic(ctx, t.Name)
		if err != nil {
			return plan{}, false, err
		}
		if have != nil {
			found = have
			if slices.ContainsFunc(written, func(w []byte) bool { return bytes.Equal(w, kv.Value) }) {
				return plan{}, true, nil
			}
			return plan{}, true, ErrTopicExists
		}
		c, rev, err := s.readCounters(ctx)
		if err != nil {
			return plan{}, false, err
		}
		c.Incarnation++
		t.Incarnation = c.Incarnation
		if t.Ordinals, err = c.grow(nil, max(t.ReadQueues, t.WriteQueues)); err != nil {
			return plan{}, false, err
		}
		p := plan{compares: []Compare{{Key: kv.Key}, {Key: s.keys.ordinals(), ModRev: rev}}}
		if err := errors.Join(p.put(kv.Key, &t), p.put(s.keys.ordinals(), &c)); err != nil {
			return plan{}, false, err
		}
		written = append(written, p.ops[0].Value)
		return p, false, nil
	})
	if found != nil {
		s.topics.applyLocal(t.Name, found, found.Revision)
		return found, err
	}
	if err != nil {
		return nil, err
	}
	t.Revision = res.Rev
	s.topics.applyLocal(t.Name, &t, t.Revision)
	return &t, nil
}

// put adds the operation that writes a record.
func (p *plan) put(key string, record any) error {
	value, err := encode(key, record)
	if err != nil {
		return err
	}
	p.ops = append(p.ops, Put(key, value))
	return nil
}

// UpdateTopic applies edit to the present topic and writes it, allocating ordinals for added queues. edit may be called more than once; its error is
// returned wrapped. Name, Incarnation, Ordinals, Shard and CreatedMs cannot be edited. It returns [ErrTopicNotFound] if there is no such topic.
func (s *Store) UpdateTopic(ctx context.Context, own *Ownership, name string, edit func(*Topic) error) (*Topic, error) {
	if err := owning(own, ""); err != nil {
		return nil, fmt.Errorf("update topic %s: %w", name, err)
	}
	if err := acquire(ctx, s.alloc); err != nil {
		return nil, fmt.Errorf("update topic %s: %w", name, err)
	}
	defer func() { <-s.alloc }()
	var written [][]byte
	var next *Topic
	res, err := s.transact(ctx, "update topic "+name, own, func(ctx context.Context) (plan, bool, error) {
		kv, have, err := s.getTopic(ctx, name)
		if err != nil {
			return plan{}, false, err
		}
		if have == nil {
			return plan{}, true, ErrTopicNotFound
		}
		if slices.ContainsFunc(written, func(w []byte) bool { return bytes.Equal(w, kv.Value) }) {
			next = have
			return plan{}, true, nil
		}
		next = have.Clone()
		if err := edit(next); err != nil {
			return plan{}, true, err
		}
		next.Name, next.Incarnation, next.Ordinals = have.Name, have.Incarnation, have.Ordinals
		next.Shard, next.CreatedMs = have.Shard, have.CreatedMs
		if err := errors.Join(next.Validate(), owning(own, next.Shard)); err != nil {
			return plan{}, true, err
		}
		p := plan{compares: []Compare{{Key: kv.Key, ModRev: kv.ModRev}}}
		if n := max(next.ReadQueues, next.WriteQueues); n > have.Queues() {
			if err := s.growTopic(ctx, next, n, &p); err != nil {
				return plan{}, false, err
			}
		}
		if err := p.put(kv.Key, next); err != nil {
			return plan{}, true, err
		}
		written = append(written, p.ops[len(p.ops)-1].Value)
		return p, false, nil
	})
	if err != nil {
		return nil, err
	}
	if res.Succeeded {
		next.Revision = res.Rev
	}
	s.topics.applyLocal(name, next, next.Revision)
	return next, nil
}

// growTopic allocates ordinals for a topic's queues up to n in the transaction p.
func (s *Store) growTopic(ctx context.Context, t *Topic, n int32, p *plan) error {
	c, rev, err := s.readCounters(ctx)
	if err != nil {
		return err
	}
	if t.Ordinals, err = c.grow(t.Ordinals, n); err != nil {
		return err
	}
	p.compares = append(p.compares, Compare{Key: s.keys.ordinals(), ModRev: rev})
	return p.put(s.keys.ordinals(), &c)
}

// DeleteTopic deletes a topic and leaves its tombstone, or returns [ErrTopicNotFound].
func (s *Store) DeleteTopic(ctx context.Context, own *Ownership, name string) (*Tombstone, error) {
	if err := owning(own, ""); err != nil {
		return nil, fmt.Errorf("delete topic %s: %w", name, err)
	}
	var tomb *Tombstone
	res, err := s.transact(ctx, "delete topic "+name, own, func(ctx context.Context) (plan, bool, error) {
		kv, have, err := s.getTopic(ctx, name)
		if err != nil {
			return plan{}, false, err
		}
		if tomb != nil && (have == nil || have.Incarnation != tomb.Incarnation) {
			// An attempt of unknown outcome, or somebody else, has deleted it: its tombstone stands, unless it was dropped already.
			stone, err := s.kv.Get(ctx, s.keys.tombstone(tomb.Incarnation))
			tomb.Revision = stone.ModRev
			return plan{}, err == nil, err
		}
		if have == nil {
			return plan{}, true, ErrTopicNotFound
		}
		if err := owning(own, have.Shard); err != nil {
			return plan{}, true, err
		}
		tomb = &Tombstone{Name: name, Incarnation: have.Incarnation, Ordinals: have.Ordinals, Shard: have.Shard, DeletedMs: s.cfg.Now().UnixMilli()}
		p := plan{compares: []Compare{{Key: kv.Key, ModRev: kv.ModRev}}, ops: []Op{Delete(kv.Key)}}
		return p, false, p.put(s.keys.tombstone(tomb.Incarnation), tomb)
	})
	if err != nil {
		return nil, err
	}
	if res.Succeeded {
		tomb.Revision = res.Rev
	}
	s.topics.applyLocal(name, nil, tomb.Revision)
	return tomb, nil
}

// ListTombstones reads the tombstones of deleted topics from etcd, in order of incarnation.
func (s *Store) ListTombstones(ctx context.Context) ([]*Tombstone, error) {
	var out []*Tombstone
	err := rangeAll(ctx, s.kv, s.keys.tombstones(), rangePage, func(page RangeResult, _ int64) error {
		for _, kv := range page.KVs {
			t, err := s.keys.decodeTombstone(kv)
			if err != nil {
				return err
			}
			out = append(out, t)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list tombstones: %w", err)
	}
	return out, nil
}

// DropTombstone removes a tombstone, after the data it stands for is gone. One that does not exist is no error.
func (s *Store) DropTombstone(ctx context.Context, own *Ownership, incarnation uint64) error {
	if err := owning(own, ""); err != nil {
		return fmt.Errorf("drop tombstone %d: %w", incarnation, err)
	}
	_, err := s.transact(ctx, fmt.Sprintf("drop tombstone %d", incarnation), own, func(ctx context.Context) (plan, bool, error) {
		kv, err := s.kv.Get(ctx, s.keys.tombstone(incarnation))
		if err != nil || !kv.Exists() {
			return plan{}, true, err
		}
		t, err := s.keys.decodeTombstone(kv)
		if err != nil {
			return plan{}, true, err
		}
		return plan{compares: []Compare{{Key: kv.Key, ModRev: kv.ModRev}}, ops: []Op{Delete(kv.Key)}}, false, owning(own, t.Shard)
	})
	return err
}
