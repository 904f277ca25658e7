package restore

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/varvemq/varve/metadata"
	"github.com/varvemq/varve/tiering/segment"
)

// ordinalMargin is how far ordinals and incarnations go on above all that was seen: more than were handed out since without a trace in a segment.
const ordinalMargin = 1 << 20

// Topic is a topic that was made again from what segments say.
type Topic struct {
	Topic       string `json:"topic"`
	Shard       string `json:"shard"`
	Incarnation uint64 `json:"incarnation"`
	Queues      int32  `json:"queues"`
	// How says whether it was new since the snapshot, had grown, or had been deleted and created again.
	How string `json:"how"`
}

// How a topic had changed since the snapshot.
const (
	TopicNew      = "new"
	TopicGrown    = "grown"
	TopicReplaced = "deleted and created again"
)

// incarnation is a topic of a segment that etcd does not know, or not all queues of it.
type incarnation struct {
	name   string
	number uint64
}

type incarnationQueues struct {
	shard    string
	ordinals map[int32]uint32 // by queue id
}

// topics gathers what segments say of topics.
type topics struct {
	r           *restorer
	stones      []*metadata.Tombstone
	known       map[uint32]struct{} // ordinals of topics and tombstones
	unknown     map[incarnation]*incarnationQueues
	next        uint32 // above all ordinals seen
	incarnation uint64 // the highest seen
}

func (r *restorer) newTopics(ctx context.Context) (*topics, error) {
	t := &topics{r: r, known: map[uint32]struct{}{}, unknown: map[incarnation]*incarnationQueues{}}
	var err error
	if t.next, t.incarnation, err = r.store.Counters(ctx); err != nil {
		return nil, err
	}
	if t.stones, err = r.store.ListTombstones(ctx); err != nil {
		return nil, err
	}
	for _, topic := range r.store.ListTopics() {
		t.know(topic.Ordinals)
	}
	for _, stone := range t.stones {
		t.know(stone.Ordinals)
	}
	return t, nil
}

func (t *topics) know(ranges []metadata.OrdinalRange) {
	for _, r := range ranges {
		for i := range r.Count {
			t.known[r.First+uint32(i)] = struct{}{}
		}
	}
}

// see takes note of a segment's queues. Those of one that is not listed again were handed out all the same.
func (t *topics) see(ctx context.Context, shard string, sr *segment.Reader, listed bool) error {
	for q, err := range sr.Queues(ctx) {
		if err != nil {
			return err
		}
		t.next, t.incarnation = max(t.next, q.Ordinal+1), max(t.incarnation, q.Incarnation)
		if _, ok := t.known[q.Ordinal]; ok || !listed || q.Incarnation == 0 || q.Topic == "" || q.QueueID < 0 || q.QueueID >= metadata.MaxQueuesPerTopic {
			continue
		}
		key := incarnation{q.Topic, q.Incarnation}
		qs := t.unknown[key]
		if qs == nil {
			qs = &incarnationQueues{shard: shard, ordinals: map[int32]uint32{}}
			t.unknown[key] = qs
		}
		qs.ordinals[q.QueueID] = q.Ordinal
	}
	return nil
}

// write makes the topics again, and raises the counters above all that was seen.
func (t *topics) write(ctx context.Context) error {
	for _, qs := range t.unknown {
		for _, ordinal := range qs.ordinals {
			t.known[ordinal] = struct{}{}
		}
	}
	fresh := min(uint64(t.next)+ordinalMargin, metadata.MaxOrdinal+1)
	keys := slices.SortedFunc(maps.Keys(t.unknown), func(a, b incarnation) int {
		if a.name != b.name {
			return cmp.Compare(a.name, b.name)
		}
		return cmp.Compare(b.number, a.number) // the newest first
	})
	for i, key := range keys {
		if i > 0 && keys[i-1].name == key.name {
			continue // it was deleted, since there is a newer one
		}
		topic, how := t.build(key, &fresh)
		if topic == nil {
			continue
		}
		if err := t.r.store.RestoreTopic(ctx, *topic); err != nil {
			return err
		}
		t.r.report.Topics = append(t.r.report.Topics, Topic{Topic: topic.Name, Shard: topic.Shard, Incarnation: topic.Incarnation, Queues: topic.Queues(), How: how})
	}
	var err error
	t.r.report.NextOrdinal, err = t.r.store.RestoreCounters(ctx, uint32(fresh), t.incarnation+ordinalMargin)
	return err
}

// build makes the topic of an incarnation, or nil if it was deleted before the snapshot.
func (t *topics) build(key incarnation, fresh *uint64) (*metadata.Topic, string) {
	qs := t.unknown[key]
	topic := &metadata.Topic{
		Name: key.name, Perm: 6, FilterType: "SINGLE_TAG", Incarnation: key.number, CreatedMs: t.r.cfg.Now().UnixMilli(), Shard: qs.shard,
	}
	how := TopicNew
	if have, ok := t.r.store.Topic(key.name); ok {
		switch {
		case have.Incarnation > key.number:
			return nil, ""
		case have.Incarnation == key.number:
			topic, how = have.Clone(), TopicGrown
		default:
			how = TopicReplaced
		}
	} else if slices.ContainsFunc(t.stones, func(s *metadata.Tombstone) bool { return s.Name == key.name && s.Incarnation >= key.number }) {
		return nil, ""
	}
	topic.Ordinals = t.ordinals(topic, qs.ordinals, fresh)
	n := topic.Queues()
	topic.ReadQueues, topic.WriteQueues = max(topic.ReadQueues, n), max(topic.WriteQueues, n)
	return topic, how
}

// ordinals completes a topic's ordinals by those that segments say. A queue that no segment has is taken to have been created with the next one that has: topics are created with
// consecutive ordinals. If that ordinal is another's, it gets a fresh one.
func (t *topics) ordinals(topic *metadata.Topic, seen map[int32]uint32, fresh *uint64) []metadata.OrdinalRange {
	out := slices.Clone(topic.Ordinals)
	ids := slices.Sorted(maps.Keys(seen))
	for queue := topic.Queues(); queue <= ids[len(ids)-1]; queue++ {
		ordinal, ok := seen[queue]
		if !ok {
			i, _ := slices.BinarySearch(ids, queue)
			ordinal = t.guess(seen[ids[i]], uint32(ids[i]-queue), fresh)
		}
		if i := len(out) - 1; i >= 0 && out[i].First+uint32(out[i].Count) == ordinal {
			out[i].Count++
		} else {
			out = append(out, metadata.OrdinalRange{Queue: queue, First: ordinal, Count: 1})
		}
	}
	return out
}

// guess returns the ordinal below another by a distance, or a fresh one if that is known to be another queue's.
func (t *topics) guess(ordinal, below uint32, fresh *uint64) uint32 {
	if ordinal > below {
		if _, taken := t.known[ordinal-below]; !taken {
			t.known[ordinal-below] = struct{}{}
			return ordinal - below
		}
	}
	n := uint32(min(*fresh, metadata.MaxOrdinal))
	*fresh = uint64(n) + 1
	return n
}

// String says what happened to the topic.
func (t *Topic) String() string {
	return fmt.Sprintf("%s (incarnation %d, %d queues): %s", t.Topic, t.Incarnation, t.Queues, t.How)
}
