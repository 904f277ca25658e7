package faulty

import (
	"context"
	"iter"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/varvemq/varve/tiering/objstore"
)

// maxChanges bounds what a Store remembers for stale lists.
const maxChanges = 10_000

// change is a put or a delete, with what there was before it.
type change struct {
	at  time.Time
	key string
	old objstore.Info
	had bool
}

// stat looks at an object before it changes, if stale lists can happen.
func (s *Store) stat(ctx context.Context, key string) (objstore.Info, bool) {
	if s.cfg.Plan == nil && s.cfg.Rates[StaleList] == 0 {
		return objstore.Info{}, false
	}
	info, err := s.inner.Head(ctx, key)
	return info, err == nil
}

func (s *Store) changed(key string, old objstore.Info, had bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.changes) == maxChanges {
		s.changes = slices.Delete(s.changes, 0, maxChanges/2)
	}
	s.changes = append(s.changes, change{at: s.cfg.Clock.Now(), key: key, old: old, had: had})
}

// stale turns a list back by StaleFor.
func (s *Store) stale(list iter.Seq2[objstore.Info, error], prefix string) iter.Seq2[objstore.Info, error] {
	return func(yield func(objstore.Info, error) bool) {
		objects := map[string]objstore.Info{}
		for info, err := range list {
			if err != nil {
				yield(objstore.Info{}, err)
				return
			}
			objects[info.Key] = info
		}
		s.mu.Lock()
		since := s.cfg.Clock.Now().Add(-s.cfg.StaleFor)
		for _, c := range slices.Backward(s.changes) {
			if c.at.Before(since) {
				break
			}
			if !strings.HasPrefix(c.key, prefix) {
				continue
			}
			if delete(objects, c.key); c.had {
				objects[c.key] = c.old
			}
		}
		s.mu.Unlock()
		for _, key := range slices.Sorted(maps.Keys(objects)) {
			if !yield(objects[key], nil) {
				return
			}
		}
	}
}
