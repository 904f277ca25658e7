package metadata

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// plan is a transaction computed from what was read.
type plan struct {
	compares []Compare
	ops      []Op
}

// transact reads, computes and commits until it is decided. build reads what it needs, from scratch at each attempt, and returns the transaction, or
// done when nothing is left to do: in particular when what it reads is what an earlier attempt, whose outcome was unknown, has written. own is compared
// in every transaction unless it is nil. All attempts together take no longer than the configured timeout.
func (s *Store) transact(ctx context.Context, what string, own *Ownership, build func(context.Context) (plan, bool, error)) (TxnResult, error) {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.RequestTimeout)
	defer cancel()
	if own != nil && own.isLost() {
		return TxnResult{}, fmt.Errorf("%s: shard %s, epoch %d: %w", what, own.rec.ID, own.rec.Epoch, ErrFenced)
	}
	pause := newBackoff(5*time.Millisecond, 500*time.Millisecond)
	unknown, fenced := false, false
	for {
		res, done, err := s.attempt(ctx, own, fenced, build)
		switch {
		case err == nil && (done || res.Succeeded):
			return res, nil
		case err == nil && own != nil && res.Current[0].ModRev != own.rec.Revision:
			own.markLost()
			fenced = true
			if !unknown { // else build looks whether an earlier attempt was applied before the fence fell
				return TxnResult{}, fmt.Errorf("%s: shard %s, epoch %d: %w", what, own.rec.ID, own.rec.Epoch, ErrFenced)
			}
			continue
		case err == nil: // what it was computed from has changed
			pause.reset()
		case !errors.Is(err, ErrUnavailable):
			return TxnResult{}, fmt.Errorf("%s: %w", what, err)
		default:
			unknown = true
		}
		if pause.wait(ctx) != nil {
			if err == nil {
				err = fmt.Errorf("%w: no attempt came through within %v", ErrUnavailable, s.cfg.RequestTimeout)
			}
			return TxnResult{}, fmt.Errorf("%s: %w", what, err)
		}
	}
}

// attempt is one round of transact, bounded so that another one has time to look at its outcome.
func (s *Store) attempt(ctx context.Context, own *Ownership, fenced bool, build func(context.Context) (plan, bool, error)) (TxnResult, bool, error) {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.RequestTimeout/3)
	defer cancel()
	p, done, err := build(ctx)
	if err != nil || done {
		return TxnResult{}, done && err == nil, err
	}
	if fenced {
		return TxnResult{}, false, fmt.Errorf("shard %s, epoch %d: %w", own.rec.ID, own.rec.Epoch, ErrFenced)
	}
	if own != nil {
		p.compares = append([]Compare{own.fence()}, p.compares...)
	}
	res, err := s.kv.Txn(ctx, p.compares, p.ops)
	return res, false, err
}

// acquire takes the token of a semaphore of one.
func acquire(ctx context.Context, sem chan struct{}) error {
	select {
	case sem <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
