package client

import (
	"net/netip"
	"time"
)

// Message is a message to send. Topic is required.
type Message struct {
	Topic string
	// Tag is what subscriptions filter by. Optional.
	Tag string
	// Keys are business keys by which the message can be found; each is
	// indexed. They may not contain spaces.
	Keys []string
	// Body is the payload. The broker limits it, to 4 MiB by default.
	Body []byte
	// Properties are the application's own. Names that RocketMQ gives a
	// meaning, such as KEYS and TAGS, are refused.
	Properties map[string]string
	// Queue sends to this queue and no other. Optional.
	Queue *Queue
	// ShardingKey keeps order: messages of a topic with the same key go to the
	// same queue, as long as the topic's queues do not change. Ignored if Queue is set.
	ShardingKey string
	// DelayLevel, 1 to 18, delivers the message later: after 1s 5s 10s 30s 1m
	// 2m 3m 4m 5m 6m 7m 8m 9m 10m 20m 30m 1h 2h. Zero means at once.
	DelayLevel int
	// DeliverAt, if not zero, delivers the message at that time (to the second
	// or so). The broker limits how far ahead, to three days in Apache RocketMQ.
	DeliverAt time.Time
	// NoWait asks for an acknowledgement before the message is durable. Such a
	// message may be lost in a crash of the machine.
	NoWait bool
	// Flag is stored with the message and not interpreted.
	Flag int32
}

// Queue names a queue of a topic: a broker (in Varve: a shard) and a number.
// With an empty Broker it means the queue of that number on any broker; that is
// unambiguous in a cluster of one.
type Queue struct {
	Broker string
	ID     int
}

// SendStatus tells how durable an acknowledged message is.
type SendStatus uint8

// Statuses of an acknowledged send. All but SendOK come only from brokers with
// synchronous flush or replication that did not finish in time; the message is stored.
const (
	// SendOK means stored as durably as the topic asks for.
	SendOK SendStatus = iota
	// SendFlushDiskTimeout means stored, but not yet synced.
	SendFlushDiskTimeout
	// SendFlushReplicaTimeout means stored, but not yet replicated.
	SendFlushReplicaTimeout
	// SendReplicaNotAvailable means stored, and that there is no replica.
	SendReplicaNotAvailable
)

// SendResult is the answer to a send.
type SendResult struct {
	Status SendStatus
	// MsgID is the id that this client made (UNIQ_KEY). It is stable over
	// resends, retries and the dead letter queue.
	MsgID string
	// OffsetMsgID is the id that the broker made: where the message is stored.
	// It may be empty.
	OffsetMsgID string
	Topic       string
	Queue       Queue
	// Offset is the message's offset in its queue.
	Offset int64
}

// MessageExt is a message that was received.
type MessageExt struct {
	Topic string
	Tag   string
	Keys  []string
	// Body is the payload, decompressed. It may share memory with the other
	// messages that came with it: copy what is kept for long.
	Body []byte
	// Properties holds all properties, those of the protocol included.
	Properties map[string]string
	Queue      Queue
	// Offset is the message's offset in its queue.
	Offset int64
	// PhysicalOffset is the broker's handle of the stored message.
	PhysicalOffset int64
	// MsgID is the id made by the producer (UNIQ_KEY), or OffsetMsgID if there is none.
	MsgID string
	// OffsetMsgID is the id made by the broker: where the message is stored.
	OffsetMsgID string
	BornTime    time.Time
	StoreTime   time.Time
	BornHost    netip.AddrPort
	StoreHost   netip.AddrPort
	// Attempt counts the deliveries of this message to the group: 1 at first.
	Attempt int
	// Flag is what the producer set.
	Flag int32
	// SysFlag holds the protocol's bits, as they were stored.
	SysFlag int32
}
