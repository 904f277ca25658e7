package maintain

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/varvemq/varve/tiering/catalog"
	"github.com/varvemq/varve/tiering/manifest"
)

// maxDrift is how far the wall clock may move against the other one.
const maxDrift = 5 * time.Minute

// expiry is the oldest run of a queue, and the newest store time of the segment that has it: until that is too old nothing has to be looked up.
type expiry struct {
	first    uint64
	maxStore int64
}

// sized is what a topic's retention.bytes was looked at with.
type sized struct {
	bytes uint64
	limit int64
	at    time.Duration
}

// topicQueues are the queues of a topic that has a limit of bytes.
type topicQueues struct {
	limit    int64
	bytes    uint64 // listed, including what is below first offsets
	ordinals []uint32
}

// retention moves first offsets up: by the sealed cursor of queues that have one, by age, and by bytes. They are committed before anything below them goes.
func (m *Maintainer) retention(ctx context.Context) error {
	if m.hasDrifted() {
		return nil
	}
	trims := map[uint32]uint64{}
	topics := map[string]*topicQueues{}
	var dead []uint32
	var aged []uint32
	for row := range m.cfg.Catalog.Queues() {
		if m.cfg.Topics.Dead(row.Ordinal) {
			dead = append(dead, row.Ordinal)
			continue
		}
		first, end, ok := m.cfg.Catalog.Bounds(row.Ordinal)
		if !ok {
			continue
		}
		if row.Cursor > 0 { // its own reader is all that reads it
			if to := min(row.Cursor-1, end); to > first {
				trims[row.Ordinal] = to
			}
			continue
		}
		p, ok := m.cfg.Topics.Retention(row.Ordinal)
		if !ok || first == end {
			continue
		}
		if p.MaxAge > 0 {
			aged = append(aged, row.Ordinal)
		}
		if p.MaxBytes > 0 {
			t := topics[p.Topic]
			if t == nil {
				t = &topicQueues{}
				topics[p.Topic] = t
			}
			t.limit, t.ordinals = p.MaxBytes, append(t.ordinals, row.Ordinal)
		}
	}
	m.cfg.Catalog.DropQueues(dead)
	// What was found before a fault counts all the same.
	err := errors.Join(m.byAge(ctx, aged, trims), m.byBytes(ctx, topics, trims))
	if len(trims) > 0 {
		if perr := m.cfg.Own.PutTrims(ctx, trims); perr != nil {
			return errors.Join(err, perr)
		}
		m.cfg.Catalog.SetTrims(trims)
		if m.cfg.Trimmed != nil {
			m.cfg.Trimmed(trims)
		}
		m.metrics.trimmed.Add(float64(len(trims)))
	}
	return err
}

// hasDrifted reports whether the wall clock was moved. Then no age can be believed until a restart.
func (m *Maintainer) hasDrifted() bool {
	if m.drifted {
		return true
	}
	wall := m.cfg.Now().Round(0).Sub(m.wall.Round(0)) // without Go's monotonic reading
	if drift := wall - (m.cfg.Clock() - m.mono); drift.Abs() > maxDrift {
		m.drifted = true
		m.cfg.Logger.Error("the wall clock has moved against the monotonic one; retention stops until a restart", "shard", m.cfg.Shard, "by", drift)
	}
	return m.drifted
}

// byAge raises the first offsets of queues beyond runs whose whole segments are too old.
func (m *Maintainer) byAge(ctx context.Context, ordinals []uint32, trims map[uint32]uint64) error {
	now, oldest := m.cfg.Now().UnixMilli(), m.oldestStore()
	finds := m.limits.finds
	for _, ordinal := range ordinals {
		p, _ := m.cfg.Topics.Retention(ordinal)
		cutoff := now - p.MaxAge.Milliseconds()
		if oldest >= cutoff {
			continue
		}
		first, end, _ := m.cfg.Catalog.Bounds(ordinal)
		if e, ok := m.expires[ordinal]; ok && e.first == first && e.maxStore >= cutoff {
			continue
		}
		if finds--; finds < 0 {
			return nil // the next pass goes on: those that were looked up are known
		}
		e := expiry{first: end, maxStore: math.MinInt64}
		for at, err := range m.cfg.Catalog.Since(ctx, ordinal, cutoff) {
			if err != nil {
				return fmt.Errorf("queue %d: %w", ordinal, err)
			}
			e = expiry{first: max(first, at.First), maxStore: at.MaxStore}
			break
		}
		if m.expires[ordinal] = e; e.first > first {
			trims[ordinal] = e.first
		}
	}
	return nil
}

// oldestStore returns a time that no listed segment's newest store time is below.
func (m *Maintainer) oldestStore() int64 {
	oldest := int64(math.MaxInt64)
	if root, _ := m.cfg.Catalog.Root(); root != nil {
		for i := range root.Pages {
			oldest = min(oldest, root.Pages[i].MinStore)
		}
	}
	for _, r := range m.cfg.Catalog.Recent() {
		oldest = min(oldest, r.MaxStore)
	}
	return oldest
}

// byBytes raises the first offsets of topics that have more than they may: beyond each run of which the newer ones, of all queues, have enough already.
func (m *Maintainer) byBytes(ctx context.Context, topics map[string]*topicQueues, trims map[uint32]uint64) error {
	for name := range m.sized {
		if topics[name] == nil {
			delete(m.sized, name)
		}
	}
	if len(topics) == 0 {
		return nil
	}
	f := m.facts(m.cfg.Catalog.Recent())
	for name, t := range topics {
		for _, ordinal := range t.ordinals {
			t.bytes += f.history(ordinal)
		}
		was, looked := m.sized[name]
		switch {
		case t.bytes <= uint64(t.limit):
			continue
		case looked && was.limit == t.limit && (was.bytes == t.bytes || m.cfg.Clock()-was.at < m.limits.sizes):
			continue
		}
		if err := m.trimTopic(ctx, t, trims); err != nil {
			return fmt.Errorf("topic %s: %w", name, err)
		}
		m.sized[name] = sized{bytes: t.bytes, limit: t.limit, at: m.cfg.Clock()}
	}
	return nil
}

func (m *Maintainer) trimTopic(ctx context.Context, t *topicQueues, trims map[uint32]uint64) error {
	type place struct {
		endLSN, object uint64
		manifest.Run
	}
	var runs []place
	for _, ordinal := range t.ordinals {
		first, _, _ := m.cfg.Catalog.Bounds(ordinal)
		first = max(first, trims[ordinal])
		for at, err := range m.cfg.Catalog.Since(ctx, ordinal, math.MinInt64) {
			if err != nil {
				return fmt.Errorf("queue %d: %w", ordinal, err)
			}
			if at.End > first {
				runs = append(runs, place{at.EndLSN, at.Object, at.Run})
			}
		}
	}
	slices.SortFunc(runs, func(a, b place) int { // the newest first
		return cmp.Or(cmp.Compare(b.endLSN, a.endLSN), cmp.Compare(b.object, a.object), cmp.Compare(b.First, a.First))
	})
	var kept uint64
	for _, r := range runs {
		if kept >= uint64(t.limit) {
			trims[r.Ordinal] = max(trims[r.Ordinal], r.End)
		}
		kept += r.Bytes
	}
	return nil
}

var _ catalog.Located // its fields are those of a segment and of a run
