package metadata

import (
	"context"
	"errors"
	"fmt"
)

// What follows is for `varve metadata restore`, which works on an etcd that nobody else uses: nothing is fenced, but everything is compared with what was read. Nothing is lowered.

// RestoreShard writes a shard's record, if its epoch is not below the present one's.
func (s *Store) RestoreShard(ctx context.Context, rec Shard) error {
	key := s.keys.shard(rec.ID)
	res, err := s.transact(ctx, "restore shard "+rec.ID, nil, func(ctx context.Context) (plan, bool, error) {
		kv, err := s.kv.Get(ctx, key)
		if err != nil {
			return plan{}, false, err
		}
		if kv.Exists() {
			have, err := s.keys.decodeShard(kv)
			if err != nil {
				return plan{}, true, err
			}
			if have.Epoch > rec.Epoch {
				return plan{}, true, fmt.Errorf("epoch %d is below %d: %w", rec.Epoch, have.Epoch, ErrInvalid)
			}
			rec.Losses, rec.LossBelow = max(rec.Losses, have.Losses), max(rec.LossBelow, have.LossBelow)
		}
		p := plan{compares: []Compare{{Key: key, ModRev: kv.ModRev}}}
		return p, false, p.put(key, &rec)
	})
	if err != nil {
		return err
	}
	rec.Revision = res.Rev
	s.shards.applyLocal(rec.ID, &rec, rec.Revision)
	return nil
}

// RestoreNumbers drops the intents and the records of garbage of a shard, which may not be true any more, and raises its next object number to at least next.
func (s *Store) RestoreNumbers(ctx context.Context, shard string, next uint64) error {
	_, err := s.restoreHead(ctx, "restore the numbers of shard "+shard, shard, func(head *SealHead, p *plan) (bool, error) {
		head.NextObject = max(head.NextObject, next)
		p.ops = append(p.ops, DeletePrefix(s.keys.below(shard)+KeyUploads), DeletePrefix(s.keys.below(shard)+KeyGarbage))
		return false, nil
	})
	return err
}

// RestoreWAL lets a shard's head name the WAL that its record names: the shard may have gone on in another one since the snapshot. Where in it segments end is
// found by the LSN.
func (s *Store) RestoreWAL(ctx context.Context, shard, wal string) error {
	_, err := s.restoreHead(ctx, "restore the WAL of shard "+shard, shard, func(head *SealHead, _ *plan) (bool, error) {
		if head.WALUUID == wal || wal == "" {
			return true, nil
		}
		head.WALUUID, head.Position, head.PositionLost = wal, 0, true
		return false, nil
	})
	return err
}

// RestoreSegment lists a segment of level 0 that follows the head: its first LSN is the committed one, and previous, the crc of its predecessor in its footer, the head's. Its
// place in a WAL is not known: the head has PositionLost from then on.
func (s *Store) RestoreSegment(ctx context.Context, shard string, seg Segment, previous uint32) (SealHead, error) {
	what := fmt.Sprintf("restore segment %d of shard %s", seg.Object, shard)
	if err := seg.check(); err != nil || seg.Level != 0 {
		return SealHead{}, fmt.Errorf("%s: level %d: %w", what, seg.Level, errors.Join(ErrInvalid, err))
	}
	return s.restoreHead(ctx, what, shard, func(head *SealHead, p *plan) (bool, error) {
		if head.Object == seg.Object && head.LSN == seg.EndLSN && head.FooterCRC == seg.FooterCRC {
			return true, nil // by an attempt of unknown outcome
		}
		if head.LSN != seg.FirstLSN || head.FooterCRC != previous || seg.Object >= head.NextObject || seg.Epoch < head.Epoch {
			return false, conflict("LSN %d after %08x, object %d of epoch %d, but the head is %+v", seg.FirstLSN, previous, seg.Object, seg.Epoch, *head)
		}
		head.LSN, head.Epoch, head.FooterCRC, head.Object, head.PositionLost = seg.EndLSN, seg.Epoch, seg.FooterCRC, seg.Object, true
		key := s.keys.segment(shard, seg.Object)
		p.compares = append(p.compares, Compare{Key: key})
		return false, p.put(key, &seg)
	})
}

// restoreHead changes a shard's head, and more, in a transaction.
func (s *Store) restoreHead(ctx context.Context, what, shard string, edit func(*SealHead, *plan) (done bool, err error)) (SealHead, error) {
	var head SealHead
	res, err := s.transact(ctx, what, nil, func(ctx context.Context) (plan, bool, error) {
		kv, err := s.kv.Get(ctx, s.keys.head(shard))
		if err != nil {
			return plan{}, false, err
		}
		if head, err = s.keys.decodeHead(shard, kv); err != nil {
			return plan{}, true, err
		}
		p := plan{compares: []Compare{{Key: kv.Key, ModRev: kv.ModRev}}}
		if done, err := edit(&head, &p); err != nil || done {
			return plan{}, true, err
		}
		return p, false, p.put(kv.Key, &head)
	})
	if err != nil {
		return SealHead{}, err
	}
	if res.Succeeded {
		head.Revision = res.Rev
	}
	return head, nil
}

// RestoreCounters raises the next ordinal and the last incarnation to at least these, and returns the next ordinal.
func (s *Store) RestoreCounters(ctx context.Context, next uint32, incarnation uint64) (uint32, error) {
	if next > MaxOrdinal+1 {
		return 0, fmt.Errorf("restore the ordinals: next %d: %w", next, ErrInvalid)
	}
	var c counters
	_, err := s.transact(ctx, "restore the ordinals", nil, func(ctx context.Context) (plan, bool, error) {
		var rev int64
		var err error
		if c, rev, err = s.readCounters(ctx); err != nil {
			return plan{}, false, err
		}
		if c.Next >= next && c.Incarnation >= incarnation {
			return plan{}, true, nil
		}
		c.Next, c.Incarnation = max(c.Next, next), max(c.Incarnation, incarnation)
		p := plan{compares: []Compare{{Key: s.keys.ordinals(), ModRev: rev}}}
		return p, false, p.put(s.keys.ordinals(), &c)
	})
	return c.Next, err
}

// Counters returns the next ordinal and the last incarnation that were handed out.
func (s *Store) Counters(ctx context.Context) (next uint32, incarnation uint64, err error) {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.RequestTimeout)
	defer cancel()
	c, _, err := s.readCounters(ctx)
	if err != nil {
		return 0, 0, fmt.Errorf("read the ordinals: %w", err)
	}
	return c.Next, c.Incarnation, nil
}

// RestoreTopic writes a topic with the incarnation and the ordinals that it had. A topic of that name and a lower incarnation was deleted before: it leaves its tombstone. One of
// the same incarnation is replaced: it has grown. The counters are the caller's.
func (s *Store) RestoreTopic(ctx context.Context, t Topic) error {
	what := "restore topic " + t.Name
	if err := errors.Join(t.Validate(), checkOrdinals(t.Ordinals)); err != nil || t.Incarnation == 0 || t.Queues() < max(t.ReadQueues, t.WriteQueues) {
		return fmt.Errorf("%s: incarnation %d: %w", what, t.Incarnation, errors.Join(ErrInvalid, err))
	}
	res, err := s.transact(ctx, what, nil, func(ctx context.Context) (plan, bool, error) {
		kv, have, err := s.getTopic(ctx, t.Name)
		if err != nil {
			return plan{}, false, err
		}
		p := plan{compares: []Compare{{Key: kv.Key, ModRev: kv.ModRev}}}
		if have != nil && have.Incarnation > t.Incarnation {
			return plan{}, true, fmt.Errorf("incarnation %d is below %d: %w", t.Incarnation, have.Incarnation, ErrInvalid)
		}
		if have != nil && have.Incarnation < t.Incarnation {
			tomb := Tombstone{Name: have.Name, Incarnation: have.Incarnation, Ordinals: have.Ordinals, Shard: have.Shard, DeletedMs: s.cfg.Now().UnixMilli()}
			if err := p.put(s.keys.tombstone(tomb.Incarnation), &tomb); err != nil {
				return plan{}, true, err
			}
		}
		return p, false, p.put(kv.Key, &t)
	})
	if err != nil {
		return err
	}
	t.Revision = res.Rev
	s.topics.applyLocal(t.Name, &t, t.Revision)
	return nil
}

// PlaceHead gives a head that has PositionLost its position: behind the last sealed record in the owner's WAL, which the head names. A head that has its position stays as it is.
func (o *Ownership) PlaceHead(ctx context.Context, position uint64) (SealHead, error) {
	k := o.s.keys
	var next SealHead
	res, err := o.change(ctx, "place the head", []string{k.head(o.rec.ID)}, func(kvs []KeyValue) ([]Op, bool, error) {
		var err error
		if next, err = k.decodeHead(o.rec.ID, kvs[0]); err != nil || !next.PositionLost {
			return nil, err == nil, err
		}
		if next.WALUUID != o.rec.WALUUID {
			return nil, false, conflict("the head is of WAL %s, not %s", next.WALUUID, o.rec.WALUUID)
		}
		next.Position, next.PositionLost = position, false
		ops, err := addPut(nil, kvs[0].Key, &next)
		return ops, false, err
	})
	if err != nil {
		return SealHead{}, err
	}
	if res.Succeeded {
		next.Revision = res.Rev
	}
	return next, nil
}
