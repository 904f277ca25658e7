package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"sync"
	"time"
)

// readSuspend is how long a broker may hold a stream's pull.
const readSuspend = 15 * time.Second

// maxSystemErrors is how many system errors in a row a stream waits out. Brokers
// answer so to what will pass, and to what they will never do, such as SQL filters.
const maxSystemErrors = 3

// Stream is an open read. It is used by one goroutine at a time.
type Stream struct {
	reader   *Reader
	sub      subscription
	life     *life
	fetchers []*fetcher
	ready    chan struct{} // has an element if chunks, running or err changed
	chunk    chunk         // what Next takes from

	mu sync.Mutex
	// All are guarded by mu.
	chunks  []chunk
	running int // fetchers that have not reached their end
	err     error
	closed  bool
}

// chunk is what one pull brought.
type chunk struct {
	from     *fetcher
	messages []*MessageExt
	count    int
	bytes    int
}

// Next returns the next message. It waits for one, or for ctx. io.EOF means the
// end that [UntilEnd] asked for. Failures that pass, such as a broker's restart,
// are waited out; any other error ends the stream. The message belongs to the caller.
func (s *Stream) Next(ctx context.Context) (*MessageExt, error) {
	for {
		if len(s.chunk.messages) > 0 {
			m := s.chunk.messages[0]
			s.chunk.messages[0] = nil
			s.chunk.messages = s.chunk.messages[1:]
			return m, nil
		}
		if s.chunk.from != nil {
			s.chunk.from.release(s.chunk.count, s.chunk.bytes)
			s.chunk = chunk{}
		}
		s.mu.Lock()
		switch {
		case s.closed:
			s.mu.Unlock()
			return nil, ErrClosed
		case len(s.chunks) > 0:
			s.chunk = s.chunks[0]
			s.chunks[0] = chunk{}
			s.chunks = s.chunks[1:]
			s.mu.Unlock()
			continue
		case s.err != nil, s.running == 0:
			err := s.err
			s.mu.Unlock()
			if err == nil {
				err = io.EOF
			}
			return nil, err
		}
		s.mu.Unlock()
		select {
		case <-s.ready:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// All iterates over the messages. An error is the last element; the end of
// the stream is none.
func (s *Stream) All(ctx context.Context) iter.Seq2[*MessageExt, error] {
	return func(yield func(*MessageExt, error) bool) {
		for {
			m, err := s.Next(ctx)
			if errors.Is(err, io.EOF) {
				return
			}
			if !yield(m, err) || err != nil {
				return
			}
		}
	}
}

// Close ends the stream. The second call does nothing.
func (s *Stream) Close() error {
	s.reader.mu.Lock()
	delete(s.reader.streams, s)
	s.reader.mu.Unlock()
	s.end()
	return nil
}

func (s *Stream) end() {
	s.mu.Lock()
	s.closed = true
	s.chunks = nil
	s.mu.Unlock()
	s.signal()
	s.life.close()
}

func (s *Stream) signal() {
	select {
	case s.ready <- struct{}{}:
	default:
	}
}

// fetcher reads one queue ahead of the stream's user.
type fetcher struct {
	stream *Stream
	queue  Queue
	next   int64
	floor  int64 // nothing below was asked for
	end    int64 // -1: none
	wake   chan struct{}

	mu       sync.Mutex
	messages int // fetched and not yet taken; guarded by mu
	bytes    int // guarded by mu
}

// run fetches until the end, a lasting error, or Close.
func (f *fetcher) run(ctx context.Context) {
	err := f.loop(ctx)
	s := f.stream
	s.mu.Lock()
	s.running--
	if err != nil && ctx.Err() == nil && s.err == nil {
		s.err = err
	}
	s.mu.Unlock()
	s.signal()
}

func (f *fetcher) loop(ctx context.Context) error {
	pause, failures := minBackoff, 0
	for f.end < 0 || f.next < f.end {
		if err := f.space(ctx); err != nil {
			return err
		}
		err := f.fetch(ctx)
		switch {
		case err == nil:
			pause, failures = minBackoff, 0
		case ctx.Err() != nil:
			return ctx.Err()
		case !Retriable(err) || errors.Is(err, ErrNoRoute):
			return err
		case codeOf(err) == CodeSystemError && failures >= maxSystemErrors:
			return err
		default:
			if codeOf(err) == CodeSystemError {
				failures++
			}
			f.stream.reader.core.cfg.logger.Debug("read again", "topic", f.stream.sub.topic, "queue", f.queue.ID, "error", err)
			f.stream.reader.core.routes.invalidate(f.stream.sub.topic)
			if !sleep(ctx, pause) {
				return ctx.Err()
			}
			pause = min(2*pause, maxBackoff)
		}
	}
	return nil
}

// fetch pulls once and hands over what came.
func (f *fetcher) fetch(ctx context.Context) error {
	s := f.stream
	core, cfg := s.reader.core, s.reader.cfg
	route, err := core.routes.get(ctx, s.sub.topic)
	if err != nil {
		return err
	}
	addr, err := route.addr(f.queue)
	if err != nil {
		return err
	}
	got, err := core.pull(ctx, addr, &pullRequest{
		group: s.reader.group, sub: &s.sub, queue: f.queue, offset: f.next,
		max: min(cfg.pullBatch, cfg.aheadMessages), maxBytes: min(cfg.aheadBytes, 4<<20), suspend: readSuspend,
	})
	if err != nil {
		return err
	}
	if got.moved && got.next == f.next {
		return &Error{Op: "pull", Addr: addr, Code: CodeFlowControl, Remark: fmt.Sprintf("offset %d moved to itself", f.next)}
	}
	f.next = got.next
	wanted := got.messages[:0]
	for _, m := range got.messages {
		if m.Offset >= f.floor && (f.end < 0 || m.Offset < f.end) {
			wanted = append(wanted, m)
		}
	}
	if len(wanted) == 0 {
		return nil
	}
	f.mu.Lock()
	f.messages += len(wanted)
	f.bytes += got.bytes
	f.mu.Unlock()
	s.mu.Lock()
	s.chunks = append(s.chunks, chunk{from: f, messages: wanted, count: len(wanted), bytes: got.bytes})
	s.mu.Unlock()
	s.signal()
	return nil
}

// space waits until less than the read-ahead is waiting.
func (f *fetcher) space(ctx context.Context) error {
	cfg := f.stream.reader.cfg
	for {
		f.mu.Lock()
		full := f.messages >= cfg.aheadMessages || f.bytes >= cfg.aheadBytes
		f.mu.Unlock()
		if !full {
			return nil
		}
		select {
		case <-f.wake:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// release gives back the room of a chunk that was read.
func (f *fetcher) release(messages, bytes int) {
	f.mu.Lock()
	f.messages -= messages
	f.bytes -= bytes
	f.mu.Unlock()
	select {
	case f.wake <- struct{}{}:
	default:
	}
}
