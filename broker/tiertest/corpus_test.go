package tiertest

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/varvemq/varve/client"
)

// splitmix is a stream of numbers from a seed.
type splitmix uint64

func (x *splitmix) next() uint64 {
	*x += 0x9e3779b97f4a7c15
	z := uint64(*x)
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// bodyOf is the body of message n: unique, of its own length, 16 bytes to about twice the mean, half of it compressible.
func bodyOf(seed, n uint64, mean int) []byte {
	x := splitmix(seed ^ n*0x9e3779b97f4a7c15)
	size := 16 + int(x.next()%uint64(2*mean))
	b := binary.BigEndian.AppendUint64(make([]byte, 0, size+16), n)
	for len(b) < size {
		b = binary.BigEndian.AppendUint64(b, x.next())
		b = append(b, "orders: "...)
	}
	return b[:size]
}

// corpus is what was sent to a number of topics: the i-th message of a queue has offset i.
type corpus struct {
	seed   uint64
	mean   int // bytes of a body
	topics []string
	queues int
	counts [][]int64 // acknowledged messages by topic and queue
}

func newCorpus(seed uint64, mean, queues int, topics ...string) *corpus {
	c := &corpus{seed: seed, mean: mean, topics: topics, queues: queues, counts: make([][]int64, len(topics))}
	for i := range c.counts {
		c.counts[i] = make([]int64, queues)
	}
	return c
}

func (c *corpus) number(topic, queue int, i int64) uint64 {
	return uint64(topic)<<56 | uint64(queue)<<48 | uint64(i)
}

func (c *corpus) body(topic, queue int, i int64) []byte {
	return bodyOf(c.seed, c.number(topic, queue, i), c.mean)
}

const keyEvery = 16 // messages

func (c *corpus) message(topic, queue int, i int64) *client.Message {
	m := &client.Message{Topic: c.topics[topic], Queue: &client.Queue{ID: queue}, Body: c.body(topic, queue, i), Tag: fmt.Sprint("tag", i%5)}
	if i%keyEvery == 0 {
		m.Keys = []string{c.key(queue, i)}
	}
	return m
}

func (c *corpus) key(queue int, i int64) string { return fmt.Sprintf("key-%d-%d", queue, i) }

// produce sends so many more bytes, to all queues in turns, and waits for the answers.
func (c *corpus) produce(t testing.TB, at place, total int64) {
	t.Helper()
	p := at.producer(t)
	var failed atomic.Pointer[error]
	for sent := int64(0); sent < total && failed.Load() == nil; {
		for topic := range c.topics {
			for queue := range c.queues {
				i := c.counts[topic][queue]
				m := c.message(topic, queue, i)
				sent += int64(len(m.Body))
				c.counts[topic][queue]++
				must(t, p.SendAsync(t.Context(), m, func(r client.SendResult, err error) {
					if err == nil && (r.Offset != i || r.Status != client.SendOK) {
						err = fmt.Errorf("message %d got offset %d, status %d", i, r.Offset, r.Status)
					}
					if err != nil {
						err = fmt.Errorf("queue %d of %s: %w", queue, c.topics[topic], err)
						failed.CompareAndSwap(nil, &err)
					}
				}))
			}
		}
	}
	must(t, p.Flush(t.Context()))
	if err := failed.Load(); err != nil {
		t.Fatal(*err)
	}
	must(t, p.Close())
}

// ends is how many messages each queue is expected to have.
func (c *corpus) ends() [][]int64 {
	ends := make([][]int64, len(c.counts))
	for i := range ends {
		ends[i] = append([]int64(nil), c.counts[i]...)
	}
	return ends
}

// verify reads every queue from its first message on, and finds exactly the messages below the ends: byte-identical, at their offsets, in order of store times.
func (c *corpus) verify(t testing.TB, at place, ends [][]int64) {
	t.Helper()
	began := time.Now()
	r := at.reader(t)
	var g errgroup.Group
	g.SetLimit(4)
	var size atomic.Int64
	for topic := range c.topics {
		for queue := range c.queues {
			g.Go(func() error {
				n, err := c.verifyQueue(t.Context(), r, topic, queue, ends[topic][queue])
				size.Add(n)
				return err
			})
		}
	}
	if err := g.Wait(); err != nil {
		t.Errorf("after %v: %v", time.Since(began).Round(time.Millisecond), err)
	}
	took := time.Since(began)
	t.Logf("%.1f MiB read and compared in %v: %.0f MiB/s", float64(size.Load())/(1<<20), took.Round(time.Millisecond), float64(size.Load())/(1<<20)/took.Seconds())
}

func (c *corpus) verifyQueue(ctx context.Context, r *client.Reader, topic, queue int, end int64) (size int64, err error) {
	next := int64(0)
	var stored time.Time
	err = readQueue(ctx, r, c.topics[topic], queue, 0, func(m *client.MessageExt) error {
		if err := c.check(topic, queue, next, m); err != nil {
			return err
		}
		if m.StoreTime.Before(stored) {
			return fmt.Errorf("offset %d was stored at %v, the one before at %v", next, m.StoreTime, stored)
		}
		stored = m.StoreTime
		next++
		size += int64(len(m.Body))
		return nil
	})
	if err == nil && next != end {
		err = fmt.Errorf("queue %d of %s: %d messages, want %d", queue, c.topics[topic], next, end)
	}
	return size, err
}

// check compares a message with the one that was sent to be at an offset.
func (c *corpus) check(topic, queue int, offset int64, m *client.MessageExt) error {
	want := c.message(topic, queue, offset)
	switch {
	case m.Offset != offset || m.Queue.ID != queue || m.Topic != want.Topic:
		return fmt.Errorf("offset %d of queue %d of %s where %d is due", m.Offset, m.Queue.ID, m.Topic, offset)
	case !bytes.Equal(m.Body, want.Body):
		return fmt.Errorf("offset %d: %d other bytes than the %d that were sent", offset, len(m.Body), len(want.Body))
	case m.Tag != want.Tag || len(m.Keys) != len(want.Keys) || len(m.Keys) > 0 && m.Keys[0] != want.Keys[0]:
		return fmt.Errorf("offset %d: tag %q, keys %q; sent were %q, %q", offset, m.Tag, m.Keys, want.Tag, want.Keys)
	}
	return nil
}

// spot looks for single messages: by key, by id (that of the producer if these are indexed), and by store time.
func (c *corpus) spot(t testing.TB, at place, topic, queue int, offset int64, unique bool) {
	t.Helper()
	a := at.admin(t)
	offset -= offset % keyEvery
	found, err := a.QueryByKey(t.Context(), c.topics[topic], c.key(queue, offset), client.KeyQuery{})
	if err != nil || len(found) != 1 {
		t.Errorf("key of offset %d of queue %d of %s: %d messages, %v", offset, queue, c.topics[topic], len(found), err)
		return
	}
	if err := c.check(topic, queue, offset, found[0]); err != nil {
		t.Errorf("by key: %v", err)
	}
	ids := []string{found[0].OffsetMsgID, found[0].MsgID}
	if !unique {
		ids = ids[:1]
	}
	for _, id := range ids {
		m, err := a.ViewMessage(t.Context(), c.topics[topic], id)
		if err == nil {
			err = c.check(topic, queue, offset, m)
		}
		if err != nil {
			t.Errorf("by id %s: %v", id, err)
		}
	}
	got, err := a.OffsetAt(t.Context(), c.topics[topic], client.Queue{ID: queue}, found[0].StoreTime)
	if err != nil || got > offset {
		t.Errorf("the first message stored at %v or later: offset %d, %v; offset %d is", found[0].StoreTime, got, err, offset)
	}
}

// tagged reads a queue with a tag filter.
func (c *corpus) tagged(t testing.TB, at place, topic, queue int, end int64) {
	t.Helper()
	next := int64(3)
	must(t, readQueue(t.Context(), at.reader(t), c.topics[topic], queue, 0, func(m *client.MessageExt) error {
		err := c.check(topic, queue, next, m)
		next += 5
		return err
	}, client.WithTags("tag3")))
	if next < end {
		t.Errorf("queue %d of %s by tag: ends at offset %d of %d", queue, c.topics[topic], next, end)
	}
}

// faults collects what is wrong.
type faults struct {
	mu   sync.Mutex
	list []string // guarded by mu
}

func (f *faults) add(format string, args ...any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.list = append(f.list, fmt.Sprintf(format, args...))
}

// report makes them those of the test.
func (f *faults) report(t testing.TB, when string) {
	t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	for i, s := range f.list {
		if i == 20 {
			t.Errorf("%s: and %d more", when, len(f.list)-i)
			break
		}
		t.Errorf("%s: %s", when, s)
	}
	f.list = nil
}
