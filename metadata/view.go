package metadata

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// viewStripes is the number of immutable maps a view is spread over: a change copies one of them, some 100 entries for 25,000 topics.
const viewStripes = 256

// rangePage is the number of keys read at once when a snapshot is loaded.
const rangePage = 1000

// view is a snapshot of the records under a prefix, kept by a watch. Reads take no lock.
type view[T any] struct {
	kv     KV
	prefix string
	log    *slog.Logger
	decode func(KeyValue) (*T, error)
	// onEvent is called for every change in order of revision, by one goroutine.
	onEvent func(name string, val *T, rev int64)

	seed    maphash.Seed
	stripes [viewStripes]viewStripe[T]
}

type viewStripe[T any] struct {
	mu sync.Mutex // serialises writers
	m  atomic.Pointer[map[string]viewEntry[T]]
}

// viewEntry is a record at a revision. val is nil when this process deleted it and the watch does not know yet.
type viewEntry[T any] struct {
	val *T
	rev int64
}

func newView[T any](kv KV, prefix string, log *slog.Logger, decode func(KeyValue) (*T, error), onEvent func(string, *T, int64)) *view[T] {
	v := &view[T]{kv: kv, prefix: prefix, log: log, decode: decode, onEvent: onEvent, seed: maphash.MakeSeed()}
	for i := range v.stripes {
		v.stripes[i].m.Store(&map[string]viewEntry[T]{})
	}
	return v
}

func (v *view[T]) stripe(name string) *viewStripe[T] {
	return &v.stripes[maphash.String(v.seed, name)%viewStripes]
}

// get returns a record.
func (v *view[T]) get(name string) (*T, bool) {
	e := (*v.stripe(name).m.Load())[name]
	return e.val, e.val != nil
}

// list returns all records in order of name.
func (v *view[T]) list() []*T {
	type named struct {
		name string
		val  *T
	}
	var all []named
	for i := range v.stripes {
		for name, e := range *v.stripes[i].m.Load() {
			if e.val != nil {
				all = append(all, named{name, e.val})
			}
		}
	}
	slices.SortFunc(all, func(a, b named) int { return strings.Compare(a.name, b.name) })
	out := make([]*T, len(all))
	for i, n := range all {
		out[i] = n.val
	}
	return out
}

// applyLocal makes this process's own change visible before the watch brings it.
func (v *view[T]) applyLocal(name string, val *T, rev int64) { v.apply(name, val, rev, false) }

// apply makes a change visible unless a later one is. The entry of a deletion stays until the watch has passed it, lest an older change revive it.
func (v *view[T]) apply(name string, val *T, rev int64, watched bool) {
	s := v.stripe(name)
	s.mu.Lock()
	defer s.mu.Unlock()
	old := *s.m.Load()
	cur, ok := old[name]
	if ok && (cur.rev > rev || cur.rev == rev && (cur.val != nil || !watched)) {
		return
	}
	if val == nil && watched && !ok {
		return
	}
	m := maps.Clone(old)
	if val == nil && watched {
		delete(m, name)
	} else {
		m[name] = viewEntry[T]{val: val, rev: rev}
	}
	s.m.Store(&m)
}

// name returns the record's name in a key, or false for a key of another kind below the prefix.
func (v *view[T]) name(key string) (string, bool) {
	part := strings.TrimPrefix(key, v.prefix)
	if strings.Contains(part, "/") {
		return "", false
	}
	name, err := UnescapeName(part)
	return name, err == nil
}

// load reads all records into an empty view and returns the revision it read at.
func (v *view[T]) load(ctx context.Context) (int64, error) {
	rev := int64(0)
	fresh := make([]map[string]viewEntry[T], viewStripes)
	err := rangeAll(ctx, v.kv, v.prefix, rangePage, func(page RangeResult, at int64) error {
		rev = at
		for _, kv := range page.KVs {
			name, ok := v.name(kv.Key)
			if !ok {
				continue
			}
			val, err := v.decode(kv)
			if err != nil {
				return err
			}
			i := maphash.String(v.seed, name) % viewStripes
			if fresh[i] == nil {
				fresh[i] = map[string]viewEntry[T]{}
			}
			fresh[i][name] = viewEntry[T]{val: val, rev: kv.ModRev}
		}
		return nil
	})
	if err != nil {
		return 0, fmt.Errorf("load %s: %w", v.prefix, err)
	}
	for i, m := range fresh {
		if m != nil {
			v.stripes[i].m.Store(&m)
		}
	}
	return rev, nil
}

// reload reads all records anew, after the changes since a revision were compacted away, and reports what changed since, in order of key.
func (v *view[T]) reload(ctx context.Context, since int64) (int64, error) {
	rev, seen := int64(0), map[string]struct{}{}
	var changed []KeyValue
	err := rangeAll(ctx, v.kv, v.prefix, rangePage, func(page RangeResult, at int64) error {
		rev = at
		for _, kv := range page.KVs {
			if name, ok := v.name(kv.Key); ok {
				seen[name] = struct{}{}
				if kv.ModRev > since {
					changed = append(changed, kv)
				}
			}
		}
		return nil
	})
	if err != nil {
		return 0, fmt.Errorf("load %s: %w", v.prefix, err)
	}
	for _, kv := range changed {
		v.event(Event{KV: kv})
	}
	for i := range v.stripes {
		for name, e := range *v.stripes[i].m.Load() {
			if _, ok := seen[name]; !ok && e.rev <= rev {
				v.apply(name, nil, rev, true)
				v.onEvent(name, nil, rev)
			}
		}
	}
	return rev, nil
}

// run follows the changes after rev until ctx ends.
func (v *view[T]) run(ctx context.Context, rev int64) {
	pause, outage := newBackoff(10*time.Millisecond, 2*time.Second), false
	for ctx.Err() == nil {
		var err error
		wctx, cancel := context.WithCancel(ctx)
		for b := range v.kv.Watch(wctx, v.prefix, rev+1) {
			if err = b.Err; err != nil {
				break
			}
			if outage {
				outage = false
				v.log.Debug("metadata watch is back", "prefix", v.prefix)
			}
			pause.reset()
			for _, ev := range b.Events {
				v.event(ev)
			}
			rev = b.Rev
		}
		cancel()
		if ctx.Err() != nil {
			return
		}
		if errors.Is(err, ErrCompacted) {
			var at int64
			if at, err = v.reload(ctx, rev); err == nil {
				rev = at
				v.log.Info("metadata snapshot was read anew", "prefix", v.prefix, "revision", rev)
				continue
			}
		}
		if !outage && ctx.Err() == nil {
			outage = true
			level := slog.LevelWarn
			if errors.Is(err, ErrUnavailable) { // the outage is logged by those that write: they know when it ends
				level = slog.LevelDebug
			}
			v.log.Log(ctx, level, "metadata watch is interrupted", "prefix", v.prefix, "error", err)
		}
		if pause.wait(ctx) != nil {
			return
		}
	}
}

// event takes over one change that the watch brought.
func (v *view[T]) event(ev Event) {
	name, ok := v.name(ev.KV.Key)
	if !ok {
		return
	}
	var val *T
	if !ev.Deleted {
		var err error
		if val, err = v.decode(ev.KV); err != nil {
			v.log.Error("metadata value ignored", "key", ev.KV.Key, "error", err)
			return
		}
	}
	v.apply(name, val, ev.KV.ModRev, true)
	v.onEvent(name, val, ev.KV.ModRev)
}

// rangeAll reads a prefix in pages at one revision. A compaction in between is met by an error of the page.
func rangeAll(ctx context.Context, kv KV, prefix string, limit int, fn func(page RangeResult, rev int64) error) error {
	return rangeFrom(ctx, kv, RangeRequest{Prefix: prefix, Limit: limit}, fn)
}

// rangeFrom is rangeAll for a request that may say at which revision to read.
func rangeFrom(ctx context.Context, kv KV, req RangeRequest, fn func(page RangeResult, rev int64) error) error {
	for {
		page, err := kv.Range(ctx, req)
		if err != nil {
			return err
		}
		if req.Rev == 0 {
			req.Rev = page.Rev
		}
		if err := fn(page, req.Rev); err != nil || !page.More {
			return err
		}
		req.After = page.KVs[len(page.KVs)-1].Key
	}
}

// subscribers calls functions for events, one event at a time.
type subscribers[E any] struct {
	mu   sync.Mutex // guards the fields below
	next int
	fns  map[int]func(E)
}

func (s *subscribers[E]) add(fn func(E)) (stop func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fns == nil {
		s.fns = map[int]func(E){}
	}
	id := s.next
	s.next++
	s.fns[id] = fn
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.fns, id)
	}
}

func (s *subscribers[E]) publish(ev E) {
	s.mu.Lock()
	fns := make([]func(E), 0, len(s.fns))
	for _, id := range slices.Sorted(maps.Keys(s.fns)) {
		fns = append(fns, s.fns[id])
	}
	s.mu.Unlock()
	for _, fn := range fns {
		fn(ev)
	}
}
