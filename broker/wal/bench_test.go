package wal

import (
	"context"
	"fmt"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/varvemq/varve/internal/vfs"
)

// chanWait is a Waiter that can be used again.
type chanWait chan error

func (c chanWait) Reached(_ Stage, err error) { c <- err }

func benchWAL(b *testing.B) *WAL {
	b.Helper()
	// t.TempDir may be memory; the benchmarks are about a disk.
	w, err := Open(context.Background(), Config{Dir: filepath.Join(b.TempDir(), "wal"), FS: vfs.OS(), Limit: 2 << 30, TailBytes: 64 << 20})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := w.Close(); err != nil {
			b.Error(err)
		}
	})
	return w
}

func appendN(w *WAL, parts []Part, notify Stage, waiter Waiter) (Appended, error) {
	if err := w.Reserve(context.Background(), RecordSize(parts), false); err != nil {
		return Appended{}, err
	}
	return w.Append(1, parts, notify, waiter)
}

// BenchmarkAppendSync is one message a record, each waited for until it is durable.
func BenchmarkAppendSync(b *testing.B) {
	for _, size := range []int{100, 1 << 10} {
		for _, writers := range []int{1, 64} {
			b.Run(fmt.Sprintf("%dB/writers=%d", size, writers), func(b *testing.B) {
				w := benchWAL(b)
				var left atomic.Int64
				left.Store(int64(b.N))
				var wg sync.WaitGroup
				b.ReportAllocs()
				b.ResetTimer()
				for range writers {
					wg.Go(func() {
						parts, wait := batch(1, size), make(chanWait, 1)
						for left.Add(-1) >= 0 {
							if _, err := appendN(w, parts, Durable, wait); err != nil {
								b.Error(err)
								return
							}
							if err := <-wait; err != nil {
								b.Error(err)
								return
							}
						}
					})
				}
				wg.Wait()
				b.StopTimer()
				st := w.Stats()
				b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "records/s")
				b.ReportMetric(float64(st.Records)/float64(max(st.Groups, 1)), "records/group")
			})
		}
	}
}

// BenchmarkAppendAsync is batches of 1,000 messages, each batch told when it is written, eight on their way.
func BenchmarkAppendAsync(b *testing.B) {
	for _, size := range []int{100, 1 << 10} {
		b.Run(fmt.Sprintf("1000x%dB", size), func(b *testing.B) {
			w := benchWAL(b)
			parts := batch(1, 1000*size)
			wait := make(chanWait, 8)
			inFlight := 0
			b.SetBytes(int64(1000 * size))
			b.ReportAllocs()
			for b.Loop() {
				if inFlight == cap(wait) {
					if err := <-wait; err != nil {
						b.Fatal(err)
					}
					inFlight--
				}
				a, err := appendN(w, parts, Written, wait)
				if err != nil {
					b.Fatal(err)
				}
				inFlight++
				if err := w.TrimTo(a.FileBase); err != nil {
					b.Fatal(err)
				}
			}
			for range inFlight {
				<-wait
			}
			b.ReportMetric(1000*float64(b.N)/b.Elapsed().Seconds(), "msgs/s")
		})
	}
}
