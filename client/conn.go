package client

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/varvemq/varve/internal/remoting"
)

const (
	// maxWriteBuffer bounds what waits to be written to a connection. A request
	// that finds more there waits.
	maxWriteBuffer = 8 << 20
	// keepWriteBuffer is the largest buffer that is kept for the next write.
	keepWriteBuffer = 2 << 20
	// readBufferSize is the size of the reader's buffer; longer frames bypass it.
	readBufferSize = 64 << 10
	// writeTimeout ends a connection whose peer does not read.
	writeTimeout = 30 * time.Second
	// maxSilence is how long a server may send nothing while a request waits
	// for its answer, beyond what the request allows it. Then the connection is
	// given up when that request's time is up; that its caller lost interest says
	// nothing about the server.
	maxSilence = 2500 * time.Millisecond
)

// errSilent ends a connection whose server does not answer anything.
var errSilent = errors.New("server does not answer")

// errUnsent marks failures that happened before any byte of the request was written.
var errUnsent = errors.New("not sent")

// call is a request that waits for its response.
type call struct {
	done  chan struct{}
	batch uint64            // number of the write that carries the request
	reply *remoting.Command // set before done is closed
	err   error             // set before done is closed
}

// conn is a connection that carries many requests at once. One goroutine reads
// and one writes; the writer takes all that has gathered since its last write.
type conn struct {
	addr   string
	nc     net.Conn
	serve  func(*conn, *remoting.Command) // requests of the server; must not block
	wake   chan struct{}                  // has an element if there is something to write
	closed chan struct{}

	heard atomic.Int64 // when the last frame came, in ns since 1970

	mu      sync.Mutex
	pending map[int32]*call
	opaque  int32
	out     []byte        // what the next write takes
	batch   uint64        // number of the next write
	room    chan struct{} // closed when out was taken; nil if nobody waits
	err     error         // why the connection ended
}

func newConn(addr string, nc net.Conn, serve func(*conn, *remoting.Command)) *conn {
	return &conn{
		addr: addr, nc: nc, serve: serve,
		wake:    make(chan struct{}, 1),
		closed:  make(chan struct{}),
		pending: make(map[int32]*call),
	}
}

// roundTrip sends a request, which the server may hold for some time, and waits
// for its response, whose memory belongs to the caller.
func (c *conn) roundTrip(ctx context.Context, cmd *remoting.Command, hold time.Duration) (*remoting.Command, error) {
	cl := &call{done: make(chan struct{})}
	start := time.Now()
	if err := c.enqueue(ctx, cmd, cl); err != nil {
		return nil, err
	}
	select {
	case <-cl.done:
		return cl.reply, cl.err
	case <-ctx.Done():
		c.mu.Lock()
		delete(c.pending, cmd.Opaque)
		c.mu.Unlock()
		timeIsUp := errors.Is(ctx.Err(), context.DeadlineExceeded)
		if timeIsUp && time.Since(start) > hold+maxSilence && c.heard.Load() < start.UnixNano() {
			c.fail(errSilent)
		}
		return nil, ctx.Err()
	}
}

// enqueue hands a command to the writer. With a call it is a request whose
// response is awaited. An error wraps errUnsent.
func (c *conn) enqueue(ctx context.Context, cmd *remoting.Command, cl *call) error {
	c.mu.Lock()
	for c.err == nil && len(c.out) > maxWriteBuffer {
		if c.room == nil {
			c.room = make(chan struct{})
		}
		room := c.room
		c.mu.Unlock()
		select {
		case <-room:
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", errUnsent, ctx.Err())
		}
		c.mu.Lock()
	}
	defer c.mu.Unlock()
	if c.err != nil {
		return fmt.Errorf("%w: %w", errUnsent, c.err)
	}
	if !cmd.IsResponse() {
		c.opaque++
		cmd.Opaque = c.opaque
	}
	n := len(c.out)
	c.out = remoting.AppendFrame(c.out, cmd)
	if len(c.out) == n {
		return fmt.Errorf("%w: header too long: %w", errUnsent, ErrInvalid)
	}
	if cl != nil {
		cl.batch = c.batch
		c.pending[cmd.Opaque] = cl
	}
	select {
	case c.wake <- struct{}{}:
	default:
	}
	return nil
}

// writeLoop writes until the connection ends.
func (c *conn) writeLoop() {
	var spare []byte
	for {
		select {
		case <-c.wake:
		case <-c.closed:
			return
		}
		c.mu.Lock()
		out := c.out
		c.out = spare[:0]
		c.batch++
		if c.room != nil {
			close(c.room)
			c.room = nil
		}
		c.mu.Unlock()
		if len(out) == 0 {
			spare = out
			continue
		}
		if err := c.nc.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil {
			c.fail(err)
			return
		}
		if _, err := c.nc.Write(out); err != nil {
			c.fail(err)
			return
		}
		if spare = out; cap(spare) > keepWriteBuffer {
			spare = nil
		}
	}
}

// readLoop reads until the connection ends, and ends it if the peer sends what
// is not the protocol.
func (c *conn) readLoop() {
	br := bufio.NewReaderSize(c.nc, readBufferSize)
	for {
		cmd, err := readCommand(br)
		if err != nil {
			c.fail(err)
			return
		}
		c.heard.Store(time.Now().UnixNano())
		if !cmd.IsResponse() {
			c.serve(c, cmd)
			continue
		}
		c.mu.Lock()
		cl := c.pending[cmd.Opaque]
		delete(c.pending, cmd.Opaque)
		c.mu.Unlock()
		if cl != nil { // nil: its caller no longer waits
			cl.reply = cmd
			close(cl.done)
		}
	}
}

// readCommand reads one frame into memory of its own.
func readCommand(r io.Reader) (*remoting.Command, error) {
	var prefix [remoting.PrefixSize]byte
	if _, err := io.ReadFull(r, prefix[:]); err != nil {
		return nil, err
	}
	n, err := remoting.FrameLength(prefix, 0)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	frame := make([]byte, n)
	if _, err := io.ReadFull(r, frame); err != nil {
		return nil, fmt.Errorf("in a frame of %d bytes: %w", n, err)
	}
	cmd := new(remoting.Command)
	if err := remoting.DecodeFrame(frame, cmd); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	return cmd, nil
}

// fail ends the connection. Calls that were not yet written fail with errUnsent.
// Only the first call counts.
func (c *conn) fail(err error) {
	c.mu.Lock()
	if c.err != nil {
		c.mu.Unlock()
		return
	}
	c.err = err
	pending := c.pending
	c.pending = nil
	if c.room != nil {
		close(c.room)
		c.room = nil
	}
	batch := c.batch
	c.mu.Unlock()
	close(c.closed)
	_ = c.nc.Close() // the connection is given up; err says why
	for _, cl := range pending {
		cl.err = err
		if cl.batch >= batch {
			cl.err = fmt.Errorf("%w: %w", errUnsent, err)
		}
		close(cl.done)
	}
}

// alive reports whether the connection can take requests.
func (c *conn) alive() bool {
	select {
	case <-c.closed:
		return false
	default:
		return true
	}
}

// cause returns why the connection ended.
func (c *conn) cause() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}
