package queue

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/varvemq/varve/broker/wal"
	"github.com/varvemq/varve/internal/message"
)

// benchLog opens a log on the disk.
func benchLog(b *testing.B) *Log {
	b.Helper()
	return openLog(b, Config{WAL: wal.Config{Dir: b.TempDir()}, Shard: wal.Shard{ID: 1, Epoch: 1}})
}

// sender appends one operation at a time out of a few, as a connection with a window does.
type sender struct {
	l    *Log
	free chan *Op
}

func newSender(l *Log, window int, queue func(i int) *Queue, messages []byte, count int, sync bool) *sender {
	s := &sender{l: l, free: make(chan *Op, window)}
	for i := range window {
		op := &Op{Sync: sync, Done: func(op *Op, err error) {
			if err != nil {
				panic(err)
			}
			s.free <- op
		}}
		op.Batches = []Batch{{Queue: queue(i), Messages: append([]byte(nil), messages...), Count: count}}
		s.free <- op
	}
	return s
}

func (s *sender) send() {
	if err := s.l.Append(context.Background(), <-s.free); err != nil {
		panic(err)
	}
}

func (s *sender) drain() {
	for range cap(s.free) {
		<-s.free
	}
}

// trimSome keeps the disk small. It is a part of what is measured, as it is of running a broker.
func trimSome(l *Log) {
	if st := l.WAL().Stats(); st.Next-st.First > 2<<30 {
		if err := l.TrimTo(context.Background(), st.Next-1<<30); err != nil {
			panic(err)
		}
	}
}

func BenchmarkAppend(b *testing.B) {
	keyed := []string{message.PropertyUniqKey, "0A00000100002A139A5500000001AB01", message.PropertyKeys, "order-1234", "TAGS", "a"}
	for _, bc := range []struct {
		name         string
		count, size  int
		props        []string
		sync         bool
		window, many int
	}{
		{"single-100B-async", 1, 100, nil, false, 256, 1},
		{"single-100B-async-keys", 1, 100, keyed, false, 256, 1},
		{"single-1KiB-async-keys", 1, 1024, keyed, false, 256, 16},
		{"single-100B-sync", 1, 100, nil, true, 256, 1},
		{"single-100B-sync-alone", 1, 100, nil, true, 1, 1},
		{"batch-1000x100B-async", 1000, 100, nil, false, 16, 4},
		{"batch-1000x100B-async-keys", 1000, 100, keyed, false, 16, 4},
		{"batch-100x1KiB-async", 100, 1024, nil, false, 16, 4},
	} {
		b.Run(bc.name, func(b *testing.B) {
			l := benchLog(b)
			var messages []byte
			for i := range bc.count {
				messages = append(messages, msg("bench", uint64(i), bc.size, bc.props...)...)
			}
			s := newSender(l, bc.window, func(i int) *Queue { return l.Queue(uint32(i % bc.many)) }, messages, bc.count, bc.sync)
			b.SetBytes(int64(bc.count * bc.size))
			b.ReportAllocs()
			n := 0
			for b.Loop() {
				s.send()
				if n++; n%1024 == 0 {
					trimSome(l)
				}
			}
			s.drain()
			b.ReportMetric(float64(bc.count)*float64(b.N)/b.Elapsed().Seconds(), "msg/s")
		})
	}
}

func BenchmarkAppendParallel(b *testing.B) {
	l := benchLog(b)
	m := msg("bench", 0, 100)
	var next atomic.Uint32
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		q := l.Queue(next.Add(1))
		s := newSender(l, 64, func(int) *Queue { return q }, m, 1, false)
		for pb.Next() {
			s.send()
		}
		s.drain()
	})
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msg/s")
}

func BenchmarkRead(b *testing.B) {
	for _, batch := range []int{1, 100} {
		l := openLog(b, Config{WAL: wal.Config{Dir: b.TempDir(), FileSize: 16 << 20, TailBytes: 16 << 20}, Shard: wal.Shard{ID: 1, Epoch: 1}})
		q := l.Queue(1)
		var messages []byte
		for i := range batch {
			messages = append(messages, msg("bench", uint64(i), 100)...)
		}
		s := newSender(l, 64, func(int) *Queue { return q }, messages, batch, false)
		for closedFiles(l) < 6 {
			s.send()
		}
		s.drain()
		for _, n := range []int{32, 1000} {
			for _, from := range []string{"tail", "closed"} {
				b.Run(fmt.Sprintf("%s-%d-batch-%d", from, n, batch), func(b *testing.B) {
					lo, hi := uint64(0), q.Max()/2
					if from == "tail" {
						lo, hi = q.Max()-20000, q.Max()-uint64(n)
					}
					off := lo
					dst := make([]byte, 0, 1<<20)
					b.SetBytes(int64(n) * 100)
					b.ReportAllocs()
					for b.Loop() {
						if off >= hi {
							off = lo
						}
						_, res, err := l.Read(context.Background(), q, ReadRequest{Offset: off, MaxMessages: n, MaxBytes: 1 << 20}, dst)
						if err != nil || res.Count != n {
							b.Fatal(res, err)
						}
						off = res.Next
					}
					b.ReportMetric(float64(n)*float64(b.N)/b.Elapsed().Seconds(), "msg/s")
				})
			}
		}
	}
}
