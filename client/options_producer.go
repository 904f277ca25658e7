package client

import (
	"fmt"
	"time"
)

type producerConfig struct {
	sendTimeout       time.Duration
	retries           int
	duplicatesAllowed bool
	maxInFlightMsgs   int
	maxInFlightBytes  int
	nonBlocking       bool
	batchBytes        int
	batchMessages     int
	batchesInFlight   int
	batchIDs          bool
	compressAbove     int
	partitioner       Partitioner
	autoCreateQueues  int
}

func defaultProducerConfig() producerConfig {
	return producerConfig{
		sendTimeout:      3 * time.Second,
		retries:          2,
		maxInFlightMsgs:  65536,
		maxInFlightBytes: 64 << 20,
		batchBytes:       512 << 10,
		batchMessages:    4096,
		batchesInFlight:  4,
		batchIDs:         true,
		partitioner:      HashPartitioner,
		autoCreateQueues: 4,
	}
}

func (c *producerConfig) validate() []error {
	var faults []error
	bad := func(name string, v any) {
		faults = append(faults, fmt.Errorf("%s: %v: %w", name, v, ErrInvalid))
	}
	if c.sendTimeout <= 0 {
		bad("WithSendTimeout", c.sendTimeout)
	}
	if c.retries < 0 {
		bad("WithRetries", c.retries)
	}
	if c.maxInFlightMsgs <= 0 {
		bad("WithMaxInFlightMessages", c.maxInFlightMsgs)
	}
	if c.maxInFlightBytes <= 0 {
		bad("WithMaxInFlightBytes", c.maxInFlightBytes)
	}
	if c.batchBytes <= 0 || c.batchBytes > maxBatchBytes || c.batchMessages <= 0 || c.batchMessages > maxBatchMessages {
		bad("WithBatching", fmt.Sprintf("%d bytes, %d messages", c.batchBytes, c.batchMessages))
	}
	if c.batchesInFlight <= 0 {
		bad("WithBatchesInFlight", c.batchesInFlight)
	}
	if c.partitioner == nil {
		bad("WithPartitioner", "nil")
	}
	return faults
}

// maxBatchBytes keeps a batch within a frame of 16 MiB.
const maxBatchBytes = 15 << 20

// maxBatchMessages keeps the answer to a batch, an id per message, within a
// header of 1 MiB.
const maxBatchMessages = 16384

// Partitioner chooses the queue of a message with a sharding key: a number in
// [0, queues). It must depend on its arguments only.
type Partitioner func(topic, shardingKey string, queues int) int

// HashPartitioner is the default: FNV-1a of the sharding key.
func HashPartitioner(_, shardingKey string, queues int) int {
	h := uint64(14695981039346656037)
	for i := range len(shardingKey) {
		h = (h ^ uint64(shardingKey[i])) * 1099511628211
	}
	return int(h % uint64(queues))
}

// WithSendTimeout bounds each try of a send, on top of the caller's context. The default is 3 s.
func WithSendTimeout(d time.Duration) ProducerOption {
	return forProducer("WithSendTimeout", func(c *config) { c.producer.sendTimeout = d })
}

// WithRetries sets how often a failed send is repeated. The default is 2, as in
// RocketMQ's clients. Unlike them, this client repeats only what is known not
// to have been stored; see [WithDuplicatesAllowed]. A message without a
// sharding key or explicit queue is repeated on another queue, and another
// broker if there is one.
func WithRetries(n int) ProducerOption {
	return forProducer("WithRetries", func(c *config) { c.producer.retries = n })
}

// WithDuplicatesAllowed also repeats sends whose outcome is unknown, as
// RocketMQ's clients do: fewer errors, but a message may be stored twice (with
// the same MsgID).
func WithDuplicatesAllowed() ProducerOption {
	return forProducer("WithDuplicatesAllowed", func(c *config) { c.producer.duplicatesAllowed = true })
}

// WithMaxInFlightMessages bounds the messages of SendAsync that are not yet answered. The default is 65,536.
func WithMaxInFlightMessages(n int) ProducerOption {
	return forProducer("WithMaxInFlightMessages", func(c *config) { c.producer.maxInFlightMsgs = n })
}

// WithMaxInFlightBytes bounds the bytes of SendAsync that are not yet answered.
// The default is 64 MiB. One message alone may exceed it.
func WithMaxInFlightBytes(n int) ProducerOption {
	return forProducer("WithMaxInFlightBytes", func(c *config) { c.producer.maxInFlightBytes = n })
}

// WithNonBlocking makes SendAsync return [ErrBufferFull] at the limits in
// flight, where it would wait otherwise.
func WithNonBlocking() ProducerOption {
	return forProducer("WithNonBlocking", func(c *config) { c.producer.nonBlocking = true })
}

// WithBatching bounds the batches that SendAsync gathers. The default is 512 KiB
// and 4,096 messages; one message turns batching off.
func WithBatching(maxBytes, maxMessages int) ProducerOption {
	return forProducer("WithBatching", func(c *config) {
		c.producer.batchBytes, c.producer.batchMessages = maxBytes, maxMessages
	})
}

// WithBatchesInFlight sets how many batches of a topic's messages without
// sharding key may be on their way at once. The default is 4. Messages with a
// key have one batch in flight per queue, which keeps their order.
func WithBatchesInFlight(n int) ProducerOption {
	return forProducer("WithBatchesInFlight", func(c *config) { c.producer.batchesInFlight = n })
}

// WithoutBatchIDs leaves out the client-made id of messages sent in batches by
// SendAsync: 42 bytes less per message. The broker makes one, and SendResult.MsgID is empty.
func WithoutBatchIDs() ProducerOption {
	return forProducer("WithoutBatchIDs", func(c *config) { c.producer.batchIDs = false })
}

// WithCompression compresses (zlib) the bodies of single messages of at least
// that many bytes. The default, 0, never does: Varve compresses what it stores.
func WithCompression(minBytes int) ProducerOption {
	return forProducer("WithCompression", func(c *config) { c.producer.compressAbove = minBytes })
}

// WithPartitioner replaces [HashPartitioner].
func WithPartitioner(p Partitioner) ProducerOption {
	return forProducer("WithPartitioner", func(c *config) { c.producer.partitioner = p })
}
