package metadata

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"log/slog"
	"net/url"
	"os" //nolint:depguard // etcd's sockets live in a private temporary directory: nothing that must survive a crash
	"path/filepath"
	"sync"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"
	"go.etcd.io/etcd/server/v3/etcdserver/api/v3client"
)

// compactInterval is how often the embedded etcd's history is cut. etcd's own compactor looks every five minutes only.
const compactInterval = 10 * time.Second

// advertisedPeer is what the single member calls itself. Nothing listens there and nobody dials it.
const advertisedPeer = "http://127.0.0.1:2380"

// Embedded is an etcd in this process, with one member.
type Embedded struct {
	etcd      *embed.Etcd
	client    *clientv3.Client
	kv        *etcdKV
	socketDir string
	endpoints []string
	stop      context.CancelFunc
	wg        sync.WaitGroup
	closeOnce sync.Once
	closeErr  error
	stopped   chan struct{}
}

// OpenEmbedded starts an etcd in this process and waits until it serves. It listens on a unix socket in a private directory, unless cfg.Listen says
// otherwise; the process itself talks to it without sockets. ctx bounds the start only.
func OpenEmbedded(ctx context.Context, cfg EmbedConfig) (*Embedded, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	cfg = cfg.withDefaults()
	socketDir, err := makeSocketDir(cfg.Dir)
	if err != nil {
		return nil, fmt.Errorf("embedded etcd: %w", err)
	}
	e := &Embedded{socketDir: socketDir, stopped: make(chan struct{})}
	ec, err := embedConfig(cfg, socketDir)
	if err == nil {
		e.etcd, err = embed.StartEtcd(ec)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("embedded etcd in %s: %w", cfg.Dir, err), os.RemoveAll(socketDir))
	}
	timeout := time.NewTimer(cfg.StartTimeout)
	defer timeout.Stop()
	select {
	case <-e.etcd.Server.ReadyNotify():
	case <-e.etcd.Server.StopNotify():
		err = fmt.Errorf("embedded etcd in %s: stopped while starting", cfg.Dir)
	case err = <-e.etcd.Err():
		err = fmt.Errorf("embedded etcd in %s: %w", cfg.Dir, err)
	case <-timeout.C:
		err = fmt.Errorf("embedded etcd in %s: not ready after %v: %w", cfg.Dir, cfg.StartTimeout, ErrUnavailable)
	case <-ctx.Done():
		err = fmt.Errorf("embedded etcd in %s: %w", cfg.Dir, ctx.Err())
	}
	if err != nil {
		e.etcd.Close()
		return nil, errors.Join(err, os.RemoveAll(socketDir))
	}
	for _, u := range ec.ListenClientUrls {
		e.endpoints = append(e.endpoints, u.String())
	}
	if cfg.Listen != "" && len(e.etcd.Clients) > 0 { // port 0 was resolved by the listener
		e.endpoints[0] = ec.ListenClientUrls[0].Scheme + "://" + e.etcd.Clients[0].Addr().String()
	}
	e.client = v3client.New(e.etcd.Server)
	e.kv = newEtcdKV(ctx, e.client, e.client.Close)
	bg, stop := context.WithCancel(context.WithoutCancel(ctx))
	e.stop = stop
	e.wg.Go(func() { e.compact(bg, cfg.CompactRevisions, cfg.Logger) }) // waited for in Close
	go func() {                                                         // ends with the server, which Close stops
		<-e.etcd.Server.StopNotify()
		close(e.stopped)
	}()
	return e, nil
}

// makeSocketDir makes a private directory for the sockets of the etcd in dir. It is not below dir, since a socket's path has 107 bytes at most. Its
// name follows from dir, which the caller has locked, so that a start finds and removes what a killed process has left.
func makeSocketDir(dir string) (string, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	h := fnv.New64a()
	_, _ = h.Write([]byte(abs))
	name := filepath.Join(os.TempDir(), fmt.Sprintf("varve-etcd-%d-%016x", os.Getuid(), h.Sum64()))
	if err := os.RemoveAll(name); err == nil {
		if err := os.Mkdir(name, 0o700); err == nil {
			return name, nil
		}
	}
	return os.MkdirTemp("", "varve-etcd-") // the name is somebody else's
}

// embedConfig builds etcd's configuration.
func embedConfig(cfg EmbedConfig, socketDir string) (*embed.Config, error) {
	ec := embed.NewConfig()
	ec.Name = "varve"
	ec.Dir = cfg.Dir
	ec.TickMs, ec.ElectionMs = uint(cfg.Tick.Milliseconds()), uint(cfg.Election.Milliseconds())
	ec.QuotaBackendBytes = cfg.QuotaBytes
	ec.MaxTxnOps = 2 * MaxTxnOps
	ec.EnableGRPCGateway = false
	ec.UnsafeNoFsync = cfg.UnsafeNoFsync
	ec.ZapLoggerBuilder = embed.NewZapLoggerBuilder(zapBridge(cfg.Logger, false))
	// Fields, not parsed URLs: etcd takes a peer's socket path from Host.
	ec.ListenPeerUrls = []url.URL{{Scheme: "unix", Host: filepath.Join(socketDir, "p")}}
	ec.ListenClientUrls = []url.URL{{Scheme: "unix", Path: filepath.Join(socketDir, "c")}}
	advertised, err := url.Parse(advertisedPeer)
	if err != nil {
		return nil, err
	}
	ec.AdvertisePeerUrls = []url.URL{*advertised}
	ec.AdvertiseClientUrls = []url.URL{*advertised}
	ec.InitialCluster = ec.Name + "=" + advertisedPeer
	if cfg.Listen != "" {
		u, err := url.Parse(cfg.Listen)
		if err != nil {
			return nil, fmt.Errorf("listen %q: %w", cfg.Listen, err)
		}
		ec.ListenClientUrls = []url.URL{*u}
	}
	return ec, nil
}

// compact cuts the history to the last keep revisions, again and again. It logs a failure and goes on: the next round will do.
func (e *Embedded) compact(ctx context.Context, keep int64, log *slog.Logger) {
	tick := time.NewTicker(compactInterval)
	defer tick.Stop()
	for done := int64(0); ; {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		res, err := e.kv.Range(ctx, RangeRequest{Prefix: KeyRoot, Limit: 1})
		if err == nil && res.Rev-keep > done+keep/10 {
			if _, err = e.client.Compact(ctx, res.Rev-keep); errors.Is(err, rpctypes.ErrCompacted) {
				err = nil // the history of a restored etcd begins at its present
			}
			done = res.Rev - keep
		}
		if err != nil && ctx.Err() == nil {
			log.Warn("compaction of the embedded etcd failed", "error", err)
		}
	}
}

// Open returns a store on this etcd. Close the store before the Embedded.
func (e *Embedded) Open(ctx context.Context, cfg StoreConfig) (*Store, error) {
	return NewStore(ctx, e.kv, cfg)
}

// KV returns the connection within the process. It is closed with the Embedded.
func (e *Embedded) KV() KV { return e.kv }

// Endpoints returns the client URLs, for tools.
func (e *Embedded) Endpoints() []string { return e.endpoints }

// Stopped is closed when the etcd has stopped, be it by itself.
func (e *Embedded) Stopped() <-chan struct{} { return e.stopped }

// Close stops compaction and watches, then the client, then the server and its files. It is idempotent.
func (e *Embedded) Close() error {
	e.closeOnce.Do(func() {
		e.stop()
		e.wg.Wait()
		err := e.kv.Close()
		e.etcd.Close()
		<-e.stopped
		e.closeErr = errors.Join(err, os.RemoveAll(e.socketDir))
	})
	return e.closeErr
}
