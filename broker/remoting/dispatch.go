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

// handleSafely is handle for bytes from anywhere: a fault of ours in a handler costs the connection and not the process.
func (c *conn) handleSafely(ctx context.Context, cmd *wire.Command) (ok bool) {
	defer func() {
		if p := recover(); p != nil {
			c.panicked(cmd.Code, p)
			ok = false
		}
	}()
	c.handle(ctx, cmd)
	return true
}

func (c *conn) panicked(code int32, p any) {
	c.log.Error("a request's handler panicked", "code", code, "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
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
		c.runSlow(ctx, h, cmd)
	}
}

// runSlow runs a handler in a goroutine of its own, on a copy of the request, unless the connection has too much under way already.
func (c *conn) runSlow(ctx context.Context, h handler, req *wire.Command) {
	r := replyTo(req)
	size := int64(len(req.Body))
	if c.slowBytes.Add(size) > maxSlowBytes && size > 0 {
		c.slowBytes.Add(-size)
		c.respondStatus(r, wire.RespSystemBusy, "[OVERLOAD]too many large requests of this connection are being worked on")
		return
	}
	select {
	case c.slow <- struct{}{}:
	default:
		c.slowBytes.Add(-size)
		c.respondStatus(r, wire.RespSystemBusy, fmt.Sprintf("[OVERLOAD]%d requests of this connection are being worked on", maxSlowRequests))
		return
	}
	cmd := req.Clone() // the reader goes on with its buffer
	c.wg.Go(func() {
		defer func() {
			<-c.slow
			c.slowBytes.Add(-size)
			if p := recover(); p != nil {
				c.panicked(cmd.Code, p)
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
