package broker

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"github.com/google/uuid"
	"golang.org/x/sync/errgroup"

	"github.com/varvemq/varve/broker/queue"
	"github.com/varvemq/varve/metadata"
	"github.com/varvemq/varve/tiering/catalog"
	"github.com/varvemq/varve/tiering/coldread"
	"github.com/varvemq/varve/tiering/guard"
	"github.com/varvemq/varve/tiering/maintain"
	"github.com/varvemq/varve/tiering/seal"
	"github.com/varvemq/varve/tiering/snapshot"
)

// tier is what a broker has for the sealed history of its shard.
type tier struct {
	topics   *topicIndex
	catalog  *catalog.Catalog
	reader   *coldread.Reader
	source   *queue.Source
	sealer   *seal.Sealer
	maintain *maintain.Maintainer
	backups  *snapshot.Keeper // nil with an external etcd

	// background runs something beside the front end until it ends, or its context does.
	background func(func(context.Context))

	clean bool // at the end: all there is is in segments, so that the shard may be released as clean
}

// staleTries is how often a finding of the guard is looked at again: while the shard has a live owner its objects may be newer than what was read of etcd before.
const (
	staleTries = 3
	stalePause = time.Second
)

// guard does step 4 of the package comment.
func (b *broker) guard(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, reachTimeout)
	defer cancel()
	remembered, err := guard.Recall(b.cfg.FS, b.cfg.DataDir)
	if err != nil {
		return err
	}
	for try := 1; ; try++ {
		err := b.checkStale(ctx, remembered)
		var stale *guard.StaleError
		if !errors.As(err, &stale) || try == staleTries {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(stalePause):
		}
	}
}

func (b *broker) checkStale(ctx context.Context, remembered *guard.Remembered) error {
	shard := b.cfg.ShardName
	in := guard.Input{Bucket: b.bucket, Cluster: b.clusterID, Shard: shard, Remembered: remembered, DataDir: b.cfg.DataDir}
	var err error
	if in.EtcdRevision, err = b.store.Revision(ctx); err != nil {
		return err
	}
	if sh, ok := b.store.Shard(shard); ok {
		in.ShardEpoch, in.ShardClaim = sh.Epoch, sh.Claim
	}
	if in.State, err = b.store.SealedState(ctx, shard); err != nil {
		return err
	}
	return guard.Check(ctx, in)
}

// nextClaim makes a claim on the shard, and notes it in the data directory before it is made in etcd. known are those that this directory may have been granted.
func (b *broker) nextClaim() (claim string, known []string, err error) {
	r, err := guard.Recall(b.cfg.FS, b.cfg.DataDir)
	if err != nil {
		return "", nil, err
	}
	claim = uuid.NewString()
	next := guard.Remembered{Cluster: b.clusterID, Shard: b.cfg.ShardName, Next: claim}
	if r != nil {
		known = r.Claims()
		next.Claim = r.Claim
		if r.Next != "" && b.isGranted(r.Next) {
			next.Claim = r.Next
		}
	}
	return claim, known, guard.Remember(b.cfg.FS, b.cfg.DataDir, next)
}

// isGranted reports whether the shard's present record is of a claim.
func (b *broker) isGranted(claim string) bool {
	sh, ok := b.store.Shard(b.cfg.ShardName)
	return ok && sh.Claim == claim
}

// openTier does step 6 of the package comment: from here on the shard is ours.
func (b *broker) openTier(ctx context.Context) error {
	reach, cancel := context.WithTimeout(ctx, reachTimeout)
	defer cancel()
	rev, err := b.store.Revision(reach)
	if err != nil {
		return err
	}
	if err := guard.MarkEpoch(reach, b.bucket, guard.Epoch{
		Cluster: b.clusterID, Shard: b.own.Shard(), Epoch: b.own.Epoch(), Revision: rev, Broker: b.id, WAL: b.walID(), Claim: b.own.Claim(), CreatedMs: time.Now().UnixMilli(),
	}); err != nil {
		return err
	}
	granted := guard.Remembered{Cluster: b.clusterID, Revision: rev, Shard: b.own.Shard(), Epoch: b.own.Epoch(), Claim: b.own.Claim()}
	if err := guard.Remember(b.cfg.FS, b.cfg.DataDir, granted); err != nil {
		return err
	}
	state, err := b.store.SealedState(reach, b.own.Shard())
	if err != nil {
		return err
	}
	if state.Head, err = b.bind(ctx, state.Head); err != nil {
		return err
	}
	if err := b.queues.WAL().SetEpoch(shardNumber(b.cfg.ShardName), uint32(b.own.Epoch()), state.Head.LSN); err != nil {
		return fmt.Errorf("shard %s: %w", b.cfg.ShardName, err)
	}
	if b.tier.topics, err = newTopicIndex(reach, b.store, b.own.Shard(), b.log); err != nil {
		return err
	}
	if err := guard.PruneEpochs(reach, b.bucket, b.own.Shard(), b.own.Epoch()); errors.Is(err, guard.ErrEpochTaken) {
		return err
	} else if err != nil {
		b.log.Warn("old epoch objects were not deleted", "error", err)
	}
	return b.openCatalog(ctx, state)
}

func (b *broker) walID() string { return uuid.UUID(b.queues.WAL().UUID()).String() }

// remember notes in the data directory how new etcd is.
func (b *broker) remember(revision int64) error {
	return guard.Remember(b.cfg.FS, b.cfg.DataDir, guard.Remembered{Cluster: b.clusterID, Revision: revision, Shard: b.own.Shard(), Epoch: b.own.Epoch()})
}

// coldInFlight bounds what is being fetched from object storage; bulk reads, which the broker does not make, would take three quarters of it.
const coldInFlight = 48 << 20

// sealParts is how many segments the log holds at least.
const sealParts = 8

// openCatalog loads what is sealed and joins the queues to it.
func (b *broker) openCatalog(ctx context.Context, state *metadata.SealedState) error {
	t := &b.tier
	began := time.Now()
	var err error
	if t.catalog, err = catalog.Open(ctx, catalog.Config{Bucket: b.bucket, Cluster: b.clusterID, Shard: b.own.Shard(), Logger: b.log}, state); err != nil {
		return err
	}
	if err := b.dropDeleted(ctx); err != nil {
		return err
	}
	cold := coldread.Config{Catalog: t.catalog, Shard: b.own.Shard(), InFlightBytes: coldInFlight, CacheBytes: b.cfg.ColdCache, DiskCacheBytes: b.cfg.ColdDisk, HedgeAfter: b.cfg.HedgeAfter, FS: b.cfg.FS, Logger: b.log, Registerer: b.reg}
	if b.cfg.ColdDisk > 0 {
		cold.DiskCache = filepath.Join(b.cfg.DataDir, "cold")
	}
	t.reader = coldread.New(cold)
	b.onShutdown("close the reading tier", func(context.Context) error { return t.reader.Close() })
	rows := slices.Collect(t.catalog.Queues())
	if err := b.queues.Attach(t.reader, rows); err != nil {
		return fmt.Errorf("%w: %w", errMisfit, err)
	}
	t.source = b.queues.Source(b.cfg.WALHot, func() { t.sealer.Kick() })
	if t.sealer, err = seal.New(seal.Config{
		Own: b.own, Bucket: b.bucket, Catalog: t.catalog, Source: t.source, Topics: t.topics, FS: b.cfg.FS, SpoolDir: filepath.Join(b.cfg.DataDir, "spool"),
		Cluster: b.clusterID, Shard: b.own.Shard(), Head: state.Head, Bytes: min(b.cfg.SealBytes, b.cfg.WALLimit/sealParts), Age: b.cfg.SealAge, Pressure: b.cfg.WALLimit, Logger: b.log, Registerer: b.reg,
		OnCommit: b.remember,
	}); err != nil {
		return err
	}
	if err := b.openMaintenance(); err != nil {
		return err
	}
	b.log.Info("sealed history opened", "queues", len(rows), "recent_segments", len(state.Segments), "lsn", state.Head.LSN, "took", time.Since(began).Round(time.Millisecond))
	return nil
}

// sealNow puts everything that was appended into segments.
func (b *broker) sealNow(ctx context.Context) error {
	if err := b.queues.WAL().Sync(ctx); err != nil {
		return err
	}
	_, err := b.tier.sealer.Seal(ctx)
	return err
}

// finalSeal bounds what an orderly shutdown takes to put the rest of the log into segments; without that it stays in the log.
const finalSeal = 10 * time.Second

// runTier starts what looks after sealed history, and goes on after front end and timers have ended, since these may wait for it. Its failure ends g. The
// returned function ends it: in order, with what is left in the log sealed if it may be.
func (b *broker) runTier(ctx, serving context.Context, g *errgroup.Group) (stop func(inOrder bool) error) {
	t := &b.tier
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	tg, tctx := errgroup.WithContext(ctx)
	t.background = func(f func(context.Context)) { tg.Go(func() error { f(tctx); return nil }) }
	tg.Go(func() error { return t.topics.run(tctx) })
	tg.Go(func() error { return t.sealer.Run(tctx) })
	tg.Go(func() error { return t.maintain.Run(tctx) })
	if t.backups != nil {
		tg.Go(func() error { return t.backups.Run(tctx) })
	}
	g.Go(func() error {
		select {
		case <-serving.Done():
			return nil
		case <-tctx.Done(): // one of them has failed
			return tg.Wait()
		}
	})
	return func(inOrder bool) error {
		if inOrder && tctx.Err() == nil {
			b.sealRest(tctx)
		}
		cancel()
		return tg.Wait()
	}
}

// sealRest seals what is left at an orderly end, when nothing is appended any more.
func (b *broker) sealRest(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, finalSeal)
	defer cancel()
	sealed := make(chan error, 1)
	go func() { sealed <- b.sealNow(ctx) }()
	tick := time.NewTicker(finalSeal / 20)
	defer tick.Stop()
	for done := false; !done; {
		select {
		case err := <-sealed:
			if err != nil {
				b.log.Warn("not everything was sealed; the log has it", "error", err)
				return
			}
			done = true
		case <-tick.C:
			if b.tier.sealer.Status().Err != nil { // it may take as long as it likes
				cancel()
			}
		}
	}
	head := b.tier.sealer.Head()
	b.tier.clean = head.LSN >= b.queues.WAL().NextLSN(shardNumber(b.cfg.ShardName))
	if t := b.tier.backups; t != nil && b.tier.clean {
		if _, err := t.Take(ctx); err != nil {
			b.log.Warn("no last snapshot of the embedded etcd", "error", err)
		}
	}
}

// Between two passes of maintenance is a quarter of the grace period, within these bounds: who wants things deleted within seconds does not wait for them.
const (
	leastInterval = 250 * time.Millisecond
	mostInterval  = 10 * time.Second
)

// openMaintenance makes what compacts, deletes and backs up.
func (b *broker) openMaintenance() error {
	t := &b.tier
	dirs := []string{filepath.Join(b.cfg.DataDir, "spool-merge")}
	if b.embedded != nil {
		dirs = append(dirs, filepath.Join(b.cfg.DataDir, "spool-etcd"))
	}
	for _, dir := range dirs {
		if err := b.cfg.FS.MkdirAll(dir); err != nil {
			return fmt.Errorf("spool directory %s: %w", dir, err)
		}
	}
	mc := maintain.Config{
		Own: b.own, Meta: b.store, Bucket: b.bucket, Catalog: t.catalog, Topics: t.topics, FS: b.cfg.FS, SpoolDir: dirs[0], Cluster: b.clusterID, Shard: b.own.Shard(),
		Grace: b.cfg.DeleteGrace, Interval: min(mostInterval, max(b.cfg.DeleteGrace/4, leastInterval)), Trimmed: b.queues.RaiseFirst, Tombstones: b.unlogged, DropTombstone: b.dropTombstone, Logger: b.log, Registerer: b.reg,
	}
	var err error
	if b.embedded != nil {
		if t.backups, err = snapshot.New(snapshot.Config{
			Source: b.embedded, Bucket: b.bucket, Cluster: b.clusterID, Shard: b.own.Shard(), Epoch: b.own.Epoch(),
			Valid: func() bool { return b.fence.check() == nil }, FS: b.cfg.FS, SpoolDir: dirs[1], Logger: b.log, Registerer: b.reg,
		}); err != nil {
			return err
		}
		mc.OnRoll = t.backups.Kick
		mc.DeleteBefore = func() int64 { return t.backups.Status().Last.CreatedMs }
	}
	t.maintain, err = maintain.New(mc)
	return err
}

// unlogged returns the tombstones whose queues the log does not have any more.
func (b *broker) unlogged(ctx context.Context) ([]*metadata.Tombstone, error) {
	stones, err := b.store.ListTombstones(ctx)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(stones, func(s *metadata.Tombstone) bool {
		return s.Shard != b.own.Shard() || b.queues.Logs(ordinalsOf(s.Ordinals))
	}), nil
}

func (b *broker) dropTombstone(ctx context.Context, s *metadata.Tombstone) error {
	return b.store.DropTombstone(ctx, b.own, s.Incarnation)
}

func ordinalsOf(ranges []metadata.OrdinalRange) (ordinals []uint32) {
	for _, r := range ranges {
		for i := range uint32(r.Count) {
			ordinals = append(ordinals, r.First+i)
		}
	}
	return ordinals
}
