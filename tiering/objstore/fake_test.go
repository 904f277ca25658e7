package objstore

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"
)

// FakeDriver is a driver in memory that fails as it is told, for the tests of what is common to all servers.
type FakeDriver struct {
	mu      sync.Mutex // guards the rest
	objects map[string]fakeObject
	uploads map[string]map[int][]byte
	calls   []string
	fail    func(call string, n int) Fail
}

type fakeObject struct {
	b            []byte
	writer, etag string
	modified     time.Time
}

// Fail is what happens to a request.
type Fail struct {
	Before, After error         // instead of it, or of its answer
	Break         int           // >0: a body breaks off after so many bytes …
	With          error         // … with this error, io.EOF for a silent end
	During        func()        // called while the server works
	Sleep         time.Duration // before it
}

// NewFakeDriver returns one that asks fail, if not nil, about each request: its kind, and how many of the kind there were before.
func NewFakeDriver(fail func(call string, n int) Fail) *FakeDriver {
	return &FakeDriver{objects: map[string]fakeObject{}, uploads: map[string]map[int][]byte{}, fail: fail}
}

// Calls returns the kinds of requests so far.
func (d *FakeDriver) Calls() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.calls)
}

// Uploads returns how many uploads are neither completed nor given up.
func (d *FakeDriver) Uploads() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.uploads)
}

var errFake = fmt.Errorf("%w: fake", ErrTransient)

// request runs f, with the faults that are due.
func (d *FakeDriver) request(ctx context.Context, call string, f func() error) (Fail, error) {
	d.mu.Lock()
	n := 0
	for _, c := range d.calls {
		if c == call {
			n++
		}
	}
	d.calls = append(d.calls, call)
	var fail Fail
	if d.fail != nil {
		fail = d.fail(call, n)
	}
	d.mu.Unlock()
	if fail.Sleep > 0 {
		time.Sleep(fail.Sleep)
	}
	if err := ctx.Err(); err != nil {
		return fail, err
	}
	if fail.Before != nil {
		return fail, fail.Before
	}
	if fail.During != nil {
		fail.During()
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := f(); err != nil {
		return fail, err
	}
	return fail, fail.After
}

// take reads a body as a server does.
func take(b *body) ([]byte, error) {
	got, err := io.ReadAll(b)
	if err != nil {
		return nil, err
	}
	if sum := base64.StdEncoding.EncodeToString(binary.BigEndian.AppendUint32(nil, crc32.Checksum(got, castagnoli))); b.crc != "" && sum != b.crc {
		return nil, fmt.Errorf("%w: BadDigest", ErrTransient)
	}
	return got, nil
}

func (d *FakeDriver) store(key string, b []byte, h putHeader) error {
	if _, ok := d.objects[key]; ok && h.ifNoneMatch {
		return ErrPrecondition
	}
	d.objects[key] = fakeObject{b: b, writer: h.writer, etag: fmt.Sprintf("%08x", crc32.ChecksumIEEE(b)), modified: time.Now()}
	return nil
}

func (d *FakeDriver) put(ctx context.Context, key string, b *body, h putHeader) error {
	_, err := d.request(ctx, "put", func() error {
		got, err := take(b)
		if err != nil {
			return err
		}
		return d.store(key, got, h)
	})
	return err
}

func (d *FakeDriver) get(ctx context.Context, key string, off, n int64, ifMatch string) (a answer, err error) {
	var b []byte
	fail, err := d.request(ctx, "get", func() error {
		o, ok := d.objects[key]
		switch {
		case !ok:
			return ErrNotFound
		case ifMatch != "" && ifMatch != o.etag:
			return ErrPrecondition
		}
		b = o.b[min(off, int64(len(o.b))):]
		if n >= 0 {
			b = b[:min(n, int64(len(b)))]
		}
		a.tag, a.length = o.etag, int64(len(b))
		return nil
	})
	if err != nil {
		return a, err
	}
	var r io.Reader = bytes.NewReader(b)
	if fail.Break > 0 {
		r = io.MultiReader(bytes.NewReader(b[:min(fail.Break, len(b))]), breaks{fail.With})
	}
	a.ReadCloser = io.NopCloser(r)
	return a, nil
}

type breaks struct{ err error }

func (b breaks) Read([]byte) (int, error) { return 0, b.err }

func (d *FakeDriver) head(ctx context.Context, key string) (h objectHead, err error) {
	_, err = d.request(ctx, "head", func() error {
		o, ok := d.objects[key]
		if !ok {
			return ErrNotFound
		}
		h = objectHead{Info{Key: key, Size: int64(len(o.b)), Modified: o.modified}, o.writer}
		return nil
	})
	return h, err
}

func (d *FakeDriver) list(ctx context.Context, prefix, after string) (page []Info, more bool, err error) {
	_, err = d.request(ctx, "list", func() error {
		for _, key := range slices.Sorted(maps.Keys(d.objects)) {
			if !strings.HasPrefix(key, prefix) || key <= after {
				continue
			}
			if len(page) == 2 { // small pages
				more = true
				break
			}
			page = append(page, Info{Key: key, Size: int64(len(d.objects[key].b)), Modified: d.objects[key].modified})
		}
		return nil
	})
	return page, more, err
}

func (d *FakeDriver) remove(ctx context.Context, keys []string) error {
	_, err := d.request(ctx, "delete", func() error {
		for _, key := range keys {
			delete(d.objects, key)
		}
		return nil
	})
	return err
}

func (d *FakeDriver) createUpload(ctx context.Context, _ string, _ putHeader) (id string, err error) {
	_, err = d.request(ctx, "create", func() error {
		id = fmt.Sprintf("upload%d", len(d.calls))
		d.uploads[id] = map[int][]byte{}
		return nil
	})
	return id, err
}

func (d *FakeDriver) uploadPart(ctx context.Context, _, id string, number int, b *body) (p part, err error) {
	_, err = d.request(ctx, "part", func() error {
		got, err := take(b)
		if err != nil {
			return err
		}
		if d.uploads[id] == nil {
			return fmt.Errorf("%w: NoSuchUpload", ErrTransient)
		}
		d.uploads[id][number] = got
		p.tag = fmt.Sprint(number, len(got))
		return nil
	})
	return p, err
}

func (d *FakeDriver) completeUpload(ctx context.Context, key, id string, parts []part, h putHeader) error {
	_, err := d.request(ctx, "complete", func() error {
		if d.uploads[id] == nil {
			return fmt.Errorf("%w: NoSuchUpload", ErrTransient)
		}
		var b []byte
		for i, p := range parts {
			got := d.uploads[id][p.number]
			if p.number != i+1 || p.tag != fmt.Sprint(p.number, len(got)) {
				return fmt.Errorf("%w: InvalidPart", ErrFatal)
			}
			b = append(b, got...)
		}
		if err := d.store(key, b, h); err != nil {
			return err
		}
		delete(d.uploads, id)
		return nil
	})
	return err
}

func (d *FakeDriver) abortUpload(ctx context.Context, _, id string) error {
	_, err := d.request(ctx, "abort", func() error {
		delete(d.uploads, id)
		return nil
	})
	return err
}

func (*FakeDriver) classify(err error) error {
	if errors.Is(err, errFake) {
		return ErrTransient
	}
	return classifyLocal(err)
}

func (*FakeDriver) close() {}
