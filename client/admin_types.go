package client

import "time"

// TopicConfig describes a topic to create or change.
type TopicConfig struct {
	Name string
	// ReadQueues and WriteQueues are numbers per broker. Zero means 4.
	ReadQueues  int
	WriteQueues int
	// Perm is a sum of 4 (read) and 2 (write). Zero means both.
	Perm int
	// Attributes are set ("name": "value") or, with an empty value, removed.
	// An example is message.type=FIFO.
	Attributes map[string]string
	// Order marks the topic as one whose messages are in order per key.
	Order bool
}

// TopicInfo describes a topic as it is.
type TopicInfo struct {
	Name        string
	Perm        int
	ReadQueues  int // in total
	WriteQueues int // in total
	Queues      []QueueInfo
}

// QueueInfo describes a queue. It has messages Min to Max-1.
type QueueInfo struct {
	Queue
	Min, Max   int64
	LastUpdate time.Time // zero if nothing was ever stored
}

// Messages is the number of messages that the queue holds.
func (q QueueInfo) Messages() int64 { return q.Max - q.Min }

// GroupInfo describes a consumer group.
type GroupInfo struct {
	Name    string
	Members []Member
	// Online says whether any member is connected; the next four fields are
	// empty otherwise.
	Online        bool
	Model         string            // CLUSTERING or BROADCASTING
	ConsumeType   string            // CONSUME_PASSIVELY (push) or CONSUME_ACTIVELY (pull)
	ConsumeFrom   string            // as the last heartbeat says
	Subscriptions map[string]string // topic to expression
	Progress      []GroupProgress
}

// Lag is the number of messages that wait for the group.
func (g *GroupInfo) Lag() int64 {
	var n int64
	for _, p := range g.Progress {
		n += p.Lag()
	}
	return n
}

// Member is a connected client of a group.
type Member struct {
	ClientID string
	Addr     string
	Language string
	Version  int
}

// GroupProgress is how far a group is in a queue.
type GroupProgress struct {
	Topic string
	Queue
	// Committed is the next offset to consume, -1 if none was committed.
	Committed int64
	// Max is the end of the queue.
	Max int64
	// LastConsumed is the store time of the last consumed message, zero if unknown.
	LastConsumed time.Time
}

// Lag is the number of messages that wait.
func (p GroupProgress) Lag() int64 {
	if p.Committed < 0 {
		return p.Max
	}
	return max(0, p.Max-p.Committed)
}

// BrokerInfo describes a broker (in Varve: a shard).
type BrokerInfo struct {
	Cluster string
	Name    string
	ID      int // 0 is the owner
	Addr    string
}

// BrokerStatus is what a broker says about itself: names and values, such as
// brokerVersionDesc, putTps or bootTimestamp.
type BrokerStatus map[string]string

// KeyQuery bounds a [Admin.QueryByKey]. The zero value means everything.
type KeyQuery struct {
	// Max bounds the number of messages; zero means 32.
	Max int
	// Begin and End bound the store time. A zero End means now.
	Begin, End time.Time
}
