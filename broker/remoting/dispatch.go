package remoting

import (
	"context"
	"fmt"
	"runtime/debug"

	wire "github.com/varvemq/varve/internal/remoting"
)

// handler is how a request code is served. Exactly one of the two is set.
type handler struct {
	// inline runs on the connection's reader and answers by itself, at once or later. It must not block on I/O, and req is valid only during the call.
	inline func(ctx context.Context, c *conn, req *wire.Command)
	// slow runs in a goroutine of its own, on a copy of the request. A nil response with a nil error means success with nothing to say.
	slow func(ctx context.Context, c *conn, req *wire.Command) (*wire.Command, error)
}

// handle serves one frame.
func (c *conn) handle(ctx context.Context, cmd *wire.Command) {
	if cmd.IsResponse() {
		return // to a request of ours; all are one-way so far
	}
	c.codec.Store(uint32(cmd.Codec))
	c.language.Store(int32(cmd.Language))
	c.version.Store(cmd.Version)
	h, ok := c.srv.handlers[cmd.Code]
	switch {
	case !ok:
		c.srv.m.requests.WithLabelValues("unknown").Inc()
		c.respondStatus(replyTo(cmd), wire.RespRequestCodeNotSupported, fmt.Sprintf(" request type %d not supported", cmd.Code))
	case h.inline != nil:
		h.inline(ctx, c, cmd)
	default:
		c.runSlow(ctx, h, cmd.Clone())
	}
}

// runSlow runs a handler in a goroutine of its own, unless the connection has too many already.
func (c *conn) runSlow(ctx context.Context, h handler, cmd *wire.Command) {
	r := replyTo(cmd)
	select {
	case c.slow <- struct{}{}:
	default:
		c.respondStatus(r, wire.RespSystemBusy, fmt.Sprintf("[OVERLOAD]%d requests of this connection are being worked on", maxSlowRequests))
		return
	}
	c.wg.Go(func() {
		defer func() {
			<-c.slow
			if p := recover(); p != nil {
				c.log.Error("a request's handler panicked", "code", cmd.Code, "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
				c.respondStatus(r, wire.RespSystemError, "internal error")
			}
		}()
		resp, err := h.slow(ctx, c, cmd)
		switch {
		case err != nil:
			c.respondError(r, err)
		case resp == answered: // by itself
		case resp == nil:
			c.respondStatus(r, wire.RespSuccess, "")
		default:
			c.respond(r, resp)
		}
	})
}
