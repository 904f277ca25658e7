package objstore_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"github.com/varvemq/varve/tiering/objstore"
)

// A server for the contract suite, which tools/s3/with-s3.sh starts: "http://key:secret@127.0.0.1:9000/bucket", and its name.
const (
	testServer     = "VARVE_TEST_S3"
	testServerName = "VARVE_TEST_S3_SERVER"
)

// server is the one that the environment names.
type server struct {
	scheme, host, bucket string
	name                 string
	access, secret       string
	client               minio.Core
}

// theServer returns the server of the environment, with its bucket made, or nil.
func theServer(t *testing.T) *server {
	t.Helper()
	raw := os.Getenv(testServer)
	if raw == "" {
		return nil
	}
	u, err := url.Parse(raw)
	if err != nil || u.User == nil {
		t.Fatalf("%s: want http://key:secret@host:port/bucket", testServer)
	}
	s := &server{scheme: u.Scheme, host: u.Host, bucket: strings.Trim(u.Path, "/"), name: os.Getenv(testServerName), access: u.User.Username()}
	s.secret, _ = u.User.Password()
	c, err := minio.New(s.host, &minio.Options{Creds: credentials.NewStaticV4(s.access, s.secret, ""), Secure: s.scheme == "https", Region: "us-east-1"})
	if err != nil {
		t.Fatal(err)
	}
	s.client = minio.Core{Client: c}
	if err := c.MakeBucket(t.Context(), s.bucket, minio.MakeBucketOptions{Region: "us-east-1"}); err != nil {
		if code := minio.ToErrorResponse(err).Code; code != "BucketAlreadyOwnedByYou" && code != "BucketAlreadyExists" {
			t.Fatal(err)
		}
	}
	return s
}

// needServer skips a test that makes no sense without a server.
func needServer(t *testing.T) *server {
	t.Helper()
	s := theServer(t)
	if s == nil {
		t.Skipf("%s is not set: make test-s3 sets it", testServer)
	}
	return s
}

// Objects above smallThreshold go up in parts in these tests.
const (
	smallThreshold = 6 << 20
	smallPart      = 5 << 20
)

// urls are the stores on the server by driver, below a prefix of their own.
func (s *server) urls(host, prefix, params string) map[string]string {
	return map[string]string{
		"s3":    fmt.Sprintf("s3://%s/%s/s3?endpoint=%s://%s&region=us-east-1%s", s.bucket, prefix, s.scheme, host, params),
		"minio": fmt.Sprintf("minio://%s/%s/%s/minio?secure=%t%s", host, s.bucket, prefix, s.scheme == "https", params),
	}
}

func (s *server) options() objstore.Options {
	return objstore.Options{AccessKey: s.access, SecretKey: s.secret, MultipartThreshold: smallThreshold, PartSize: smallPart}
}

// run is a prefix for one run of the tests.
func run() string { return fmt.Sprintf("t%d", rand.Uint64()) }

func open(t *testing.T, u string, opts objstore.Options) objstore.Store {
	t.Helper()
	s, err := objstore.OpenWith(t.Context(), u, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// drivers opens every driver that can be tested here.
func drivers(t *testing.T) map[string]objstore.Store {
	t.Helper()
	urls := map[string]string{"mem": "mem:", "dir": t.TempDir(), "file": "file://" + filepath.Join(t.TempDir(), "a", "b")}
	var opts objstore.Options
	if server := theServer(t); server != nil {
		opts = server.options()
		maps.Copy(urls, server.urls(server.host, run(), ""))
	} else {
		t.Logf("s3 and minio are not tested: %s is not set", testServer)
	}
	stores := map[string]objstore.Store{"fake server": objstore.OpenFake(objstore.NewFakeDriver(nil), objstore.Options{MultipartThreshold: 1 << 20, PartSize: smallPart})}
	for name, u := range urls {
		stores[name] = open(t, u, opts)
	}
	return stores
}

// TestContract is what every driver must do.
func TestContract(t *testing.T) {
	t.Parallel()
	for name, s := range drivers(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			contract(t, s)
		})
	}
}

type contractCase struct {
	name string
	run  func(t *testing.T, s objstore.Store)
}

// contract runs the suite on an empty store.
func contract(t *testing.T, s objstore.Store) {
	t.Helper()
	for _, tt := range contractCases() {
		t.Run(tt.name, func(t *testing.T) { tt.run(t, s) })
	}
}

func contractCases() []contractCase {
	return []contractCase{
		{"put, get, head, delete", contractBasics},
		{"ranges", contractRanges},
		{"if none match", contractIfNoneMatch},
		{"list", contractList},
		{"delete many", contractDeleteMany},
		{"bad arguments", contractArguments},
		{"ended context", contractContext},
		{"concurrent writers", contractWriters},
		{"check", contractCheck},
		{"large object", contractLarge},
		{"object in parts", contractParts},
	}
}

func put(t *testing.T, s objstore.Store, key, content string) {
	t.Helper()
	if err := objstore.PutBytes(t.Context(), s, key, []byte(content), objstore.PutOptions{}); err != nil {
		t.Fatal(err)
	}
}

func get(t *testing.T, s objstore.Store, key string, off, n int64) string {
	t.Helper()
	r, err := s.Get(t.Context(), key, off, n)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(r)
	if err = errors.Join(err, r.Close()); err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func list(t *testing.T, s objstore.Store, prefix string) []string {
	t.Helper()
	out := []string{}
	for info, err := range s.List(t.Context(), prefix) {
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, fmt.Sprintf("%s %d", info.Key, info.Size))
	}
	return out
}

func wantClass(t *testing.T, what string, err, class error) {
	t.Helper()
	if !errors.Is(err, class) || objstore.Class(err) != class { //nolint:errorlint // the class itself
		t.Errorf("%s: %v, want the class %v", what, err, class)
	}
}

func contractBasics(t *testing.T, s objstore.Store) { //nolint:thelper // a case, not a helper: its own lines matter
	const key = "basics/a+b%20c~"
	_, err := s.Head(t.Context(), key)
	wantClass(t, "head of nothing", err, objstore.ErrNotFound)
	_, err = s.Get(t.Context(), key, 0, -1)
	wantClass(t, "get of nothing", err, objstore.ErrNotFound)
	_, err = s.Get(t.Context(), key, 0, 0)
	wantClass(t, "empty get of nothing", err, objstore.ErrNotFound)
	begin := time.Now()
	put(t, s, key, "first")
	put(t, s, key, "second")
	put(t, s, "basics/empty", "")
	if got := get(t, s, key, 0, -1); got != "second" {
		t.Errorf("got %q", got)
	}
	if got := get(t, s, "basics/empty", 0, -1); got != "" {
		t.Errorf("got %q", got)
	}
	info, err := s.Head(t.Context(), key)
	if err != nil || info.Key != key || info.Size != 6 || info.Modified.Before(begin.Add(-2*time.Minute)) || info.Modified.After(time.Now().Add(2*time.Minute)) {
		t.Errorf("head = %+v, %v", info, err)
	}
	// Put reads from the start, wherever the reader stands.
	r := strings.NewReader("whole")
	if _, err := r.Seek(3, io.SeekStart); err != nil {
		t.Fatal(err)
	}
	if err := s.Put(t.Context(), key, r, 5, objstore.PutOptions{}); err != nil {
		t.Fatal(err)
	}
	if got := get(t, s, key, 0, -1); got != "whole" {
		t.Errorf("got %q", got)
	}
	for range 2 {
		if err := s.Delete(t.Context(), key); err != nil {
			t.Error(err)
		}
	}
	_, err = s.Head(t.Context(), key)
	wantClass(t, "head of a deleted object", err, objstore.ErrNotFound)
}

func contractRanges(t *testing.T, s objstore.Store) { //nolint:thelper // a case, not a helper: its own lines matter
	put(t, s, "ranges/o", "0123456789")
	put(t, s, "ranges/empty", "")
	for _, tt := range []struct {
		off, n int64
		want   string
	}{
		{0, -1, "0123456789"},
		{0, 1, "0"},
		{0, 10, "0123456789"},
		{0, 100, "0123456789"},
		{3, 4, "3456"},
		{3, -1, "3456789"},
		{9, 1, "9"},
		{9, 5, "9"},
		{10, 1, ""},
		{10, -1, ""},
		{11, 3, ""},
		{5, 0, ""},
		{1, 1, "1"},
	} {
		if got := get(t, s, "ranges/o", tt.off, tt.n); got != tt.want {
			t.Errorf("get(%d, %d) = %q, want %q", tt.off, tt.n, got, tt.want)
		}
	}
	if got := get(t, s, "ranges/empty", 0, 5); got != "" {
		t.Errorf("range of an empty object = %q", got)
	}
	if b, err := objstore.ReadAll(t.Context(), s, "ranges/o", 10); err != nil || string(b) != "0123456789" {
		t.Errorf("ReadAll = %q, %v", b, err)
	}
	if _, err := objstore.ReadAll(t.Context(), s, "ranges/o", 9); !errors.Is(err, objstore.ErrInvalid) {
		t.Errorf("ReadAll of too much: %v", err)
	}
}

func contractIfNoneMatch(t *testing.T, s objstore.Store) { //nolint:thelper // a case, not a helper: its own lines matter
	create := func(content string) error {
		return objstore.PutBytes(t.Context(), s, "once/o", []byte(content), objstore.PutOptions{IfNoneMatch: true})
	}
	if err := create("a"); err != nil {
		t.Fatal(err)
	}
	wantClass(t, "second creation", create("b"), objstore.ErrPrecondition)
	if got := get(t, s, "once/o", 0, -1); got != "a" {
		t.Errorf("got %q", got)
	}
	if err := s.Delete(t.Context(), "once/o"); err != nil {
		t.Fatal(err)
	}
	if err := create("c"); err != nil {
		t.Fatal(err)
	}
}

func contractList(t *testing.T, s objstore.Store) { //nolint:thelper // a case, not a helper: its own lines matter
	if got := list(t, s, "list/"); len(got) != 0 {
		t.Fatalf("list of nothing: %v", got)
	}
	for _, key := range []string{"list/a/1", "list/a/2", "list/a-b", "list/a0", "list/b/c/d", "listing"} {
		put(t, s, key, key)
	}
	for _, tt := range []struct {
		prefix string
		want   []string
	}{
		{"list/", []string{"list/a-b 8", "list/a/1 8", "list/a/2 8", "list/a0 7", "list/b/c/d 10"}},
		{"list/a", []string{"list/a-b 8", "list/a/1 8", "list/a/2 8", "list/a0 7"}},
		{"list/a/", []string{"list/a/1 8", "list/a/2 8"}},
		{"list/a/1", []string{"list/a/1 8"}},
		{"list/b/c", []string{"list/b/c/d 10"}},
		{"listi", []string{"listing 7"}},
		{"list/x", []string{}},
	} {
		if diff := cmp.Diff(tt.want, list(t, s, tt.prefix)); diff != "" {
			t.Errorf("list %q: %s", tt.prefix, diff)
		}
	}
	for range s.List(t.Context(), "list/") {
		break // ending early must not hang or panic
	}
}

func contractDeleteMany(t *testing.T, s objstore.Store) { //nolint:thelper // a case, not a helper: its own lines matter
	var keys []string
	for i := range 12 {
		keys = append(keys, fmt.Sprintf("many/%d", i))
		put(t, s, keys[i], "x")
	}
	put(t, s, "many/kept", "x")
	if err := s.Delete(t.Context(), append(keys, "many/none")...); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"many/kept 1"}, list(t, s, "many/")); diff != "" {
		t.Error(diff)
	}
	if err := s.Delete(t.Context()); err != nil {
		t.Error(err)
	}
}

func contractArguments(t *testing.T, s objstore.Store) { //nolint:thelper // a case, not a helper: its own lines matter
	for _, key := range []string{"", "/a", "a/", "a//b", "../a", "a/../b", "a/.b", "ü", "a b", "a\\b", strings.Repeat("k", 1025)} {
		_, herr := s.Head(t.Context(), key)
		_, gerr := s.Get(t.Context(), key, 0, -1)
		for _, err := range []error{herr, gerr, s.Delete(t.Context(), key), objstore.PutBytes(t.Context(), s, key, nil, objstore.PutOptions{})} {
			if !errors.Is(err, objstore.ErrInvalid) || !errors.Is(err, objstore.ErrFatal) {
				t.Errorf("key %q: %v", key, err)
			}
		}
	}
	if _, err := s.Get(t.Context(), "a", -1, 5); !errors.Is(err, objstore.ErrInvalid) {
		t.Errorf("negative offset: %v", err)
	}
	if err := s.Put(t.Context(), "short", strings.NewReader("abc"), 5, objstore.PutOptions{}); !errors.Is(err, objstore.ErrInvalid) {
		t.Errorf("a reader that is too short: %v", err)
	}
	if _, err := s.Head(t.Context(), "short"); !errors.Is(err, objstore.ErrNotFound) {
		t.Errorf("a failed put left an object: %v", err)
	}
}

func contractContext(t *testing.T, s objstore.Store) { //nolint:thelper // a case, not a helper: its own lines matter
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	wantClass(t, "put", objstore.PutBytes(ctx, s, "ctx", []byte("x"), objstore.PutOptions{}), objstore.ErrTransient)
	_, err := s.Head(ctx, "ctx")
	wantClass(t, "head", err, objstore.ErrTransient)
	_, err = s.Get(ctx, "ctx", 0, -1)
	wantClass(t, "get", err, objstore.ErrTransient)
	wantClass(t, "delete", s.Delete(ctx, "ctx"), objstore.ErrTransient)
}

// contractWriters: of many concurrent creators one wins and its bytes stand; of many concurrent writers one whole object stands.
func contractWriters(t *testing.T, s objstore.Store) { //nolint:thelper // a case, not a helper: its own lines matter
	for round := range 5 {
		key := fmt.Sprintf("race/%d", round)
		var wg sync.WaitGroup
		errs := make([]error, 8)
		for i := range errs {
			wg.Go(func() {
				errs[i] = objstore.PutBytes(t.Context(), s, key, bytes.Repeat([]byte{byte('a' + i)}, 10_000), objstore.PutOptions{IfNoneMatch: true})
			})
		}
		wg.Wait()
		winner := -1
		for i, err := range errs {
			switch {
			case err == nil && winner >= 0:
				t.Fatal("two creators have won")
			case err == nil:
				winner = i
			case !errors.Is(err, objstore.ErrPrecondition):
				t.Fatal(err)
			}
		}
		if winner < 0 || get(t, s, key, 0, -1) != strings.Repeat(string(rune('a'+winner)), 10_000) {
			t.Fatalf("winner %d, other bytes", winner)
		}
	}
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			if err := objstore.PutBytes(t.Context(), s, "race/over", bytes.Repeat([]byte{byte('a' + i)}, 10_000), objstore.PutOptions{}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if got := get(t, s, "race/over", 0, -1); got != strings.Repeat(got[:1], 10_000) {
		t.Error("bytes of several writers are mixed")
	}
	if got := list(t, s, "race/"); len(got) != 6 {
		t.Errorf("leftovers: %v", got)
	}
}

func contractCheck(t *testing.T, s objstore.Store) { //nolint:thelper // a case, not a helper: its own lines matter
	if err := s.Check(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := list(t, s, objstore.CheckPrefix); len(got) != 0 {
		t.Errorf("check left %v", got)
	}
}

func contractLarge(t *testing.T, s objstore.Store) { //nolint:thelper // a case, not a helper: its own lines matter
	b := make([]byte, 4<<20)
	for i := range b {
		b[i] = byte(i >> 10)
	}
	if err := s.Put(t.Context(), "large", bytes.NewReader(b), int64(len(b)), objstore.PutOptions{IfNoneMatch: true}); err != nil {
		t.Fatal(err)
	}
	if got := get(t, s, "large", 2<<20, 1<<20); got != string(b[2<<20:3<<20]) {
		t.Error("range of the large object differs")
	}
	if err := s.Delete(t.Context(), "large"); err != nil {
		t.Error(err)
	}
}

// contractParts: an object that the drivers of servers upload in parts is one object like any other, from any kind of reader.
func contractParts(t *testing.T, s objstore.Store) { //nolint:thelper // a case, not a helper: its own lines matter
	b := make([]byte, smallPart*2+12345)
	for i := range b {
		b[i] = byte(i>>12) ^ byte(i)
	}
	onlySeeks := struct{ io.ReadSeeker }{bytes.NewReader(b)}
	if err := s.Put(t.Context(), "parts", onlySeeks, int64(len(b)), objstore.PutOptions{IfNoneMatch: true}); err != nil {
		t.Fatal(err)
	}
	if got, err := objstore.ReadAll(t.Context(), s, "parts", int64(len(b))); err != nil || !bytes.Equal(got, b) {
		t.Errorf("read %d bytes, %v", len(got), err)
	}
	if got := get(t, s, "parts", smallPart-3, 6); got != string(b[smallPart-3:smallPart+3]) {
		t.Error("range across parts differs")
	}
	if info, err := s.Head(t.Context(), "parts"); err != nil || info.Size != int64(len(b)) {
		t.Errorf("head = %+v, %v", info, err)
	}
	b[smallPart]++
	wantClass(t, "second creation", s.Put(t.Context(), "parts", bytes.NewReader(b), int64(len(b)), objstore.PutOptions{IfNoneMatch: true}), objstore.ErrPrecondition)
	if err := s.Put(t.Context(), "parts", bytes.NewReader(b), int64(len(b)), objstore.PutOptions{}); err != nil {
		t.Fatal(err)
	}
	if got := get(t, s, "parts", smallPart, 1); got[0] != b[smallPart] {
		t.Error("the object was not replaced")
	}
	if err := s.Delete(t.Context(), "parts"); err != nil {
		t.Error(err)
	}
}
