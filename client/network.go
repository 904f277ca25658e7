package client

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/varvemq/varve/internal/remoting"
)

const (
	minBackoff = 50 * time.Millisecond
	maxBackoff = 5 * time.Second
)

// network holds one connection per server address, makes them when they are
// needed and makes them again, with growing pauses, when they break.
type network struct {
	cfg   *config
	serve func(*conn, *remoting.Command)
	wg    sync.WaitGroup // readers and writers
	// connected is called, if it is not nil, after a connection was made. It must not block.
	connected func()

	mu     sync.Mutex
	peers  map[string]*peer   // guarded by mu
	conns  map[*conn]struct{} // guarded by mu: all that have goroutines
	closed bool               // guarded by mu
}

// peer is a server address. Its fields are guarded by network.mu.
type peer struct {
	conn     *conn
	dialing  chan struct{} // closed when the dial in progress ended; nil if none is
	failures int
	notUntil time.Time // no dial before
	lastErr  error
}

func newNetwork(cfg *config, serve func(*conn, *remoting.Command)) *network {
	return &network{cfg: cfg, serve: serve, peers: make(map[string]*peer), conns: make(map[*conn]struct{})}
}

// get returns a live connection to addr, making it if need be. During the pause
// after a failed attempt it waits.
func (n *network) get(ctx context.Context, addr string) (*conn, error) {
	for {
		n.mu.Lock()
		if n.closed {
			n.mu.Unlock()
			return nil, ErrClosed
		}
		p := n.peers[addr]
		if p == nil {
			p = &peer{}
			n.peers[addr] = p
		}
		if p.conn != nil && p.conn.alive() {
			c := p.conn
			n.mu.Unlock()
			return c, nil
		}
		if dialing := p.dialing; dialing != nil {
			n.mu.Unlock()
			select {
			case <-dialing:
				continue
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		}
		if wait := time.Until(p.notUntil); wait > 0 {
			last := p.lastErr
			n.mu.Unlock()
			if !sleep(ctx, wait) {
				return nil, fmt.Errorf("%w (last attempt: %w)", ctx.Err(), last)
			}
			continue
		}
		p.dialing = make(chan struct{})
		n.mu.Unlock()
		return n.connect(ctx, addr, p)
	}
}

// failing reports whether a request to addr would have to wait, because the last
// attempt to connect failed a moment ago.
func (n *network) failing(addr string) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	p := n.peers[addr]
	return p != nil && p.failures > 0 && time.Now().Before(p.notUntil)
}

// reached reports whether there is a live connection to addr.
func (n *network) reached(addr string) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	p := n.peers[addr]
	return p != nil && p.conn != nil && p.conn.alive()
}

// connect dials for the caller that set p.dialing.
func (n *network) connect(ctx context.Context, addr string, p *peer) (*conn, error) {
	nc, err := n.dial(ctx, addr)
	if n.cfg.hooks.Connected != nil {
		n.cfg.hooks.Connected(addr, err)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	close(p.dialing)
	p.dialing = nil
	if err != nil {
		if ctx.Err() == nil { // else the caller gave up, which says nothing about the server
			p.failures++
			p.lastErr = err
			pause := min(maxBackoff, minBackoff<<min(p.failures-1, 10))
			p.notUntil = time.Now().Add(pause/2 + rand.N(pause/2)) //nolint:gosec // jitter
		}
		return nil, err
	}
	if n.closed {
		_ = nc.Close() // nothing was sent
		return nil, ErrClosed
	}
	p.failures, p.lastErr = 0, nil
	c := newConn(addr, nc, n.serve)
	p.conn = c
	if n.connected != nil {
		n.connected()
	}
	n.conns[c] = struct{}{}
	n.wg.Add(2)
	go func() {
		defer n.wg.Done()
		c.writeLoop()
	}()
	go func() {
		defer n.wg.Done()
		c.readLoop()
		n.ended(c)
	}()
	return c, nil
}

// ended reports the end of a connection.
func (n *network) ended(c *conn) {
	n.mu.Lock()
	delete(n.conns, c)
	n.mu.Unlock()
	err := c.cause()
	if errors.Is(err, ErrClosed) {
		err = nil
	}
	if n.cfg.hooks.Disconnected != nil {
		n.cfg.hooks.Disconnected(c.addr, err)
	}
	switch {
	case err == nil, errors.Is(err, errRetired):
	case errors.Is(err, io.EOF):
		n.cfg.logger.Debug("connection closed by server", "addr", c.addr)
	default:
		n.cfg.logger.Warn("connection lost", "addr", c.addr, "error", err)
	}
}

func (n *network) dial(ctx context.Context, addr string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, n.cfg.dialTimeout)
	defer cancel()
	d := net.Dialer{KeepAlive: 30 * time.Second}
	if n.cfg.tls == nil {
		return d.DialContext(ctx, "tcp", addr)
	}
	td := tls.Dialer{NetDialer: &d, Config: n.cfg.tls}
	return td.DialContext(ctx, "tcp", addr)
}

// errRetired ends a connection that its server wants to be rid of.
var errRetired = errors.New("server is draining the connection")

// retire makes the next request to the address use a new connection. Requests
// on the old one may still be answered.
func (n *network) retire(c *conn) {
	n.mu.Lock()
	p := n.peers[c.addr]
	if p == nil || p.conn != c {
		n.mu.Unlock()
		return
	}
	p.conn = nil
	n.mu.Unlock()
	time.AfterFunc(writeTimeout, func() { c.fail(errRetired) })
}

// request sends a request to an address and returns the response. It bounds
// the whole by the timeout. An error is an *Error, or ErrClosed.
func (n *network) request(ctx context.Context, op, addr string, cmd *remoting.Command, timeout time.Duration) (*remoting.Command, error) {
	return n.requestHeld(ctx, op, addr, cmd, 0, timeout)
}

// requestHeld is request, of what the server may hold for some time before it
// answers; the timeout bounds the rest.
func (n *network) requestHeld(ctx context.Context, op, addr string, cmd *remoting.Command, hold, timeout time.Duration) (*remoting.Command, error) {
	ctx, cancel := context.WithTimeout(ctx, hold+timeout)
	defer cancel()
	n.stamp(cmd)
	for try := 0; ; try++ {
		c, err := n.get(ctx, addr)
		if err != nil {
			return nil, netError(op, addr, fmt.Errorf("%w: %w", errUnsent, err))
		}
		reply, err := c.roundTrip(ctx, cmd, hold)
		if err != nil {
			if try == 0 && errors.Is(err, errUnsent) && ctx.Err() == nil && !errors.Is(err, ErrInvalid) {
				continue // the connection was stale
			}
			return nil, netError(op, addr, err)
		}
		if reply.Code == remoting.RespGoAway {
			n.retire(c)
			if try == 0 {
				continue
			}
		}
		return reply, nil
	}
}

// oneway sends a request that wants no response.
func (n *network) oneway(ctx context.Context, op, addr string, cmd *remoting.Command) error {
	ctx, cancel := context.WithTimeout(ctx, n.cfg.requestTimeout)
	defer cancel()
	n.stamp(cmd)
	cmd.Flag |= remoting.FlagOneway
	c, err := n.get(ctx, addr)
	if err == nil {
		err = c.enqueue(ctx, cmd, nil)
	}
	if err != nil {
		return netError(op, addr, fmt.Errorf("%w: %w", errUnsent, err))
	}
	return nil
}

// stamp fills in what all our commands have in common.
func (n *network) stamp(cmd *remoting.Command) {
	cmd.Language, cmd.Version = remoting.LanguageGo, remoting.CurrentVersion
	if cmd.Codec = remoting.CodecBinary; n.cfg.json {
		cmd.Codec = remoting.CodecJSON
	}
}

// close ends all connections and waits for their goroutines.
func (n *network) close() {
	n.mu.Lock()
	n.closed = true
	conns := slices.Collect(maps.Keys(n.conns))
	n.mu.Unlock()
	for _, c := range conns {
		c.fail(ErrClosed)
	}
	n.wg.Wait()
}

// netError makes an *Error of a failure without an answer.
func netError(op, addr string, err error) error {
	if errors.Is(err, ErrClosed) {
		return fmt.Errorf("%s: %w", op, ErrClosed)
	}
	return &Error{Op: op, Addr: addr, Code: CodeNone, Err: err, Unknown: !errors.Is(err, errUnsent)}
}

// answerError makes an *Error of a response that is no success.
func answerError(op, addr string, reply *remoting.Command) error {
	return &Error{Op: op, Addr: addr, Code: Code(reply.Code), Remark: reply.Remark}
}
