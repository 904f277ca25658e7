package broker

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"log/slog"
	"net"
	"path/filepath"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"golang.org/x/sync/errgroup"

	"github.com/varvemq/varve/broker/queue"
	"github.com/varvemq/varve/broker/remoting"
	"github.com/varvemq/varve/broker/timer"
	"github.com/varvemq/varve/broker/wal"
	"github.com/varvemq/varve/internal/message"
	"github.com/varvemq/varve/internal/vfs"
	"github.com/varvemq/varve/metadata"
	"github.com/varvemq/varve/tiering/objstore"
)

// reachTimeout bounds each step of a start that talks to etcd or to the object store over the network.
const reachTimeout = 30 * time.Second

// leaseSlack is what etcd may take to end a lease that is over.
const leaseSlack = 2 * time.Second

// shutdownTimeout bounds each step of an orderly shutdown that needs etcd.
const shutdownTimeout = 5 * time.Second

// Run starts a broker and blocks until ctx ends and everything is shut down in order, or until it cannot go on.
func Run(ctx context.Context, cfg Config) (err error) {
	if err := cfg.Validate(); err != nil {
		return err
	}
	b := &broker{cfg: cfg.withDefaults(), reg: prometheus.NewRegistry()}
	b.log = b.cfg.Logger
	b.fence.log = b.log
	b.reg.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	defer func() { err = errors.Join(err, b.shutdown(context.WithoutCancel(ctx))) }()
	if err := b.start(ctx); err != nil {
		return err
	}
	return b.serve(ctx)
}

// broker is a broker being run.
type broker struct {
	cfg   Config
	log   *slog.Logger
	reg   *prometheus.Registry
	fence fence
	fatal chan error

	embedded    *metadata.Embedded // nil with an external etcd
	etcdStopped <-chan struct{}    // closed when the embedded etcd ends; nil with an external one

	closers []closer // in order of start

	clusterID uuid.UUID
	store     *metadata.Store
	own       *metadata.Ownership
	offsets   *metadata.OffsetCommitter
	queues    *queue.Log
	bucket    objstore.Store
	tier      tier
	delays    message.DelayLevels

	namesrv, main, http net.Listener
	front               *remoting.Server
	levels              *timer.Levels
	id                  string
}

// closer is one step of the shutdown.
type closer struct {
	what  string
	close func(ctx context.Context) error
}

func (b *broker) onShutdown(what string, f func(ctx context.Context) error) {
	b.closers = append(b.closers, closer{what, f})
}

func (b *broker) shutdown(ctx context.Context) error {
	var errs []error
	for _, c := range slices.Backward(b.closers) {
		stepCtx, cancel := context.WithTimeout(ctx, shutdownTimeout)
		if err := c.close(stepCtx); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", c.what, err))
		}
		cancel()
	}
	return errors.Join(errs...)
}

// start does the steps 1 to 8 of the package comment, and listens.
func (b *broker) start(ctx context.Context) error {
	b.fatal = make(chan error, 1)
	for _, step := range []func(context.Context) error{b.lock, b.listen, b.openMetadata, b.openBucket, b.identify, b.guard, b.openLog, b.checkLog, b.acquire, b.openTier, b.prepare} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (b *broker) lock(context.Context) error {
	if err := b.cfg.FS.MkdirAll(b.cfg.DataDir); err != nil {
		return fmt.Errorf("data directory %s: %w", b.cfg.DataDir, err)
	}
	lock, err := b.cfg.FS.Lock(filepath.Join(b.cfg.DataDir, "lock"))
	if errors.Is(err, vfs.ErrLocked) {
		return fmt.Errorf("data directory %s is in use by another process", b.cfg.DataDir)
	}
	if err != nil {
		return fmt.Errorf("lock the data directory %s: %w", b.cfg.DataDir, err)
	}
	b.onShutdown("unlock the data directory", func(context.Context) error { return lock.Close() })
	return nil
}

// listen takes the ports early, so that a port in use is found before anything is opened; nothing is accepted until the end of the start.
func (b *broker) listen(ctx context.Context) error {
	var lc net.ListenConfig
	for _, l := range []struct {
		key, addr string
		to        *net.Listener
	}{
		{"namesrv-listen", b.cfg.NamesrvListen, &b.namesrv},
		{"broker-listen", b.cfg.BrokerListen, &b.main},
		{"http-listen", b.cfg.HTTPListen, &b.http},
	} {
		listener, err := lc.Listen(ctx, "tcp", l.addr)
		if err != nil {
			return fmt.Errorf("%s: %w", l.key, err)
		}
		*l.to = listener
		b.onShutdown("close "+l.key, func(context.Context) error { return closed(listener.Close()) })
	}
	return nil
}

// closed forgives a listener that was closed already.
func closed(err error) error {
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

func (b *broker) openMetadata(ctx context.Context) error {
	sc := metadata.StoreConfig{Cluster: b.cfg.Cluster, Logger: b.log}
	var err error
	if len(b.cfg.Etcd) > 0 {
		ctx, cancel := context.WithTimeout(ctx, reachTimeout)
		defer cancel()
		if b.store, err = metadata.Open(ctx, metadata.Config{Endpoints: b.cfg.Etcd, StoreConfig: sc}); err != nil {
			return fmt.Errorf("etcd at %v: %w", b.cfg.Etcd, err)
		}
	} else {
		embedded, err := metadata.OpenEmbedded(ctx, metadata.EmbedConfig{Dir: filepath.Join(b.cfg.DataDir, "etcd"), Logger: b.log})
		if err != nil {
			return fmt.Errorf("embedded etcd: %w", err)
		}
		b.embedded, b.etcdStopped = embedded, embedded.Stopped()
		b.onShutdown("stop the embedded etcd", func(context.Context) error { return embedded.Close() })
		if b.store, err = embedded.Open(ctx, sc); err != nil {
			return fmt.Errorf("embedded etcd: %w", err)
		}
	}
	b.onShutdown("close the metadata store", func(context.Context) error { return b.store.Close() })
	return nil
}

func (b *broker) openBucket(ctx context.Context) error {
	url := b.cfg.ObjectStore
	if url == "" {
		url = filepath.Join(b.cfg.DataDir, "objects")
	}
	var err error
	if b.bucket, err = objstore.OpenWith(ctx, url, objstore.Options{Registerer: b.reg}); err != nil {
		return fmt.Errorf("object store: %w", err)
	}
	b.onShutdown("close the object store", func(context.Context) error { return b.bucket.Close() })
	ctx, cancel := context.WithTimeout(ctx, reachTimeout)
	defer cancel()
	if err := b.bucket.Check(ctx); err != nil {
		return fmt.Errorf("object store: %w", err)
	}
	return nil
}

func (b *broker) identify(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, reachTimeout)
	defer cancel()
	var err error
	b.clusterID, err = ensureIdentity(ctx, b.store, b.bucket, b.cfg.FS, b.cfg.DataDir)
	return err
}

func (b *broker) openLog(ctx context.Context) error {
	addr, err := b.cfg.advertised(b.main.Addr())
	if err != nil {
		return err
	}
	began := time.Now()
	b.queues, err = queue.Open(ctx, queue.Config{
		WAL: wal.Config{
			Dir: filepath.Join(b.cfg.DataDir, "wal"), FS: b.cfg.FS, Limit: b.cfg.WALLimit, FileSize: b.cfg.walFileSize(), TailBytes: b.cfg.TailCache,
			BootID: b.cfg.BootID, Fence: b.fence.wait, Logger: b.log, Registerer: b.reg,
			OnFatal: func(err error) {
				select {
				case b.fatal <- err:
				default:
				}
			},
		},
		Shard: wal.Shard{ID: shardNumber(b.cfg.ShardName)}, StoreHost: addr, Logger: b.log, Registerer: b.reg,
	})
	if err != nil {
		return err
	}
	b.onShutdown("close the log", func(context.Context) error { return b.queues.Close() })
	b.log.Info("write-ahead log opened", "took", time.Since(began).Round(time.Millisecond))
	return nil
}

// shardNumber is the shard's number in the records of the WAL.
func shardNumber(name string) uint32 {
	return crc32.Checksum([]byte(name), crc32.MakeTable(crc32.Castagnoli))
}

func (b *broker) acquire(ctx context.Context) error {
	addr, err := b.cfg.advertised(b.main.Addr())
	if err != nil {
		return err
	}
	walID := b.walID()
	b.id = b.cfg.ShardName + "@" + walID
	accept := b.cfg.AcceptTailLoss == "all" || b.cfg.AcceptTailLoss == b.cfg.ShardName
	claim, known, err := b.nextClaim()
	if err != nil {
		return err
	}
	own, err := b.store.AcquireShard(ctx, metadata.ShardClaim{
		ID: claim, Known: known, Shard: b.cfg.ShardName, Broker: b.id, WALUUID: walID, LeaseTTL: b.cfg.LeaseTTL, Wait: b.cfg.LeaseTTL + b.cfg.LeaseTTL/metadata.LeaseMargin + leaseSlack,
		AcceptTailLoss: accept, AdvertisedAddr: addr.String(), LeaseExempt: len(b.cfg.Etcd) == 0,
	})
	if errors.Is(err, metadata.ErrOldCopy) {
		return fmt.Errorf("%w: what was acknowledged since is not in %s; start with an empty data directory", err, b.cfg.DataDir)
	}
	if errors.Is(err, metadata.ErrTailDirty) {
		return fmt.Errorf("%w: messages that are only there would be lost; bring that data directory back, or accept the loss with --accept-tail-loss=%s", err, b.cfg.ShardName)
	}
	if err != nil {
		return fmt.Errorf("acquire shard %s: %w", b.cfg.ShardName, err)
	}
	b.own = own
	b.fence.own.Store(own)
	b.onShutdown("release the shard", func(ctx context.Context) error { return b.own.Release(ctx, b.tier.clean) })
	b.onShutdown("close the log", func(context.Context) error { return b.queues.Close() }) // before the shard is released; the later call does nothing
	b.log.Info("shard acquired", "shard", b.cfg.ShardName, "epoch", own.Epoch(), "tail_lost", own.TailLost())
	b.offsets, err = b.store.OpenOffsets(ctx, own, metadata.OffsetConfig{})
	if err != nil {
		return fmt.Errorf("load committed offsets: %w", err)
	}
	b.onShutdown("flush committed offsets", b.offsets.Close)
	return nil
}

// serve does step 9 and blocks until the broker ends.
func (b *broker) serve(ctx context.Context) (err error) {
	g, gctx := errgroup.WithContext(ctx)
	stopTier := b.runTier(ctx, gctx, g)
	defer func() { err = errors.Join(err, stopTier(err == nil)) }()
	g.Go(func() error { return b.front.Serve(gctx, b.namesrv, b.main) })
	g.Go(func() error { return b.levels.Run(gctx) })
	g.Go(func() error { return serveHTTP(gctx, b.http, httpHandler(b.reg, b.ready, b.troubles, b.cfg.Pprof)) })
	g.Go(func() error {
		select {
		case <-gctx.Done():
			return nil
		case err := <-b.fatal:
			return fmt.Errorf("the write-ahead log cannot go on: %w", err)
		case <-b.own.Lost():
			return errLost
		case <-b.etcdStopped:
			return errEtcdEnded
		}
	})
	addrs := Addrs{Namesrv: b.namesrv.Addr().String(), Broker: b.main.Addr().String(), HTTP: b.http.Addr().String()}
	b.log.Info("ready", "namesrv", addrs.Namesrv, "broker", addrs.Broker, "http", addrs.HTTP, "cluster_id", b.clusterID.String())
	if b.cfg.OnReady != nil {
		b.cfg.OnReady(addrs)
	}
	return g.Wait()
}

func (b *broker) ready() error { return b.fence.check() }
