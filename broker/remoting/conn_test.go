package remoting

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"io"
	"math/big"
	"net"
	"runtime"
	"testing"
	"time"

	wire "github.com/varvemq/varve/internal/remoting"
)

// TestMalformedFrameClosesItsConnectionOnly also checks that a claimed length is not allocated.
func TestMalformedFrameClosesItsConnectionOnly(t *testing.T) {
	t.Parallel()
	b := startBroker(t)
	b.addTopic("orders", 1)
	good := b.dial()
	for name, bytes := range map[string][]byte{
		"negative length":      {0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0},
		"absurd length":        {0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 0},
		"no room for a header": {0, 0, 0, 2, 0, 0},
		"header beyond frame":  {0, 0, 0, 8, 0, 0, 0, 200, 1, 2, 3, 4},
		"unknown codec":        {0, 0, 0, 6, 9, 0, 0, 2, '{', '}'},
		"broken json":          {0, 0, 0, 6, 0, 0, 0, 2, '{', '{'},
		"http":                 []byte("GET / HTTP/1.1\r\n\r\n"),
	} {
		nc, err := net.Dial("tcp", b.addr)
		must(t, err)
		_, err = nc.Write(bytes)
		must(t, err)
		must(t, nc.SetReadDeadline(time.Now().Add(10*time.Second)))
		if n, err := nc.Read(make([]byte, 1)); n != 0 || err == nil {
			t.Errorf("%s: the connection is still open (%d bytes, %v)", name, n, err)
		} else if ne, ok := err.(net.Error); ok && ne.Timeout() { //nolint:errorlint // a net.Conn returns it unwrapped
			t.Errorf("%s: the connection is still open", name)
		}
		_ = nc.Close()
	}
	good.produce("orders", 0, "x")
}

func TestClaimedLengthCostsNothing(t *testing.T) { // alone: it measures the heap
	b := startBroker(t)
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	const conns = 50
	for range conns {
		nc, err := net.Dial("tcp", b.addr)
		must(t, err)
		t.Cleanup(func() { _ = nc.Close() })
		_, err = nc.Write(append(binary.BigEndian.AppendUint32(nil, 15<<20), 0, 0, 0, 100))
		must(t, err)
	}
	eventually(t, "all are connected", func() bool { return b.Connections() >= conns })
	time.Sleep(50 * time.Millisecond)
	runtime.GC()
	runtime.ReadMemStats(&after)
	if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > conns*256<<10 {
		t.Errorf("%d connections that each claim 15 MiB hold %d KiB", conns, grown>>10)
	}
}

func TestUnknownCodeIsAnswered(t *testing.T) {
	t.Parallel()
	b := startBroker(t)
	c := b.dial()
	c.want(wire.RespRequestCodeNotSupported, request(31999))
	c.want(wire.RespRequestCodeNotSupported, request(wire.ReqEndTransaction))
}

// TestPeerThatDoesNotRead: its outbox stays bounded, and others are served.
func TestPeerThatDoesNotRead(t *testing.T) {
	t.Parallel()
	b := startBroker(t)
	b.addTopic("orders", 1)
	b.addGroup("g")
	good := b.dial()
	big := string(make([]byte, 1<<20))
	for range 4 {
		good.produce("orders", 0, big)
	}
	nc, err := net.Dial("tcp", b.addr)
	must(t, err)
	t.Cleanup(func() { _ = nc.Close() })
	go func() {
		for i := range 500 { // 500 pulls of 1 MiB each, none of them read
			req := pullRequest("orders", 0, 0, 1, "*", 0)
			req.Opaque = int32(i)
			if _, err := nc.Write(wire.AppendFrame(nil, req)); err != nil {
				return
			}
		}
	}()
	time.Sleep(300 * time.Millisecond)
	for c := range b.connections() {
		c.out.mu.Lock()
		held := len(c.out.buf) + c.out.flight
		c.out.mu.Unlock()
		if limit := outboxLimit + 32<<20; held > limit {
			t.Errorf("an outbox holds %d MiB", held>>20)
		}
	}
	good.produce("orders", 0, "x")
}

func TestTLSOnTheSamePort(t *testing.T) {
	t.Parallel()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	template := x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, &template, &template, &key.PublicKey, key)
	must(t, err)
	secure := &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
	for _, test := range []struct {
		mode       TLSMode
		plain, tls bool
	}{{TLSPermissive, true, true}, {TLSEnforcing, false, true}, {TLSDisabled, true, false}} {
		b := startBroker(t)
		b.cfg.TLS, b.cfg.TLSMode = secure, test.mode
		for overTLS, want := range map[bool]bool{false: test.plain, true: test.tls} {
			nc, err := net.Dial("tcp", b.addr)
			must(t, err)
			if overTLS {
				nc = tls.Client(nc, &tls.Config{InsecureSkipVerify: true})
			}
			if got := answers(nc); got != want {
				t.Errorf("mode %s, TLS %t: served %t, want %t", test.mode, overTLS, got, want)
			}
			_ = nc.Close()
		}
	}
}

// answers says whether a request on the connection is answered.
func answers(nc net.Conn) bool {
	if nc.SetDeadline(time.Now().Add(10*time.Second)) != nil {
		return false
	}
	if _, err := nc.Write(wire.AppendFrame(nil, request(31999))); err != nil {
		return false
	}
	_, err := io.ReadFull(nc, make([]byte, 8))
	return err == nil
}

// TestSilentConnectionDoesNotHoldUpShutdown: a peer that has said nothing, not even its first byte.
func TestSilentConnectionDoesNotHoldUpShutdown(t *testing.T) {
	t.Parallel()
	b := startBroker(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	ctx, stop := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- b.accept(ctx, l) }()
	nc, err := net.Dial("tcp", l.Addr().String())
	must(t, err)
	t.Cleanup(func() { _ = nc.Close() })
	time.Sleep(50 * time.Millisecond)
	stop()
	_ = l.Close()
	select {
	case err := <-served:
		must(t, err)
	case <-time.After(10 * time.Second):
		t.Fatal("the shutdown waits for a peer that says nothing")
	}
}

// TestPanicCostsItsConnection and nothing else.
func TestPanicCostsItsConnection(t *testing.T) {
	t.Parallel()
	b := startBroker(t)
	b.addTopic("orders", 1)
	const code = 31998
	b.handlers[code] = handler{inline: func(context.Context, *conn, *wire.Command) { panic("a fault of ours") }}
	good, bad := b.dial(), b.dial()
	bad.send(request(code))
	if resp, open := <-bad.answers; open {
		t.Errorf("answered with %d", resp.Code)
	}
	good.produce("orders", 0, "x")
}

// TestCopiesOfLargeRequestsAreBounded: sends to topics that are missing wait for etcd, on copies.
func TestCopiesOfLargeRequestsAreBounded(t *testing.T) {
	t.Parallel()
	b := startBroker(t)
	const code = 31997
	release := make(chan struct{})
	b.handlers[code] = handler{slow: func(context.Context, *conn, *wire.Command) (*wire.Command, error) {
		<-release
		return nil, nil
	}}
	c := b.dial()
	const requests = 5
	for range requests {
		req := request(code)
		req.Body = make([]byte, 12<<20)
		c.send(req)
	}
	refused := 0
	for range requests - maxSlowBytes/(12<<20) {
		if resp := <-c.answers; resp.Code == wire.RespSystemBusy {
			refused++
		}
	}
	close(release)
	for range maxSlowBytes / (12 << 20) {
		if resp := <-c.answers; resp.Code != wire.RespSuccess {
			t.Errorf("code %d (%s)", resp.Code, resp.Remark)
		}
	}
	if want := requests - maxSlowBytes/(12<<20); refused != want {
		t.Errorf("%d refused, want %d", refused, want)
	}
}
