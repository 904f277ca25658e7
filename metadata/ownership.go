package metadata

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// Ownership is the right to write to a shard under an epoch. It ends with [Ownership.Release], with the loss of the shard, or with the process.
type Ownership struct {
	s        *Store
	session  *session
	rec      Shard
	prev     *Shard
	tailLost bool
	lost     chan struct{}
	lostOnce sync.Once
	offsets  atomic.Pointer[OffsetCommitter]
}

// Shard returns the shard's id.
func (o *Ownership) Shard() string { return o.rec.ID }

// Epoch returns the epoch, which is higher than that of any owner before.
func (o *Ownership) Epoch() uint64 { return o.rec.Epoch }

// Claim returns the uuid of the claim by which the shard was acquired.
func (o *Ownership) Claim() string { return o.rec.Claim }

// Previous returns the record that was replaced, or nil for a new shard.
func (o *Ownership) Previous() *Shard { return o.prev }

// TailLost reports that the tail before this epoch was in another WAL and dirty, and its loss was accepted.
func (o *Ownership) TailLost() bool { return o.tailLost }

// Losses returns how many tails of the shard were lost so far, by this owner and those before, and an ordinal above all that there were at the last loss.
func (o *Ownership) Losses() (n, below uint32) { return o.rec.Losses, o.rec.LossBelow }

// Valid reports whether the lease still holds at the time now of the store's Clock (by default [BootClock]): it is counted from the sending of the last
// keep-alive that etcd acknowledged, less a margin of one part in [LeaseMargin]. It may become true again after an outage of etcd, if nobody took the
// shard meanwhile; after Lost it never does.
func (o *Ownership) Valid(now time.Duration) bool {
	if o.isLost() {
		return false
	}
	return o.session.exempt || time.Duration(o.session.validUntil.Load()) > now
}

// Lost is closed when another owner or epoch was seen, the ownership was released, or the store was closed.
func (o *Ownership) Lost() <-chan struct{} { return o.lost }

func (o *Ownership) isLost() bool {
	select {
	case <-o.lost:
		return true
	default:
		return false
	}
}

func (o *Ownership) markLost() { o.lostOnce.Do(func() { close(o.lost) }) }

// fence is the comparison that every write under this ownership makes.
func (o *Ownership) fence() Compare {
	return Compare{Key: o.s.keys.shard(o.rec.ID), ModRev: o.rec.Revision}
}

// Release gives the shard up; clean says that its tail is sealed, so that a broker without this WAL may take it. From the call on the ownership is not
// valid. When Release fails the lease still ends by itself, and the tail stays dirty. Releasing twice is no error.
func (o *Ownership) Release(ctx context.Context, clean bool) error {
	s := o.s
	if err := acquire(ctx, s.claims); err != nil {
		return fmt.Errorf("release shard %s: %w", o.rec.ID, err)
	}
	defer func() { <-s.claims }()
	s.mu.Lock()
	held := s.owned[o.rec.ID] == o
	if held {
		delete(s.owned, o.rec.ID)
	}
	s.mu.Unlock()
	lost := o.isLost()
	o.markLost()
	if !held {
		return nil
	}
	var err error
	if !lost {
		err = s.release(ctx, o, clean)
	}
	if s.session == o.session && s.countOwned() == 0 {
		s.session = nil
		o.session.end()
		rctx, cancel := context.WithTimeout(ctx, s.cfg.RequestTimeout)
		defer cancel()
		if rerr := s.kv.Revoke(rctx, LeaseID(o.session.lease.Load())); rerr != nil {
			err = errors.Join(err, fmt.Errorf("revoke lease of broker %s: %w", o.session.broker, rerr))
		}
	}
	return err
}

// release writes the record of a released shard.
func (s *Store) release(ctx context.Context, o *Ownership, clean bool) error {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.RequestTimeout)
	defer cancel()
	next := o.rec
	next.Released = true
	if next.Tail = TailDirty; clean {
		next.Tail = TailClean
	}
	var p plan
	if err := p.put(s.keys.shard(o.rec.ID), &next); err != nil {
		return err
	}
	p.ops = append(p.ops, Delete(s.keys.live(o.rec.ID)))
	pause := newBackoff(5*time.Millisecond, 500*time.Millisecond)
	for {
		actx, cancel := context.WithTimeout(ctx, s.cfg.RequestTimeout/3)
		res, err := s.kv.Txn(actx, []Compare{o.fence()}, p.ops)
		cancel()
		switch {
		case err == nil && res.Succeeded:
			return nil
		case err == nil:
			// Either an earlier attempt of unknown outcome was applied, or somebody else has the shard.
			if cur, derr := s.keys.decodeShard(res.Current[0]); derr == nil && cur.Claim == next.Claim && cur.Epoch == next.Epoch {
				return nil
			}
			return fmt.Errorf("release shard %s, epoch %d: %w", o.rec.ID, o.rec.Epoch, ErrFenced)
		case !errors.Is(err, ErrUnavailable):
			return fmt.Errorf("release shard %s: %w", o.rec.ID, err)
		}
		if pause.wait(ctx) != nil {
			return fmt.Errorf("release shard %s: %w", o.rec.ID, err)
		}
	}
}

func (s *Store) countOwned() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.owned)
}

// checkOwned ends an ownership whose shard has another owner or epoch now.
func (s *Store) checkOwned(id string, sh *Shard, rev int64) {
	s.mu.Lock()
	o := s.owned[id]
	s.mu.Unlock()
	if o == nil || rev <= o.rec.Revision {
		return
	}
	if sh == nil || sh.Claim != o.rec.Claim || sh.Epoch != o.rec.Epoch {
		if !o.isLost() {
			s.log.Warn("shard ownership is lost", "shard", id, "epoch", o.rec.Epoch)
		}
		o.markLost()
	}
}
