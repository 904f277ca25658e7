package broker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/varvemq/varve/metadata"
)

// errFenced says that the shard is not ours at the moment. It wraps what front ends answer with "busy, try later".
var errFenced = fmt.Errorf("[FENCED]the broker's lease on its shard has run out; sends and pulls go on when etcd is back: %w", metadata.ErrUnavailable)

// errLost says that the shard has another owner.
var errLost = errors.New("the shard has another owner or epoch: this broker must not go on")

// errEtcdEnded says that the broker's own etcd is gone: offsets could not be kept any more.
var errEtcdEnded = errors.New("the embedded etcd has stopped by itself")

// fencePoll is how often a fenced log looks whether its lease holds again.
const fencePoll = 20 * time.Millisecond

// fence answers whether this broker still owns its shard. The log asks before it acknowledges or shows anything.
type fence struct {
	own atomic.Pointer[metadata.Ownership] // nil before the shard is acquired: nothing is appended then
	log *slog.Logger
}

// check is for requests: may they be served now?
func (f *fence) check() error {
	if own := f.own.Load(); own == nil || !own.Valid(metadata.BootClock()) {
		return errFenced
	}
	return nil
}

// wait blocks until the lease holds, so that what is durable but not acknowledged is acknowledged after an outage and never while somebody
// else may own the shard; an error means that it never will.
func (f *fence) wait(ctx context.Context) error {
	own := f.own.Load()
	if own == nil || own.Valid(metadata.BootClock()) {
		return nil
	}
	f.log.Warn("lease has run out: acknowledgements wait until etcd is back")
	tick := time.NewTicker(fencePoll)
	defer tick.Stop()
	for {
		select {
		case <-own.Lost():
			return errLost
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
			if own.Valid(metadata.BootClock()) {
				f.log.Info("lease holds again: acknowledgements go on")
				return nil
			}
		}
	}
}
