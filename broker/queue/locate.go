package queue

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sort"

	"github.com/varvemq/varve/broker/wal"
	"github.com/varvemq/varve/internal/message"
)

// errMoved says that the place found for an offset has gone meanwhile: look it up again.
var errMoved = errors.New("queue: moved")

// maxMoves is how often that can happen to one call before something is wrong.
const maxMoves = 1000

// locate fills buf with the extents from the one that holds off, which is within the queue's bounds, on; it returns how
// many it found, at least one.
func (l *Log) locate(q *Queue, off uint64, buf []extent) (int, error) {
	q.mu.Lock()
	for i := range slices.Backward(q.live) {
		run := &q.live[i]
		if off < run.first || off >= run.end {
			continue
		}
		n := 0
		for j := run.find(off); j < len(run.entries) && n < len(buf); j++ {
			buf[n] = run.entries[j].extent(run.file, run.first)
			n++
		}
		q.mu.Unlock()
		return n, nil
	}
	i := sort.Search(len(q.closed), func(i int) bool { return q.closed[i].first > off }) - 1
	if i < 0 {
		q.mu.Unlock()
		return 0, errMoved
	}
	run := q.closed[i]
	q.mu.Unlock()
	return l.locateClosed(q, run, off, buf)
}

func (l *Log) locateClosed(q *Queue, run closedRun, off uint64, buf []extent) (int, error) {
	f, row, es, err := l.closedRow(q, run)
	if err != nil {
		return 0, err
	}
	if off < row.first || off >= row.end {
		return 0, corrupt(f.seq, directoryNumber, "queue %d: offset %d is not in [%d, %d)", q.ordinal, off, row.first, row.end)
	}
	n := 0
	for j := es.find(row.first, off); j < es.len() && n < len(buf); j++ {
		buf[n] = es.at(j).extent(f, row.first)
		n++
	}
	return n, nil
}

// closedRow returns a queue's row of a closed file and its entries.
func (l *Log) closedRow(q *Queue, run closedRun) (*fileIndex, dirRow, entries, error) {
	f := l.file(uint64(run.seq))
	if f == nil {
		return nil, dirRow{}, nil, errMoved
	}
	row, err := l.directoryRow(q, f, run)
	if err != nil {
		return nil, dirRow{}, nil, err
	}
	e, err := l.section(f, entriesNumber)
	if err != nil {
		return nil, dirRow{}, nil, moved(err)
	}
	return f, row, entries(e).ofRow(&row), nil
}

func (l *Log) directoryRow(q *Queue, f *fileIndex, run closedRun) (dirRow, error) {
	d, err := l.section(f, directoryNumber)
	if err != nil {
		return dirRow{}, moved(err)
	}
	if int(run.row) >= directory(d).len() {
		return dirRow{}, corrupt(f.seq, directoryNumber, "no row %d", run.row)
	}
	row := directory(d).row(int(run.row))
	if row.ordinal != q.ordinal || row.first != run.first {
		return dirRow{}, corrupt(f.seq, directoryNumber, "row %d is not of queue %d from %d on", run.row, q.ordinal, run.first)
	}
	return row, nil
}

// find returns the index of the entry that holds an offset of a row that begins at first.
func (s entries) find(first, off uint64) int {
	return sort.Search(s.len(), func(i int) bool { return first+uint64(s.at(i).delta) > off }) - 1
}

// moved turns the trimming of a file underneath into a reason to look again.
func moved(err error) error {
	if errors.Is(err, wal.ErrTrimmed) {
		return errMoved
	}
	return err
}

// messages returns the bytes of the batch that an extent stands for, verified to be that batch. parts is memory for the record's, or nil.
func (l *Log) messages(q *Queue, x *extent, parts []wal.Part) ([]byte, error) {
	rec, err := l.w().Record(x.pos, x.length, parts)
	if err != nil {
		return nil, moved(err)
	}
	for i := range rec.Parts {
		p := &rec.Parts[i]
		if p.Kind != wal.PartBatch || p.Queue != q.ordinal || p.Base != x.first {
			continue
		}
		if p.Count != x.count || p.Codec != codecMessages {
			break
		}
		return p.Payload, nil
	}
	return nil, corrupt(x.file, 0, "record at %d does not hold queue %d from %d on", x.pos, q.ordinal, x.first)
}

// at calls f with the message at an offset, ErrNotFound if there is none (any more).
func (l *Log) at(ctx context.Context, q *Queue, off uint64, f func(message.View) error) error {
	for moves := 0; ; moves++ {
		if err := ctx.Err(); err != nil {
			return err
		}
		if lo, hi := q.bounds(); off < lo || off >= hi {
			return fmt.Errorf("offset %d of queue %d: %w", off, q.ordinal, ErrNotFound)
		}
		if q.cold(off) {
			if err := l.coldAt(ctx, q, off, f); !errors.Is(err, errMoved) || moves >= maxMoves {
				return err
			}
			continue
		}
		var x [1]extent
		_, err := l.locate(q, off, x[:])
		if err == nil && x[0].hole {
			return fmt.Errorf("offset %d of queue %d is lost: %w", off, q.ordinal, ErrNotFound)
		}
		var batch []byte
		if err == nil {
			batch, err = l.messages(q, &x[0], nil)
		}
		if errors.Is(err, errMoved) && moves < maxMoves {
			continue
		}
		if err != nil {
			return err
		}
		for ; len(batch) > 0; batch = batch[len(nextView(batch)):] {
			if v := nextView(batch); uint64(v.QueueOffset()) == off {
				return f(v)
			}
		}
		return corrupt(x[0].file, 0, "record at %d: offset %d of queue %d is missing", x[0].pos, off, q.ordinal)
	}
}

// nextView returns the first message of a batch. The batch comes from a record that was checked when it was appended and
// whose crc is right.
func nextView(batch []byte) message.View {
	n := int(be.Uint32(batch))
	return message.View(batch[:n:n])
}
