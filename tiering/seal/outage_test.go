package seal

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/varvemq/varve/internal/vfs"
	"github.com/varvemq/varve/metadata"
	"github.com/varvemq/varve/tiering/catalog"
	"github.com/varvemq/varve/tiering/objstore"
	"github.com/varvemq/varve/tiering/objstore/faulty"
)

// TestOutages: something is away for an hour. It is asked now and then, which is logged once; what the sealer holds in memory does not grow; and it recovers.
func TestOutages(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name        string
		what        string // the operation that fails
		class       error
		least, most int // attempts
		step        string
	}{
		{"the bucket does not answer", "put", objstore.ErrTransient, 360, 760, "upload"},
		{"the bucket throttles", "put", objstore.ErrThrottled, 55, 130, "upload"},
		{"the credentials are wrong", "put", objstore.ErrFatal, 110, 250, "upload"},
		{"there is no bucket", "put", objstore.ErrNotFound, 110, 250, "upload"},
		{"etcd does not answer", "read", metadata.ErrUnavailable, 700, 40_000, "reserve"}, // each attempt of ours is several of metadata's
		{"the disk is full", "disk", vfs.ErrInjected, 110, 260, "build"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				rng := seed(t)
				w := newWorld(t, newTopics(rng, 3))
				var attempts atomic.Int64
				var away atomic.Bool
				p := &tap{decide: func(_ int, what string) mode {
					if !away.Load() || !strings.HasPrefix(what, tt.what) {
						return ""
					}
					attempts.Add(1)
					return failBefore
				}}
				var lines bytes.Buffer
				b := w.tapped(t, p, false, func(c *Config) {
					c.Bytes, c.Age = 10_000, time.Minute
					c.Logger = slog.New(slog.NewTextHandler(&lines, nil))
					if tt.what == "put" {
						c.Bucket = classStore{c.Bucket, tt.class}
					}
				})
				p.begin(func() {})
				stop := running(t, b.Sealer)
				w.wal.fill(t, rng, 3, 100)
				time.Sleep(2 * time.Minute)
				w.check(t)
				before := len(b.catalog.list())
				lines.Reset()
				away.Store(true)
				for range 60 {
					w.wal.fill(t, rng, 5, 1000)
					time.Sleep(time.Minute)
				}
				synctest.Wait()
				st := b.Status()
				if st.Backlog < 60*5*recordOverhead || st.Err == nil || st.Step != tt.step || st.Oldest < 58*time.Minute || time.Since(st.Since) < 58*time.Minute {
					t.Errorf("%+v", st)
				}
				if n := int(attempts.Load()); n < tt.least || n > tt.most {
					t.Errorf("%d attempts in an hour", n)
				}
				if n := strings.Count(lines.String(), "\n"); n != 1 {
					t.Errorf("%d log lines: %s", n, lines.String())
				}
				if n := len(b.catalog.list()); n != before {
					t.Errorf("%d segments while it is away", n-before)
				}
				for _, w := range []*work{b.work, b.next} {
					if w != nil && (tt.step == "upload" && (w.cut.pieces != nil || w.cut.queues != nil) || w.cut.bytes > 10_000) {
						t.Errorf("a cut of %d bytes is held", w.cut.bytes)
					}
				}
				if names, err := w.disk.List(testSpool); err != nil || len(names) > 2 {
					t.Errorf("%q, %v", names, err)
				}
				away.Store(false)
				time.Sleep(2 * time.Minute)
				synctest.Wait()
				if st := b.Status(); st.Err != nil || st.Backlog != 0 || w.check(t).Head.LSN != w.wal.end() {
					t.Errorf("afterwards: %+v", st)
				}
				if n := strings.Count(lines.String(), "\n"); n != 2 {
					t.Errorf("%d log lines: %s", n, lines.String())
				}
				if err := stop(); err != nil {
					t.Error(err)
				}
				p.end()
				b.stop(t)
			})
		})
	}
}

// classStore gives the failures of a Put another class.
type classStore struct {
	objstore.Store

	class error
}

func (c classStore) Put(ctx context.Context, key string, r io.ReadSeeker, size int64, opts objstore.PutOptions) error {
	if err := c.Store.Put(ctx, key, r, size, opts); err != nil {
		return c.class
	}
	return nil
}

// TestOutageEnds: an outage does not keep anything from ending: a call by its context, the sealer by its own or by the loss of the shard.
func TestOutageEnds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		rng := seed(t)
		w := newWorld(t, newTopics(rng, 3))
		var bucket *faulty.Store
		life := func() *broker {
			return w.start(t, w.kv, func(c *Config) {
				bucket = faulty.New(c.Bucket, faulty.Config{})
				c.Bucket = bucket
			})
		}
		b := life()
		stop := running(t, b.Sealer)
		bucket.Outage(2 * time.Hour)
		w.wal.fill(t, rng, 30, 1000)
		time.Sleep(time.Minute)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := b.Seal(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		began := time.Now()
		if err := stop(); err != nil || time.Since(began) > 0 {
			t.Errorf("%v after %v", err, time.Since(began))
		}
		// What Run has left is gone on with, under the same number.
		ctx2, cancel2 := context.WithTimeout(t.Context(), time.Minute)
		defer cancel2()
		if _, err := b.Seal(ctx2); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		if n := w.state(t).Head.NextObject; n != 3 { // and the one behind it
			t.Errorf("the next object is %d", n)
		}
		bucket.Outage(0)
		w.sealAll(t, b)

		bucket.Outage(2 * time.Hour)
		w.wal.fill(t, rng, 30, 1000)
		done := make(chan error, 1)
		go func() { done <- b.Run(t.Context()) }()
		time.Sleep(30 * time.Minute)
		w.takeOver(t)
		began = time.Now()
		if err := <-done; !errors.Is(err, metadata.ErrFenced) || time.Since(began) > 0 {
			t.Errorf("%v after %v", err, time.Since(began))
		}
		if _, err := b.Seal(t.Context()); !errors.Is(err, metadata.ErrFenced) {
			t.Error(err)
		}
		b.stop(t)
		b = life()
		w.sealAll(t, b)
		b.stop(t)
	})
}

// TestSealPatience: calls that do not wait long do not keep a long upload from ending.
func TestSealPatience(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		rng := seed(t)
		w := newWorld(t, newTopics(rng, 3))
		b := w.start(t, w.kv, func(c *Config) { c.Bucket, c.Bytes = slowStore{c.Bucket}, 1<<20 })
		stop := running(t, b.Sealer)
		w.wal.fill(t, rng, 30, 1000)
		began := time.Now()
		for {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			head, err := b.Seal(ctx)
			cancel()
			if err == nil {
				if head.LSN != w.wal.end() || len(b.catalog.list()) != 1 {
					t.Errorf("%+v, %d segments", head, len(b.catalog.list()))
				}
				break
			}
			if !errors.Is(err, context.DeadlineExceeded) || time.Since(began) > time.Minute {
				t.Fatalf("%v after %v", err, time.Since(began))
			}
		}
		if took := time.Since(began); took < 20*time.Second || took > 25*time.Second {
			t.Errorf("it took %v", took)
		}
		// Who waits when Run ends does the work.
		w.wal.fill(t, rng, 30, 1000)
		sealed := make(chan error, 1)
		go func() {
			_, err := b.Seal(t.Context())
			sealed <- err
		}()
		time.Sleep(5 * time.Second)
		if err := stop(); err != nil {
			t.Error(err)
		}
		if err := <-sealed; err != nil || w.check(t).Head.LSN != w.wal.end() {
			t.Error(err)
		}
		b.stop(t)
	})
}

// slowStore takes 20 s for a Put.
type slowStore struct{ objstore.Store }

func (s slowStore) Put(ctx context.Context, key string, r io.ReadSeeker, size int64, opts objstore.PutOptions) error {
	select {
	case <-ctx.Done():
		return errors.Join(objstore.ErrTransient, ctx.Err())
	case <-time.After(20 * time.Second):
		return s.Store.Put(ctx, key, r, size, opts)
	}
}

// TestThereAlready: an object with the number and the epoch of ours is ours, or ends everything.
func TestThereAlready(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name  string
		put   func(own []byte) []byte // what is there
		fault func(get int) faulty.Fault
		ours  bool
	}{
		{"ours", func(b []byte) []byte { return b }, nil, true},
		{"ours, and damaged on the way", func(b []byte) []byte { return b }, func(get int) faulty.Fault {
			return []faulty.Fault{faulty.TruncateBody, faulty.FlipBit, faulty.ResetBody, faulty.None}[min(get-1, 3)]
		}, true},
		{"ours, and cut off on the way more often than damage is believed", func(b []byte) []byte { return b }, func(get int) faulty.Fault {
			if get <= 2*maxLooks {
				return faulty.ResetBody
			}
			return faulty.None
		}, true},
		{"longer", func(b []byte) []byte { return append(bytes.Clone(b), 0) }, nil, false},
		{"shorter", func(b []byte) []byte { return b[:len(b)-1] }, nil, false},
		{"nothing", func([]byte) []byte { return nil }, nil, false},
		{"another footer", func(b []byte) []byte { b = bytes.Clone(b); b[len(b)-1] ^= 1; return b }, nil, false},
		{"another segment", func([]byte) []byte { return nil }, nil, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				rng := seed(t)
				w := newWorld(t, newTopics(rng, 3))
				gets := 0
				stranger := &planted{put: tt.put, mem: w.mem}
				b := w.start(t, w.kv, func(c *Config) {
					c.Bytes = 1 << 20
					stranger.Store = faulty.New(c.Bucket, faulty.Config{Plan: func(op faulty.Op) faulty.Fault {
						if op.Kind != faulty.Get || tt.fault == nil {
							return faulty.None
						}
						gets++
						return tt.fault(gets)
					}})
					c.Bucket = stranger
				})
				w.wal.fill(t, rng, 10, 1000)
				if tt.name == "another segment" { // of the same length: the same records under another number
					other := newWorld(t, w.wal.topics)
					other.wal.records, other.wal.durable, other.wal.pos, other.wal.next = w.wal.records, w.wal.durable, w.wal.pos, w.wal.next
					ob := other.start(t, other.kv, func(c *Config) { c.Bytes = 1 << 20 })
					if _, err := ob.own.ReserveObjects(t.Context(), []string{metadata.KindSegment}); err != nil {
						t.Fatal(err)
					}
					other.sealAll(t, ob)
					theirs, err := objstore.ReadAll(t.Context(), other.mem, catalog.ObjectKey(testShard, 1, 2, metadata.KindSegment), 1<<30)
					if err != nil {
						t.Fatal(err)
					}
					stranger.put = func(own []byte) []byte {
						if len(own) != len(theirs) {
							t.Errorf("%d bytes, theirs are %d", len(own), len(theirs))
						}
						return theirs
					}
					ob.stop(t)
				}
				_, err := b.Seal(t.Context())
				switch {
				case tt.ours && err == nil:
					w.sealAll(t, b)
				case tt.ours || !errors.Is(err, ErrForeign):
					t.Error(err)
				default:
					if st := w.state(t); st.Head.LSN != 1 || len(st.Segments) > 0 {
						t.Errorf("%+v", st)
					}
					if err := b.Run(t.Context()); !errors.Is(err, ErrForeign) {
						t.Errorf("Run: %v", err)
					}
				}
				b.stop(t)
			})
		})
	}
}

// planted is a bucket in which somebody has put something under every key just before.
type planted struct {
	objstore.Store

	mem *objstore.Mem
	put func(own []byte) []byte
}

func (p *planted) Put(ctx context.Context, key string, r io.ReadSeeker, size int64, opts objstore.PutOptions) error {
	own := make([]byte, size)
	if _, err := r.Read(own); err != nil {
		return err
	}
	if err := objstore.PutBytes(ctx, p.mem, key, p.put(own), objstore.PutOptions{}); err != nil {
		return err
	}
	return p.Store.Put(ctx, key, r, size, opts)
}
