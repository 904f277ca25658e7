package objstore

import (
	"context"
	"net"
	"net/http"
	"time"
)

// stallTimeout bounds how long a connection may make no progress while a request is under way.
const stallTimeout = 90 * time.Second

// tuneTransport bounds an HTTP transport's waits for a server.
func tuneTransport(t *http.Transport, opts Options) {
	dialer := &net.Dialer{Timeout: opts.DialTimeout, KeepAlive: 30 * time.Second}
	t.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
		c, err := dialer.DialContext(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		return stallConn{c}, nil
	}
	t.TLSHandshakeTimeout = opts.DialTimeout
	t.ResponseHeaderTimeout = time.Minute
	t.MaxIdleConns, t.MaxIdleConnsPerHost, t.IdleConnTimeout = 128, 64, time.Minute // below stallTimeout, which ends idle connections too
	t.DisableCompression = true
}

// stallConn fails when neither side has taken or sent a byte for stallTimeout.
type stallConn struct{ net.Conn }

// Read implements net.Conn.
func (c stallConn) Read(p []byte) (int, error) {
	if err := c.SetReadDeadline(time.Now().Add(stallTimeout)); err != nil {
		return 0, err
	}
	return c.Conn.Read(p)
}

// Write implements net.Conn. A read that waits for the answer gets its time from here.
func (c stallConn) Write(p []byte) (int, error) {
	if err := c.SetDeadline(time.Now().Add(stallTimeout)); err != nil {
		return 0, err
	}
	return c.Conn.Write(p)
}
