package remoting

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	wire "github.com/varvemq/varve/internal/remoting"
)

const (
	// maxSlowRequests is how many requests of one connection may run in goroutines of their own at a time.
	maxSlowRequests = 64
	// maxSlowBytes bounds the copies of their bodies: two of the largest.
	maxSlowBytes = 32 << 20
	// drainGrace bounds how long a shutdown waits for the answers of one connection's sends.
	drainGrace = 5 * time.Second
	// lingerGrace bounds how long a shutdown waits for a peer to take the end of its connection.
	lingerGrace = time.Second
	// deadlineGrain is how stale a connection's read deadline may be: setting it anew for each frame costs a lock in the runtime.
	deadlineGrain = 5 * time.Second
)

// conn is one client's connection.
type conn struct {
	srv    *Server
	nc     net.Conn
	remote netip.AddrPort
	log    *slog.Logger
	out    *outbox

	codec    atomic.Uint32 // of the last request
	language atomic.Int32
	version  atomic.Int32
	opaque   atomic.Int32 // of our own requests

	pulls    connPulls
	inFlight atomic.Int64 // sends that the log has and that are not answered

	slow      chan struct{}  // a slot for each request that runs in a goroutine of its own
	slowBytes atomic.Int64   // the bodies of those requests
	wg        sync.WaitGroup // those goroutines
}

// serveConn runs a connection to its end.
func (s *Server) serveConn(ctx context.Context, raw net.Conn) {
	shutdown := ctx
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	// From the first byte on: a connection that says nothing must not hold up a shutdown.
	stop := context.AfterFunc(ctx, func() { _ = raw.SetReadDeadline(time.Unix(1, 0)) })
	nc, err := s.sniff(ctx, raw)
	if err != nil {
		stop()
		s.log.Debug("refuse a connection", "remote_addr", raw.RemoteAddr().String(), "err", err)
		_ = raw.Close()
		return
	}
	remote, _ := netip.ParseAddrPort(raw.RemoteAddr().String())
	c := &conn{
		srv: s, nc: nc, remote: netip.AddrPortFrom(remote.Addr().Unmap(), remote.Port()), out: newOutbox(),
		slow: make(chan struct{}, maxSlowRequests),
	}
	c.log = s.log.With("remote_addr", c.remote.String())
	s.add(c)
	var writer sync.WaitGroup
	writer.Go(func() {
		if err := c.out.run(nc, s.deps.Ready, c.resumePulls); err != nil && !errors.Is(err, net.ErrClosed) {
			c.log.Debug("write to a connection", "err", err)
		}
		c.out.close()
		_ = nc.SetReadDeadline(time.Unix(1, 0)) // wakes the reader
	})
	c.read(ctx)
	s.remove(c)
	cancel()
	stop()
	c.wg.Wait()
	c.dropPulls()
	grace := closeGrace
	if shutdown.Err() != nil {
		c.drainSends()
		grace = drainGrace
	}
	if !c.out.flushAndClose(grace) {
		_ = raw.Close() // the peer does not read: the writer would wait for it
	}
	writer.Wait()
	if shutdown.Err() != nil {
		linger(raw)
	}
	_ = nc.Close()
}

// read handles frames until the connection ends.
func (c *conn) read(ctx context.Context) {
	fr := newFrameReader(c.nc, maxFrame(c.srv.cfg.MaxMessage))
	var cmd wire.Command
	var deadline time.Time
	for {
		if now := time.Now(); !fr.buffered() && deadline.Sub(now) < c.srv.cfg.IdleTimeout-deadlineGrain {
			deadline = now.Add(c.srv.cfg.IdleTimeout)
			// Whoever ends the connection says so first and then sets the deadline to the past: one of the two is seen here.
			if c.nc.SetReadDeadline(deadline) != nil || ctx.Err() != nil || c.out.isClosed() {
				return
			}
		}
		frame, err := fr.next()
		if err != nil {
			c.readEnded(ctx, err)
			return
		}
		if err := wire.DecodeFrame(frame, &cmd); err != nil {
			c.readEnded(ctx, err)
			return
		}
		if !c.handleSafely(ctx, &cmd) {
			return
		}
		if c.out.full() && c.out.waitRoom(ctx) != nil {
			return
		}
	}
}

// drainSends waits, at a shutdown, for the sends that the log has already: their answers are owed.
func (c *conn) drainSends() {
	for deadline := time.Now().Add(drainGrace); c.inFlight.Load() > 0 && time.Now().Before(deadline); {
		time.Sleep(time.Millisecond)
	}
}

// linger ends our side of a connection and waits for the peer to end its own: closing a socket with requests in it that were never read resets
// the connection, and what the peer has not yet received of our answers is gone.
func linger(raw net.Conn) {
	tc, ok := raw.(*net.TCPConn)
	if !ok || tc.CloseWrite() != nil || tc.SetReadDeadline(time.Now().Add(lingerGrace)) != nil {
		return
	}
	_, _ = io.Copy(io.Discard, tc)
}

func (c *conn) readEnded(ctx context.Context, err error) {
	var timeout net.Error
	switch {
	case ctx.Err() != nil, errors.Is(err, io.EOF), errors.Is(err, net.ErrClosed):
	case errors.As(err, &timeout) && timeout.Timeout():
		c.log.Debug("close an idle connection")
	case errors.Is(err, wire.ErrMalformedFrame), errors.Is(err, wire.ErrFrameTooLarge), errors.Is(err, wire.ErrUnknownCodec), errors.Is(err, wire.ErrMalformedHeader):
		c.srv.m.malformed.Inc()
		c.log.Warn("close a connection that sent a malformed frame", "err", err)
	default:
		c.log.Debug("read from a connection", "err", err)
	}
}

// maxFrame is the longest frame taken: a message of the largest size with its properties and header, or a batch of that size.
func maxFrame(maxMessage int) int { return max(wire.DefaultMaxFrame, 2*maxMessage) }

// reply is what a response must repeat of its request.
type reply struct {
	opaque int32
	codec  wire.Codec
	oneway bool
}

func replyTo(req *wire.Command) reply {
	return reply{opaque: req.Opaque, codec: req.Codec, oneway: req.IsOneway()}
}

// init makes resp the response to the request.
func (r reply) init(resp *wire.Command, code int32, remark string) {
	ext := resp.Ext
	ext.Reset()
	*resp = wire.Command{
		Code: code, Language: wire.LanguageGo, Version: wire.CurrentVersion, Opaque: r.opaque, Flag: wire.FlagResponse,
		Remark: remark, Codec: r.codec, Ext: ext,
	}
}

// send queues a frame.
func (c *conn) send(cmd *wire.Command) {
	buf := c.out.begin()
	c.out.end(wire.AppendFrame(buf, cmd))
}

// sendAck queues a frame that acknowledges a send.
func (c *conn) sendAck(cmd *wire.Command) {
	buf := c.out.begin()
	c.out.acks = true
	c.out.end(wire.AppendFrame(buf, cmd))
}

// respond answers a request; a one-way request is not answered.
func (c *conn) respond(r reply, resp *wire.Command) {
	if r.oneway {
		return
	}
	resp.Opaque, resp.Codec, resp.Flag = r.opaque, r.codec, wire.FlagResponse
	resp.Language, resp.Version = wire.LanguageGo, wire.CurrentVersion
	c.send(resp)
}

// respondStatus answers with a code and a remark only.
func (c *conn) respondStatus(r reply, code int32, remark string) {
	c.respond(r, &wire.Command{Code: code, Remark: remark})
}

// respondError answers with the code that err maps to.
func (c *conn) respondError(r reply, err error) {
	code, remark := statusOf(err)
	c.log.Debug("request refused", "code", code, "remark", remark)
	c.respondStatus(r, code, remark)
}

// request sends a one-way request of ours to the client.
func (c *conn) request(cmd *wire.Command) {
	cmd.Opaque = c.opaque.Add(1)
	cmd.Flag = wire.FlagOneway
	cmd.Codec = wire.Codec(c.codec.Load())
	cmd.Language, cmd.Version = wire.LanguageGo, wire.CurrentVersion
	c.send(cmd)
}

// RemoteAddr implements group.Client.
func (c *conn) RemoteAddr() string { return c.remote.String() }

// NotifyMembersChanged implements group.Client.
func (c *conn) NotifyMembersChanged(group string) {
	cmd := &wire.Command{Code: wire.ReqNotifyConsumerIDsChanged}
	cmd.Ext.Add("consumerGroup", group)
	c.request(cmd)
}
