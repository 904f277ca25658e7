package remoting

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"time"
)

// recordTypeHandshake is the first byte of a TLS connection; no frame of the protocol begins with it, since its length would be over 368 MB.
const recordTypeHandshake = 0x16

// handshakeTimeout bounds how long a fresh connection may take to say its first byte and to shake hands.
const handshakeTimeout = 120 * time.Second

var (
	errTLSDisabled = errors.New("TLS is disabled")
	errTLSRequired = errors.New("TLS is required")
)

// sniff looks at a connection's first byte and returns it as plain or as TLS.
func (s *Server) sniff(ctx context.Context, nc net.Conn) (net.Conn, error) {
	if tc, ok := nc.(*net.TCPConn); ok {
		_ = tc.SetNoDelay(true)
	}
	var first [1]byte
	if err := nc.SetReadDeadline(time.Now().Add(handshakeTimeout)); err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if _, err := nc.Read(first[:]); err != nil {
		return nil, fmt.Errorf("read the first byte: %w", err)
	}
	peeked := &peekedConn{Conn: nc, first: first[0], pending: true}
	switch secure := first[0] == recordTypeHandshake; {
	case secure && (s.cfg.TLSMode == TLSDisabled || s.cfg.TLS == nil):
		return nil, errTLSDisabled
	case secure:
		return tls.Server(peeked, s.cfg.TLS), nil
	case s.cfg.TLSMode == TLSEnforcing:
		return nil, errTLSRequired
	default:
		return peeked, nil
	}
}

// peekedConn gives back the one byte that was read ahead.
type peekedConn struct {
	net.Conn
	first   byte
	pending bool
}

// Read implements net.Conn.
func (p *peekedConn) Read(b []byte) (int, error) {
	if p.pending && len(b) > 0 {
		b[0] = p.first
		p.pending = false
		return 1, nil
	}
	return p.Conn.Read(b)
}
