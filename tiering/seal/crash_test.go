package seal

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/varvemq/varve/metadata"
)

// crashBytes makes several segments of the records of a life.
const crashBytes = 3 << 10

// life seals random records with something happening to its k-th operation, and reports whether there was such an operation, and which.
type life struct {
	w    *world
	tap  *tap
	b    *broker
	err  error
	what string // the operation it happened to
	hit  bool
	then *metadata.SealedState // what etcd had when the shard was taken
}

func (w *world) live(t *testing.T, rng *rand.Rand, m mode, k int, blind bool) *life {
	t.Helper()
	l := &life{w: w}
	l.tap = &tap{decide: func(n int, what string) mode {
		if n != k {
			return ""
		}
		l.hit, l.what = true, what
		if m == failBefore && what == "scan" { // that is for good
			return ""
		}
		return m
	}}
	l.tap.fence = func() {
		w.takeOver(t)
		l.then = w.state(t)
	}
	l.b = w.tapped(t, l.tap, blind, func(c *Config) { c.Bytes = crashBytes })
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	l.tap.begin(cancel)
	for range 2 {
		w.wal.fill(t, rng, 8, 500)
		if l.err == nil {
			_, l.err = l.b.Seal(ctx)
		}
	}
	l.tap.end()
	return l
}

// next begins another life after this one, which seals what there is and more.
func (l *life) next(t *testing.T, rng *rand.Rand) {
	t.Helper()
	l.w.check(t)
	l.b.stop(t)
	l.w.untap()
	l.w.wal.fill(t, rng, 3, 500)
	b := l.w.start(t, l.w.kv, func(c *Config) { c.Bytes = crashBytes })
	l.w.wal.fill(t, rng, 3, 500)
	l.w.sealAll(t, b)
	st := l.w.state(t)
	for _, u := range st.Uploads {
		if u.Epoch == b.own.Epoch() {
			t.Errorf("an undisturbed life has left the intent %+v", u)
		}
	}
	b.stop(t)
}

// each runs a life for every operation that there is; with the race detector, which is slow, for every third.
func each(t *testing.T, m mode, blind bool, check func(t *testing.T, l *life)) {
	t.Helper()
	n := rand.Uint64()
	t.Logf("seed %d", n)
	var ops []string
	first, step := 1, 1
	if raceDetector {
		first, step = 1+rand.IntN(3), 3
	}
	for k, more := first, true; more && !t.Failed(); k += step {
		synctest.Test(t, func(t *testing.T) {
			rng := rand.New(rand.NewPCG(n, 1))
			w := newWorld(t, newTopics(rng, 4))
			l := w.live(t, rng, m, k, blind)
			if more = l.hit; more {
				ops = append(ops, l.what)
			} else if l.err != nil {
				t.Errorf("nothing happens to it: %v", l.err)
			}
			check(t, l)
			l.next(t, rng)
			if t.Failed() {
				t.Logf("%s: operation %d (%s) of %q", m, k, l.what, l.tap.ops)
			}
		})
	}
	for _, want := range []string{"read", "txn", "put", "scan", "sealed", "remember", "disk 1", "disk 4", "disk 6"} {
		if step == 1 && !slices.Contains(ops, want) {
			t.Errorf("no operation %q in %q", want, ops)
		}
	}
}

// TestKilled: wherever the process ends, the next one goes on: nothing is lost, nothing is there twice.
func TestKilled(t *testing.T) {
	t.Parallel()
	for _, m := range []mode{killBefore, killAfter} {
		t.Run(string(m), func(t *testing.T) {
			t.Parallel()
			each(t, m, false, func(t *testing.T, l *life) { //nolint:thelper // a case
				if l.hit && m == killBefore && l.err != nil && !errors.Is(l.err, context.Canceled) {
					t.Errorf("the end of the context is not the error: %v", l.err)
				}
			})
		})
	}
}

// TestOneFault: any one operation fails, or is done without an answer: sealing goes on, in the same process.
func TestOneFault(t *testing.T) {
	t.Parallel()
	for _, m := range []mode{failBefore, failAfter, precond} {
		t.Run(string(m), func(t *testing.T) {
			t.Parallel()
			each(t, m, false, func(t *testing.T, l *life) { //nolint:thelper // a case
				if l.what == "scan" && l.err != nil { // the log cannot be read
					return
				}
				if l.err != nil {
					t.Fatal(l.err)
				}
				l.w.sealAll(t, l.b)
				if n := len(l.w.state(t).Uploads); n > 1 || n == 1 && l.what != "txn" {
					t.Errorf("%d intents are left", n)
				}
			})
		})
	}
}

// TestFenced: wherever another owner takes the shard, nothing more is committed, whether the old one hears of it or not.
func TestFenced(t *testing.T) {
	t.Parallel()
	for _, m := range []mode{fenceBefore, fenceAfter} {
		for _, blind := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, blind %t", m, blind), func(t *testing.T) {
				t.Parallel()
				each(t, m, blind, func(t *testing.T, l *life) { //nolint:thelper // a case
					if !l.hit {
						return
					}
					now := l.w.state(t)
					if diff := cmp.Diff(l.then.Segments, now.Segments); diff != "" || l.then.Head != now.Head {
						t.Errorf("changed by a fenced owner: %s", diff)
					}
					if now.Head.LSN != l.w.wal.end() && !errors.Is(l.err, metadata.ErrFenced) {
						t.Errorf("sealed up to LSN %d of %d, and ended with %v", now.Head.LSN, l.w.wal.end(), l.err)
					}
					if !errors.Is(l.err, metadata.ErrFenced) {
						return
					}
					if err := l.b.Run(t.Context()); !errors.Is(err, metadata.ErrFenced) {
						t.Errorf("Run: %v", err)
					}
					lsn, pos := l.w.wal.saidSealed()
					if lsn > now.Head.LSN || pos > now.Head.Position {
						t.Errorf("the log was told LSN %d, position %d; committed are %+v", lsn, pos, now.Head)
					}
				})
			})
		}
	}
}

// TestChaos: many lives, in which everything fails now and then, and which end anywhere.
func TestChaos(t *testing.T) {
	t.Parallel()
	for i := range 20 {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				rng := seed(t)
				w := newWorld(t, newTopics(rng, 6))
				var log []string
				for n := range 6 {
					rate := rng.Float64() * 0.5
					modes := []mode{failBefore, failAfter, precond}
					end, how := rng.IntN(80), []mode{killBefore, killAfter, fenceBefore, fenceAfter}[rng.IntN(4)]
					p := &tap{fence: func() { w.takeOver(t) }}
					p.decide = func(n int, what string) mode {
						switch {
						case n == end:
							return how
						case what != "scan" && rng.Float64() < rate:
							return modes[rng.IntN(len(modes))]
						}
						return ""
					}
					b := w.tapped(t, p, rng.IntN(2) == 0, func(c *Config) { c.Bytes = crashBytes })
					ctx, cancel := context.WithCancel(t.Context())
					p.begin(cancel)
					var err error
					for range 1 + rng.IntN(3) {
						w.wal.fill(t, rng, rng.IntN(15), 500)
						if err == nil {
							_, err = b.Seal(ctx)
						}
					}
					p.end()
					cancel()
					if err != nil && !errors.Is(err, metadata.ErrFenced) && !errors.Is(err, context.Canceled) {
						t.Errorf("life %d: %v", n, err)
					}
					log = append(log, fmt.Sprintf("%s at %d of %d: %v", how, end, p.n, err))
					w.check(t)
					b.stop(t)
					w.untap()
				}
				b := w.start(t, w.kv, nil)
				w.sealAll(t, b)
				b.stop(t)
				if t.Failed() {
					t.Log(strings.Join(log, "\n"))
				}
			})
		})
	}
}

// TestAllAtOnce: Run, calls of Seal that give up, kicks, and appends at the same time, with everything failing now and then.
func TestAllAtOnce(t *testing.T) {
	t.Parallel()
	for i := range 4 {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				rng := seed(t)
				w := newWorld(t, newTopics(rng, 6))
				faults := rand.New(rand.NewPCG(rng.Uint64(), 2))
				p := &tap{decide: func(_ int, what string) mode {
					if what != "scan" && faults.Float64() < 0.1 {
						return []mode{failBefore, failAfter, precond}[faults.IntN(3)]
					}
					return ""
				}}
				b := w.tapped(t, p, false, func(c *Config) { c.Bytes = crashBytes })
				p.begin(func() {})
				stop := running(t, b.Sealer)
				ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
				defer cancel()
				var wg sync.WaitGroup
				wg.Go(func() {
					for ctx.Err() == nil {
						w.wal.fill(t, rng, rng.IntN(10), 500)
						if rng.IntN(3) == 0 {
							b.Kick()
						}
						time.Sleep(time.Duration(rng.IntN(2000)) * time.Millisecond)
					}
				})
				for j := range 3 {
					calls := rand.New(rand.NewPCG(uint64(i), uint64(j)))
					wg.Go(func() {
						for ctx.Err() == nil {
							cctx, cancel := context.WithTimeout(ctx, time.Duration(calls.IntN(3000))*time.Millisecond)
							target := w.wal.Durable()
							head, err := b.Seal(cctx)
							switch {
							case err != nil && !errors.Is(err, context.DeadlineExceeded):
								t.Error(err)
							case err == nil && b.scanned() < target:
								t.Errorf("Seal returned %+v, the log was durable up to %d", head, target)
							}
							cancel()
							b.Status()
							time.Sleep(time.Duration(calls.IntN(5000)) * time.Millisecond)
						}
					})
				}
				wg.Wait()
				if err := stop(); err != nil {
					t.Error(err)
				}
				p.end()
				w.sealAll(t, b)
				if n := len(b.catalog.list()); n < 20 || n != len(w.state(t).Segments) {
					t.Errorf("the catalog got %d segments, %d are listed", n, len(w.state(t).Segments))
				}
				b.stop(t)
			})
		})
	}
}
