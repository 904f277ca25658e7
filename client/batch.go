package client

import (
	"sync"
	"time"

	"github.com/varvemq/varve/internal/message"
)

// batch is messages on their way: encoded, with the functions to call.
type batch struct {
	buf    []byte // items of a batch body
	ids    []byte // the messages' ids, all of one length; may be empty
	done   []func(SendResult, error)
	born   time.Time
	size   int // bytes that count as in flight
	epochs []epochCount
	out    *outgoing
	answer answer
	err    error
}

// epochCount is how many of a batch's messages belong to an epoch.
type epochCount struct {
	epoch *epoch
	n     int
}

// maxPooledBatch is the largest buffer that is kept for reuse.
const maxPooledBatch = 1 << 20

var batches = sync.Pool{New: func() any { return new(batch) }} //nolint:gochecknoglobals // a cache without content

func newBatch(now time.Time) *batch {
	b := batches.Get().(*batch) // the pool holds nothing else
	b.born = now
	return b
}

// recycle gives the batch's memory to later ones.
func (b *batch) recycle() {
	if cap(b.buf) > maxPooledBatch {
		return
	}
	clear(b.done)
	clear(b.epochs)
	*b = batch{buf: b.buf[:0], ids: b.ids[:0], done: b.done[:0], epochs: b.epochs[:0]}
	batches.Put(b)
}

// count adds a message to the epoch.
func (b *batch) count(e *epoch) {
	if n := len(b.epochs); n > 0 && b.epochs[n-1].epoch == e {
		b.epochs[n-1].n++
		return
	}
	b.epochs = append(b.epochs, epochCount{epoch: e, n: 1})
}

// call calls the messages' functions.
func (b *batch) call() {
	n := len(b.done)
	ids, size := string(b.ids), len(b.ids)/n
	for i, done := range b.done {
		if done == nil {
			continue
		}
		id := ids[i*size : (i+1)*size]
		if b.err != nil {
			done(SendResult{Topic: b.out.topic, MsgID: id}, b.err)
			continue
		}
		done(b.answer.result(b.out.topic, id, i, n), nil)
	}
}

// batchRequest makes the request for a lane's batch. A batch of one message is
// sent as that message.
func (p *Producer) batchRequest(key laneKey, b *batch) *outgoing {
	out := &outgoing{topic: key.topic, group: p.group, pin: key.pin, born: millis(b.born), body: b.buf, batch: true}
	if len(b.done) == 1 {
		if item, _, err := message.NextBatchItem(b.buf); err == nil {
			out.batch, out.body, out.props, out.flag = false, item.Body, item.Properties, item.Flag
			return out
		}
	}
	if key.noWait {
		out.props = appendProperty(nil, message.PropertyWait, "false")
	}
	return out
}
