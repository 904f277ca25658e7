package objstore

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestOpenRefuses(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ url, want string }{
		{"", "empty URL"},
		{"gs://bucket", `unknown scheme "gs"`},
		{"s3:///prefix", "no bucket"},
		{"minio://host:9000", "no bucket"},
		{"minio:///bucket", "no host"},
		{"s3://key:SECRET@bucket", "credentials do not belong"},
		{"s3://bucket?endpoint=http://key:SECRET@host", "without credentials"},
		{"s3://bucket?colour=blue", "colour"},
		{"minio://host/bucket?secure=perhaps", "perhaps"},
		{"s3://bucket/a/../b", "prefix"},
		{"s3://bucket?sse=rot13", "rot13"},
		{"s3://bucket?kms_key=k", "kms_key"},
		{"minio://host/bucket?checksum=md5", "md5"},
		{"file://elsewhere/path", "file:///path"},
		{"s3://key:SECRET\x7f@bucket", "cannot be parsed"},
	} {
		_, err := Open(t.Context(), tt.url)
		if !errors.Is(err, ErrInvalid) || !errors.Is(err, ErrFatal) || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "SECRET") {
			t.Errorf("Open(%q) = %v, want %q", tt.url, err, tt.want)
		}
	}
	if _, err := OpenWith(t.Context(), "mem:", Options{AccessKey: "a", DialTimeout: -1}); !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), "dial_timeout") {
		t.Error(err)
	}
}

// TestUnreachable: a closed port is an error in bounded time that names the store and no secret.
func TestUnreachable(t *testing.T) {
	t.Parallel()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	for _, u := range []string{"s3://bucket/p?endpoint=http://" + addr, "minio://" + addr + "/bucket/p?secure=false"} {
		t.Run(u[:5], func(t *testing.T) {
			t.Parallel()
			s, err := OpenWith(t.Context(), u, Options{AccessKey: "access", SecretKey: "SECRET"})
			if err != nil {
				t.Fatal(err)
			}
			begin := time.Now()
			err = s.Check(t.Context())
			if !errors.Is(err, ErrTransient) || !Retriable(err) || !strings.Contains(err.Error(), u) || strings.Contains(err.Error(), "SECRET") {
				t.Errorf("Check = %v", err)
			}
			if d := time.Since(begin); d > 10*time.Second {
				t.Errorf("took %v", d)
			}
		})
	}
}

func TestClassifyHTTP(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		code   string
		status int
		want   error
	}{
		{"NoSuchKey", 404, ErrNotFound},
		{"", 404, ErrNotFound},
		{"NoSuchBucket", 404, ErrFatal},
		{"NoSuchUpload", 404, ErrTransient},
		{"BadDigest", 400, ErrTransient},
		{"PreconditionFailed", 412, ErrPrecondition},
		{"ConditionalRequestConflict", 409, ErrTransient},
		{"SlowDown", 503, ErrThrottled},
		{"", 429, ErrThrottled},
		{"", 503, ErrThrottled},
		{"ServiceUnavailable", 503, ErrThrottled},
		{"XMinioServerNotInitialized", 503, ErrTransient},
		{"", 502, ErrTransient},
		{"InternalError", 500, ErrTransient},
		{"RequestTimeout", 400, ErrTransient},
		{"AccessDenied", 403, ErrFatal},
		{"InvalidAccessKeyId", 403, ErrFatal},
		{"", 200, nil},
	} {
		if got := classifyHTTP(tt.code, tt.status); !errors.Is(got, tt.want) {
			t.Errorf("classifyHTTP(%q, %d) = %v, want %v", tt.code, tt.status, got, tt.want)
		}
	}
}

// TestDirCrash: what a crash in the middle of a Put leaves is neither listed nor in the way.
func TestDirCrash(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	d, err := OpenDir(root)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(root, "a"), 0o750); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(root, "a", tempPrefix+"X"), []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := PutBytes(t.Context(), d, "a/o", []byte("whole"), PutOptions{}); err != nil {
		t.Fatal(err)
	}
	for info, err := range d.List(t.Context(), "") {
		if err != nil || info.Key != "a/o" {
			t.Errorf("listed %+v, %v", info, err)
		}
	}
	// Keys below an object, and the directory of one, are no objects.
	if _, err := d.Head(t.Context(), "a/o/p"); !errors.Is(err, ErrNotFound) {
		t.Error(err)
	}
	if _, err := d.Get(t.Context(), "a", 0, -1); !errors.Is(err, ErrNotFound) {
		t.Error(err)
	}
	if err := d.Delete(t.Context(), "a", "a/o/p"); err != nil {
		t.Error(err)
	}
	if err := PutBytes(t.Context(), d, "a/o/p", nil, PutOptions{}); !errors.Is(err, ErrFatal) {
		t.Error(err)
	}
	if got, err := ReadAll(t.Context(), d, "a/o", 10); err != nil || string(got) != "whole" {
		t.Errorf("%q, %v", got, err)
	}
}

// TestDirUnusable: Check names a directory that cannot be written.
func TestDirUnusable(t *testing.T) {
	t.Parallel()
	root := filepath.Join(t.TempDir(), "store")
	d, err := OpenDir(root)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(root); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(root, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := d.Check(t.Context()); err == nil || !strings.Contains(err.Error(), root) {
		t.Errorf("Check = %v", err)
	}
	if _, err := Open(t.Context(), root); !errors.Is(err, ErrFatal) || !strings.Contains(err.Error(), root) {
		t.Errorf("Open of a file = %v", err)
	}
}

// TestAnswerLength: an answer says how long it is, and another range than that which was asked for is not taken.
func TestAnswerLength(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		off, n   int64
		ranged   string
		length   int64
		want     int64
		accepted bool
	}{
		{0, -1, "bytes 0-9/10", 10, 10, true},
		{0, -1, "bytes 0-9/10", -1, 10, true},
		{4, 3, "bytes 4-6/10", -1, 3, true},
		{4, 30, "bytes 4-9/10", 6, 6, true},
		{0, -1, "", 10, 10, true},
		{0, 20, "", 10, 10, true},
		{0, 5, "", 10, 0, false},
		{0, 5, "", -1, 0, false},
		{4, 3, "", 10, 0, false},
		{4, 3, "bytes 0-6/10", 7, 0, false},
		{4, 3, "bytes 4-7/10", 4, 0, false},
		{4, 3, "bytes 4-3/10", 0, 0, false},
		{4, 3, "lines 4-6/10", 3, 0, false},
	} {
		a, err := newAnswer(io.NopCloser(strings.NewReader("")), "", tt.off, tt.n, tt.ranged, tt.length)
		if (err == nil) != tt.accepted || a.length != tt.want || err != nil && !errors.Is(err, ErrTransient) {
			t.Errorf("%+v: length %d, %v", tt, a.length, err)
		}
	}
}

// TestClassifyLocal: a certificate that is refused is refused again; a connection that is closed may be there later.
func TestClassifyLocal(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ err, want error }{
		{&url.Error{Op: "Get", URL: "http://h", Err: errors.New("Connection closed by foreign host")}, ErrTransient},
		{&url.Error{Op: "Get", URL: "https://h", Err: &tls.CertificateVerificationError{Err: errors.New("expired")}}, ErrFatal},
		{&url.Error{Op: "Get", URL: "https://h", Err: http.ErrSchemeMismatch}, ErrFatal},
		{io.ErrUnexpectedEOF, ErrTransient},
		{errors.New("other"), ErrFatal},
	} {
		if got := classifyLocal(tt.err); !errors.Is(got, tt.want) {
			t.Errorf("%v: %v, want %v", tt.err, got, tt.want)
		}
	}
}
