package snapshot

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/varvemq/varve/internal/vfs"
	"github.com/varvemq/varve/metadata"
	"github.com/varvemq/varve/tiering/objstore"
	"github.com/varvemq/varve/tiering/objstore/faulty"
)

// source is an etcd whose copies have the content that they are told.
type source struct {
	mu       sync.Mutex
	revision int64
	content  []byte
	cut      bool // the copy breaks off
	err      error
}

func (s *source) Snapshot(_ context.Context, w io.Writer) (int64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return 0, s.err
	}
	if s.cut {
		_, _ = w.Write(s.content[:len(s.content)/2])
		return 0, io.ErrUnexpectedEOF
	}
	_, err := w.Write(s.content)
	return s.revision, err
}

func (s *source) next() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.revision++
	s.content = fmt.Appendf(nil, "etcd at revision %d", s.revision)
}

func (s *source) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err = err
}

func keeper(t *testing.T, cfg Config) *Keeper {
	t.Helper()
	cfg.Cluster, cfg.Shard, cfg.Epoch = uuid.UUID{1}, "s", max(cfg.Epoch, 7)
	if cfg.FS == nil {
		cfg.FS = vfs.NewCrash(nil)
	}
	cfg.SpoolDir = "spool"
	if err := cfg.FS.MkdirAll(cfg.SpoolDir); err != nil {
		t.Fatal(err)
	}
	if cfg.Valid == nil {
		cfg.Valid = func() bool { return true }
	}
	k, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func list(t *testing.T, bucket objstore.Store) []Listed {
	t.Helper()
	all, err := List(t.Context(), bucket)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func revisions(t *testing.T, bucket objstore.Store) []int64 {
	t.Helper()
	var out []int64
	for _, l := range list(t, bucket) {
		if l.Err != nil {
			t.Fatal(l.Err)
		}
		out = append(out, l.Revision)
	}
	return out
}

func TestTakeListFetch(t *testing.T) {
	t.Parallel()
	bucket, src, fsys := objstore.NewMem(), &source{}, vfs.NewCrash(nil)
	k := keeper(t, Config{Source: src, Bucket: bucket, FS: fsys, Now: func() time.Time { return time.UnixMilli(5) }})
	src.next()
	info, err := k.Take(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	all := list(t, bucket)
	want := Info{
		Cluster: uuid.UUID{1}, Revision: 1, Shard: "s", Epoch: 7, Size: int64(len(src.content)), CreatedMs: 5,
		SHA256: fmt.Sprintf("%x", sha256.Sum256(src.content)),
	}
	if len(all) != 1 || all[0].Err != nil || all[0].Info != info || info != want {
		t.Fatalf("%+v, taken %+v, want %+v", all, info, want)
	}
	var got bytes.Buffer
	if err := Fetch(t.Context(), bucket, info, &got); err != nil || got.String() != "etcd at revision 1" {
		t.Errorf("%q, %v", &got, err)
	}
	if again, err := k.Take(t.Context()); err != nil || again.Size != 0 || len(list(t, bucket)) != 1 {
		t.Errorf("of the same state: %+v, %v", again, err)
	}
	if left, err := fsys.List("spool"); err != nil || len(left) > 0 {
		t.Errorf("left in the spool: %v, %v", left, err)
	}
}

func TestTakeFails(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		change func(*Config, *source)
	}{
		{"the copy does not begin", func(_ *Config, s *source) { s.err = errors.New("no etcd") }},
		{"the copy breaks off", func(_ *Config, s *source) { s.cut = true }},
		{"the shard is lost", func(c *Config, _ *source) { c.Valid = func() bool { return false } }},
		{"the spool is full", func(c *Config, _ *source) {
			c.FS = vfs.NewCrash(func(op vfs.Op) vfs.Fate {
				if op.Kind == vfs.OpWrite {
					return vfs.Fate{Err: vfs.ErrInjected}
				}
				return vfs.Fate{}
			})
		}},
		{"the bucket is away", func(c *Config, _ *source) {
			c.Bucket = faulty.New(c.Bucket, faulty.Config{Plan: func(faulty.Op) faulty.Fault { return faulty.ServerError }})
		}},
	} {
		bucket, src := objstore.NewMem(), &source{}
		src.next()
		cfg := Config{Source: src, Bucket: bucket}
		c.change(&cfg, src)
		k := keeper(t, cfg)
		if _, err := k.Take(t.Context()); err == nil || k.Status().Err == nil {
			t.Errorf("%s: taken", c.name)
		}
		if all := list(t, bucket); len(all) != 0 {
			t.Errorf("%s: %+v", c.name, all)
		}
	}
}

func TestAHalfUploadedSnapshotIsNone(t *testing.T) {
	t.Parallel()
	bucket, src := objstore.NewMem(), &source{}
	src.next()
	puts := 0
	half := faulty.New(bucket, faulty.Config{Plan: func(op faulty.Op) faulty.Fault {
		if op.Kind == faulty.Put {
			if puts++; puts == 2 {
				return faulty.ServerError
			}
		}
		return faulty.None
	}})
	k := keeper(t, Config{Source: src, Bucket: half})
	if _, err := k.Take(t.Context()); err == nil {
		t.Fatal("taken")
	}
	if all := list(t, bucket); len(all) != 1 || !errors.Is(all[0].Err, ErrDamaged) {
		t.Fatalf("%+v", all)
	}
	src.content = append(src.content, " again"...) // the database's free pages may differ
	if _, err := k.Take(t.Context()); err != nil {
		t.Fatal(err)
	}
	all := list(t, bucket)
	if len(all) != 1 || all[0].Err != nil {
		t.Fatalf("%+v", all)
	}
	if err := Fetch(t.Context(), bucket, all[0].Info, io.Discard); err != nil {
		t.Error(err)
	}
}

func TestListAndFetchNoticeDamage(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		damage func(*testing.T, *objstore.Mem, Info)
		listed error // by List, else by Fetch
	}{
		{"a changed byte", func(t *testing.T, b *objstore.Mem, i Info) { put(t, b, i.Key(), "etcd at revision 2") }, nil},  //nolint:thelper // a case
		{"shorter", func(t *testing.T, b *objstore.Mem, i Info) { put(t, b, i.Key(), "etcd") }, ErrDamaged},                //nolint:thelper // a case
		{"gone", func(t *testing.T, b *objstore.Mem, i Info) { drop(t, b, i.Key()) }, ErrDamaged},                          //nolint:thelper // a case
		{"no description", func(t *testing.T, b *objstore.Mem, i Info) { drop(t, b, i.infoKey()) }, ErrDamaged},            //nolint:thelper // a case
		{"no JSON", func(t *testing.T, b *objstore.Mem, i Info) { put(t, b, i.infoKey(), "{") }, ErrDamaged},               //nolint:thelper // a case
		{"a newer version", func(t *testing.T, b *objstore.Mem, i Info) { put(t, b, i.infoKey(), `{"v":2}`) }, ErrVersion}, //nolint:thelper // a case
		{"another's description", func(t *testing.T, b *objstore.Mem, i Info) { //nolint:thelper // a case
			i.Revision++
			desc, _ := encodeInfo(&i)
			i.Revision--
			put(t, b, i.infoKey(), string(desc))
		}, ErrDamaged},
	} {
		bucket, src := objstore.NewMem(), &source{}
		src.next()
		info, err := keeper(t, Config{Source: src, Bucket: bucket}).Take(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		put(t, bucket, Prefix+"README", "not a snapshot")
		c.damage(t, bucket, info)
		all := list(t, bucket)
		if len(all) != 1 || (c.listed == nil) != (all[0].Err == nil) || !errors.Is(all[0].Err, c.listed) {
			t.Errorf("%s: %+v", c.name, all)
		}
		if err := Fetch(t.Context(), bucket, info, io.Discard); c.listed == nil && !errors.Is(err, ErrDamaged) {
			t.Errorf("%s: fetched: %v", c.name, err)
		}
	}
}

func put(t *testing.T, bucket objstore.Store, key, content string) {
	t.Helper()
	if err := objstore.PutBytes(t.Context(), bucket, key, []byte(content), objstore.PutOptions{}); err != nil {
		t.Fatal(err)
	}
}

func drop(t *testing.T, bucket objstore.Store, key string) {
	t.Helper()
	if err := bucket.Delete(t.Context(), key); err != nil {
		t.Fatal(err)
	}
}

func TestPruneKeepsTheNewestWholeOnes(t *testing.T) {
	t.Parallel()
	bucket, src := objstore.NewMem(), &source{}
	k := keeper(t, Config{Source: src, Bucket: bucket, Keep: 3})
	for range 6 {
		src.next()
		if _, err := k.Take(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if got := revisions(t, bucket); !slices.Equal(got, []int64{6, 5, 4}) {
		t.Fatalf("%v", got)
	}
	put(t, bucket, Prefix+"unrelated", "x")
	drop(t, bucket, list(t, bucket)[0].infoKey()) // of revision 6 only the bytes are left: it does not count
	src.next()
	if _, err := k.Take(t.Context()); err != nil {
		t.Fatal(err)
	}
	all := list(t, bucket)
	if len(all) != 4 || all[0].Revision != 7 || all[1].Revision != 6 || all[1].Err == nil || all[3].Revision != 4 {
		t.Fatalf("%+v", all)
	}
	if _, err := bucket.Head(t.Context(), Prefix+"unrelated"); err != nil {
		t.Error(err)
	}
	// Not the owner any more between upload and deletion.
	calls := 0
	lost := keeper(t, Config{Source: src, Bucket: bucket, Keep: 1, Valid: func() bool { calls++; return calls == 1 }})
	src.next()
	if _, err := lost.Take(t.Context()); !errors.Is(err, errNotOwner) {
		t.Errorf("%v", err)
	}
	if all := list(t, bucket); len(all) != 5 {
		t.Errorf("%+v", all)
	}
}

func TestRun(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		bucket, src, reg := objstore.NewMem(), &source{}, prometheus.NewRegistry()
		k := keeper(t, Config{Source: src, Bucket: bucket, Registerer: reg})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- k.Run(ctx) }()
		at := func(d time.Duration, want ...int64) {
			t.Helper()
			time.Sleep(d)
			synctest.Wait()
			if got := revisions(t, bucket); !slices.Equal(got, want) {
				t.Fatalf("%v: %v, want %v", d, got, want)
			}
		}
		src.next()
		at(59 * time.Second)
		at(time.Second, 1) // a minute after the start
		src.next()
		at(9*time.Minute+59*time.Second, 1)
		at(time.Second, 2, 1) // every ten minutes
		src.next()
		k.Kick()
		k.Kick()
		at(59*time.Second, 2, 1) // kicked, but not more often than once a minute
		at(time.Second, 3, 2, 1)
		src.next()
		at(9*time.Minute, 3, 2, 1)
		k.Kick()
		at(0, 4, 3, 2, 1)
		src.next()
		src.fail(errors.New("no etcd"))
		at(10*time.Minute, 4, 3, 2, 1)
		src.fail(nil)
		at(time.Minute, 5, 4, 3, 2, 1) // tried again after a minute
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func TestKeys(t *testing.T) {
	t.Parallel()
	for _, i := range []Info{{Revision: 1, Epoch: 1}, {Revision: 1<<63 - 1, Epoch: 1<<64 - 1}, {Revision: 0xabcdef}} {
		for key, suffix := range map[string]string{i.Key(): dataSuffix, i.infoKey(): infoSuffix} {
			rev, epoch, s, ok := parseKey(key)
			if !ok || rev != i.Revision || epoch != i.Epoch || s != suffix || objstore.ValidateKey(key) != nil {
				t.Errorf("%s: %d, %d, %s, %v", key, rev, epoch, s, ok)
			}
		}
	}
	ok := Info{Revision: 10, Epoch: 11}
	for _, key := range []string{"", Prefix, strings.ToUpper(ok.Key()), ok.Key() + "x", strings.Replace(ok.Key(), "-", "_", 1), strings.Replace(ok.Key(), ".snap", ".snip", 1), "x" + ok.Key()} {
		if _, _, _, ok := parseKey(key); ok {
			t.Errorf("%q was taken", key)
		}
	}
}

func TestConfigValidate(t *testing.T) {
	t.Parallel()
	_, err := New(Config{Interval: -1, Keep: -1})
	for _, key := range []string{"source", "bucket", "cluster", "shard", "epoch", "fs", "spool_dir", "valid", "interval", "keep"} {
		if err == nil || !strings.Contains(err.Error(), "snapshot: "+key) {
			t.Errorf("%s: %v", key, err)
		}
	}
}

// TestOfARealEtcd takes a snapshot while keys are written: it must have those that were there when it began.
func TestOfARealEtcd(t *testing.T) {
	t.Parallel()
	e, err := metadata.OpenEmbedded(t.Context(), metadata.EmbedConfig{Dir: filepath.Join(t.TempDir(), "etcd"), UnsafeNoFsync: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	})
	write := func(i int) int64 {
		res, err := e.KV().Txn(t.Context(), nil, []metadata.Op{metadata.Put(fmt.Sprintf("%sx/%04d", metadata.KeyRoot, i), bytes.Repeat([]byte("v"), 1000))})
		if err != nil {
			t.Fatal(err)
		}
		return res.Rev
	}
	var last int64
	for i := range 200 {
		last = write(i)
	}
	bucket, dir := objstore.NewMem(), t.TempDir()
	k, err := New(Config{
		Source: e, Bucket: bucket, Cluster: uuid.UUID{1}, Shard: "s", Epoch: 1, FS: vfs.OS(), SpoolDir: dir, Valid: func() bool { return true },
	})
	if err != nil {
		t.Fatal(err)
	}
	info, err := k.Take(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if info.Revision != last || info.Size < 200_000 || info.Size%512 != 32 {
		t.Errorf("%+v, etcd was at revision %d", info, last)
	}
	var b bytes.Buffer
	if err := Fetch(t.Context(), bucket, info, &b); err != nil {
		t.Fatal(err)
	}
	if n := bytes.Count(b.Bytes(), []byte(metadata.KeyRoot+"x/")); n < 200 {
		t.Errorf("%d keys in the copy", n)
	}
}
