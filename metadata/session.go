package metadata

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"sync/atomic"
	"time"
)

// session is a broker's lease and what hangs on it.
type session struct {
	s                        *Store
	broker, wal, addr, claim string
	ttl                      time.Duration
	exempt                   bool
	lease                    atomic.Int64 // a LeaseID; changed under Store.claims only
	// validUntil is the time of the store's clock up to which the lease is sure to hold.
	validUntil atomic.Int64

	stop    context.CancelFunc
	done    chan struct{}
	endOnce sync.Once
}

// acknowledged counts the lease from the time a grant or keep-alive was sent.
func (ses *session) acknowledged(sent time.Duration) {
	ses.validUntil.Store(int64(sent + ses.ttl - ses.ttl/LeaseMargin))
}

// start keeps the lease alive until end.
func (ses *session) start(ctx context.Context) {
	ctx, ses.stop = context.WithCancel(context.WithoutCancel(ctx))
	go func() { // waited for in end
		defer close(ses.done)
		ses.run(ctx)
	}()
}

// end stops the keep-alives and waits for that. The lease itself is left to be revoked or to expire.
func (ses *session) end() {
	ses.endOnce.Do(ses.stop)
	<-ses.done
	ses.validUntil.Store(math.MinInt64)
}

// run sends a keep-alive every third of the lease's life, more often while etcd does not answer.
func (ses *session) run(ctx context.Context) {
	interval := max(ses.ttl/3, time.Millisecond)
	retry := newBackoff(max(ses.ttl/50, time.Millisecond), min(interval, time.Second))
	pause := interval
	defer ses.s.outage.forget("lease")
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
		err := ses.beat(ctx, interval)
		switch {
		case ctx.Err() != nil:
			return
		case err == nil:
			ses.s.outage.ended("lease")
			retry.reset()
			pause = interval
		default:
			ses.s.outage.began("lease", err)
			pause = retry.step()
		}
	}
}

// beat sends one keep-alive, or makes a new lease in the place of one that has ended.
func (ses *session) beat(ctx context.Context, timeout time.Duration) error {
	bctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	sent := ses.s.cfg.Clock()
	err := ses.s.kv.KeepAlive(bctx, LeaseID(ses.lease.Load()))
	if err == nil {
		ses.acknowledged(sent)
		return nil
	}
	if !errors.Is(err, ErrLeaseNotFound) {
		return err
	}
	ses.validUntil.Store(math.MinInt64)
	if err := acquire(ctx, ses.s.claims); err != nil {
		return err
	}
	defer func() { <-ses.s.claims }()
	return ses.revive(ctx)
}

// revive grants a new lease and hangs the owned shards on it, unless somebody has taken them.
func (ses *session) revive(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, ses.s.cfg.RequestTimeout)
	defer cancel()
	sent := ses.s.cfg.Clock()
	lease, err := ses.s.kv.Grant(ctx, ses.ttl)
	if err != nil {
		return fmt.Errorf("grant lease: %w", err)
	}
	ses.lease.Store(int64(lease))
	ses.s.mu.Lock()
	owned := make([]*Ownership, 0, len(ses.s.owned))
	for _, o := range ses.s.owned {
		owned = append(owned, o)
	}
	ses.s.mu.Unlock()
	for _, o := range owned {
		if o.isLost() {
			continue
		}
		if err := ses.reviveShard(ctx, o); err != nil && !errors.Is(err, ErrFenced) {
			ses.abandon(ctx, lease)
			return err
		}
	}
	ses.acknowledged(sent)
	return nil
}

// abandon gives up a lease that not all shards could be hung on; the next beat finds it gone and tries again.
func (ses *session) abandon(ctx context.Context, lease LeaseID) {
	ses.lease.Store(-1)
	if err := ses.s.kv.Revoke(ctx, lease); err != nil {
		ses.s.log.Debug("lease is left to expire", "broker", ses.broker, "error", err)
	}
}

// reviveShard hangs a shard's live key on the session's present lease.
func (ses *session) reviveShard(ctx context.Context, o *Ownership) error {
	_, err := ses.s.transact(ctx, "revive lease of shard "+o.rec.ID, o, func(ctx context.Context) (plan, bool, error) {
		var p plan
		_, live, broker, err := ses.s.readClaim(ctx, ShardClaim{Shard: o.rec.ID, Broker: ses.broker}, &p)
		if err != nil {
			return plan{}, false, err
		}
		p.compares = p.compares[1:] // the shard itself is compared by the fence
		if live != nil && live.Claim != o.rec.Claim || broker != nil && broker.Claim != ses.claim {
			o.markLost()
			return plan{}, true, fmt.Errorf("shard %s or broker %s is alive elsewhere: %w", o.rec.ID, ses.broker, ErrFenced)
		}
		return p, false, ses.putLive(&p, o)
	})
	return err
}

// putLive adds the operations that register the broker and mark a shard as alive, on the session's lease.
func (ses *session) putLive(p *plan, o *Ownership) error {
	brokerKey, liveKey := ses.s.keys.broker(ses.broker), ses.s.keys.live(o.rec.ID)
	broker, err := encode(brokerKey, brokerValue{ID: ses.broker, Addr: ses.addr, WALUUID: ses.wal, Claim: ses.claim})
	if err != nil {
		return err
	}
	live, err := encode(liveKey, liveValue{Owner: ses.broker, WALUUID: ses.wal, Claim: o.rec.Claim})
	if err != nil {
		return err
	}
	lease := LeaseID(ses.lease.Load())
	p.ops = append(p.ops, PutLeased(brokerKey, broker, lease), PutLeased(liveKey, live, lease))
	return nil
}
