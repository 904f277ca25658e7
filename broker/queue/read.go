package queue

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"

	"github.com/varvemq/varve/broker/wal"
	"github.com/varvemq/varve/internal/message"
)

var be = binary.BigEndian

// Defaults of a ReadRequest.
const (
	defaultMaxMessages = 32
	defaultMaxBytes    = 256 << 10
	defaultMaxScan     = 16384
	defaultKeyBytes    = 8 << 20
)

// Read appends visible messages from req.Offset on to dst, whole and in order, and returns it with what it found. The
// bytes are copies. A message stored under another host than Config.StoreHost gets that one. Files that are closed or
// trimmed underneath make no difference, but that a read below Min is OffsetTooSmall. An offset in a declared hole
// is NoMatch, with Next at the hole's end. An error is damage (*CorruptError, *wal.CorruptError), I/O, or ctx's.
func (l *Log) Read(ctx context.Context, q *Queue, req ReadRequest, dst []byte) ([]byte, ReadResult, error) {
	r := reading{log: l, queue: q, req: req, dst: dst, off: req.Offset}
	setDefault(&r.req.MaxMessages, defaultMaxMessages)
	setDefault(&r.req.MaxBytes, defaultMaxBytes)
	setDefault(&r.req.MaxScan, defaultMaxScan)
	res, err := r.run(ctx)
	if err != nil {
		return dst, ReadResult{}, fmt.Errorf("read queue %d at %d: %w", q.ordinal, req.Offset, err)
	}
	l.stats.read.Add(uint64(res.Count))
	l.stats.readBytes.Add(uint64(len(r.dst) - len(dst)))
	return r.dst, res, nil
}

func setDefault(v *int, d int) {
	if *v <= 0 {
		*v = d
	}
}

// reading is one running Read.
type reading struct {
	log     *Log
	queue   *Queue
	req     ReadRequest
	dst     []byte
	off     uint64 // next to look at
	count   int
	scanned int
	bytes   int
	full    bool
	extents [32]extent
	parts   [4]wal.Part // for the records read; one with more parts takes memory of its own
	hashes  []int64     // of the filter's tags
}

func (r *reading) run(ctx context.Context) (ReadResult, error) {
	for moves := 0; ; {
		lo, hi := r.queue.bounds()
		res := ReadResult{Next: r.off, Min: lo, Max: hi, Count: r.count}
		switch {
		case r.count > 0 && (r.full || r.off < lo || r.off >= hi):
			res.Status = Found
		case r.off < lo:
			res.Status, res.Next = OffsetTooSmall, lo
		case r.off > hi:
			res.Status, res.Next = OffsetTooLarge, hi
		case r.off > r.req.Offset && (r.full || r.off == hi):
			res.Status = NoMatch
		case r.off == hi:
			res.Status = NoMessage
		default:
			err := r.step(ctx, hi)
			switch {
			case err == nil:
			case errors.Is(err, errMoved) && moves < maxMoves:
				moves++
			case r.count > 0: // the next read reports it
				r.full = true
			default:
				return ReadResult{}, err
			}
			continue
		}
		return res, nil
	}
}

// step reads on, below hi.
func (r *reading) step(ctx context.Context, hi uint64) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if r.queue.cold(r.off) {
		return r.cold(ctx, hi)
	}
	n, err := r.log.locate(r.queue, r.off, r.extents[:])
	if err != nil {
		return err
	}
	for i := range n {
		x := &r.extents[i]
		r.full = r.full || r.count >= r.req.MaxMessages || r.scanned >= r.req.MaxScan
		if r.full || r.off >= hi {
			return nil
		}
		if x.hole {
			r.full = r.count > 0 || r.off == r.req.Offset
			r.off = x.end()
			continue
		}
		batch, err := r.log.messages(r.queue, x, r.parts[:])
		if err != nil {
			return err
		}
		if err := r.batch(x, batch, min(hi, x.end())); err != nil {
			return err
		}
	}
	return nil
}

// batch takes messages below end from a batch: runs of matching ones with one copy each.
func (r *reading) batch(x *extent, batch []byte, end uint64) error {
	pos := 0
	for off := x.first; off < r.off; off++ {
		pos += int(be.Uint32(batch[pos:]))
	}
	from := pos // of the run
	for ; r.off < end; r.off++ {
		if r.scanned >= r.req.MaxScan || r.count >= r.req.MaxMessages {
			r.full = true
			break
		}
		if len(batch)-pos < message.MinSize {
			return corrupt(x.file, 0, "record at %d ends before offset %d of queue %d", x.pos, r.off, r.queue.ordinal)
		}
		v := nextView(batch[pos:])
		if uint64(v.QueueOffset()) != r.off {
			return corrupt(x.file, 0, "record at %d: offset %d of queue %d is missing", x.pos, r.off, r.queue.ordinal)
		}
		match := r.matches(v)
		if match && r.count > 0 && r.bytes+len(v) > r.req.MaxBytes {
			r.full = true
			break
		}
		r.scanned++
		if same := r.log.sameHost(v); !match || !same {
			r.dst = append(r.dst, batch[from:pos]...)
			if match {
				r.dst = r.log.appendMessage(r.dst, v)
			}
			from = pos + len(v)
		}
		if match {
			r.count++
			r.bytes += len(v)
		}
		pos += len(v)
	}
	r.dst = append(r.dst, batch[from:pos]...)
	return nil
}

func (r *reading) matches(v message.View) bool {
	if r.req.Filter == nil {
		return true
	}
	tag, _ := v.Property(message.PropertyTags)
	return r.req.Filter.MatchTag(tag)
}

// sameHost reports whether a message can be returned as it is stored.
func (l *Log) sameHost(v message.View) bool {
	return l.cfg.StoreHost == (netip.AddrPort{}) || v.StoreHost() == l.cfg.StoreHost
}

// appendMessage appends a message under the present store host.
func (l *Log) appendMessage(dst []byte, v message.View) []byte {
	if l.sameHost(v) {
		return append(dst, v...)
	}
	return message.AppendWithStoreHost(dst, v, l.cfg.StoreHost)
}

// ByPhysical appends the message with a physical offset to dst; ErrNotFound.
func (l *Log) ByPhysical(ctx context.Context, phys int64, dst []byte) ([]byte, error) {
	ordinal, off, err := message.SplitPhysicalOffset(phys)
	if err != nil {
		return dst, fmt.Errorf("%w: %w", ErrNotFound, err)
	}
	q := l.Lookup(ordinal)
	if q == nil {
		return dst, fmt.Errorf("queue %d: %w", ordinal, ErrNotFound)
	}
	err = l.at(ctx, q, off, func(v message.View) error {
		dst = l.appendMessage(dst, v)
		return nil
	})
	return dst, err
}
