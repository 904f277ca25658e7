package faulty

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/varvemq/varve/tiering/objstore"
)

// Config says which faults a [Store] has. The zero value has none.
type Config struct {
	// Seed is that of all chance.
	Seed uint64
	// Rates are the probabilities of faults, per call.
	Rates map[Fault]float64
	// Plan, if not nil, decides about each call, instead of Rates. It is called with one call at a time.
	Plan func(Op) Fault
	// Latency is the longest delay before a call; each is a random part of it.
	Latency time.Duration
	// Burst is for how long a throttling lasts. Default: that call only.
	Burst time.Duration
	// StaleFor is how long a stale list is behind. Default: 1 s.
	StaleFor time.Duration
	// Clock is the time; nil is the real one.
	Clock Clock
}

// Store is a store that fails.
type Store struct {
	inner objstore.Store
	cfg   Config

	mu        sync.Mutex // guards the rest
	rand      *rand.Rand
	n         int
	counts    [faults]int
	throttled time.Time // until then
	outage    time.Time // until then
	changes   []change  // the newest last
}

var _ objstore.Store = (*Store)(nil)

// New wraps a store. The wrapper's Close closes it.
func New(inner objstore.Store, cfg Config) *Store {
	if cfg.Clock == nil {
		cfg.Clock = wallClock{}
	}
	if cfg.StaleFor == 0 {
		cfg.StaleFor = time.Second
	}
	return &Store{inner: inner, cfg: cfg, rand: rand.New(rand.NewPCG(cfg.Seed, 0x9e3779b97f4a7c15))} //nolint:gosec // repeatable on purpose
}

// Outage makes every call of the next d fail with ErrTransient; 0 ends an outage.
func (s *Store) Outage(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.outage = s.cfg.Clock.Now().Add(d)
}

// Calls is how many calls there were.
func (s *Store) Calls() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.n
}

// Count is how often a fault has happened.
func (s *Store) Count(f Fault) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.counts[f]
}

// decision is the fault of one call, and the chance that it needs.
type decision struct {
	fault   Fault
	latency time.Duration
	where   float64 // in [0, 1): where in a body
	bit     byte
}

// decide draws the same amount of chance for every call, so that one fault does not shift those after it.
func (s *Store) decide(op Op) decision {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.n++
	op.N = s.n
	d := decision{latency: time.Duration(s.rand.Float64() * float64(s.cfg.Latency)), where: s.rand.Float64(), bit: 1 << s.rand.IntN(8)}
	dice, now := s.rand.Float64(), s.cfg.Clock.Now()
	switch {
	case now.Before(s.outage):
		d.fault = ServerError
	case now.Before(s.throttled):
		d.fault = Throttled
	case s.cfg.Plan != nil:
		d.fault = s.cfg.Plan(op)
	default:
		for f := Throttled; f < faults; f++ { // in a fixed order
			if rate := s.cfg.Rates[f]; dice < rate {
				d.fault = f
				break
			}
			dice -= s.cfg.Rates[f]
		}
	}
	if !d.fault.possible(op.Kind, op.IfNoneMatch) {
		d.fault = None
	}
	if d.fault == Throttled && !now.Before(s.throttled) {
		s.throttled = now.Add(s.cfg.Burst)
	}
	s.counts[d.fault]++
	return d
}

// injected makes an error.
func injected(class error, f Fault, what string) error {
	return fmt.Errorf("%s: %w: injected: %s", what, class, f)
}

// before waits and returns the error of a call that is not made.
func (s *Store) before(ctx context.Context, d decision, what string) error {
	err := ctx.Err()
	if d.latency > 0 && err == nil {
		err = s.cfg.Clock.Sleep(ctx, d.latency)
	}
	if err != nil {
		return fmt.Errorf("%s: %w: %w", what, objstore.ErrTransient, err)
	}
	switch d.fault {
	case Throttled:
		return injected(objstore.ErrThrottled, d.fault, what)
	case ServerError:
		return injected(objstore.ErrTransient, d.fault, what)
	case Hang:
		<-ctx.Done()
		return fmt.Errorf("%s: %w: %w", what, objstore.ErrTransient, ctx.Err())
	default:
		return nil
	}
}

// Put implements [objstore.Store].
func (s *Store) Put(ctx context.Context, key string, r io.ReadSeeker, size int64, opts objstore.PutOptions) error {
	d := s.decide(Op{Kind: Put, Key: key, IfNoneMatch: opts.IfNoneMatch})
	if err := s.before(ctx, d, "put "+key); err != nil {
		return err
	}
	old, had := s.stat(ctx, key)
	if err := s.inner.Put(ctx, key, r, size, opts); err != nil {
		return err
	}
	s.changed(key, old, had)
	switch d.fault {
	case LostAnswer:
		return injected(objstore.ErrTransient, d.fault, "put "+key)
	case OwnPrecondition:
		return injected(objstore.ErrPrecondition, d.fault, "put "+key)
	default:
		return nil
	}
}

// Get implements [objstore.Store].
func (s *Store) Get(ctx context.Context, key string, off, n int64) (io.ReadCloser, error) {
	d := s.decide(Op{Kind: Get, Key: key})
	if err := s.before(ctx, d, "get "+key); err != nil {
		return nil, err
	}
	r, err := s.inner.Get(ctx, key, off, n)
	if err != nil || d.fault == None {
		return r, err
	}
	info, err := s.inner.Head(ctx, key)
	if err != nil {
		return nil, errors.Join(err, r.Close())
	}
	length := max(info.Size-off, 0)
	if n >= 0 {
		length = min(n, length)
	}
	return &body{ReadCloser: r, d: d, at: int64(d.where * float64(length)), length: length, what: "read " + key}, nil
}

// Head implements [objstore.Store].
func (s *Store) Head(ctx context.Context, key string) (objstore.Info, error) {
	if err := s.before(ctx, s.decide(Op{Kind: Head, Key: key}), "head "+key); err != nil {
		return objstore.Info{}, err
	}
	return s.inner.Head(ctx, key)
}

// List implements [objstore.Store].
func (s *Store) List(ctx context.Context, prefix string) iter.Seq2[objstore.Info, error] {
	return func(yield func(objstore.Info, error) bool) {
		d := s.decide(Op{Kind: List, Key: prefix})
		if err := s.before(ctx, d, "list "+prefix); err != nil {
			yield(objstore.Info{}, err)
			return
		}
		list := s.inner.List(ctx, prefix)
		if d.fault == StaleList {
			list = s.stale(list, prefix)
		}
		left := int(d.where * 4)
		for info, err := range list {
			if d.fault == ResetBody {
				if left--; left < 0 {
					break
				}
			}
			if !yield(info, err) {
				return
			}
		}
		if d.fault == ResetBody {
			yield(objstore.Info{}, injected(objstore.ErrTransient, d.fault, "list "+prefix))
		}
	}
}

// Delete implements [objstore.Store].
func (s *Store) Delete(ctx context.Context, keys ...string) error {
	op := Op{Kind: Delete}
	if len(keys) > 0 {
		op.Key = keys[0]
	}
	d := s.decide(op)
	if err := s.before(ctx, d, "delete "+op.Key); err != nil {
		return err
	}
	olds := make([]objstore.Info, len(keys))
	had := make([]bool, len(keys))
	for i, key := range keys {
		olds[i], had[i] = s.stat(ctx, key)
	}
	if err := s.inner.Delete(ctx, keys...); err != nil {
		return err
	}
	for i, key := range keys {
		s.changed(key, olds[i], had[i])
	}
	if d.fault == LostAnswer {
		return injected(objstore.ErrTransient, d.fault, "delete "+op.Key)
	}
	return nil
}

// Check implements [objstore.Store]. Its calls fail like others.
func (s *Store) Check(ctx context.Context) error { return objstore.CheckStore(ctx, s) }

// URL implements [objstore.Store].
func (s *Store) URL() string { return s.inner.URL() }

// Close implements [objstore.Store].
func (s *Store) Close() error { return s.inner.Close() }

// body is that of a Get with a fault at a place.
type body struct {
	io.ReadCloser
	d               decision
	at, pos, length int64
	what            string
}

// Read implements io.Reader.
func (b *body) Read(p []byte) (int, error) {
	if b.d.fault == ResetBody || b.d.fault == TruncateBody {
		if b.pos >= b.at {
			if b.d.fault == ResetBody {
				return 0, fmt.Errorf("%w: %w", injected(objstore.ErrTransient, b.d.fault, b.what), io.ErrUnexpectedEOF) // as the readers of remote stores
			}
			return 0, io.EOF
		}
		p = p[:min(int64(len(p)), b.at-b.pos)]
	}
	n, err := b.ReadCloser.Read(p)
	if i := b.at - b.pos; b.d.fault == FlipBit && i >= 0 && i < int64(n) {
		p[i] ^= b.d.bit
	}
	b.pos += int64(n)
	return n, err
}
