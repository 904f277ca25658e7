package broker

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync/atomic"
	"time"

	"github.com/varvemq/varve/metadata"
	"github.com/varvemq/varve/tiering/maintain"
	"github.com/varvemq/varve/tiering/seal"
	"github.com/varvemq/varve/tiering/segment"
)

// topicIndex answers whose a queue ordinal is. Its answers are from memory: what metadata's watches brought, and the tombstones as they were read last.
type topicIndex struct {
	store *metadata.Store
	shard string
	log   *slog.Logger
	owned atomic.Pointer[[]ordinalOwner] // sorted by first
	kick  chan struct{}
}

// ordinalOwner is a topic, or a deleted one, and a range of its ordinals.
type ordinalOwner struct {
	metadata.OrdinalRange

	topic       string
	incarnation uint64
	policy      metadata.Policy
	dead        bool // a tombstone says that the topic was deleted
}

func newTopicIndex(ctx context.Context, store *metadata.Store, shard string, log *slog.Logger) (*topicIndex, error) {
	x := &topicIndex{store: store, shard: shard, log: log, kick: make(chan struct{}, 1)}
	if err := x.refresh(ctx); err != nil {
		return nil, err
	}
	return x, nil
}

// refresh reads everything anew. Topics are listed after the tombstones: one that is deleted in between is alive until the next time.
func (x *topicIndex) refresh(ctx context.Context) error {
	stones, err := x.store.ListTombstones(ctx)
	if err != nil {
		return fmt.Errorf("list deleted topics: %w", err)
	}
	var owned []ordinalOwner
	for _, t := range stones {
		for _, r := range t.Ordinals {
			owned = append(owned, ordinalOwner{OrdinalRange: r, topic: t.Name, incarnation: t.Incarnation, dead: true})
		}
	}
	owned = append(owned, x.live()...)
	sortOwners(owned)
	x.owned.Store(&owned)
	return nil
}

func sortOwners(owned []ordinalOwner) {
	slices.SortFunc(owned, func(a, b ordinalOwner) int { return cmp.Compare(a.First, b.First) })
}

func (x *topicIndex) live() []ordinalOwner {
	var owned []ordinalOwner
	for _, t := range x.store.ListTopics() {
		policy := t.Policy()
		for _, r := range t.Ordinals {
			owned = append(owned, ordinalOwner{OrdinalRange: r, topic: t.Name, incarnation: t.Incarnation, policy: policy})
		}
	}
	return owned
}

// refreshRetry is how long to wait after tombstones could not be read.
const refreshRetry = 5 * time.Second

// run keeps the index up to date until ctx ends.
func (x *topicIndex) run(ctx context.Context) error {
	stop := x.store.WatchTopics(func(metadata.TopicEvent) {
		select {
		case x.kick <- struct{}{}:
		default:
		}
	})
	defer stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-x.kick:
		}
		for x.refresh(ctx) != nil { // without it a deleted topic's data is kept a while longer, and that is all
			select {
			case <-ctx.Done():
				return nil
			case <-time.After(refreshRetry):
			}
		}
	}
}

// find returns whose an ordinal is, or nil. One that is not known yet is looked for among the topics once more: a topic's first message may be quicker than the watch.
func (x *topicIndex) find(ordinal uint32) *ordinalOwner {
	if o := search(*x.owned.Load(), ordinal); o != nil {
		return o
	}
	var owned []ordinalOwner
	for _, o := range *x.owned.Load() {
		if o.dead {
			owned = append(owned, o)
		}
	}
	owned = append(owned, x.live()...)
	sortOwners(owned)
	return search(owned, ordinal)
}

func search(owned []ordinalOwner, ordinal uint32) *ordinalOwner {
	i, found := slices.BinarySearchFunc(owned, ordinal, func(o ordinalOwner, ordinal uint32) int { return cmp.Compare(o.First, ordinal) })
	if !found {
		i--
	}
	if i < 0 || ordinal-owned[i].First >= uint32(owned[i].Count) {
		return nil
	}
	return &owned[i]
}

// queueID returns which queue of its topic an ordinal is.
func (o *ordinalOwner) queueID(ordinal uint32) int32 { return o.Queue + int32(ordinal-o.First) }

// Queue implements seal.Topics.
func (x *topicIndex) Queue(ordinal uint32) (segment.Queue, segment.Compression, seal.QueueState) {
	o := x.find(ordinal)
	if o == nil {
		return segment.Queue{Ordinal: ordinal}, segment.Fast, seal.QueueUnknown
	}
	q := segment.Queue{Ordinal: ordinal, QueueID: o.queueID(ordinal), Incarnation: o.incarnation, Topic: o.topic, Keys: segment.KeyMode(o.policy.IndexKeys)}
	if o.dead {
		return q, segment.Fast, seal.QueueDeleted
	}
	return q, segment.Compression(o.policy.Compression), seal.QueueLive
}

// Retention implements maintain.Topics.
func (x *topicIndex) Retention(ordinal uint32) (maintain.Policy, bool) {
	o := x.find(ordinal)
	if o == nil || o.dead {
		return maintain.Policy{}, false
	}
	return maintain.Policy{Topic: o.topic, MaxAge: o.policy.MaxAge, MaxBytes: o.policy.MaxBytes, Compression: segment.Compression(o.policy.Compression)}, true
}

// Dead implements maintain.Topics.
func (x *topicIndex) Dead(ordinal uint32) bool {
	o := search(*x.owned.Load(), ordinal)
	return o != nil && o.dead
}
