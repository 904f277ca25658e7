package remoting

import (
	"context"
	"errors"
	"io"
	"sync"
	"time"
)

const (
	outboxLimit = 4 << 20 // above this the connection is not read, and its pulls wait
	outboxKeep  = 1 << 20 // a larger buffer is given back after it was written
	// closeGrace is how long the end of a connection waits for answers to be written.
	closeGrace = 200 * time.Millisecond
	// writeTimeout ends a connection whose peer takes nothing for this long.
	writeTimeout = 60 * time.Second
)

var errOutboxClosed = errors.New("connection is closed")

// outbox gathers the frames for one connection; whoever has a response appends it, one goroutine writes. Frames that gather while a
// write is under way go out together with the next one.
type outbox struct {
	mu     sync.Mutex // guards the fields below; held for an append or a swap, never for I/O
	buf    []byte     // frames not yet handed to the writer
	spare  []byte     // the other half of the double buffer
	flight int        // bytes being written
	acks   bool       // buf has the acknowledgement of a send
	closed bool
	room   chan struct{} // closed and renewed when the outbox falls below its limit and someone waits
	kick   chan struct{} // capacity 1: there is something to write
}

func newOutbox() *outbox { return &outbox{kick: make(chan struct{}, 1)} }

// begin locks the outbox and returns the buffer to append frames to; end takes it back.
func (o *outbox) begin() []byte {
	o.mu.Lock()
	return o.buf
}

func (o *outbox) end(buf []byte) {
	if o.closed {
		o.buf = o.buf[:0]
		o.mu.Unlock()
		return
	}
	o.buf = buf
	o.mu.Unlock()
	select {
	case o.kick <- struct{}{}:
	default:
	}
}

// full says whether the peer is behind by more than the limit.
func (o *outbox) full() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.buf)+o.flight > outboxLimit
}

func (o *outbox) isClosed() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.closed
}

// waitRoom blocks until the outbox is below its limit.
func (o *outbox) waitRoom(ctx context.Context) error {
	for {
		o.mu.Lock()
		if o.closed {
			o.mu.Unlock()
			return errOutboxClosed
		}
		if len(o.buf)+o.flight <= outboxLimit {
			o.mu.Unlock()
			return nil
		}
		if o.room == nil {
			o.room = make(chan struct{})
		}
		room := o.room
		o.mu.Unlock()
		select {
		case <-room:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// flushAndClose gives the writer a moment to send what is there, and closes. It says whether everything was sent.
func (o *outbox) flushAndClose(grace time.Duration) (flushed bool) {
	for deadline := time.Now().Add(grace); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		o.mu.Lock()
		done := o.closed || len(o.buf)+o.flight == 0
		o.mu.Unlock()
		if done {
			flushed = true
			break
		}
	}
	o.close()
	return flushed
}

// close drops what has not been written and releases whoever waits.
func (o *outbox) close() {
	o.mu.Lock()
	o.closed = true
	o.buf = nil
	o.releaseLocked()
	o.mu.Unlock()
	select {
	case o.kick <- struct{}{}:
	default:
	}
}

func (o *outbox) releaseLocked() {
	if o.room != nil {
		close(o.room)
		o.room = nil
	}
}

// deadlineWriter is the part of net.Conn that the writer needs.
type deadlineWriter interface {
	io.Writer
	SetWriteDeadline(t time.Time) error
}

// run writes until the outbox is closed or a write fails. drained is called after each write that left room. Before acknowledgements are written ready is asked
// whether they still may be: the process may have been stopped for long since the log said so. If not, the connection has to end, so that the outcome is unknown to the sender.
func (o *outbox) run(w deadlineWriter, ready func() error, drained func()) error {
	for {
		<-o.kick
		for {
			o.mu.Lock()
			if o.closed {
				o.mu.Unlock()
				return nil
			}
			out := o.buf
			o.buf, o.spare = o.spare[:0], nil
			o.flight = len(out)
			acks := o.acks
			o.acks = false
			o.mu.Unlock()
			if len(out) == 0 {
				o.putBack(out)
				break
			}
			if err := w.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil {
				return err
			}
			if acks {
				if err := ready(); err != nil {
					return err
				}
			}
			if _, err := w.Write(out); err != nil {
				return err
			}
			o.putBack(out)
			drained()
		}
	}
}

// putBack returns a written buffer for reuse.
func (o *outbox) putBack(out []byte) {
	if cap(out) > outboxKeep {
		out = nil
	}
	o.mu.Lock()
	o.spare = out[:0]
	o.flight = 0
	if len(o.buf) <= outboxLimit {
		o.releaseLocked()
	}
	o.mu.Unlock()
}
