package coldread

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/url"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
	"golang.org/x/sync/errgroup"

	"github.com/varvemq/varve/tiering/manifest"
	"github.com/varvemq/varve/tiering/objstore"
	"github.com/varvemq/varve/tiering/objstore/faulty"
	"github.com/varvemq/varve/tiering/segment"
)

// testServer is the variable with the S3 server to measure: tools/s3/with-s3.sh sets it.
const testServer = "VARVE_TEST_S3"

// plain reads n bytes of an object from off on into b.
type plain func(ctx context.Context, key string, off int64, b []byte) error

// place is a store to measure, and the plain way to read it.
type place struct {
	store objstore.Store
	get   plain
}

// places makes new ones, by name.
func places() map[string]func(b *testing.B) place {
	out := map[string]func(b *testing.B) place{"dir": directory, "slow": slow}
	if raw := os.Getenv(testServer); raw != "" {
		out[os.Getenv(testServer+"_SERVER")] = func(b *testing.B) place {
			b.Helper()
			return server(b, raw)
		}
	}
	return out
}

func directory(b *testing.B) place {
	b.Helper()
	dir, err := objstore.OpenDir(b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	return placeOf(dir)
}

// slow is a directory that takes its time, as stores do that are not on this machine.
func slow(b *testing.B) place {
	b.Helper()
	return placeOf(faulty.New(directory(b).store, faulty.Config{Latency: 50 * time.Millisecond}))
}

func placeOf(dir objstore.Store) place {
	return place{dir, func(ctx context.Context, key string, off int64, p []byte) error {
		rc, err := dir.Get(ctx, key, off, int64(len(p)))
		if err != nil {
			return err
		}
		defer rc.Close()
		_, err = io.ReadFull(rc, p)
		return err
	}}
}

// server is a bucket of an S3 server.
func server(b *testing.B, raw string) place {
	b.Helper()
	u, err := url.Parse(raw)
	if err != nil {
		b.Fatal(err)
	}
	secret, _ := u.User.Password()
	bucket := strings.Trim(u.Path, "/")
	c, err := minio.New(u.Host, &minio.Options{Creds: credentials.NewStaticV4(u.User.Username(), secret, ""), Secure: u.Scheme == "https", Region: "us-east-1"})
	if err != nil {
		b.Fatal(err)
	}
	if ok, err := c.BucketExists(b.Context(), bucket); err != nil {
		b.Fatal(err)
	} else if !ok {
		if err := c.MakeBucket(b.Context(), bucket, minio.MakeBucketOptions{Region: "us-east-1"}); err != nil {
			b.Fatal(err)
		}
	}
	prefix := fmt.Sprintf("b%d", rand.Uint64())
	store, err := objstore.OpenWith(b.Context(), fmt.Sprintf("minio://%s/%s/%s?secure=%t", u.Host, bucket, prefix, u.Scheme == "https"), objstore.Options{
		AccessKey: u.User.Username(), SecretKey: secret,
	})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { store.Close() })
	core := minio.Core{Client: c}
	return place{store, func(ctx context.Context, key string, off int64, p []byte) error {
		var opts minio.GetObjectOptions
		if err := opts.SetRange(off, off+int64(len(p))-1); err != nil {
			return err
		}
		rc, _, _, err := core.GetObject(ctx, bucket, prefix+"/"+key, opts)
		if err != nil {
			return err
		}
		defer rc.Close()
		_, err = io.ReadFull(rc, p)
		return err
	}}
}

// benchBody makes bodies of 1 KiB: random bytes, or text of the kind of events in JSON.
func benchBody(rng *rand.Rand, compressible bool) []byte {
	b := make([]byte, 0, 1024)
	for len(b) < 1024 {
		if compressible {
			b = fmt.Appendf(b, `{"order":%d,"customer":"c-%06d","state":"%s","amount":%d.%02d,"currency":"EUR","note":"%x"}`,
				rng.Uint32(), rng.IntN(1e6), [...]string{"placed", "paid", "shipped", "returned"}[rng.IntN(4)], rng.IntN(1000), rng.IntN(100), rng.Uint64())
		} else {
			b = append(b, byte(rng.Uint32()))
		}
	}
	return b[:1024]
}

// benchWorld seals segments of 64 MiB of messages of queues, round robin.
func benchWorld(b *testing.B, p place, queues, segments int, compressible bool) *world {
	b.Helper()
	w := newWorld(b, p.store)
	rng := rand.New(rand.NewPCG(1, 2))
	for i := range queues {
		w.queues = append(w.queues, &modelQueue{Queue: segment.Queue{Ordinal: uint32(i), Topic: "orders", QueueID: int32(i)}})
	}
	for s := range segments {
		runs := make([]manifest.Run, queues)
		for i, q := range w.queues {
			runs[i] = manifest.Run{Ordinal: q.Ordinal, First: uint64(len(q.messages))}
		}
		for n := 0; n < 64<<20; {
			for i, q := range w.queues {
				q.add(b, int64(1000+s), "", fmt.Sprintf("o%d", rng.Uint64()), benchBody(rng, compressible))
				runs[i].End = uint64(len(q.messages))
				n += len(q.messages[len(q.messages)-1].b)
			}
		}
		w.seal(runs...)
		for _, q := range w.queues {
			for i := range q.messages {
				q.messages[i].b = nil // they are in the store
			}
		}
	}
	return w
}

// dataBytes is the bytes of all segments that are blocks.
func (w *world) dataBytes(b *testing.B) (n int64) {
	b.Helper()
	for _, s := range w.segs {
		r, err := w.OpenSegment(b.Context(), s.Entry)
		if err != nil {
			b.Fatal(err)
		}
		f := r.Footer()
		n += f.DataBytes()
	}
	return n
}

// benchConcurrency is as many chunks as fit into Iterate's part of the bytes in flight.
const benchConcurrency = 6

// decodersVar is the variable with the number of decoders of the benchmark, 1 by default.
const decodersVar = "VARVE_TEST_DECODERS"

// readPlain reads all blocks of all segments with ranged GETs of step bytes, so many at once.
func (w *world) readPlain(ctx context.Context, p place, step int64) error {
	type job struct {
		key    string
		off, n int64
	}
	var jobs []job
	for _, s := range w.segs {
		f := w.readers[s.Object].Footer()
		for off := int64(0); off < f.DataBytes(); off += step {
			jobs = append(jobs, job{keyOf(s), off, min(step, f.DataBytes()-off)})
		}
	}
	next := make(chan job)
	errs := make([]error, benchConcurrency)
	var wg sync.WaitGroup
	for i := range benchConcurrency {
		wg.Go(func() {
			buf := make([]byte, 8<<20)
			for j := range next {
				if err := p.get(ctx, j.key, j.off, buf[:j.n]); err != nil {
					errs[i] = err
				}
			}
		})
	}
	for _, j := range jobs {
		next <- j
	}
	close(next)
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// readAll iterates over all queues, each by itself or all at once.
func (w *world) readAll(ctx context.Context, r *Reader, each bool) error {
	at := make([]Position, len(w.queues))
	for i, q := range w.queues {
		at[i].Ordinal = q.Ordinal
	}
	read := func(from []Position) error {
		for b, err := range r.IterateQueues(ctx, from) {
			if err != nil {
				return err
			}
			at[b.Ordinal].Offset = b.End
			b.Release()
		}
		return nil
	}
	if each {
		g, ctx := errgroup.WithContext(ctx)
		g.SetLimit(4)
		for i := range at {
			g.Go(func() error {
				if ctx.Err() != nil {
					return ctx.Err()
				}
				return read(at[i : i+1])
			})
		}
		if err := g.Wait(); err != nil {
			return err
		}
	} else if err := read(at); err != nil {
		return err
	}
	for i, q := range w.queues {
		if want := uint64(len(q.messages)); at[i].Offset != want {
			return fmt.Errorf("queue %d ended at %d of %d", q.Ordinal, at[i].Offset, want)
		}
	}
	return nil
}

// BenchmarkIterate reads all sealed blocks once an iteration, beside the plain GET of the same bytes in turn: what it reports is in bytes of objects.
func BenchmarkIterate(b *testing.B) {
	for name, place := range places() {
		for _, c := range []struct {
			name   string
			queues int
			each   bool
		}{{"1 queue", 1, true}, {"64 queues at once", 64, false}, {"64 queues by themselves", 64, true}} {
			for _, body := range []string{"incompressible", "compressible"} {
				b.Run(name+"/"+c.name+"/"+body, func(b *testing.B) {
					p := place(b)
					decoders, _ := strconv.Atoi(os.Getenv(decodersVar))
					w := benchWorld(b, p, c.queues, 6, body == "compressible")
					r := New(Config{Catalog: w, Shard: shard, Concurrency: benchConcurrency + benchConcurrency/3, Decoders: decoders})
					defer r.Close()
					n := float64(w.dataBytes(b))
					b.SetBytes(int64(n))
					b.ReportAllocs()
					run := min(8<<20, int64(n)/int64(len(w.segs)*c.queues)) // what is of one queue in a segment
					var rounds [3][]float64                                 // MB/s of ours, plain ones of 8 MiB, plain ones as small as the runs
					round := func(i int, f func() error) {
						begin := time.Now()
						if err := f(); err != nil {
							b.Fatal(err)
						}
						rounds[i] = append(rounds[i], n/1e6/time.Since(begin).Seconds())
					}
					for b.Loop() {
						round(0, func() error { return w.readAll(b.Context(), r, c.each) })
						b.StopTimer()
						round(1, func() error { return w.readPlain(b.Context(), p, 8<<20) })
						round(2, func() error { return w.readPlain(b.Context(), p, run) })
						b.StartTimer()
					}
					var median [3]float64
					for i := range rounds {
						slices.Sort(rounds[i])
						median[i] = rounds[i][len(rounds[i])/2]
					}
					b.ReportMetric(median[0], "median_MB/s")
					b.ReportMetric(median[1], "plain_MB/s")
					b.ReportMetric(median[2], "runs_MB/s")
					b.ReportMetric(median[0]/median[1], "ratio")
					b.ReportMetric(median[0]/median[2], "ratio_runs")
					b.ReportMetric(float64(w.raw())/n, "compression")
				})
			}
		}
	}
}

// raw is the bytes of all messages.
func (w *world) raw() (n uint64) {
	for _, s := range w.segs {
		n += s.RawBytes
	}
	return n
}

// BenchmarkPull reads a queue in sequence as a group does that has been set back: 32 messages a time, through cache and read-ahead. What it reports is in bytes of messages.
func BenchmarkPull(b *testing.B) {
	for name, place := range places() {
		for _, readers := range []int{1, 64} {
			b.Run(fmt.Sprintf("%s/queues=%d", name, readers), func(b *testing.B) {
				p := place(b)
				w := benchWorld(b, p, readers, 4, true)
				b.SetBytes(int64(w.raw()))
				b.ReportAllocs()
				var peak atomic.Uint64
				var idle runtime.MemStats
				runtime.GC()
				runtime.ReadMemStats(&idle)
				for b.Loop() {
					r := New(Config{Catalog: w, Shard: shard})
					g, ctx := errgroup.WithContext(b.Context())
					for _, q := range w.queues {
						g.Go(func() error {
							for n, at := 0, uint64(0); at < uint64(len(q.messages)); n++ {
								block, err := r.Block(ctx, q.Ordinal, at, nil)
								if err != nil {
									return err
								}
								if at = min(at+32, block.End); n%256 == 0 {
									var m runtime.MemStats
									runtime.ReadMemStats(&m)
									peak.Store(max(peak.Load(), m.HeapInuse))
								}
							}
							return nil
						})
					}
					if err := g.Wait(); err != nil {
						b.Fatal(err)
					}
					r.Close()
				}
				b.ReportMetric(float64(w.gets.Load())/float64(b.N), "gets/op")
				b.ReportMetric((float64(peak.Load())-float64(idle.HeapInuse))/(1<<20), "heap_above_idle_MiB") // garbage included
			})
		}
	}
}
