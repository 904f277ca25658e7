package metadata

import (
	"fmt"
	"maps"
	"slices"
)

// OrdinalRange maps a run of consecutive queues of a topic onto consecutive ordinals: queue Queue+i has the ordinal First+i, for i < Count.
type OrdinalRange struct {
	Queue int32  `json:"q"`
	First uint32 `json:"o"`
	Count int32  `json:"n"`
}

// Topic is one topic. A *Topic handed out by the [Store] is shared and must not be modified; use [Topic.Clone].
type Topic struct {
	Name        string            `json:"name"`
	ReadQueues  int32             `json:"read_queues"`
	WriteQueues int32             `json:"write_queues"`
	Perm        int32             `json:"perm"`
	Order       bool              `json:"order,omitempty"`
	SysFlag     int32             `json:"sys_flag,omitempty"`
	FilterType  string            `json:"filter_type,omitempty"`
	Attributes  map[string]string `json:"attributes,omitempty"`
	// Incarnation is a number that no other topic, past or to come, has: a topic deleted and created again has another.
	Incarnation uint64 `json:"incarnation"`
	// Ordinals covers the queues [0, highest number of queues the topic ever had), in order of queues.
	Ordinals  []OrdinalRange `json:"ordinals"`
	CreatedMs int64          `json:"created_ms"`
	// Flush is the topic's flush mode: "sync", "async" or "" for the server's default.
	Flush string `json:"flush,omitempty"`
	// Shard is the shard that holds the topic's queues.
	Shard string `json:"shard"`
	// Revision is the etcd revision of the topic's last change. It is not stored in the value.
	Revision int64 `json:"-"`
}

// Ordinal returns the ordinal of a queue, and whether the topic has (or ever had) that queue.
func (t *Topic) Ordinal(queueID int32) (uint32, bool) {
	if queueID < 0 {
		return 0, false
	}
	for _, r := range t.Ordinals {
		if i := queueID - r.Queue; i >= 0 && i < r.Count {
			return r.First + uint32(i), true
		}
	}
	return 0, false
}

// Queues returns the number of queues that have an ordinal, which is at least max(ReadQueues, WriteQueues).
func (t *Topic) Queues() int32 {
	if len(t.Ordinals) == 0 {
		return 0
	}
	last := t.Ordinals[len(t.Ordinals)-1]
	return last.Queue + last.Count
}

// Clone returns a deep copy.
func (t *Topic) Clone() *Topic {
	c := *t
	c.Attributes = maps.Clone(t.Attributes)
	c.Ordinals = slices.Clone(t.Ordinals)
	return &c
}

// Validate reports all faults of a topic at once, wrapping [ErrInvalid].
func (t *Topic) Validate() error {
	faults := attributeFaults(t.Attributes)
	if err := ValidateName(t.Name); err != nil {
		faults = append(faults, "name: "+err.Error())
	}
	for _, q := range []struct {
		key string
		n   int32
	}{{"read_queues", t.ReadQueues}, {"write_queues", t.WriteQueues}} {
		if q.n < 0 || q.n > MaxQueuesPerTopic {
			faults = append(faults, fmt.Sprintf("%s: %d is not in [0, %d]", q.key, q.n, MaxQueuesPerTopic))
		}
	}
	if t.Flush != "" && t.Flush != FlushSync && t.Flush != FlushAsync {
		faults = append(faults, fmt.Sprintf("flush: %q is not \"\", %q or %q", t.Flush, FlushSync, FlushAsync))
	}
	return joinFaults("topic "+t.Name, faults)
}

// Flush modes of a topic.
const (
	FlushSync  = "sync"
	FlushAsync = "async"
)

// Tombstone is the positive record of a topic's deletion: it authorises the deletion of the data of these ordinals.
type Tombstone struct {
	Name        string         `json:"name"`
	Incarnation uint64         `json:"incarnation"`
	Ordinals    []OrdinalRange `json:"ordinals"`
	Shard       string         `json:"shard"`
	DeletedMs   int64          `json:"deleted_ms"`
	Revision    int64          `json:"-"`
}

// TopicEvent is one change of a topic. Topic is nil when it was deleted.
type TopicEvent struct {
	Name     string
	Topic    *Topic
	Revision int64
}
