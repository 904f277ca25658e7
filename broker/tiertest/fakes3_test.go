package tiertest

import (
	"crypto/md5"
	"encoding/hex"
	"encoding/xml"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

const (
	fakeAccess = "varve-test"
	fakeSecret = "varve-test-secret"
	fakeBucket = "varve-test"
)

// fakeS3 is as much of an S3 server, with one bucket in memory, as minio-go needs for objects that are not uploaded in parts. It believes every signature.
type fakeS3 struct {
	mu      sync.Mutex
	objects map[string]fakeObject // guarded by mu
}

type fakeObject struct {
	b        []byte
	tag      string
	modified time.Time
	meta     http.Header
}

func startFakeS3(t testing.TB) (host string) {
	t.Helper()
	s := httptest.NewServer(&fakeS3{objects: map[string]fakeObject{}})
	t.Cleanup(s.Close)
	return strings.TrimPrefix(s.URL, "http://")
}

// ServeHTTP implements http.Handler.
func (f *fakeS3) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	key, ok := strings.CutPrefix(r.URL.Path, "/"+fakeBucket+"/")
	switch {
	case !ok:
		fakeError(w, http.StatusNotFound, "NoSuchBucket")
	case r.Method == http.MethodPost && r.URL.Query().Has("delete"):
		f.deleteAll(w, r)
	case r.Method == http.MethodGet && key == "":
		f.list(w, r)
	case r.Method == http.MethodGet || r.Method == http.MethodHead:
		f.get(w, r, key)
	case r.Method == http.MethodPut:
		f.put(w, r, key)
	case r.Method == http.MethodDelete:
		f.mu.Lock()
		delete(f.objects, key)
		f.mu.Unlock()
		w.WriteHeader(http.StatusNoContent)
	default:
		fakeError(w, http.StatusNotImplemented, "NotImplemented")
	}
}

func fakeError(w http.ResponseWriter, status int, code string) {
	w.Header().Set("Content-Type", "application/xml")
	w.WriteHeader(status)
	_, _ = fmt.Fprintf(w, "<Error><Code>%s</Code><Message>fake</Message></Error>", code)
}

func (f *fakeS3) put(w http.ResponseWriter, r *http.Request, key string) {
	b, err := io.ReadAll(r.Body)
	if err != nil || r.ContentLength >= 0 && int64(len(b)) != r.ContentLength {
		fakeError(w, http.StatusBadRequest, "IncompleteBody")
		return
	}
	sum := md5.Sum(b)
	o := fakeObject{b: b, tag: `"` + hex.EncodeToString(sum[:]) + `"`, modified: time.Now(), meta: http.Header{}}
	for name, values := range r.Header {
		if strings.HasPrefix(name, "X-Amz-Meta-") {
			o.meta[name] = values
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, ok := f.objects[key]; ok && r.Header.Get("If-None-Match") == "*" {
		fakeError(w, http.StatusPreconditionFailed, "PreconditionFailed")
		return
	}
	f.objects[key] = o
	w.Header().Set("ETag", o.tag)
}

func (f *fakeS3) get(w http.ResponseWriter, r *http.Request, key string) {
	f.mu.Lock()
	o, ok := f.objects[key]
	f.mu.Unlock()
	if !ok {
		fakeError(w, http.StatusNotFound, "NoSuchKey")
		return
	}
	maps.Copy(w.Header(), o.meta)
	w.Header().Set("ETag", o.tag)
	w.Header().Set("Content-Type", "application/octet-stream")
	http.ServeContent(w, r, "", o.modified, strings.NewReader(string(o.b))) // knows ranges and If-Match
}

func (f *fakeS3) list(w http.ResponseWriter, r *http.Request) {
	type entry struct {
		Key          string
		Size         int64
		ETag         string
		LastModified string
	}
	q := r.URL.Query()
	limit, err := strconv.Atoi(q.Get("max-keys"))
	if err != nil {
		limit = 1000
	}
	after := max(q.Get("start-after"), q.Get("continuation-token"))
	out := struct {
		XMLName               xml.Name `xml:"ListBucketResult"`
		IsTruncated           bool
		NextContinuationToken string
		Contents              []entry
	}{}
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, key := range slices.Sorted(maps.Keys(f.objects)) {
		if !strings.HasPrefix(key, q.Get("prefix")) || key <= after {
			continue
		}
		if len(out.Contents) == limit {
			out.IsTruncated, out.NextContinuationToken = true, out.Contents[limit-1].Key
			break
		}
		o := f.objects[key]
		out.Contents = append(out.Contents, entry{key, int64(len(o.b)), o.tag, o.modified.UTC().Format("2006-01-02T15:04:05.000Z")})
	}
	w.Header().Set("Content-Type", "application/xml")
	_ = xml.NewEncoder(w).Encode(out)
}

func (f *fakeS3) deleteAll(w http.ResponseWriter, r *http.Request) {
	var in struct {
		Objects []struct{ Key string } `xml:"Object"`
	}
	if err := xml.NewDecoder(r.Body).Decode(&in); err != nil {
		fakeError(w, http.StatusBadRequest, "MalformedXML")
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, o := range in.Objects {
		delete(f.objects, o.Key)
	}
	w.Header().Set("Content-Type", "application/xml")
	_, _ = io.WriteString(w, "<DeleteResult></DeleteResult>")
}
