package remoting

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"net"
	"net/netip"
	"runtime"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"github.com/varvemq/varve/broker/group"
	"github.com/varvemq/varve/broker/queue"
	"github.com/varvemq/varve/internal/message"
	"github.com/varvemq/varve/metadata"
)

// TLSMode says which connections are let in.
type TLSMode string

// The TLS modes, as RocketMQ names them.
const (
	TLSDisabled   TLSMode = "disabled"
	TLSPermissive TLSMode = "permissive" // plain and TLS on the same port
	TLSEnforcing  TLSMode = "enforcing"
)

// Config is what a [Server] needs to know. Times and sizes of zero mean default.
type Config struct {
	Cluster       string         // RocketMQ's cluster name
	Shard         string         // the shard's name: the brokerName of the protocol
	Advertise     netip.AddrPort // the shard's address in routes, and the store host of messages
	AdvertiseHost string         // the host as configured, which may be a name
	MaxMessage    int            // largest body, bytes
	FlushSync     bool           // the flush mode of topics that set none
	TLS           *tls.Config    // nil without TLS
	TLSMode       TLSMode
	IdleTimeout   time.Duration // a connection silent for this long is closed; 120 s
	Version       string        // of this build, for the runtime information
	DataDir       string        // for the runtime information, as are the two sizes
	WALHot        int64         // bytes of the log kept for reading once sealed
	TailCache     int64         // bytes of the newest messages in memory
	Delays        message.DelayLevels
	Logger        *slog.Logger
	Registerer    prometheus.Registerer
}

// Deps are the parts that the front end serves.
type Deps struct {
	Log      *queue.Log
	Metadata Metadata
	Offsets  *metadata.OffsetCommitter
	Groups   *group.Manager
	Locks    *group.Locks
	// Ready says why the broker cannot take a send or serve a pull now; nil when it can.
	Ready func() error
	// Storage answers requests about sealed history. Nil: they are not served.
	Storage Storage
	// WhyFull says more about a log at its limit, if there is more to say. May be nil.
	WhyFull func() string
	// DropQueues is told of the ordinals of a deleted topic.
	DropQueues func(ordinals []metadata.OrdinalRange)
}

// Server is the remoting front end.
type Server struct {
	cfg  Config
	deps Deps
	log  *slog.Logger
	m    *metrics

	topics    *topicTable
	pulls     *pullQueue
	coldPulls *pullQueue // those that have to ask object storage
	sendOps   sync.Pool  // of *sendOp
	pullPool  sync.Pool  // of *pull
	handlers  map[int32]handler
	warn      routeWarning
	started   time.Time
	stats     *counters
	resets    *pendingResets
	ids       *message.IDGenerator
	sendSlots chan struct{} // held sends: see holdSend

	mu    sync.Mutex // guards conns
	conns map[*conn]struct{}
}

// New makes a server that listens nowhere yet.
func New(cfg Config, deps Deps) *Server {
	if cfg.IdleTimeout == 0 {
		cfg.IdleTimeout = 120 * time.Second
	}
	s := &Server{
		cfg: cfg, deps: deps, log: cfg.Logger, started: time.Now(),
		conns:     map[*conn]struct{}{},
		stats:     newCounters(time.Now),
		resets:    newPendingResets(),
		sendSlots: make(chan struct{}, maxHeldSends),
	}
	s.ids = message.NewIDGenerator(cfg.Advertise.Addr(), rand.IntN(1<<16), uint32(s.started.UnixNano())) //nolint:gosec // ids are unique, not secret
	s.m = newMetrics(cfg.Registerer, s)
	s.topics = newTopicTable(s)
	s.pulls, s.coldPulls = newPullQueue(max(4, 2*runtime.GOMAXPROCS(0))), newPullQueue(coldWorkers)
	s.coldPulls.cold = true
	s.handlers = s.table()
	if deps.Storage != nil {
		maps.Copy(s.handlers, s.storageTable())
	}
	return s
}

// Serve accepts connections on the listeners until ctx ends, and then until every connection is closed. Listeners are closed.
func (s *Server) Serve(ctx context.Context, listeners ...net.Listener) error {
	g, ctx := errgroup.WithContext(ctx)
	for _, l := range listeners {
		g.Go(func() error { return s.accept(ctx, l) })
		context.AfterFunc(ctx, func() { _ = l.Close() })
	}
	g.Go(func() error { return s.pulls.run(ctx) })
	g.Go(func() error { return s.coldPulls.run(ctx) })
	g.Go(func() error { return s.deps.Groups.Run(ctx) })
	g.Go(func() error { return s.resets.run(ctx, s.consumerIDs) })
	return g.Wait()
}

func (s *Server) accept(ctx context.Context, l net.Listener) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	delay := time.Duration(0)
	for {
		nc, err := l.Accept()
		switch {
		case ctx.Err() != nil:
			if err == nil {
				_ = nc.Close()
			}
			return nil
		case errors.Is(err, net.ErrClosed):
			return fmt.Errorf("listener %s: %w", l.Addr(), err)
		case err != nil: // out of descriptors, most likely: wait and go on
			delay = min(max(2*delay, 5*time.Millisecond), time.Second)
			s.log.Warn("accept a connection", "addr", l.Addr().String(), "retry_in", delay, "err", err)
			select {
			case <-time.After(delay):
			case <-ctx.Done():
			}
			continue
		}
		delay = 0
		wg.Go(func() { s.serveConn(ctx, nc) })
	}
}

// Connections returns how many connections are open.
func (s *Server) Connections() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.conns)
}

func (s *Server) add(c *conn) {
	s.mu.Lock()
	s.conns[c] = struct{}{}
	s.mu.Unlock()
}

func (s *Server) remove(c *conn) {
	s.mu.Lock()
	delete(s.conns, c)
	s.mu.Unlock()
	s.deps.Groups.Disconnected(c)
}
