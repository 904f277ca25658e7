package objstore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
)

// failing fails the n-th requests of the kinds in plan.
func failing(plan map[string][]Fail) func(string, int) Fail {
	return func(call string, n int) Fail {
		if n < len(plan[call]) {
			return plan[call][n]
		}
		return Fail{}
	}
}

var (
	errThrottled = fmt.Errorf("%w: SlowDown", ErrThrottled)
	before       = Fail{Before: errFake}
	after        = Fail{After: errFake}
	slow         = Fail{Before: errThrottled}
	denied       = Fail{Before: fmt.Errorf("%w: AccessDenied", ErrFatal)}
)

func TestRetry(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name     string
		fails    []Fail
		want     error
		calls    int
		min, max time.Duration
	}{
		{"at once", nil, nil, 1, 0, 0},
		{"transient", []Fail{before, before}, nil, 3, 150 * time.Millisecond, 300 * time.Millisecond},
		{"throttled", []Fail{slow, slow}, nil, 3, 750 * time.Millisecond, 1500 * time.Millisecond},
		{"bounded", []Fail{before, before, before, before, before}, ErrTransient, 4, 350 * time.Millisecond, 700 * time.Millisecond},
		{"fatal", []Fail{denied}, ErrFatal, 1, 0, 0},
		{"lost answer", []Fail{after}, nil, 2, 50 * time.Millisecond, 100 * time.Millisecond},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				d := NewFakeDriver(failing(map[string][]Fail{"put": tt.fails}))
				begin := time.Now()
				err := PutBytes(t.Context(), OpenFake(d, Options{}), "k", []byte("x"), PutOptions{})
				if took := time.Since(begin); !errors.Is(err, tt.want) || took < tt.min || took > tt.max {
					t.Errorf("%v after %v, want %v after %v to %v", err, took, tt.want, tt.min, tt.max)
				}
				if got := len(d.Calls()); got != tt.calls {
					t.Errorf("%d requests, want %d", got, tt.calls)
				}
			})
		})
	}
}

// TestRetryEnds: an ended context ends a pause, and the class stays.
func TestRetryEnds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 120*time.Millisecond)
		defer cancel()
		d := NewFakeDriver(func(string, int) Fail { return slow })
		begin := time.Now()
		err := PutBytes(ctx, OpenFake(d, Options{}), "k", nil, PutOptions{})
		if !errors.Is(err, ErrThrottled) || time.Since(begin) != 120*time.Millisecond || len(d.Calls()) != 1 {
			t.Errorf("%v after %v, %v", err, time.Since(begin), d.Calls())
		}
	})
}

// TestOwnObject: a creation that is repeated because its answer was lost succeeds, and only then.
func TestOwnObject(t *testing.T) {
	t.Parallel()
	large := bytes.Repeat([]byte("abcdefgh"), 2<<20) // 16 MiB: 4 parts
	for name, content := range map[string][]byte{"whole": []byte("ours"), "in parts": large} {
		call := "put"
		if name == "in parts" {
			call = "complete"
		}
		for _, tt := range []struct {
			name string
			plan map[string][]Fail
			// other is what another writer creates while the first request is under way.
			other bool
			want  error
		}{
			{"answer lost", map[string][]Fail{call: {after}}, false, nil},
			{"answer lost twice", map[string][]Fail{call: {after, before}}, false, nil},
			{"answer lost, then the proof", map[string][]Fail{call: {after}, "head": {{}, before}}, false, nil},
			{"request lost, another writer", map[string][]Fail{call: {before}}, true, ErrPrecondition},
			{"another writer", nil, true, ErrPrecondition},
			{"no proof", map[string][]Fail{call: {after}, "head": {{}, before, before, before, before, before}}, false, ErrTransient},
		} {
			t.Run(name+"/"+tt.name, func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					var d *FakeDriver
					if tt.plan["head"] != nil && call == "put" { // no head goes before
						tt.plan["head"] = tt.plan["head"][1:]
					}
					plan := failing(tt.plan)
					d = NewFakeDriver(func(c string, n int) Fail {
						if c == call && n == 0 && tt.other { // under the driver's lock
							_ = d.store("p/k", []byte("theirs"), putHeader{writer: "other"})
						}
						return plan(c, n)
					})
					s := OpenFake(d, Options{MultipartThreshold: 1 << 20, PartSize: minPartSize})
					err := PutBytes(t.Context(), s, "k", content, PutOptions{IfNoneMatch: true})
					if !errors.Is(err, tt.want) || tt.want != nil && Class(err) != tt.want { //nolint:errorlint // the class itself
						t.Errorf("%v, want %v", err, tt.want)
					}
					want := content
					if tt.other {
						want = []byte("theirs")
					}
					if got, err := ReadAll(t.Context(), s, "k", 1<<30); err != nil || !bytes.Equal(got, want) {
						t.Errorf("read %d bytes, %v", len(got), err)
					}
					if n := d.Uploads(); n != 0 {
						t.Errorf("%d uploads are left", n)
					}
				})
			})
		}
	}
}

// brokenReader fails when it is read at an offset.
type brokenReader struct {
	io.ReadSeeker
	at int64
}

var errDisk = errors.New("the disk is broken")

func (r brokenReader) Read(p []byte) (int, error) {
	if pos, err := r.Seek(0, io.SeekCurrent); err != nil || pos >= r.at {
		return 0, errDisk
	}
	return r.ReadSeeker.Read(p)
}

// TestUploadFails: an upload that fails leaves no parts and no object.
func TestUploadFails(t *testing.T) {
	t.Parallel()
	b := bytes.Repeat([]byte("x"), 3*minPartSize)
	for _, tt := range []struct {
		name   string
		plan   map[string][]Fail
		r      io.ReadSeeker
		cancel bool
		want   error
	}{
		{"part refused", map[string][]Fail{"part": {{}, denied}}, nil, false, ErrFatal},
		{"server away", map[string][]Fail{"part": slices.Repeat([]Fail{before}, 20)}, nil, false, ErrTransient},
		{"reader fails", nil, brokenReader{bytes.NewReader(b), minPartSize + 5}, false, errDisk},
		{"cancelled", map[string][]Fail{"part": slices.Repeat([]Fail{before}, 20)}, nil, true, ErrTransient},
		{"completion refused", map[string][]Fail{"complete": {denied}}, nil, false, ErrFatal},
		{"the first abort fails too", map[string][]Fail{"part": {denied}, "abort": {before, slow}}, nil, false, ErrFatal},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				d := NewFakeDriver(failing(tt.plan))
				s := OpenFake(d, Options{MultipartThreshold: 1, PartSize: minPartSize})
				var r io.ReadSeeker = bytes.NewReader(b)
				if tt.r != nil {
					r = tt.r
				}
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				if tt.cancel {
					time.AfterFunc(60*time.Millisecond, cancel)
				}
				err := s.Put(ctx, "k", r, int64(len(b)), PutOptions{})
				if !errors.Is(err, tt.want) || Class(err) == nil {
					t.Errorf("%v, want %v", err, tt.want)
				}
				if n := d.Uploads(); n != 0 {
					t.Errorf("%d uploads are left", n)
				}
				if _, err := s.Head(t.Context(), "k"); !errors.Is(err, ErrNotFound) {
					t.Errorf("head: %v", err)
				}
			})
		})
	}
}

// TestReadGoesOn: a body that breaks off is read on, and never mixed with that of another object.
func TestReadGoesOn(t *testing.T) {
	t.Parallel()
	content := []byte(strings.Repeat("0123456789", 100))
	brk := func(n int, with error) Fail { return Fail{Break: n, With: with} }
	for _, tt := range []struct {
		name   string
		gets   []Fail
		change bool
		want   error
		calls  int
	}{
		{"reset", []Fail{brk(100, errFake), brk(3, errFake)}, false, nil, 3},
		{"silent end", []Fail{brk(100, io.EOF)}, false, nil, 2},
		{"unexpected end", []Fail{brk(100, io.ErrUnexpectedEOF), before}, false, nil, 3},
		{"again and again", slices.Repeat([]Fail{brk(1, errFake)}, 10), false, ErrTransient, 4},
		{"refused", []Fail{brk(5, errFake), denied}, false, ErrFatal, 2},
		{"changed", []Fail{brk(5, errFake)}, true, ErrTransient, 2},
	} {
		for _, n := range []int64{-1, 700, 5000} {
			t.Run(fmt.Sprint(tt.name, n), func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					d := NewFakeDriver(failing(map[string][]Fail{"get": tt.gets}))
					s := OpenFake(d, Options{})
					if err := PutBytes(t.Context(), s, "k", content, PutOptions{}); err != nil {
						t.Fatal(err)
					}
					r, err := s.Get(t.Context(), "k", 10, n)
					if err != nil {
						t.Fatal(err)
					}
					if tt.change {
						if err := PutBytes(t.Context(), s, "k", []byte(strings.Repeat("x", 1000)), PutOptions{}); err != nil {
							t.Fatal(err)
						}
					}
					got, err := io.ReadAll(r)
					if !errors.Is(err, tt.want) {
						t.Errorf("%v, want %v", err, tt.want)
					}
					want := content[10:]
					if n > 0 {
						want = want[:min(int(n), len(want))]
					}
					if err == nil && !bytes.Equal(got, want) || !bytes.HasPrefix(want, got) {
						t.Errorf("read %q", got)
					}
					calls := slices.DeleteFunc(d.Calls(), func(c string) bool { return c != "get" })
					if len(calls) != tt.calls {
						t.Errorf("%d gets, want %d", len(calls), tt.calls)
					}
					if err := r.Close(); err != nil {
						t.Error(err)
					}
				})
			})
		}
	}
}

func TestListPagesAreRepeated(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := NewFakeDriver(failing(map[string][]Fail{"list": {before, {}, slow, {}, {}, before, before, before, before}}))
		s := OpenFake(d, Options{})
		for i := range 7 {
			if err := PutBytes(t.Context(), s, fmt.Sprint("l/", i), nil, PutOptions{}); err != nil {
				t.Fatal(err)
			}
		}
		var got []string
		var last error
		for info, err := range s.List(t.Context(), "l/") {
			if last = err; err == nil {
				got = append(got, info.Key)
			}
		}
		if diff := cmp.Diff([]string{"l/0", "l/1", "l/2", "l/3", "l/4", "l/5"}, got); diff != "" || !errors.Is(last, ErrTransient) {
			t.Errorf("%s, %v", diff, last)
		}
	})
}

// TestBodyEnded: a transport that goes on reading after its request does not reach the caller's reader.
func TestBodyEnded(t *testing.T) {
	t.Parallel()
	b := newBody(strings.NewReader("0123456789"), 2, 5)
	if got, err := io.ReadAll(b); err != nil || string(got) != "23456" {
		t.Errorf("%q, %v", got, err)
	}
	again := b.again()
	b.end()
	if _, err := b.Seek(0, io.SeekStart); err != nil {
		t.Error(err)
	}
	if _, err := io.ReadAll(b); !errors.Is(err, errBodyEnded) {
		t.Error(err)
	}
	if got, err := io.ReadAll(again); err != nil || string(got) != "23456" {
		t.Errorf("%q, %v", got, err)
	}
}

// metricsOf returns the samples of counters, and the counts of histograms, by name and labels.
func metricsOf(t *testing.T, reg *prometheus.Registry) map[string]float64 {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			name := f.GetName()
			for _, l := range m.GetLabel() {
				name += " " + l.GetValue()
			}
			if h := m.GetHistogram(); h != nil {
				out[name] = float64(h.GetSampleCount())
			} else {
				out[name] = m.GetCounter().GetValue()
			}
		}
	}
	return out
}

func TestMetrics(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		reg := prometheus.NewRegistry()
		d := NewFakeDriver(failing(map[string][]Fail{"put": {before, slow}, "get": {{Break: 3, With: errFake}}}))
		s := OpenFake(d, Options{Registerer: reg, MultipartThreshold: 100, PartSize: minPartSize})
		if err := PutBytes(t.Context(), s, "k", []byte("0123456789"), PutOptions{}); err != nil {
			t.Fatal(err)
		}
		if _, err := ReadAll(t.Context(), s, "k", 10); err != nil {
			t.Fatal(err)
		}
		if err := PutBytes(t.Context(), s, "l", make([]byte, minPartSize+1), PutOptions{}); err != nil {
			t.Fatal(err)
		}
		_, _ = s.Head(t.Context(), "none")
		// A second store of the process shares the metrics.
		other, err := OpenWith(t.Context(), t.TempDir(), Options{Registerer: reg})
		if err != nil {
			t.Fatal(err)
		}
		if err := PutBytes(t.Context(), other, "k", []byte("xyz"), PutOptions{IfNoneMatch: true}); err != nil {
			t.Fatal(err)
		}
		if _, err := ReadAll(t.Context(), other, "k", 10); err != nil {
			t.Fatal(err)
		}
		for range other.List(t.Context(), "") {
			break
		}
		want := map[string]float64{
			"varve_objstore_requests_total put transient": 1, "varve_objstore_requests_total put throttled": 1, "varve_objstore_requests_total put ok": 2,
			"varve_objstore_requests_total get ok": 3, "varve_objstore_requests_total head not_found": 1, "varve_objstore_requests_total list ok": 1,
			"varve_objstore_requests_total create_upload ok": 1, "varve_objstore_requests_total upload_part ok": 2, "varve_objstore_requests_total complete_upload ok": 1,
			"varve_objstore_request_seconds put": 4, "varve_objstore_request_seconds get": 3, "varve_objstore_request_seconds head": 1, "varve_objstore_request_seconds list": 1,
			"varve_objstore_request_seconds create_upload": 1, "varve_objstore_request_seconds upload_part": 2, "varve_objstore_request_seconds complete_upload": 1,
			"varve_objstore_read_bytes_total": 13, "varve_objstore_written_bytes_total": 10 + minPartSize + 1 + 3,
		}
		if diff := cmp.Diff(want, metricsOf(t, reg)); diff != "" {
			t.Error(diff)
		}
	})
}
