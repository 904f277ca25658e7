package faulty

import (
	"context"
	"errors"
	"io"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// ProxyPlan says what happens to a request; n counts them from 1. [OwnPrecondition], [StaleList] and [Hang] are none of a proxy's faults.
type ProxyPlan func(n int, r *http.Request) Fault

// Proxy is an HTTP server on loopback that passes requests on to an S3 server and fails some of them: [Throttled] and [ServerError] answer without asking the server,
// [LostAnswer] closes the connection instead of passing on the answer, [ResetBody] in the midst of it, [TruncateBody] ends it early as if it were whole (both if its
// length is known), [FlipBit] flips a bit of what is sent to the server, or of its answer to a get.
type Proxy struct {
	target string
	client *http.Transport
	server *http.Server
	l      net.Listener
	done   chan struct{} // closed when the server has ended

	mu   sync.Mutex // guards the rest
	plan ProxyPlan
	n    int
	down bool
	rand *rand.Rand
}

// ListenProxy starts a proxy to host:port. The caller closes it.
func ListenProxy(ctx context.Context, target string, seed uint64, plan ProxyPlan) (*Proxy, error) {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	p := &Proxy{
		target: target, client: &http.Transport{DisableCompression: true, MaxIdleConnsPerHost: 64}, l: l, plan: plan, done: make(chan struct{}),
		rand: rand.New(rand.NewPCG(seed, 1)), //nolint:gosec // repeatable on purpose
	}
	p.server = &http.Server{Handler: p, ReadHeaderTimeout: 10 * time.Second}
	go func() { // Close waits for it
		defer close(p.done)
		_ = p.server.Serve(l) // it ends with Close
	}()
	return p, nil
}

// Addr is the proxy's host:port.
func (p *Proxy) Addr() string { return p.l.Addr().String() }

// SetDown begins or ends an outage: connections are closed without an answer.
func (p *Proxy) SetDown(down bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.down = down
}

// Requests is how many requests there were.
func (p *Proxy) Requests() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.n
}

// Close ends the proxy and its connections.
func (p *Proxy) Close() error {
	err := p.server.Close()
	<-p.done
	p.client.CloseIdleConnections()
	return err
}

// ServeHTTP implements http.Handler.
func (p *Proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	p.n++
	fault := None
	if p.plan != nil {
		fault = p.plan(p.n, r)
	}
	where, down := p.rand.Float64(), p.down
	p.mu.Unlock()
	switch {
	case down:
		panic(http.ErrAbortHandler) // net/http's way to close the connection
	case fault == Throttled:
		refuse(w, r, http.StatusServiceUnavailable, "SlowDown")
		return
	case fault == ServerError:
		refuse(w, r, http.StatusInternalServerError, "InternalError")
		return
	}
	out := r.Clone(r.Context())
	out.URL.Scheme, out.URL.Host, out.RequestURI = "http", p.target, "" // the host that was signed stays in Host
	flipped := false
	if fault == FlipBit && r.Method == http.MethodPut && r.ContentLength > 0 {
		out.Body, flipped = io.NopCloser(&flip{r: r.Body, at: int64(where * float64(r.ContentLength))}), true
	}
	resp, err := p.client.RoundTrip(out)
	if err != nil {
		if !errors.Is(err, context.Canceled) {
			refuse(w, r, http.StatusBadGateway, "BadGateway")
		}
		return
	}
	defer func() { _ = resp.Body.Close() }()
	if fault == LostAnswer {
		_, _ = io.Copy(io.Discard, resp.Body) // so that the server has done all of it
		panic(http.ErrAbortHandler)
	}
	maps.Copy(w.Header(), resp.Header)
	from := io.Reader(resp.Body)
	at := int64(where * float64(max(resp.ContentLength, 0)))
	switch {
	case fault == FlipBit && !flipped && r.Method == http.MethodGet:
		from = &flip{r: from, at: at}
	case fault == TruncateBody && r.Method == http.MethodGet && resp.ContentLength > 0:
		w.Header().Del("Content-Length") // the body is chunked and ends in order
		from = io.LimitReader(from, at)
	case fault == ResetBody && resp.ContentLength > 0:
		from = io.LimitReader(from, at)
	}
	w.WriteHeader(resp.StatusCode)
	if n, err := io.Copy(w, from); err != nil || fault == ResetBody && n < resp.ContentLength {
		_ = http.NewResponseController(w).Flush() // so that some of it arrives
		panic(http.ErrAbortHandler)
	}
}

// refuse answers in S3's form.
func refuse(w http.ResponseWriter, r *http.Request, status int, code string) {
	_, _ = io.Copy(io.Discard, r.Body) // else the client may see a reset before the answer
	body := "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>" + code + "</Code><Message>injected</Message></Error>"
	w.Header().Set("Content-Type", "application/xml")
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	_, _ = io.Copy(w, strings.NewReader(body)) // to a connection that may be gone
}

// flip flips a bit at an offset.
type flip struct {
	r       io.Reader
	at, pos int64
}

// Read implements io.Reader.
func (f *flip) Read(p []byte) (int, error) {
	n, err := f.r.Read(p)
	if i := f.at - f.pos; i >= 0 && i < int64(n) {
		p[i] ^= 1
	}
	f.pos += int64(n)
	return n, err
}
