package maintain

import (
	"context"
	"errors"
	"io"
	"testing"
	"testing/synctest"

	"github.com/varvemq/varve/tiering/objstore"
	"github.com/varvemq/varve/tiering/objstore/faulty"
)

// intruder writes something else under each number just before its owner does.
type intruder struct {
	objstore.Store
	same bool
}

func (i intruder) Put(ctx context.Context, key string, r io.ReadSeeker, size int64, opts objstore.PutOptions) error {
	b, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	if !i.same {
		b[len(b)-20] ^= 1
	}
	if err := objstore.PutBytes(ctx, i.Store, key, b, objstore.PutOptions{}); err != nil {
		return err
	}
	return i.Store.Put(ctx, key, r, size, opts)
}

// TestForeign: an object that is there already is ours if it has our bytes; anything else ends maintenance.
func TestForeign(t *testing.T) {
	t.Parallel()
	for _, same := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, 9)
			w.edit = func(c *Config) { c.Bucket = intruder{c.Bucket, same} }
			w.reopen()
			for range 8 {
				w.seal(1, 4, 5)
			}
			err := w.m.Pass(t.Context())
			if same && err != nil || !same && (!errors.Is(err, ErrForeign) || !final(err)) {
				t.Errorf("same bytes %v: %v", same, err)
			}
			if d := w.did(); (d.merges > 0) != same {
				t.Errorf("same bytes %v: %+v", same, d)
			}
			w.check()
		})
	}
}

// cutOff is a store in which, after each Put of a segment that was there already, the first body of its object breaks off.
type cutOff struct {
	objstore.Store

	broken *faulty.Store
	looks  map[string]int
}

func (c *cutOff) Get(ctx context.Context, key string, off, n int64) (io.ReadCloser, error) {
	if c.looks[key] == 1 {
		c.looks[key]++
		return c.broken.Get(ctx, key, off, n)
	}
	return c.Store.Get(ctx, key, off, n)
}

func (c *cutOff) Put(ctx context.Context, key string, r io.ReadSeeker, size int64, opts objstore.PutOptions) error {
	err := c.Store.Put(ctx, key, r, size, opts)
	if errors.Is(err, objstore.ErrPrecondition) && c.looks[key] == 0 {
		c.looks[key] = 1
	}
	return err
}

// TestOursCutOff: that the body of an object of ours breaks off is no sign that it is somebody else's.
func TestOursCutOff(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 10)
		cut := &cutOff{looks: map[string]int{}}
		w.edit = func(c *Config) {
			cut.Store = intruder{c.Bucket, true}
			cut.broken = faulty.New(c.Bucket, faulty.Config{Plan: func(faulty.Op) faulty.Fault { return faulty.ResetBody }})
			c.Bucket = cut
		}
		w.reopen()
		for range 8 {
			w.seal(1, 4, 5)
		}
		if err := w.m.Pass(t.Context()); !errors.Is(err, objstore.ErrTransient) || final(err) {
			t.Errorf("a body that breaks off: %v", err)
		}
		for range 10 { // each object breaks off once
			if err := w.m.Pass(t.Context()); err == nil {
				break
			}
		}
		if d := w.did(); d.merges == 0 || cut.broken.Count(faulty.ResetBody) == 0 {
			t.Errorf("%+v, %d bodies broken off", d, cut.broken.Count(faulty.ResetBody))
		}
		w.check()
	})
}
