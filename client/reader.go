package client

import (
	"context"
	"iter"
)

// Reader reads queues from any position, without a group: nothing is committed
// and other readers do not matter. Make it with [NewReader].
type Reader struct{ cfg *config }

// NewReader returns a reader. It dials nothing. The error joins all faults in the options.
func NewReader(opts ...Option) (*Reader, error) { panic("todo") }

// ReadOption configures [Reader.Open].
type ReadOption func(*readConfig)

type readConfig struct {
	queues   []Queue
	untilEnd bool
	expr     string
	sql      bool
}

// OnQueue reads only that queue. It may be given several times; the default is all queues.
func OnQueue(q Queue) ReadOption {
	return func(c *readConfig) { c.queues = append(c.queues, q) }
}

// UntilEnd ends the stream at the messages that were there when it was opened.
// The default is to follow: wait for new ones.
func UntilEnd() ReadOption {
	return func(c *readConfig) { c.untilEnd = true }
}

// WithTags reads only messages with the tags, separated by "||".
func WithTags(expr string) ReadOption {
	return func(c *readConfig) { c.expr, c.sql = expr, false }
}

// WithSQL reads only messages whose properties satisfy a SQL92 expression.
func WithSQL(expr string) ReadOption {
	return func(c *readConfig) { c.expr, c.sql = expr, true }
}

// Open begins to read a topic at a position. The messages of one queue come in
// order; those of several queues are mixed as they arrive. Close the stream.
func (r *Reader) Open(ctx context.Context, topic string, from Position, opts ...ReadOption) (*Stream, error) {
	panic("todo")
}

// Close closes all streams and connections. The second call does nothing.
func (r *Reader) Close() error { panic("todo") }

// Stream is an open read. It is used by one goroutine at a time.
type Stream struct{}

// Next returns the next message. It waits for one, or for ctx. io.EOF means the
// end that [UntilEnd] asked for. Failures that pass, such as a broker's restart,
// are waited out; any other error ends the stream. The message belongs to the caller.
func (s *Stream) Next(ctx context.Context) (*MessageExt, error) { panic("todo") }

// All iterates over the messages. An error is the last element; the end of
// the stream is none.
func (s *Stream) All(ctx context.Context) iter.Seq2[*MessageExt, error] { panic("todo") }

// Close ends the stream. The second call does nothing.
func (s *Stream) Close() error { panic("todo") }
