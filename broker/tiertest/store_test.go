package tiertest

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"github.com/varvemq/varve/tiering/objstore"
	"github.com/varvemq/varve/tiering/objstore/faulty"
)

// store is the object store of a test.
type store struct {
	url    string // for brokers
	direct string // the same, past what disturbs
	dir    string // if it is a directory
	proxy  *faulty.Proxy
}

// newStore returns an empty part of the server in the environment, or else a directory.
func newStore(t testing.TB) *store {
	t.Helper()
	if host, bucket := server(t); host != "" {
		u := storeURL(host, bucket)
		return &store{url: u, direct: u}
	}
	dir := filepath.Join(t.TempDir(), "objects")
	return &store{url: dir, direct: dir, dir: dir}
}

// newDirStore returns a directory, whose objects are files that can be damaged.
func newDirStore(t testing.TB) *store {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "objects")
	return &store{url: dir, direct: dir, dir: dir}
}

// newProxied returns an empty part of a server, that of the environment or one of the test's, behind a proxy, and each request takes so much longer.
func newProxied(t testing.TB, latency time.Duration, plan faulty.ProxyPlan) *store {
	t.Helper()
	host, bucket := server(t)
	if host == "" {
		host, bucket = startFakeS3(t), fakeBucket
	}
	p, err := faulty.ListenProxy(t.Context(), host, 1, plan)
	must(t, err)
	t.Cleanup(func() { _ = p.Close() })
	direct := storeURL(host, bucket)
	s := &store{direct: direct, url: strings.Replace(direct, host, p.Addr(), 1), proxy: p}
	if latency > 0 {
		slow := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			time.Sleep(latency)
			p.ServeHTTP(w, r)
		}))
		t.Cleanup(slow.Close)
		s.url = strings.Replace(direct, host, strings.TrimPrefix(slow.URL, "http://"), 1)
	}
	return s
}

func storeURL(host, bucket string) string {
	return fmt.Sprintf("minio://%s/%s/t%016x?secure=false", host, bucket, rand.Uint64())
}

// server returns the server in the environment, with its bucket made, or "".
func server(t testing.TB) (host, bucket string) {
	t.Helper()
	raw := os.Getenv(envServer)
	if raw == "" {
		return "", ""
	}
	u, err := url.Parse(raw)
	if err != nil || u.User == nil || u.Scheme != "http" {
		t.Fatalf("%s: want http://key:secret@host:port/bucket", envServer)
	}
	secret, _ := u.User.Password()
	bucket = strings.Trim(u.Path, "/")
	c, err := minio.New(u.Host, &minio.Options{Creds: credentials.NewStaticV4(u.User.Username(), secret, ""), Region: "us-east-1"})
	must(t, err)
	if err := c.MakeBucket(t.Context(), bucket, minio.MakeBucketOptions{Region: "us-east-1"}); err != nil {
		if code := minio.ToErrorResponse(err).Code; code != "BucketAlreadyOwnedByYou" && code != "BucketAlreadyExists" {
			t.Fatal(err)
		}
	}
	return u.Host, bucket
}

// list returns the sizes of all objects but those that a start writes to see whether it can.
func (s *store) list(t testing.TB) map[string]int64 {
	t.Helper()
	b, err := objstore.Open(t.Context(), s.direct)
	must(t, err)
	defer func() { _ = b.Close() }()
	sizes := map[string]int64{}
	for info, err := range b.List(t.Context(), "") {
		must(t, err)
		if !strings.HasPrefix(info.Key, ".varve-check/") {
			sizes[info.Key] = info.Size
		}
	}
	return sizes
}

// segments returns the number of segments that are there.
func (s *store) segments(t testing.TB) (n int) {
	t.Helper()
	for key := range s.list(t) {
		if strings.HasSuffix(key, ".seg") {
			n++
		}
	}
	return n
}
