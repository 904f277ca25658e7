package objstore_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/varvemq/varve/tiering/objstore"
	"github.com/varvemq/varve/tiering/objstore/faulty"
)

// place is a part of the server's bucket, by one of the drivers.
type place struct{ driver, url, prefix string }

// places are empty ones for each driver on the server, or on what stands before it at host.
func (s *server) places(host, params string) (out []place) {
	prefix := run()
	for driver, u := range s.urls(host, prefix, params) {
		out = append(out, place{driver, u, prefix + "/" + driver + "/"})
	}
	return out
}

// uploads is how many uploads of an object are neither completed nor given up. (MinIO lists them for a whole key only.)
func (s *server) uploads(t *testing.T, key string) int {
	t.Helper()
	out, err := s.client.ListMultipartUploads(t.Context(), s.bucket, key, "", "", "", 100)
	if err != nil {
		t.Fatal(err)
	}
	return len(out.Uploads)
}

// failsAt fails to read from an offset on.
type failsAt struct {
	io.ReadSeeker
	at int64
}

var errDisk = errors.New("the disk is broken")

func (r failsAt) Read(p []byte) (int, error) {
	if pos, err := r.Seek(0, io.SeekCurrent); err != nil || pos >= r.at {
		return 0, errDisk
	}
	return r.ReadSeeker.Read(p)
}

func TestServerUploadsLeaveNothing(t *testing.T) {
	t.Parallel()
	server := needServer(t)
	b := bytes.Repeat([]byte("0123456789abcdef"), (smallPart*2+16)/16)
	for _, d := range server.places(server.host, "") {
		t.Run(d.driver, func(t *testing.T) {
			s, prefix := open(t, d.url, server.options()), d.prefix
			err := s.Put(t.Context(), "broken", failsAt{bytes.NewReader(b), smallPart + 100}, int64(len(b)), objstore.PutOptions{})
			if !errors.Is(err, errDisk) {
				t.Errorf("a reader that fails: %v", err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			r := &cancels{ReadSeeker: bytes.NewReader(b), at: smallPart + 100, cancel: cancel}
			if err := s.Put(ctx, "broken", r, int64(len(b)), objstore.PutOptions{}); !errors.Is(err, context.Canceled) || !errors.Is(err, objstore.ErrTransient) {
				t.Errorf("cancelled: %v", err)
			}
			if n := server.uploads(t, prefix+"broken"); n != 0 {
				t.Errorf("%d uploads are left", n)
			}
			if _, err := s.Head(t.Context(), "broken"); !errors.Is(err, objstore.ErrNotFound) {
				t.Errorf("head: %v", err)
			}
		})
	}
}

// cancels cancels when it is read from an offset on.
type cancels struct {
	io.ReadSeeker
	at     int64
	cancel func()
}

func (r *cancels) Read(p []byte) (int, error) {
	if pos, err := r.Seek(0, io.SeekCurrent); err != nil || pos >= r.at {
		r.cancel()
	}
	return r.ReadSeeker.Read(p)
}

// TestServerUploadRace: of several uploads in parts that must create one object, exactly one wins, where the server knows conditions at completion.
func TestServerUploadRace(t *testing.T) {
	t.Parallel()
	server := needServer(t)
	for _, d := range server.places(server.host, "") {
		t.Run(d.driver, func(t *testing.T) {
			s, prefix := open(t, d.url, server.options()), d.prefix
			var wg sync.WaitGroup
			errs := make([]error, 4)
			start := make(chan struct{})
			for i := range errs {
				wg.Go(func() {
					b := bytes.Repeat([]byte{byte('a' + i)}, smallPart+2<<20)
					<-start
					errs[i] = s.Put(t.Context(), "race", bytes.NewReader(b), int64(len(b)), objstore.PutOptions{IfNoneMatch: true})
				})
			}
			close(start)
			wg.Wait()
			var winners []byte
			for i, err := range errs {
				switch {
				case err == nil:
					winners = append(winners, byte('a'+i))
				case !errors.Is(err, objstore.ErrPrecondition):
					t.Errorf("writer %d: %v", i, err)
				}
			}
			if len(winners) != 1 {
				t.Fatalf("winners: %q", winners)
			}
			if got := get(t, s, "race", smallPart, 1); got[0] != winners[0] {
				t.Errorf("%q has won, the object is of %q", winners, got)
			}
			if n := server.uploads(t, prefix+"race"); n != 0 {
				t.Errorf("%d uploads are left", n)
			}
		})
	}
}

// whileReading does something once, when it is read from an offset on.
type whileReading struct {
	io.ReadSeeker
	at   int64
	once *sync.Once
	do   func()
}

func (r whileReading) Read(p []byte) (int, error) {
	if pos, err := r.Seek(0, io.SeekCurrent); err != nil || pos >= r.at {
		r.once.Do(r.do)
	}
	return r.ReadSeeker.Read(p)
}

// TestServerCompletionCondition: an object that appears while an upload in parts is under way stays. (Before it begins there was none.)
func TestServerCompletionCondition(t *testing.T) {
	t.Parallel()
	server := needServer(t)
	for _, d := range server.places(server.host, "") {
		t.Run(d.driver, func(t *testing.T) {
			s := open(t, d.url, server.options())
			b := make([]byte, smallThreshold+1)
			r := whileReading{bytes.NewReader(b), smallPart + 1, &sync.Once{}, func() { put(t, s, "k", "theirs") }}
			wantClass(t, "put", s.Put(t.Context(), "k", r, int64(len(b)), objstore.PutOptions{IfNoneMatch: true}), objstore.ErrPrecondition)
			if got := get(t, s, "k", 0, -1); got != "theirs" {
				t.Errorf("got %d bytes", len(got))
			}
			if n := server.uploads(t, d.prefix+"k"); n != 0 {
				t.Errorf("%d uploads are left", n)
			}
		})
	}
}

// TestServerMemory: an upload takes a small part of its object's size of memory, whole or in parts. It is alone while it runs.
func TestServerMemory(t *testing.T) {
	server := needServer(t)
	const size = 64 << 20
	path := filepath.Join(t.TempDir(), "spool")
	if err := os.WriteFile(path, make([]byte, size), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	whole := server.options()
	whole.MultipartThreshold = size
	for what, opts := range map[string]objstore.Options{"whole": whole, "in parts": server.options()} {
		for _, d := range server.places(server.host, "") {
			t.Run(what+"/"+d.driver, func(t *testing.T) {
				s := open(t, d.url, opts)
				put(t, s, "warm", "up")
				var before, after runtime.MemStats
				runtime.ReadMemStats(&before)
				begin := time.Now()
				if err := s.Put(t.Context(), "k", f, size, objstore.PutOptions{}); err != nil {
					t.Fatal(err)
				}
				took := time.Since(begin)
				runtime.ReadMemStats(&after)
				allocated := after.TotalAlloc - before.TotalAlloc
				t.Logf("%d MiB: %.0f MB/s, %d KiB allocated", size>>20, size/1e6/took.Seconds(), allocated>>10)
				if allocated > size/8 {
					t.Errorf("allocated %d bytes", allocated)
				}
			})
		}
	}
}

// TestServerChecksums: a body that is damaged on the way is refused, and sent again.
func TestServerChecksums(t *testing.T) {
	t.Parallel()
	server := needServer(t)
	for _, size := range []int{1 << 20, smallPart*2 + 1} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			var mu sync.Mutex
			flipped := map[string]bool{}
			proxy := startProxy(t, server, func(_ int, r *http.Request) faulty.Fault {
				mu.Lock()
				defer mu.Unlock()
				at := r.URL.Path + r.URL.Query().Get("partNumber")
				if r.Method != http.MethodPut || flipped[at] {
					return faulty.None
				}
				flipped[at] = true
				return faulty.FlipBit
			})
			for _, d := range server.places(proxy.Addr(), "") {
				t.Run(d.driver, func(t *testing.T) {
					s := open(t, d.url, server.options())
					b := bytes.Repeat([]byte("x"), size)
					if err := s.Put(t.Context(), "k", bytes.NewReader(b), int64(size), objstore.PutOptions{IfNoneMatch: true}); err != nil {
						t.Fatal(err)
					}
					if got, err := objstore.ReadAll(t.Context(), s, "k", int64(size)); err != nil || !bytes.Equal(got, b) {
						t.Errorf("read %d bytes, %v", len(got), err)
					}
				})
			}
			if len(flipped) < 2 {
				t.Errorf("damaged %v", flipped)
			}
		})
	}
}

// TestServerEncryption: sse reaches the server, with one put and in parts.
func TestServerEncryption(t *testing.T) {
	t.Parallel()
	server := needServer(t)
	if server.name != "minio" {
		t.Skipf("%s does not encrypt", server.name)
	}
	for _, tt := range []struct{ params, want string }{{"&sse=AES256", "AES256"}, {"&sse=aws:kms&kms_key=varve-test", "aws:kms"}} {
		for _, d := range server.places(server.host, tt.params) {
			t.Run(d.driver, func(t *testing.T) {
				s, prefix := open(t, d.url, server.options()), d.prefix
				for key, size := range map[string]int{"small": 100, "large": smallThreshold + 1} {
					if err := objstore.PutBytes(t.Context(), s, key, make([]byte, size), objstore.PutOptions{}); err != nil {
						t.Fatal(err)
					}
					info, err := server.client.StatObject(t.Context(), server.bucket, prefix+key, minio.StatObjectOptions{})
					if err != nil {
						t.Fatal(err)
					}
					if got := info.Metadata.Get("X-Amz-Server-Side-Encryption"); got != tt.want {
						t.Errorf("%s: encrypted with %q, want %q", key, got, tt.want)
					}
				}
			})
		}
	}
}

// TestServerErrors: what a server says gets the right class.
func TestServerErrors(t *testing.T) {
	t.Parallel()
	server := needServer(t)
	wrong := server.options()
	wrong.SecretKey = "WRONG-SECRET"
	for _, d := range server.places(server.host, "") {
		t.Run(d.driver, func(t *testing.T) {
			s := open(t, d.url, wrong)
			err := s.Check(t.Context())
			wantClass(t, "wrong secret", err, objstore.ErrFatal)
			if strings.Contains(err.Error(), "WRONG-SECRET") {
				t.Error("the error has the secret")
			}
		})
	}
	elsewhere := *server
	elsewhere.bucket = "no-such-bucket"
	for _, d := range elsewhere.places(server.host, "") {
		t.Run(d.driver, func(t *testing.T) {
			s := open(t, d.url, server.options())
			wantClass(t, "check of no bucket", s.Check(t.Context()), objstore.ErrFatal)
			_, err := s.Get(t.Context(), "k", 0, -1)
			wantClass(t, "get from no bucket", err, objstore.ErrFatal)
			for _, err = range s.List(t.Context(), "") {
			}
			wantClass(t, "list of no bucket", err, objstore.ErrFatal)
		})
	}
}

func startProxy(t *testing.T, server *server, plan faulty.ProxyPlan) *faulty.Proxy {
	t.Helper()
	p, err := faulty.ListenProxy(t.Context(), server.host, 1, plan)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	return p
}

// TestServerBehindFaultyNetwork: the contract holds through a proxy that fails a good part of the requests; what a create of an upload loses is left to the lifecycle rule.
func TestServerBehindFaultyNetwork(t *testing.T) {
	t.Parallel()
	server := needServer(t)
	// Each fault in turn, every third request; never two times the same request in a row.
	list := []faulty.Fault{faulty.Throttled, faulty.LostAnswer, faulty.ServerError, faulty.ResetBody, faulty.TruncateBody}
	proxy := startProxy(t, server, func(n int, r *http.Request) faulty.Fault {
		fault := list[n/3%len(list)]
		switch {
		case n%3 != 0 || fault == faulty.TruncateBody && (r.Method != http.MethodGet || r.URL.Query().Has("list-type")):
			return faulty.None
		default:
			return fault
		}
	})
	opts := server.options()
	opts.MaxAttempts = 20
	for _, d := range server.places(proxy.Addr(), "") {
		t.Run(d.driver, func(t *testing.T) {
			s := open(t, d.url, opts)
			t.Parallel()
			contract(t, s)
		})
	}
}

// TestServerOutage: during an outage calls fail in bounded time, as transient; after it the same store works.
func TestServerOutage(t *testing.T) {
	t.Parallel()
	server := needServer(t)
	proxy := startProxy(t, server, nil)
	reg := prometheus.NewRegistry()
	opts := server.options()
	opts.Registerer = reg
	for _, d := range server.places(proxy.Addr(), "") {
		t.Run(d.driver, func(t *testing.T) {
			s := open(t, d.url, opts)
			put(t, s, "k", "before")
			proxy.SetDown(true)
			begin := time.Now()
			wantClass(t, "put", objstore.PutBytes(t.Context(), s, "k", []byte("during"), objstore.PutOptions{}), objstore.ErrTransient)
			_, err := s.Get(t.Context(), "k", 0, -1)
			wantClass(t, "get", err, objstore.ErrTransient)
			_, err = s.Head(t.Context(), "k")
			wantClass(t, "head", err, objstore.ErrTransient)
			for _, err = range s.List(t.Context(), "") {
			}
			wantClass(t, "list", err, objstore.ErrTransient)
			wantClass(t, "delete", s.Delete(t.Context(), "k"), objstore.ErrTransient)
			wantClass(t, "delete many", s.Delete(t.Context(), "k", "l"), objstore.ErrTransient)
			if d := time.Since(begin); d > 20*time.Second {
				t.Errorf("took %v", d)
			}
			proxy.SetDown(false)
			if got := get(t, s, "k", 0, -1); got != "before" {
				t.Errorf("got %q", got)
			}
		})
	}
}
