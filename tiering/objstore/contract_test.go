package objstore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// testServer names an S3 server for the contract suite: "http://key:secret@127.0.0.1:9000/bucket". The bucket must exist.
const testServer = "VARVE_TEST_S3"

// drivers opens every driver that can be tested here.
func drivers(t *testing.T) map[string]Store {
	t.Helper()
	urls := map[string]string{"mem": "mem:", "dir": t.TempDir(), "file": "file://" + filepath.Join(t.TempDir(), "a", "b")}
	var opts Options
	if raw := os.Getenv(testServer); raw != "" {
		u, err := url.Parse(raw)
		if err != nil || u.User == nil {
			t.Fatalf("%s: want http://key:secret@host:port/bucket", testServer)
		}
		secret, _ := u.User.Password()
		opts.AccessKey, opts.SecretKey = u.User.Username(), secret
		bucket, run := strings.Trim(u.Path, "/"), fmt.Sprintf("t%d", rand.Uint64())
		urls["s3"] = fmt.Sprintf("s3://%s/%s/s3?endpoint=%s://%s&region=us-east-1", bucket, run, u.Scheme, u.Host)
		urls["minio"] = fmt.Sprintf("minio://%s/%s/%s/minio?secure=%t", u.Host, bucket, run, u.Scheme == "https")
	} else {
		t.Logf("s3 and minio are not tested: %s is not set", testServer)
	}
	stores := map[string]Store{}
	for name, u := range urls {
		s, err := OpenWith(t.Context(), u, opts)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		})
		stores[name] = s
	}
	return stores
}

// TestContract is what every driver must do.
func TestContract(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		run  func(t *testing.T, s Store)
	}{
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
	}
	for name, s := range drivers(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, tt := range tests {
				t.Run(tt.name, func(t *testing.T) { tt.run(t, s) })
			}
		})
	}
}

func put(t *testing.T, s Store, key, content string) {
	t.Helper()
	if err := PutBytes(t.Context(), s, key, []byte(content), PutOptions{}); err != nil {
		t.Fatal(err)
	}
}

func get(t *testing.T, s Store, key string, off, n int64) string {
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

func list(t *testing.T, s Store, prefix string) []string {
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
	if !errors.Is(err, class) || Class(err) != class { //nolint:errorlint // the class itself
		t.Errorf("%s: %v, want the class %v", what, err, class)
	}
}

func contractBasics(t *testing.T, s Store) { //nolint:thelper // a case, not a helper: its own lines matter
	const key = "basics/a+b%20c~"
	_, err := s.Head(t.Context(), key)
	wantClass(t, "head of nothing", err, ErrNotFound)
	_, err = s.Get(t.Context(), key, 0, -1)
	wantClass(t, "get of nothing", err, ErrNotFound)
	_, err = s.Get(t.Context(), key, 0, 0)
	wantClass(t, "empty get of nothing", err, ErrNotFound)
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
	if err := s.Put(t.Context(), key, r, 5, PutOptions{}); err != nil {
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
	wantClass(t, "head of a deleted object", err, ErrNotFound)
}

func contractRanges(t *testing.T, s Store) { //nolint:thelper // a case, not a helper: its own lines matter
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
	if b, err := ReadAll(t.Context(), s, "ranges/o", 10); err != nil || string(b) != "0123456789" {
		t.Errorf("ReadAll = %q, %v", b, err)
	}
	if _, err := ReadAll(t.Context(), s, "ranges/o", 9); !errors.Is(err, ErrInvalid) {
		t.Errorf("ReadAll of too much: %v", err)
	}
}

func contractIfNoneMatch(t *testing.T, s Store) { //nolint:thelper // a case, not a helper: its own lines matter
	create := func(content string) error {
		return PutBytes(t.Context(), s, "once/o", []byte(content), PutOptions{IfNoneMatch: true})
	}
	if err := create("a"); err != nil {
		t.Fatal(err)
	}
	wantClass(t, "second creation", create("b"), ErrPrecondition)
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

func contractList(t *testing.T, s Store) { //nolint:thelper // a case, not a helper: its own lines matter
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

func contractDeleteMany(t *testing.T, s Store) { //nolint:thelper // a case, not a helper: its own lines matter
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

func contractArguments(t *testing.T, s Store) { //nolint:thelper // a case, not a helper: its own lines matter
	for _, key := range []string{"", "/a", "a/", "a//b", "../a", "a/../b", "a/.b", "ü", "a b", "a\\b", strings.Repeat("k", 1025)} {
		_, herr := s.Head(t.Context(), key)
		_, gerr := s.Get(t.Context(), key, 0, -1)
		for _, err := range []error{herr, gerr, s.Delete(t.Context(), key), PutBytes(t.Context(), s, key, nil, PutOptions{})} {
			if !errors.Is(err, ErrInvalid) || !errors.Is(err, ErrFatal) {
				t.Errorf("key %q: %v", key, err)
			}
		}
	}
	if _, err := s.Get(t.Context(), "a", -1, 5); !errors.Is(err, ErrInvalid) {
		t.Errorf("negative offset: %v", err)
	}
	if err := s.Put(t.Context(), "short", strings.NewReader("abc"), 5, PutOptions{}); !errors.Is(err, ErrInvalid) {
		t.Errorf("a reader that is too short: %v", err)
	}
	if _, err := s.Head(t.Context(), "short"); !errors.Is(err, ErrNotFound) {
		t.Errorf("a failed put left an object: %v", err)
	}
}

func contractContext(t *testing.T, s Store) { //nolint:thelper // a case, not a helper: its own lines matter
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	wantClass(t, "put", PutBytes(ctx, s, "ctx", []byte("x"), PutOptions{}), ErrTransient)
	_, err := s.Head(ctx, "ctx")
	wantClass(t, "head", err, ErrTransient)
	_, err = s.Get(ctx, "ctx", 0, -1)
	wantClass(t, "get", err, ErrTransient)
	wantClass(t, "delete", s.Delete(ctx, "ctx"), ErrTransient)
}

// contractWriters: of many concurrent creators one wins and its bytes stand; of many concurrent writers one whole object stands.
func contractWriters(t *testing.T, s Store) { //nolint:thelper // a case, not a helper: its own lines matter
	for round := range 5 {
		key := fmt.Sprintf("race/%d", round)
		var wg sync.WaitGroup
		errs := make([]error, 8)
		for i := range errs {
			wg.Go(func() {
				errs[i] = PutBytes(t.Context(), s, key, bytes.Repeat([]byte{byte('a' + i)}, 10_000), PutOptions{IfNoneMatch: true})
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
			case !errors.Is(err, ErrPrecondition):
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
			if err := PutBytes(t.Context(), s, "race/over", bytes.Repeat([]byte{byte('a' + i)}, 10_000), PutOptions{}); err != nil {
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

func contractCheck(t *testing.T, s Store) { //nolint:thelper // a case, not a helper: its own lines matter
	if err := s.Check(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := list(t, s, checkPrefix); len(got) != 0 {
		t.Errorf("check left %v", got)
	}
}

func contractLarge(t *testing.T, s Store) { //nolint:thelper // a case, not a helper: its own lines matter
	b := make([]byte, 4<<20)
	for i := range b {
		b[i] = byte(i >> 10)
	}
	if err := s.Put(t.Context(), "large", bytes.NewReader(b), int64(len(b)), PutOptions{IfNoneMatch: true}); err != nil {
		t.Fatal(err)
	}
	if got := get(t, s, "large", 2<<20, 1<<20); got != string(b[2<<20:3<<20]) {
		t.Error("range of the large object differs")
	}
	if err := s.Delete(t.Context(), "large"); err != nil {
		t.Error(err)
	}
}
