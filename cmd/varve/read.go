package main

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/varvemq/varve/client"
)

const readExample = `  varve read my-topic
  varve read orders --queue 3 --offset 4711 --max 10 -o json
  varve read orders --time 2026-01-31T15:04:05Z
  varve read orders --offset last --follow`

// readFlags are the flags of varve read.
type readFlags struct {
	queue  int
	offset string
	time   string
	tag    string
	max    int64
	follow bool
}

func newReadCmd(s streams, conn *connection) *cobra.Command {
	var f readFlags
	cmd := &cobra.Command{
		Use:   "read TOPIC",
		Short: "Read messages from any offset or time, without a group",
		Long: `Read a topic's messages from an offset or a time on, without a consumer group:
nothing is committed, and nobody else notices. It ends at the messages that were
there when it began, unless told to --follow.`,
		Example: readExample,
		Args:    usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			from, err := f.position(cmd.Flags().Changed("offset"), time.Now())
			if err != nil {
				return err
			}
			var opts []client.ReadOption
			if cmd.Flags().Changed("queue") {
				if f.queue < 0 {
					return usagef("--queue: %d is no queue", f.queue)
				}
				opts = append(opts, client.OnQueue(client.Queue{ID: f.queue}))
			}
			if !f.follow {
				opts = append(opts, client.UntilEnd())
			}
			if f.tag != "" && f.tag != "*" {
				opts = append(opts, client.WithTags(f.tag))
			}
			return read(cmd.Context(), s, conn, args[0], from, f, opts)
		},
	}
	flags := cmd.Flags()
	flags.IntVar(&f.queue, "queue", 0, "only this queue `NUMBER` (default: all)")
	flags.StringVar(&f.offset, "offset", "first", "begin at this `OFFSET`, or at first or last")
	flags.StringVar(&f.time, "time", "", "begin at the first message stored at this `TIME` or later, RFC 3339 or -90m")
	flags.StringVar(&f.tag, "tag", "*", "only messages with these tags, an `EXPRESSION` such as 'a || b'")
	flags.Int64Var(&f.max, "max", 0, "end after `M` messages")
	flags.BoolVar(&f.follow, "follow", false, "wait for more at the end")
	return cmd
}

func (f *readFlags) position(offsetGiven bool, now time.Time) (client.Position, error) {
	if f.max < 0 {
		return client.Position{}, usagef("--max: %d is no number of messages", f.max)
	}
	if f.time == "" {
		return parseOffset(f.offset)
	}
	if offsetGiven {
		return client.Position{}, usagef("--offset and --time exclude each other")
	}
	t, err := parseTime(f.time, now)
	return client.AtTime(t), err
}

func read(
	ctx context.Context, s streams, conn *connection, topic string, from client.Position, f readFlags, opts []client.ReadOption,
) error {
	ctx, stop := interruptible(ctx)
	defer stop()
	clientOpts, err := conn.options()
	if err != nil {
		return err
	}
	reader, err := client.NewReader(clientOpts...)
	if err != nil {
		return &usageError{err: err}
	}
	stream, err := reader.Open(ctx, topic, from, opts...)
	if err != nil {
		return closing(reader, err)
	}
	p := newMessagePrinter(s, conn.output)
	err = copyMessages(ctx, stream, p, f, newProgress(s, "messages read", f.max, true))
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		err = nil // interrupted: what was printed stands
	}
	err = errors.Join(err, p.out.Flush(), stream.Close())
	return closing(reader, err)
}

func copyMessages(ctx context.Context, stream *client.Stream, p *messagePrinter, f readFlags, told *progress) error {
	defer told.end()
	for n := int64(0); f.max == 0 || n < f.max; n++ {
		m, err := stream.Next(ctx)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := p.print(m); err != nil {
			return err
		}
		if f.follow { // somebody may be looking
			if err := p.out.Flush(); err != nil {
				return err
			}
		}
		told.add(1)
	}
	return nil
}
