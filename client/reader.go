package client

import (
	"context"
	"fmt"
	"sync"

	"github.com/varvemq/varve/internal/filter"
)

// readerGroup is a group that every broker has for tools. Nothing is committed for it.
const readerGroup = "TOOLS_CONSUMER"

// Reader reads queues from any position, without a group: nothing is committed
// and other readers do not matter. Make it with [NewReader].
type Reader struct {
	cfg   *readerConfig
	core  *core
	group string

	mu      sync.Mutex
	streams map[*Stream]struct{} // guarded by mu
	closed  bool                 // guarded by mu
}

// NewReader returns a reader. It dials nothing. The error joins all faults in the options.
func NewReader(opts ...Option) (*Reader, error) {
	cfg, err := newConfig(roleReader, opts)
	if err != nil {
		return nil, err
	}
	r := &Reader{cfg: &cfg.reader, core: newCore(cfg), group: cfg.group, streams: make(map[*Stream]struct{})}
	if r.group == "" {
		r.group = readerGroup
	}
	return r, nil
}

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
	rc := readConfig{expr: filter.All}
	for _, o := range opts {
		o(&rc)
	}
	sub, err := newSubscription(topic, rc.expr, rc.sql)
	if err != nil {
		return nil, err
	}
	route, err := r.core.routes.get(ctx, topic)
	if err != nil {
		return nil, err
	}
	queues := route.read
	if len(rc.queues) > 0 {
		queues = make([]Queue, len(rc.queues))
		for i, q := range rc.queues {
			if queues[i], err = resolve(route.read, q); err != nil {
				return nil, fmt.Errorf("topic %s: %w", topic, err)
			}
		}
	}
	s := &Stream{reader: r, sub: sub, life: newLife(), ready: make(chan struct{}, 1)} //nolint:contextcheck // lives until Close
	for _, q := range queues {
		f := &fetcher{stream: s, queue: q, end: -1, wake: make(chan struct{}, 1)}
		if f.next, err = r.core.locate(ctx, topic, q, from); err == nil && rc.untilEnd {
			f.end, err = r.core.maxOffset(ctx, topic, q)
		}
		if err != nil {
			s.life.close()
			return nil, err
		}
		f.floor = f.next
		s.fetchers = append(s.fetchers, f)
	}
	return s, r.start(s)
}

// start registers a stream and starts its fetchers.
func (r *Reader) start(s *Stream) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		s.life.close()
		return ErrClosed
	}
	r.streams[s] = struct{}{}
	s.running = len(s.fetchers)
	for _, f := range s.fetchers {
		s.life.run(f.run)
	}
	return nil
}

// Close closes all streams and connections. The second call does nothing.
func (r *Reader) Close() error {
	r.mu.Lock()
	r.closed = true
	streams := r.streams
	r.streams = nil
	r.mu.Unlock()
	for s := range streams {
		s.end()
	}
	r.core.close()
	return nil
}
