package faulty_test

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/varvemq/varve/tiering/objstore/faulty"
)

// TestProxy: what a client gets, and what the server has seen.
func TestProxy(t *testing.T) {
	t.Parallel()
	content := bytes.Repeat([]byte("0123456789"), 10_000)
	var fault atomic.Uint32
	var seen atomic.Int32
	var host, body atomic.Value
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		seen.Add(1)
		host.Store(r.Host)
		body.Store(b)
		w.Header().Set("Content-Length", strconv.Itoa(len(content)))
		_, _ = w.Write(content)
	}))
	t.Cleanup(server.Close)
	p, err := faulty.ListenProxy(t.Context(), strings.TrimPrefix(server.URL, "http://"), 3, func(int, *http.Request) faulty.Fault { return faulty.Fault(fault.Load()) })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}} // else it repeats by itself
	do := func(method string, f faulty.Fault, send []byte) (status int, got []byte, err error) {
		fault.Store(uint32(f))
		seen.Store(0)
		req, err := http.NewRequestWithContext(t.Context(), method, "http://"+p.Addr()+"/bucket/key", bytes.NewReader(send))
		if err != nil {
			t.Fatal(err)
		}
		resp, err := client.Do(req)
		if err != nil {
			return 0, nil, err
		}
		defer resp.Body.Close()
		got, err = io.ReadAll(resp.Body)
		return resp.StatusCode, got, err
	}
	flipped := func(a, b []byte) (n int) {
		for i := range a {
			if a[i] != b[i] {
				n++
			}
		}
		return n
	}

	if status, got, err := do(http.MethodGet, faulty.None, nil); status != 200 || !bytes.Equal(got, content) || err != nil || host.Load() != p.Addr() {
		t.Errorf("none: %d, %d bytes, %v, host %v", status, len(got), err, host.Load())
	}
	for f, want := range map[faulty.Fault]string{faulty.Throttled: "SlowDown", faulty.ServerError: "InternalError"} {
		if status, got, err := do(http.MethodPut, f, content); status < 500 || !bytes.Contains(got, []byte(want)) || err != nil || seen.Load() != 0 {
			t.Errorf("%s: %d %s, %v, seen %d times", f, status, got, err, seen.Load())
		}
	}
	if _, _, err := do(http.MethodPut, faulty.LostAnswer, content); err == nil || seen.Load() != 1 {
		t.Errorf("lost answer: %v, seen %d times", err, seen.Load())
	}
	if _, got, err := do(http.MethodGet, faulty.ResetBody, nil); !errors.Is(err, io.ErrUnexpectedEOF) || len(got) >= len(content) {
		t.Errorf("reset: %d bytes, %v", len(got), err)
	}
	if _, got, err := do(http.MethodGet, faulty.TruncateBody, nil); err != nil || len(got) >= len(content) {
		t.Errorf("truncated: %d bytes, %v", len(got), err)
	}
	if _, got, err := do(http.MethodGet, faulty.FlipBit, nil); err != nil || len(got) != len(content) || flipped(got, content) != 1 {
		t.Errorf("flipped: %d bytes, %v", len(got), err)
	}
	if _, _, err := do(http.MethodPut, faulty.FlipBit, content); err != nil || flipped(body.Load().([]byte), content) != 1 {
		t.Errorf("flipped upload: %v", err)
	}
	p.SetDown(true)
	if _, _, err := do(http.MethodGet, faulty.None, nil); err == nil || seen.Load() != 0 {
		t.Errorf("down: %v, seen %d times", err, seen.Load())
	}
	p.SetDown(false)
	if status, _, err := do(http.MethodGet, faulty.None, nil); status != 200 || err != nil {
		t.Errorf("up again: %d, %v", status, err)
	}
	if p.Requests() != 10 {
		t.Errorf("%d requests", p.Requests())
	}
}
