package metadata

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/google/uuid"
)

// brokerValue is the value of brokers/<id>.
type brokerValue struct {
	ID      string `json:"id"`
	Addr    string `json:"addr"`
	WALUUID string `json:"wal"`
	Claim   string `json:"claim"`
}

// liveValue is the value of shards/<id>/live.
type liveValue struct {
	Owner   string `json:"owner"`
	WALUUID string `json:"wal"`
	Claim   string `json:"claim"`
}

// Shard returns a shard's record from the snapshot.
func (s *Store) Shard(id string) (*Shard, bool) { return s.shards.get(id) }

// ListShards returns all shards' records in order of id.
func (s *Store) ListShards() []*Shard { return s.shards.list() }

// WatchShards is [Store.WatchTopics] for shards.
func (s *Store) WatchShards(fn func(ShardEvent)) (stop func()) { return s.shardSubs.add(fn) }

// AcquireShard takes the ownership of a shard under the next epoch. It returns [ErrShardOwned] while another process holds the shard under a lease, after
// having waited as the claim says, and
// [ErrTailDirty] if the shard's tail is in another WAL and its loss was not accepted. docs/format/metadata.md states the rules.
func (s *Store) AcquireShard(ctx context.Context, claim ShardClaim) (*Ownership, error) {
	if err := claim.Validate(); err != nil {
		return nil, err
	}
	if claim.LeaseTTL == 0 {
		claim.LeaseTTL = DefaultLeaseTTL
	}
	if err := acquire(ctx, s.claims); err != nil {
		return nil, fmt.Errorf("acquire shard %s: %w", claim.Shard, err)
	}
	defer func() { <-s.claims }()
	s.mu.Lock()
	o, held := s.owned[claim.Shard]
	s.mu.Unlock()
	if held && !o.isLost() {
		return nil, fmt.Errorf("acquire shard %s: held by this store: %w", claim.Shard, ErrShardOwned)
	}
	if err := s.join(ctx, claim); err != nil {
		return nil, fmt.Errorf("acquire shard %s: %w", claim.Shard, err)
	}
	o, err := s.claimWaiting(ctx, claim)
	if err != nil {
		if s.countOwned() == 0 {
			err = errors.Join(err, s.leave(ctx))
		}
		return nil, err
	}
	s.mu.Lock()
	s.owned[claim.Shard] = o
	s.mu.Unlock()
	if sh, ok := s.shards.get(claim.Shard); ok { // a change that came before the line above
		s.checkOwned(claim.Shard, sh, sh.Revision)
	}
	return o, nil
}

// join opens the broker's session, or checks that the claim belongs to it.
func (s *Store) join(ctx context.Context, claim ShardClaim) error {
	if ses := s.session; ses != nil {
		if ses.broker != claim.Broker || ses.wal != claim.WALUUID {
			return fmt.Errorf("%w: this store claims for broker %s with WAL %s", ErrInvalid, ses.broker, ses.wal)
		}
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, s.cfg.RequestTimeout)
	defer cancel()
	ses := &session{
		s: s, broker: claim.Broker, wal: claim.WALUUID, addr: claim.AdvertisedAddr, claim: uuid.NewString(),
		ttl: claim.LeaseTTL, exempt: claim.LeaseExempt, done: make(chan struct{}),
	}
	ses.validUntil.Store(math.MinInt64)
	pause := newBackoff(5*time.Millisecond, 500*time.Millisecond)
	for {
		sent := s.cfg.Clock()
		id, err := s.kv.Grant(ctx, ses.ttl)
		if err == nil {
			ses.lease.Store(int64(id))
			ses.acknowledged(sent)
			break
		}
		if !errors.Is(err, ErrUnavailable) || pause.wait(ctx) != nil {
			return fmt.Errorf("grant lease: %w", err)
		}
	}
	s.session = ses
	ses.start(ctx)
	return nil
}

// leave ends a session that owns nothing.
func (s *Store) leave(ctx context.Context) error {
	ses := s.session
	s.session = nil
	ses.end()
	ctx, cancel := context.WithTimeout(ctx, s.cfg.RequestTimeout)
	defer cancel()
	if err := s.kv.Revoke(ctx, LeaseID(ses.lease.Load())); err != nil {
		return fmt.Errorf("revoke lease: %w", err)
	}
	return nil
}

// claimPause is the time between two attempts to take a shard whose last owner's lease may end.
const claimPause = 200 * time.Millisecond

// claimWaiting claims again and again while the only thing in the way is a lease that may be a dead owner's. It asks rather than watches: it is one key, at a start.
func (s *Store) claimWaiting(ctx context.Context, claim ShardClaim) (*Ownership, error) {
	begin, told := s.cfg.Clock(), false
	for {
		o, err := s.claim(ctx, claim)
		var a *aliveError
		if !errors.As(err, &a) || !a.grantable || s.cfg.Clock()-begin >= claim.Wait {
			return o, err
		}
		if !told {
			told = true
			s.log.Info("waiting for the lease of the shard's last owner to end", "shard", claim.Shard, "owner", a.owner, "at_most", claim.Wait)
		}
		select {
		case <-time.After(claimPause):
		case <-ctx.Done():
			return nil, errors.Join(err, ctx.Err())
		}
	}
}

// claim makes the transaction that takes a shard.
func (s *Store) claim(ctx context.Context, claim ShardClaim) (*Ownership, error) {
	ses := s.session
	o := &Ownership{s: s, session: ses, lost: make(chan struct{})}
	id := claim.ID // one for all attempts: it tells whether one of unknown outcome was applied
	if id == "" {
		id = uuid.NewString()
	}
	res, err := s.transact(ctx, "acquire shard "+claim.Shard, nil, func(ctx context.Context) (plan, bool, error) {
		var p plan
		prev, live, broker, err := s.readClaim(ctx, claim, &p)
		if err != nil {
			return plan{}, false, err
		}
		if prev != nil && prev.Claim == id {
			o.rec = *prev
			return plan{}, true, nil
		}
		o.tailLost, err = judge(claim, prev, live, broker)
		if err != nil {
			return plan{}, true, err
		}
		o.prev = prev
		o.rec = Shard{
			ID: claim.Shard, Owner: claim.Broker, Epoch: 1, WALUUID: claim.WALUUID, Tail: TailDirty, AdvertisedAddr: claim.AdvertisedAddr, Claim: id,
		}
		if prev != nil {
			o.rec.Epoch = prev.Epoch + 1
			o.rec.Losses, o.rec.LossBelow = prev.Losses, prev.LossBelow
		}
		if o.tailLost {
			c, rev, err := s.readCounters(ctx)
			if err != nil {
				return plan{}, false, err
			}
			o.rec.Losses, o.rec.LossBelow = o.rec.Losses+1, c.Next
			p.compares = append(p.compares, Compare{Key: s.keys.ordinals(), ModRev: rev})
		}
		if err := p.put(s.keys.shard(claim.Shard), &o.rec); err != nil {
			return plan{}, true, err
		}
		return p, false, ses.putLive(&p, o)
	})
	if err != nil {
		return nil, err
	}
	if res.Succeeded {
		o.rec.Revision = res.Rev
	}
	rec := o.rec
	s.shards.applyLocal(claim.Shard, &rec, rec.Revision)
	return o, nil
}

// readClaim reads what a claim depends on and adds it to the compares of p.
func (s *Store) readClaim(ctx context.Context, claim ShardClaim, p *plan) (prev *Shard, live *liveValue, broker *brokerValue, err error) {
	ks := [3]string{s.keys.shard(claim.Shard), s.keys.live(claim.Shard), s.keys.broker(claim.Broker)}
	var kvs [3]KeyValue
	for i, key := range ks {
		if kvs[i], err = s.kv.Get(ctx, key); err != nil {
			return nil, nil, nil, err
		}
		p.compares = append(p.compares, Compare{Key: key, ModRev: kvs[i].ModRev})
	}
	if kvs[0].Exists() {
		if prev, err = s.keys.decodeShard(kvs[0]); err != nil {
			return nil, nil, nil, err
		}
	}
	if kvs[1].Exists() {
		live = new(liveValue)
		err = decode(kvs[1], live)
	}
	if kvs[2].Exists() && err == nil {
		broker = new(brokerValue)
		err = decode(kvs[2], broker)
	}
	return prev, live, broker, err
}

// aliveError is an [ErrShardOwned] because of a lease. Grantable says that nothing else is in the way.
type aliveError struct {
	owner, text string
	grantable   bool
}

func (e *aliveError) Error() string { return e.text + ": " + ErrShardOwned.Error() }

func (e *aliveError) Unwrap() error { return ErrShardOwned }

// judge decides a claim by the rules of docs/format/metadata.md. lossy says that a dirty tail is given up.
func judge(claim ShardClaim, prev *Shard, live *liveValue, broker *brokerValue) (lossy bool, err error) {
	lossy, err = judgeTail(claim, prev)
	if claim.LeaseExempt {
		return lossy, err
	}
	if live != nil && (live.Owner != claim.Broker || live.WALUUID != claim.WALUUID) {
		return false, &aliveError{live.Owner, fmt.Sprintf("broker %s with WAL %s is alive", live.Owner, live.WALUUID), err == nil}
	}
	if broker != nil && broker.WALUUID != claim.WALUUID {
		return false, &aliveError{broker.ID, fmt.Sprintf("broker id %s is in use with WAL %s", broker.ID, broker.WALUUID), err == nil}
	}
	return lossy, err
}

// judgeTail decides whether the claimant has the shard's tail, or may do without.
func judgeTail(claim ShardClaim, prev *Shard) (lossy bool, err error) {
	if prev != nil && prev.WALUUID == claim.WALUUID && len(claim.Known) > 0 && !slices.Contains(claim.Known, prev.Claim) {
		return false, fmt.Errorf("epoch %d was acquired with WAL %s, but not from this data directory: %w", prev.Epoch, prev.WALUUID, ErrOldCopy)
	}
	if prev == nil || prev.WALUUID == claim.WALUUID || prev.Tail == TailClean {
		return false, nil
	}
	if !claim.AcceptTailLoss {
		return false, fmt.Errorf("the tail of epoch %d is in WAL %s of broker %s, not in %s: %w", prev.Epoch, prev.WALUUID, prev.Owner, claim.WALUUID, ErrTailDirty)
	}
	return true, nil
}
