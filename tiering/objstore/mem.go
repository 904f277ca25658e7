package objstore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"
)

// Mem is a [Store] in memory, for tests.
type Mem struct {
	mu      sync.Mutex // guards objects
	objects map[string]memObject
}

type memObject struct {
	b        []byte // never modified
	modified time.Time
}

// NewMem returns an empty Mem.
func NewMem() *Mem { return &Mem{objects: map[string]memObject{}} }

func (m *Mem) fault(op, key string, err error) error { return opError(op, m.URL(), key, err) }

// alive gives an ended context the class that the other drivers give it.
func alive(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("%w: %w", ErrTransient, err)
	}
	return nil
}

// Put implements [Store].
func (m *Mem) Put(ctx context.Context, key string, r io.ReadSeeker, size int64, opts PutOptions) error {
	err := checkPut(key, r, size)
	if err == nil {
		err = alive(ctx)
	}
	var b []byte
	if err == nil {
		b, err = readExactly(r, size)
	}
	if err != nil {
		return m.fault("put", key, err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, ok := m.objects[key]; ok && opts.IfNoneMatch {
		return m.fault("put", key, ErrPrecondition)
	}
	m.objects[key] = memObject{b: b, modified: time.Now()}
	return nil
}

// readExactly reads size bytes from r, which checkPut has found to have as many.
func readExactly(r io.Reader, size int64) ([]byte, error) {
	b := make([]byte, size)
	switch _, err := io.ReadFull(r, b); {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return nil, invalid("the reader does not have %d bytes", size)
	case err != nil:
		return nil, fmt.Errorf("%w: %w", ErrFatal, err)
	}
	return b, nil
}

// Get implements [Store].
func (m *Mem) Get(ctx context.Context, key string, off, n int64) (io.ReadCloser, error) {
	err := checkGet(key, off)
	if err == nil {
		err = alive(ctx)
	}
	m.mu.Lock()
	o, ok := m.objects[key]
	m.mu.Unlock()
	if err == nil && !ok {
		err = ErrNotFound
	}
	if err != nil {
		return nil, m.fault("get", key, err)
	}
	b := o.b[min(off, int64(len(o.b))):]
	if n >= 0 {
		b = b[:min(n, int64(len(b)))]
	}
	return io.NopCloser(bytes.NewReader(b)), nil
}

// Head implements [Store].
func (m *Mem) Head(ctx context.Context, key string) (Info, error) {
	err := checkGet(key, 0)
	if err == nil {
		err = alive(ctx)
	}
	m.mu.Lock()
	o, ok := m.objects[key]
	m.mu.Unlock()
	if err == nil && !ok {
		err = ErrNotFound
	}
	if err != nil {
		return Info{}, m.fault("head", key, err)
	}
	return Info{Key: key, Size: int64(len(o.b)), Modified: o.modified}, nil
}

// List implements [Store].
func (m *Mem) List(ctx context.Context, prefix string) iter.Seq2[Info, error] {
	return func(yield func(Info, error) bool) {
		m.mu.Lock()
		objects := maps.Clone(m.objects)
		m.mu.Unlock()
		for _, key := range slices.Sorted(maps.Keys(objects)) {
			if !strings.HasPrefix(key, prefix) {
				continue
			}
			if err := alive(ctx); err != nil {
				yield(Info{}, m.fault("list", prefix, err))
				return
			}
			if o := objects[key]; !yield(Info{Key: key, Size: int64(len(o.b)), Modified: o.modified}, nil) {
				return
			}
		}
	}
}

// Delete implements [Store].
func (m *Mem) Delete(ctx context.Context, keys ...string) error {
	for _, key := range keys {
		err := ValidateKey(key)
		if err == nil {
			err = alive(ctx)
		}
		if err != nil {
			return m.fault("delete", key, err)
		}
		m.mu.Lock()
		delete(m.objects, key)
		m.mu.Unlock()
	}
	return nil
}

// Check implements [Store].
func (m *Mem) Check(ctx context.Context) error { return CheckStore(ctx, m) }

// URL implements [Store].
func (*Mem) URL() string { return "mem:" }

// Close implements [Store].
func (*Mem) Close() error { return nil }
