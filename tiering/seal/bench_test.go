//go:build unix

package seal

import (
	"fmt"
	"math/rand/v2"
	"syscall"
	"testing"
	"time"

	"github.com/pierrec/lz4/v4"

	"github.com/varvemq/varve/internal/message"
	"github.com/varvemq/varve/internal/vfs"
	"github.com/varvemq/varve/metadata"
	"github.com/varvemq/varve/tiering/catalog"
	"github.com/varvemq/varve/tiering/objstore"
	"github.com/varvemq/varve/tiering/segment"
)

type noCatalog struct{}

func (noCatalog) Add(catalog.Recent) {}

// text fills b with words, of which lz4 saves about half; noise with what nothing saves.
func text(rng *rand.Rand, b []byte) {
	for n := 0; n < len(b); {
		n += copy(b[n:], fmt.Sprintf(`{"order":%d,"sku":"%x","state":"paid","amount":%d.%02d},`, rng.Uint64N(1e12), rng.Uint64N(1<<40), rng.IntN(1e4), rng.IntN(100)))
	}
}

func noise(rng *rand.Rand, b []byte) {
	for i := range b {
		b[i] = byte(rng.Uint32())
	}
}

// benchLog makes a log of about so many bytes: messages of 1 KiB of some queues, in batches of 8, 4 of them in a record.
func benchLog(b *testing.B, queues int, bytes uint64, c segment.Compression, keys segment.KeyMode, fill func(*rand.Rand, []byte)) *modelWAL {
	b.Helper()
	rng := rand.New(rand.NewPCG(1, 1))
	topics := &modelTopics{queues: map[uint32]*modelQueue{}}
	for i := range uint32(queues) {
		topics.queues[i+1] = &modelQueue{
			Queue: segment.Queue{Ordinal: i + 1, Topic: "orders", QueueID: int32(i), Keys: keys}, compression: c, state: QueueLive,
		}
	}
	w := newWAL(topics)
	body := make([]byte, 900)
	for w.pos < bytes {
		var r Record
		for range 4 {
			q := topics.queues[1+uint32(rng.IntN(queues))]
			batch := Batch{Ordinal: q.Ordinal, Base: q.next, Count: 8}
			for range 8 {
				fill(rng, body)
				phys, err := message.PhysicalOffset(q.Ordinal, q.next)
				if err != nil {
					b.Fatal(err)
				}
				batch.Messages = message.Append(batch.Messages, &message.Fields{
					Topic: q.Topic, QueueID: q.QueueID, QueueOffset: int64(q.next), PhysicalOffset: phys, StoreTimestamp: 1_700_000_000_000, StoreHost: testHost, BornHost: testHost,
					Body: body, Properties: message.AppendProperty(nil, message.PropertyUniqKey, fmt.Sprintf("%032X", rng.Uint64())),
				})
				q.next++
			}
			r.Batches = append(r.Batches, batch)
		}
		w.append(r)
	}
	w.sync()
	return w
}

// plainLZ4 compresses the messages of a log, queue by queue in blocks of 1 MiB: what lz4 alone takes.
func plainLZ4(b *testing.B, blocks [][]byte) {
	b.Helper()
	var c lz4.Compressor
	dst := make([]byte, lz4.CompressBlockBound(segment.MaxBlock))
	for _, raw := range blocks {
		if _, err := c.CompressBlock(raw, dst); err != nil {
			b.Fatal(err)
		}
	}
}

func benchBlocks(w *modelWAL) (blocks [][]byte, bytes int) {
	byQueue := map[uint32][]byte{}
	for i := range w.records {
		for _, batch := range w.records[i].Batches {
			q := append(byQueue[batch.Ordinal], batch.Messages...)
			if len(q) > segment.MaxBlock-16<<10 {
				blocks, q = append(blocks, q), nil
			}
			byQueue[batch.Ordinal] = q
			bytes += len(batch.Messages)
		}
	}
	for _, q := range byQueue {
		if len(q) > 0 {
			blocks = append(blocks, q)
		}
	}
	return blocks, bytes
}

// cpu returns the processor time that the process has used.
func cpu(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkSeal seals 64 MiB, from the log to the commit, into a bucket that costs nothing; and compresses the same bytes with lz4 alone, in the same run. Its own
// metrics are per second of processor time, garbage collection included.
func BenchmarkSeal(b *testing.B) {
	for _, tt := range []struct {
		name   string
		queues int
		c      segment.Compression
		keys   segment.KeyMode
		fill   func(*rand.Rand, []byte)
	}{
		{"lz4", 64, segment.Fast, segment.KeysAll, text},
		{"lz4, no keys", 64, segment.Fast, segment.KeysNone, text},
		{"lz4, noise", 64, segment.Fast, segment.KeysAll, noise},
		{"lz4, 5000 queues", 5000, segment.Fast, segment.KeysAll, text},
		{"raw", 64, segment.Uncompressed, segment.KeysAll, text},
	} {
		b.Run(tt.name, func(b *testing.B) {
			w := benchLog(b, tt.queues, 64<<20, tt.c, tt.keys, tt.fill)
			blocks, bytes := benchBlocks(w)
			world := &world{kv: metadata.NewMemory(), mem: objstore.NewMem(), wal: w, disk: vfs.NewCrash(nil)}
			dir := b.TempDir()
			life := world.start(b, world.kv, func(c *Config) {
				c.Bucket, c.Catalog, c.Bytes, c.FS, c.SpoolDir = &sink{buf: make([]byte, 1<<20)}, noCatalog{}, 1<<30, vfs.OS(), dir
			})
			var sealed, plain time.Duration
			b.SetBytes(int64(bytes))
			b.ReportAllocs()
			for b.Loop() {
				began := cpu(b)
				if _, err := life.Seal(b.Context()); err != nil {
					b.Fatal(err)
				}
				sealed += cpu(b) - began
				b.StopTimer()
				began = cpu(b)
				plainLZ4(b, blocks)
				plain += cpu(b) - began
				rewind(life, w)
				b.StartTimer()
			}
			mb := float64(bytes) / 1e6 * float64(b.N)
			b.ReportMetric(mb/sealed.Seconds(), "seal-MB/core-s")
			b.ReportMetric(mb/plain.Seconds(), "lz4-MB/core-s")
			b.ReportMetric(plain.Seconds()/sealed.Seconds(), "ratio")
			life.stop(b)
		})
	}
}

// BenchmarkSealSlowly seals 64 MiB in segments of 8 MiB into a bucket that takes 100 MB/s: building and uploading overlap.
func BenchmarkSealSlowly(b *testing.B) {
	w := benchLog(b, 64, 64<<20, segment.Fast, segment.KeysAll, text)
	_, bytes := benchBlocks(w)
	world := &world{kv: metadata.NewMemory(), mem: objstore.NewMem(), wal: w, disk: vfs.NewCrash(nil)}
	dir := b.TempDir()
	life := world.start(b, world.kv, func(c *Config) {
		c.Bucket, c.Catalog, c.Bytes, c.FS, c.SpoolDir = &sink{buf: make([]byte, 1<<20), rate: 100e6}, noCatalog{}, 8<<20, vfs.OS(), dir
	})
	b.SetBytes(int64(bytes))
	for b.Loop() {
		if _, err := life.Seal(b.Context()); err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		rewind(life, w)
		b.StartTimer()
	}
	life.stop(b)
}

// rewind makes the records those of the next LSNs, and not sealed.
func rewind(life *broker, w *modelWAL) {
	for i := range w.records {
		w.records[i].LSN = life.Head().LSN + uint64(i)
	}
	life.from, life.head.Position, w.trimmed = 0, 0, 0
}
