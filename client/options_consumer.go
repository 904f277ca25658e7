package client

import (
	"fmt"
	"time"
)

type consumerConfig struct {
	concurrency     int
	orderly         bool
	broadcasting    bool
	offsetFile      string
	from            Position
	maxAttempts     int
	commitInterval  time.Duration
	rebalance       time.Duration
	pullBatch       int
	pullBytes       int
	bufferMessages  int
	bufferBytes     int
	suspend         time.Duration
	shutdownTimeout time.Duration
	retryPause      time.Duration
}

func defaultConsumerConfig() consumerConfig {
	return consumerConfig{
		concurrency:     16,
		from:            Last(),
		commitInterval:  5 * time.Second,
		rebalance:       20 * time.Second,
		pullBatch:       256,
		pullBytes:       1 << 20,
		bufferMessages:  1024,
		bufferBytes:     16 << 20,
		suspend:         15 * time.Second,
		shutdownTimeout: 30 * time.Second,
		retryPause:      time.Second,
	}
}

func (c *consumerConfig) validate() []error {
	var faults []error
	bad := func(name string, v any) {
		faults = append(faults, fmt.Errorf("%s: %v: %w", name, v, ErrInvalid))
	}
	if c.concurrency <= 0 {
		bad("WithConcurrency", c.concurrency)
	}
	if c.orderly && c.broadcasting {
		bad("WithOrderly", "not together with WithBroadcasting")
	}
	if c.from.kind == atOffset {
		bad("WithConsumeFrom", "an offset means nothing for all queues")
	}
	if c.commitInterval <= 0 {
		bad("WithCommitInterval", c.commitInterval)
	}
	if c.pullBatch <= 0 {
		bad("WithPullBatch", c.pullBatch)
	}
	if c.bufferMessages <= 0 || c.bufferBytes <= 0 {
		bad("WithBuffer", fmt.Sprintf("%d messages, %d bytes", c.bufferMessages, c.bufferBytes))
	}
	if c.shutdownTimeout <= 0 {
		bad("WithShutdownTimeout", c.shutdownTimeout)
	}
	if c.retryPause <= 0 {
		bad("WithRetryPause", c.retryPause)
	}
	return faults
}

// WithConcurrency sets how many handlers run at once. The default is 16. With
// [WithOrderly] each queue has its own handler call and this does not apply.
func WithConcurrency(n int) ConsumerOption {
	return forConsumer("WithConcurrency", func(c *config) { c.consumer.concurrency = n })
}

// WithOrderly handles the messages of each queue one after the other, under a
// lock that the broker keeps. A failed message is handled again in place, after
// [WithRetryPause], before the next one.
func WithOrderly() ConsumerOption {
	return forConsumer("WithOrderly", func(c *config) { c.consumer.orderly = true })
}

// WithBroadcasting gives every member of the group all messages. Nothing is
// retried. Progress is kept in the file, or, if its name is empty, not at all:
// then each Run begins at [WithConsumeFrom].
func WithBroadcasting(offsetFile string) ConsumerOption {
	return forConsumer("WithBroadcasting", func(c *config) {
		c.consumer.broadcasting, c.consumer.offsetFile = true, offsetFile
	})
}

// WithConsumeFrom sets where a group begins in a queue of which it has no
// progress: [First], [Last] or [AtTime]. The default is Last. A queue that
// appears while the consumer runs, with its topic or later, is consumed from
// when the consumer began to look for the topic, so that none of its messages are left out.
func WithConsumeFrom(p Position) ConsumerOption {
	return forConsumer("WithConsumeFrom", func(c *config) { c.consumer.from = p })
}

// WithMaxAttempts sets how many times a message is retried before it goes to
// the group's dead letter topic. The default, 0, is the broker's setting for the
// group (16), or, with [WithOrderly], without limit.
func WithMaxAttempts(n int) ConsumerOption {
	return forConsumer("WithMaxAttempts", func(c *config) { c.consumer.maxAttempts = n })
}

// WithCommitInterval sets how often progress is committed. The default is 5 s.
func WithCommitInterval(d time.Duration) ConsumerOption {
	return forConsumer("WithCommitInterval", func(c *config) { c.consumer.commitInterval = d })
}

// WithPullBatch sets how many messages are asked for at once. The default is
// 256; Apache RocketMQ gives 32 at most.
func WithPullBatch(n int) ConsumerOption {
	return forConsumer("WithPullBatch", func(c *config) { c.consumer.pullBatch = n })
}

// WithBuffer bounds what is fetched ahead for each queue, and the messages of
// all queues that wait for a handler. The default is 1,024 messages and 16 MiB.
func WithBuffer(messages, bytes int) ConsumerOption {
	return forConsumer("WithBuffer", func(c *config) {
		c.consumer.bufferMessages, c.consumer.bufferBytes = messages, bytes
	})
}

// WithShutdownTimeout bounds how long Close, and a rebalance that takes a queue
// away, wait for running handlers; then their contexts are cancelled. The default is 30 s.
func WithShutdownTimeout(d time.Duration) ConsumerOption {
	return forConsumer("WithShutdownTimeout", func(c *config) { c.consumer.shutdownTimeout = d })
}

// WithRetryPause sets the pause before an orderly message is handled again. The default is 1 s.
func WithRetryPause(d time.Duration) ConsumerOption {
	return forConsumer("WithRetryPause", func(c *config) { c.consumer.retryPause = d })
}

type readerConfig struct {
	aheadMessages int
	aheadBytes    int
	pullBatch     int
}

func defaultReaderConfig() readerConfig {
	return readerConfig{aheadMessages: 4096, aheadBytes: 16 << 20, pullBatch: 1024}
}

func (c *readerConfig) validate() []error {
	if c.aheadMessages <= 0 || c.aheadBytes <= 0 {
		return []error{fmt.Errorf("WithReadAhead: %d messages, %d bytes: %w", c.aheadMessages, c.aheadBytes, ErrInvalid)}
	}
	return nil
}

// WithReadAhead bounds what a [Stream] fetches ahead for each queue. The default is 4,096 messages and 16 MiB.
func WithReadAhead(messages, bytes int) ReaderOption {
	return forReader("WithReadAhead", func(c *config) {
		c.reader.aheadMessages, c.reader.aheadBytes = messages, bytes
	})
}
