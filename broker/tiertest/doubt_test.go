package tiertest

import (
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/varvemq/varve/broker/brokertest"
)

// doubt is a broker that was killed, with segments and with messages in its log alone, and an etcd of which there is an older copy.
type doubt struct {
	t      *testing.T
	etcd   *etcdServer
	old    string // files of the etcd before the last segments
	store  *store
	host   *brokertest.Host
	corpus *corpus
}

func newDoubt(t *testing.T) *doubt {
	t.Helper()
	d := &doubt{t: t, etcd: startEtcd(t), store: newDirStore(t), corpus: newCorpus(seed(t), 300, 4, "orders", "audit")}
	d.host = brokertest.NewHost(t, varve(t), d.args(d.etcd.URL)...)
	at := place(d.host.Start().Namesrv)
	at.createTopic(t, "orders", 4, nil)
	at.createTopic(t, "audit", 4, nil)
	d.corpus.produce(t, at, 256<<10)
	at.cli(t, "seal")
	d.host.Kill()
	d.etcd.Stop()
	d.old = d.etcd.copyDir()
	d.etcd.Start()
	at = place(d.host.Start().Namesrv)
	d.corpus.produce(t, at, 256<<10)
	at.cli(t, "seal")
	d.corpus.produce(t, at, 64<<10)
	d.host.Kill()
	return d
}

// args has a grace that is over before the test is, so that what is wrongly deemed garbage goes.
func (d *doubt) args(etcd string) []string {
	return []string{"--etcd", etcd, "--object-store", d.store.url, "--lease-ttl", "2s", "--delete-grace", "1s", "--seal-bytes", "64KiB", "--seal-age", "1h"}
}

// files returns the sizes of the log's files.
func files(t testing.TB, h *brokertest.Host) map[string]int64 {
	t.Helper()
	sizes := map[string]int64{}
	must(t, filepath.WalkDir(filepath.Join(h.Data(), "wal"), func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() || filepath.Ext(path) != ".wal" { // spare files come and go
			return err
		}
		info, err := e.Info()
		if err == nil {
			sizes[path] = info.Size()
		}
		return err
	}))
	return sizes
}

// refuses starts a host that must refuse with these words, and finds neither an object nor a file of the log of the first gone or changed.
func (d *doubt) refuses(t *testing.T, h *brokertest.Host, words ...string) {
	t.Helper()
	objects, log := d.store.list(t), files(t, d.host)
	says(t, "the refusal", h.Refuse(), words...)
	if now := files(t, d.host); !maps.Equal(now, log) {
		t.Errorf("files of the log before %v, now %v", log, now)
	}
	now := d.store.list(t)
	for key, size := range objects {
		if now[key] != size {
			t.Errorf("object %s had %d bytes, now %d", key, size, now[key])
		}
	}
	for key := range now {
		if _, ok := objects[key]; !ok {
			t.Errorf("object %s was made", key)
		}
	}
}

// stranger is a new machine.
func (d *doubt) stranger(t *testing.T, etcd string, args ...string) *brokertest.Host {
	t.Helper()
	return brokertest.NewHost(t, varve(t), append(d.args(etcd), args...)...)
}

// TestDoubt: with an etcd that is empty, old, damaged or somebody else's, or in other company, no broker starts, and nothing is deleted: no object, no file of the
// log. With all in its place again everything is there.
func TestDoubt(t *testing.T) {
	t.Parallel()
	d := newDoubt(t)
	t.Run("empty etcd", func(t *testing.T) {
		empty := startEtcd(t)
		h := d.host
		args := h.Args
		h.Args = d.args(empty.URL)
		d.refuses(t, h, "etcd has none")
		h.Args = args
		d.refuses(t, d.stranger(t, empty.URL, "--accept-tail-loss", "all"), "etcd has none")
	})
	t.Run("another's etcd, bucket, directory", func(t *testing.T) {
		other := newDirStore(t)
		etcd := startEtcd(t)
		h := brokertest.NewHost(t, varve(t), "--etcd", etcd.URL, "--object-store", other.url)
		h.Start()
		h.Stop()
		d.refuses(t, d.stranger(t, etcd.URL, "--accept-tail-loss", "all"), "cluster ids do not match")
		h.Args = d.args(d.etcd.URL)
		d.refuses(t, h, "cluster ids do not match")
		h = d.host
		args := h.Args
		h.Args = []string{"--etcd", d.etcd.URL, "--object-store", other.url}
		d.refuses(t, h, "cluster ids do not match")
		h.Args = args
	})
	t.Run("old etcd", func(t *testing.T) {
		d.etcd.Stop()
		present := d.etcd.copyDir()
		d.etcd.replace(d.old)
		d.etcd.Start()
		d.refuses(t, d.host, "etcd is older than")
		d.refuses(t, d.stranger(t, d.etcd.URL, "--accept-tail-loss", "all"), "etcd is older than")
		d.etcd.Stop()
		d.etcd.replace(present)
		d.etcd.Start()
	})
	t.Run("damaged values", d.damaged)
	t.Run("lost objects", d.lost)
	h := d.host
	at := place(h.Start().Namesrv)
	d.corpus.verify(t, at, d.corpus.ends())
	at.cli(t, "fsck", "--deep")
	d.corpus.produce(t, at, 64<<10)
	h.Stop()
}

// damaged breaks single values in etcd.
func (d *doubt) damaged(t *testing.T) {
	seen := map[string]bool{}
	for key, value := range d.etcd.keys("/varve/") {
		_, rest, below := strings.Cut(key, "/shards/varve-a/")
		kind, _, _ := strings.Cut(rest, "/")
		switch {
		case strings.HasSuffix(key, "/shards/varve-a"):
			kind = "shard"
		case strings.HasSuffix(key, "/cluster-id"):
			kind = "cluster id"
		case !below || kind == "live":
			continue
		}
		if seen[kind] {
			continue
		}
		seen[kind] = true
		for _, bad := range []string{"", "null", "{", value[:len(value)/2], value + "x", strings.Repeat("\x00", len(value))} {
			d.etcd.put(key, bad)
			d.refuses(t, d.host)
			d.refuses(t, d.stranger(t, d.etcd.URL, "--accept-tail-loss", "all"))
		}
		d.etcd.put(key, value)
	}
	for _, kind := range []string{"shard", "cluster id", "head", "segments"} {
		if !seen[kind] {
			t.Errorf("no value of kind %s in %v", kind, seen)
		}
	}
}

// lost takes the newest segment away.
func (d *doubt) lost(t *testing.T) {
	newest := ""
	for key := range d.store.list(t) {
		if strings.HasSuffix(key, ".seg") && filepath.Base(key) > filepath.Base(newest) {
			newest = key
		}
	}
	path := filepath.Join(d.store.dir, filepath.FromSlash(newest))
	must(t, os.Rename(path, path+".away"))
	d.refuses(t, d.host, newest)
	d.refuses(t, d.stranger(t, d.etcd.URL, "--accept-tail-loss", "all"), newest)
	must(t, os.Rename(path+".away", path))
}

// TestCopiedDirectory: a data directory was copied, and both copies are started. The first to start has the shard; the other is refused, then and later, alive or
// dead; nothing that was sealed is touched.
func TestCopiedDirectory(t *testing.T) {
	t.Parallel()
	etcd, s := startEtcd(t), newStore(t)
	c := newCorpus(seed(t), 300, 4, "orders")
	args := []string{"--etcd", etcd.URL, "--object-store", s.url, "--lease-ttl", "2s", "--seal-bytes", "64KiB", "--seal-age", "1h"}
	a := brokertest.NewHost(t, varve(t), args...)
	at := place(a.Start().Namesrv)
	at.createTopic(t, "orders", 4, nil)
	c.produce(t, at, 128<<10)
	at.cli(t, "seal")
	c.produce(t, at, 16<<10)
	a.Kill()
	b := brokertest.NewHost(t, varve(t), args...)
	must(t, os.CopyFS(b.Data(), os.DirFS(a.Data())))

	at = place(b.Start().Namesrv) // as if the disk had been moved
	c.produce(t, at, 128<<10)
	refused := func() {
		t.Helper()
		objects, log := s.list(t), files(t, a)
		says(t, "the one that is behind", a.Refuse(), "older copy")
		if now := files(t, a); !maps.Equal(now, log) {
			t.Errorf("files of the log before %v, now %v", log, now)
		}
		kept(t, s, objects)
	}
	refused()
	at.cli(t, "seal")
	refused()
	c.produce(t, at, 16<<10)
	b.Kill()
	refused()
	time.Sleep(2500 * time.Millisecond) // the lease
	refused()
	at = place(b.Start().Namesrv)
	c.verify(t, at, c.ends())
	at.cli(t, "fsck", "--deep")
	b.Stop()
	refused()
}

// TestLeftBehind: a log that was left behind by a clean take-over, or given up, never comes back.
func TestLeftBehind(t *testing.T) {
	t.Parallel()
	etcd, s := startEtcd(t), newStore(t)
	c := newCorpus(seed(t), 300, 2, "orders")
	args := []string{"--etcd", etcd.URL, "--object-store", s.url, "--lease-ttl", "2s"}
	hosts := []*brokertest.Host{brokertest.NewHost(t, varve(t), args...)}
	at := place(hosts[0].Start().Namesrv)
	at.createTopic(t, "orders", 2, nil)
	for _, clean := range []bool{true, false} { // the second log is given up
		c.produce(t, at, 32<<10)
		h := brokertest.NewHost(t, varve(t), args...)
		if last := hosts[len(hosts)-1]; clean {
			last.Stop()
			at = place(h.Start().Namesrv)
		} else {
			at.cli(t, "seal")
			last.Kill()
			says(t, "the refusal", refusedDead(t, h), "--accept-tail-loss")
			h.Args = append(slices.Clip(args), "--accept-tail-loss", "all")
			at = place(h.Start().Namesrv)
			h.Args = args
		}
		hosts = append(hosts, h)
	}
	c.verify(t, at, c.ends())
	objects := s.list(t)
	last := hosts[len(hosts)-1]
	for _, alive := range []bool{true, false} {
		if !alive {
			last.Kill()
			time.Sleep(2500 * time.Millisecond) // the lease
		}
		for i, h := range hosts[:len(hosts)-1] {
			log := files(t, h)
			if tail := h.Refuse(); !alive {
				says(t, fmt.Sprint("log ", i), tail, "another log")
			}
			h.Args = append(slices.Clip(args), "--accept-tail-loss", "all")
			_ = h.Refuse()
			h.Args = args
			if now := files(t, h); !maps.Equal(now, log) {
				t.Errorf("files of log %d before %v, now %v", i, log, now)
			}
		}
	}
	at = place(last.Start().Namesrv)
	c.verify(t, at, c.ends())
	kept(t, s, objects)
	last.Stop()
}

// kept fails unless all segments are as they were.
func kept(t testing.TB, s *store, objects map[string]int64) {
	t.Helper()
	now := s.list(t)
	for key, size := range objects {
		if now[key] != size && strings.HasSuffix(key, ".seg") {
			t.Errorf("object %s had %d bytes, now %d", key, size, now[key])
		}
	}
}

// TestRecreatedTopic: a topic is deleted and made again, with the same name. What the old one left is never shown, and what belongs to others is never deleted
// with it.
func TestRecreatedTopic(t *testing.T) {
	t.Parallel()
	etcd, s := startEtcd(t), newStore(t)
	args := []string{"--etcd", etcd.URL, "--object-store", s.url, "--lease-ttl", "2s", "--delete-grace", "1s", "--seal-bytes", "32KiB", "--seal-age", "100ms"}
	h := brokertest.NewHost(t, varve(t), args...)
	at := place(h.Start().Namesrv)
	n := seed(t)
	others := newCorpus(n, 300, 2, "audit")
	at.createTopic(t, "audit", 2, nil)
	for generation := range 3 {
		c := newCorpus(n+uint64(generation)+1, 300, 2, "orders")
		at.createTopic(t, "orders", 2, nil)
		for range 4 {
			c.produce(t, at, 48<<10)
			others.produce(t, at, 16<<10)
			at.cli(t, "seal")
		}
		h.Kill()
		at = place(h.Start().Namesrv)
		c.verify(t, at, c.ends())
		h.Stop()
		loseDisk(t, h)
		at = place(h.Start().Namesrv)
		c.verify(t, at, c.ends())
		others.verify(t, at, others.ends())
		must(t, at.admin(t).DeleteTopic(t.Context(), "orders"))
		time.Sleep(time.Second)
	}
	time.Sleep(1500 * time.Millisecond)
	others.verify(t, at, others.ends())
	have := map[string]bool{}
	for _, key := range inBucket(t, s) {
		have[key] = true
	}
	for _, key := range listed(t, at) {
		if !have[key] {
			t.Errorf("segment %s is listed and gone", key)
		}
	}
	h.Kill()
	at = place(h.Start().Namesrv)
	others.verify(t, at, others.ends())
	if out, err := at.tryCLI(t, "fsck", "--deep"); err != nil {
		t.Errorf("fsck: %v\n%s", err, out)
	}
	h.Stop()
	t.Log(fmt.Sprint(len(have), " segments in the end"))
}
