package objstore_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"iter"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/varvemq/varve/tiering/objstore"
	"github.com/varvemq/varve/tiering/objstore/faulty"
)

// patient is what a caller of a store does that fails now and then: repeat what Retriable says, and read what stands in the way of a creation.
type patient struct{ objstore.Store }

const patience = 100

func (p patient) again(ctx context.Context, f func() error) error {
	var err error
	for range patience {
		if err = f(); err == nil || !objstore.Retriable(err) || ctx.Err() != nil {
			return err
		}
	}
	return err
}

func (p patient) Put(ctx context.Context, key string, r io.ReadSeeker, size int64, opts objstore.PutOptions) error {
	err := p.again(ctx, func() error { return p.Store.Put(ctx, key, r, size, opts) })
	if !errors.Is(err, objstore.ErrPrecondition) {
		return err
	}
	// It may be our own. (In the suite the bytes tell; a caller in earnest writes something that is its own.)
	got, gerr := p.read(ctx, key, 0, -1)
	if _, serr := r.Seek(0, io.SeekStart); serr != nil {
		return serr
	}
	if want, rerr := io.ReadAll(r); gerr == nil && rerr == nil && bytes.Equal(got, want) {
		return nil
	}
	return err
}

func (p patient) read(ctx context.Context, key string, off, n int64) (b []byte, err error) {
	err = p.again(ctx, func() error {
		r, err := p.Store.Get(ctx, key, off, n)
		if err != nil {
			return err
		}
		b, err = io.ReadAll(r)
		return errors.Join(err, r.Close())
	})
	return b, err
}

func (p patient) Get(ctx context.Context, key string, off, n int64) (io.ReadCloser, error) {
	b, err := p.read(ctx, key, off, n)
	return io.NopCloser(bytes.NewReader(b)), err
}

func (p patient) Head(ctx context.Context, key string) (info objstore.Info, err error) {
	err = p.again(ctx, func() error {
		info, err = p.Store.Head(ctx, key)
		return err
	})
	return info, err
}

func (p patient) List(ctx context.Context, prefix string) iter.Seq2[objstore.Info, error] {
	return func(yield func(objstore.Info, error) bool) {
		var all []objstore.Info
		err := p.again(ctx, func() error {
			all = nil
			for info, err := range p.Store.List(ctx, prefix) {
				if err != nil {
					return err
				}
				all = append(all, info)
			}
			return nil
		})
		for _, info := range all {
			if !yield(info, nil) {
				return
			}
		}
		if err != nil {
			yield(objstore.Info{}, err)
		}
	}
}

func (p patient) Delete(ctx context.Context, keys ...string) error {
	return p.again(ctx, func() error { return p.Store.Delete(ctx, keys...) })
}

func (p patient) Check(ctx context.Context) error { return objstore.CheckStore(ctx, p) }

// TestContractUnderFaults: with a patient caller a store that fails a third of its calls keeps the contract. Lies about bytes and lists are left to the formats'
// checksums and the manifest, and out here.
func TestContractUnderFaults(t *testing.T) {
	t.Parallel()
	dir, err := objstore.OpenDir(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for name, inner := range map[string]objstore.Store{"mem": objstore.NewMem(), "dir": dir} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			seed := uint64(time.Now().UnixNano())
			t.Logf("seed %d", seed)
			s := faulty.New(inner, faulty.Config{Seed: seed, Latency: 100 * time.Microsecond, Rates: map[faulty.Fault]float64{
				faulty.Throttled: 0.08, faulty.ServerError: 0.08, faulty.LostAnswer: 0.08, faulty.OwnPrecondition: 0.08, faulty.ResetBody: 0.08,
			}})
			contract(t, patient{s})
			for _, f := range []faulty.Fault{faulty.Throttled, faulty.ServerError, faulty.LostAnswer, faulty.ResetBody} {
				if s.Count(f) == 0 {
					t.Errorf("no %s in %d calls", f, s.Calls())
				}
			}
		})
	}
}

// TestServerUnderFaults: the drivers of servers keep the contract by themselves while requests fail now and then.
func TestServerUnderFaults(t *testing.T) {
	t.Parallel()
	for _, tt := range contractCases() {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				d := objstore.NewFakeDriver(nowAndThen)
				tt.run(t, objstore.OpenFake(d, objstore.Options{MultipartThreshold: 1 << 20, PartSize: smallPart, MaxAttempts: 10}))
				if n := d.Uploads(); n != 0 {
					t.Errorf("%d uploads are left", n)
				}
			})
		})
	}
}

func nowAndThen(call string, n int) objstore.Fail {
	switch {
	case call == "create": // with a lost answer an upload would be left
		return objstore.Fail{}
	case call == "get" && n%3 == 2:
		return objstore.Fail{Break: 3, With: io.ErrUnexpectedEOF}
	case n%4 == 3:
		return objstore.Fail{After: errLost}
	case n%3 == 0:
		return objstore.Fail{Before: errSlow}
	}
	return objstore.Fail{}
}

var (
	errLost = errors.Join(objstore.ErrTransient, errors.New("the answer was lost"))
	errSlow = errors.Join(objstore.ErrThrottled, errors.New("SlowDown"))
)

// TestThrottledForAnHour: a store that asks for fewer requests for an hour gets them.
func TestThrottledForAnHour(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		until := time.Now().Add(time.Hour)
		d := objstore.NewFakeDriver(func(string, int) objstore.Fail {
			if time.Now().Before(until) {
				return objstore.Fail{Before: errSlow}
			}
			return objstore.Fail{}
		})
		s := objstore.OpenFake(d, objstore.Options{MaxAttempts: 1000})
		begin := time.Now()
		if err := objstore.PutBytes(t.Context(), s, "k", []byte("x"), objstore.PutOptions{}); err != nil {
			t.Fatal(err)
		}
		if n, took := len(d.Calls()), time.Since(begin); n > 1000 || took > time.Hour+10*time.Second {
			t.Errorf("%d requests in %v", n, took)
		}
		if calls := d.Calls(); slices.Contains(calls, "head") {
			t.Error("a put without a condition looks at what there is")
		}
	})
}
