package metadata

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"unicode/utf8"
)

// Group is the configuration of a consumer group. A *Group handed out by the [Store] is shared and must not be modified; use [Group.Clone].
type Group struct {
	Name                           string            `json:"name"`
	ConsumeEnable                  bool              `json:"consume_enable"`
	ConsumeFromMinEnable           bool              `json:"consume_from_min_enable"`
	ConsumeBroadcastEnable         bool              `json:"consume_broadcast_enable"`
	ConsumeMessageOrderly          bool              `json:"consume_message_orderly"`
	RetryQueueNums                 int32             `json:"retry_queue_nums"`
	RetryMaxTimes                  int32             `json:"retry_max_times"`
	BrokerID                       int64             `json:"broker_id"`
	WhichBrokerWhenConsumeSlowly   int64             `json:"which_broker_when_consume_slowly"`
	NotifyConsumerIDsChangedEnable bool              `json:"notify_consumer_ids_changed_enable"`
	GroupSysFlag                   int32             `json:"group_sys_flag"`
	ConsumeTimeoutMinute           int32             `json:"consume_timeout_minute"`
	GroupRetryPolicy               json.RawMessage   `json:"group_retry_policy,omitempty"`
	Attributes                     map[string]string `json:"attributes,omitempty"`
	// Revision is the etcd revision of the group's last change. It is not stored in the value.
	Revision int64 `json:"-"`
}

// Clone returns a deep copy.
func (g *Group) Clone() *Group {
	c := *g
	c.Attributes = maps.Clone(g.Attributes)
	c.GroupRetryPolicy = slices.Clone(g.GroupRetryPolicy)
	return &c
}

// Validate reports all faults of a group at once, wrapping [ErrInvalid].
func (g *Group) Validate() error {
	faults := attributeFaults(g.Attributes)
	if err := ValidateName(g.Name); err != nil {
		faults = append(faults, "name: "+err.Error())
	}
	if len(g.GroupRetryPolicy) > 0 && !json.Valid(g.GroupRetryPolicy) {
		faults = append(faults, "group_retry_policy: not JSON")
	}
	return joinFaults("group "+g.Name, faults)
}

// attributeFaults reports attributes that JSON would alter.
func attributeFaults(attrs map[string]string) []string {
	var faults []string
	for _, k := range slices.Sorted(maps.Keys(attrs)) {
		if !utf8.ValidString(k) || !utf8.ValidString(attrs[k]) {
			faults = append(faults, fmt.Sprintf("attributes: %q is not UTF-8", k))
		}
	}
	return faults
}

// GroupEvent is one change of a group. Group is nil when it was deleted.
type GroupEvent struct {
	Name     string
	Group    *Group
	Revision int64
}
