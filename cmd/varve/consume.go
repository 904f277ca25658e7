package main

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/varvemq/varve/client"
)

const consumeExample = `  varve consume my-topic --group my-group --from first
  varve consume orders --group billing --tag 'paid || refunded' --max 100 -o json
  varve consume orders --group audit --from 2026-01-31T15:04:05Z --idle 10s`

// consumeFlags are the flags of varve consume.
type consumeFlags struct {
	group   string
	from    string
	tag     string
	max     int64
	idle    time.Duration
	orderly bool
}

func newConsumeCmd(s streams, conn *connection) *cobra.Command {
	var f consumeFlags
	cmd := &cobra.Command{
		Use:   "consume TOPIC --group GROUP",
		Short: "Consume messages as a member of a group",
		Long: `Consume messages as a member of a consumer group, until interrupted.

A message counts as consumed once it is printed. --from says where the group
begins in queues in which it has not consumed yet; see varve group reset-offset
to move it, and varve read to look without a group.`,
		Example: consumeExample,
		Args:    usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if f.group == "" {
				return usagef("--group is needed (see %s --help)", cmd.CommandPath())
			}
			if f.max < 0 || f.idle < 0 {
				return usagef("--max and --idle are not negative")
			}
			from, err := parsePosition(f.from, time.Now())
			if err != nil {
				return err
			}
			return consume(cmd.Context(), s, conn, args[0], f, from)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&f.group, "group", "", "the consumer `GROUP`")
	flags.StringVar(&f.from, "from", "last", "where a new group begins: first, last, or a `TIME`, RFC 3339 or -90m")
	flags.StringVar(&f.tag, "tag", "*", "only messages with these tags, an `EXPRESSION` such as 'a || b'")
	flags.Int64Var(&f.max, "max", 0, "end after `N` messages")
	flags.DurationVar(&f.idle, "idle", 0, "end after this long without a message")
	flags.BoolVar(&f.orderly, "orderly", false, "keep the order within each queue, under the broker's lock")
	return cmd
}

func consume(ctx context.Context, s streams, conn *connection, topic string, f consumeFlags, from client.Position) error {
	ctx, stop := interruptible(ctx)
	defer stop()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()

	c := &consumption{
		printer: newMessagePrinter(s, conn.output), max: f.max, idle: f.idle, end: cancel,
		progress: newProgress(s, "messages consumed", f.max, true),
	}
	more := []client.Option{client.WithConsumeFrom(from), client.WithConcurrency(1)}
	if f.orderly {
		more[1] = client.WithOrderly()
	}
	opts, err := conn.options(more...)
	if err != nil {
		return err
	}
	consumer, err := client.NewPushConsumer(f.group, c.handle, opts...)
	if err != nil {
		return &usageError{err: err}
	}
	if err := consumer.Subscribe(topic, f.tag); err != nil {
		return &usageError{err: err}
	}
	c.begin()
	err = consumer.Run(ctx)
	return errors.Join(closing(consumer, err), c.finish())
}

// consumption prints what is consumed, and knows when it is enough.
type consumption struct {
	max  int64 // 0 means no end
	idle time.Duration
	end  func() // ends the consumer

	mu       sync.Mutex // guards the rest; with --orderly each queue has its own goroutine
	printer  *messagePrinter
	progress *progress
	timer    *time.Timer
	count    int64
	err      error
}

func (c *consumption) begin() {
	if c.idle > 0 {
		c.timer = time.AfterFunc(c.idle, c.end)
	}
}

func (c *consumption) finish() error {
	if c.timer != nil {
		c.timer.Stop()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.progress.end()
	return c.err
}

// handle prints a message. Those that come after the last one asked for stay
// where they are, for the group's next consumer.
func (c *consumption) handle(_ context.Context, m *client.MessageExt) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil || (c.max > 0 && c.count >= c.max) {
		return client.GiveBack()
	}
	if err := errors.Join(c.printer.print(m), c.printer.out.Flush()); err != nil {
		c.err = err
		c.end()
		return client.GiveBack()
	}
	c.count++
	c.progress.add(1)
	if c.timer != nil {
		c.timer.Reset(c.idle)
	}
	if c.max > 0 && c.count == c.max {
		c.end()
	}
	return nil
}
