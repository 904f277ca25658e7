package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/varvemq/varve/client"
)

func newTopicCmd(s streams, conn *connection) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "topic",
		Short: "Create, list, describe and delete topics",
		Args:  usageArgs(cobra.NoArgs),
		RunE:  helpRun,
	}
	cmd.AddCommand(
		newTopicCreateCmd(s, conn),
		newTopicListCmd(s, conn),
		newTopicDescribeCmd(s, conn),
		newTopicDeleteCmd(s, conn),
	)
	return cmd
}

func newTopicCreateCmd(s streams, conn *connection) *cobra.Command {
	var queues int
	var attributes []string
	var order, update bool
	cmd := &cobra.Command{
		Use:   "create TOPIC",
		Short: "Create a topic, or change one with --update",
		Example: `  varve topic create orders --queues 8
  varve topic create orders --update --attribute message.type=FIFO`,
		Args: usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			pairs, err := parsePairs("attribute", attributes)
			if err != nil {
				return err
			}
			if queues < 1 {
				return usagef("--queues: a topic has at least one queue")
			}
			topic := client.TopicConfig{
				Name: args[0], ReadQueues: queues, WriteQueues: queues, Attributes: pairs, Order: order,
			}
			return conn.withAdmin(cmd.Context(), func(ctx context.Context, a *client.Admin) error {
				create := a.CreateTopic
				if update {
					create = a.UpdateTopic
				}
				if err := create(ctx, topic); err != nil {
					return err
				}
				return printTopic(ctx, s, conn, a, args[0])
			})
		},
	}
	cmd.Flags().IntVar(&queues, "queues", 4, "number of queues, each an ordered log of its own")
	cmd.Flags().StringArrayVar(&attributes, "attribute", nil, "set an attribute, `NAME=VALUE`; an empty value removes it")
	cmd.Flags().BoolVar(&order, "order", false, "mark the topic as one whose messages are in order per key")
	cmd.Flags().BoolVar(&update, "update", false, "change the topic if it is there already")
	return cmd
}

// topicName is a line of `varve topic list`.
type topicName struct {
	Topic string `json:"topic"`
}

func (t topicName) cells() []string { return []string{t.Topic} }

func newTopicListCmd(s streams, conn *connection) *cobra.Command {
	var all bool
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the topics",
		Args:  usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return conn.withAdmin(cmd.Context(), func(ctx context.Context, a *client.Admin) error {
				names, err := a.ListTopics(ctx)
				if err != nil {
					return err
				}
				p := newPrinter(s.out, conn.output, "TOPIC")
				for _, name := range names {
					if !all && isSystemTopic(name) {
						continue
					}
					if err := p.print(topicName{Topic: name}); err != nil {
						return err
					}
				}
				return p.flush()
			})
		},
	}
	cmd.Flags().BoolVar(&all, "all", false, "also those of groups (%RETRY%, %DLQ%) and of the broker itself")
	return cmd
}

// isSystemTopic reports whether RocketMQ reserves the name.
func isSystemTopic(name string) bool {
	switch name {
	case "TBW102", "SELF_TEST_TOPIC", "BenchmarkTest", "SCHEDULE_TOPIC_XXXX", "OFFSET_MOVED_EVENT",
		"RMQ_SYS_TRANS_HALF_TOPIC", "RMQ_SYS_TRANS_OP_HALF_TOPIC", "RMQ_SYS_TRACE_TOPIC", "TRANS_CHECK_MAX_TIME_TOPIC":
		return true
	}
	for _, prefix := range []string{"%RETRY%", "%DLQ%", "rmq_sys_"} {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return strings.HasSuffix(name, "_REPLY_TOPIC")
}

// topicObject is what `varve topic describe -o json` prints.
type topicObject struct {
	Topic       string     `json:"topic"`
	Perm        int        `json:"perm"`
	ReadQueues  int        `json:"readQueues"`
	WriteQueues int        `json:"writeQueues"`
	Queues      []queueRow `json:"queues"`
}

// queueRow is a queue of a topic.
type queueRow struct {
	Broker     string `json:"broker"`
	Queue      int    `json:"queue"`
	Min        int64  `json:"minOffset"`
	Max        int64  `json:"maxOffset"`
	Messages   int64  `json:"messages"`
	LastUpdate string `json:"lastUpdate,omitempty"`
}

func (q queueRow) cells() []string {
	return []string{
		q.Broker, fmt.Sprint(q.Queue), fmt.Sprint(q.Min), fmt.Sprint(q.Max), fmt.Sprint(q.Messages), dash(q.LastUpdate),
	}
}

func topicObjectOf(info *client.TopicInfo) topicObject {
	o := topicObject{
		Topic: info.Name, Perm: info.Perm, ReadQueues: info.ReadQueues, WriteQueues: info.WriteQueues,
		Queues: make([]queueRow, 0, len(info.Queues)),
	}
	for _, q := range info.Queues {
		o.Queues = append(o.Queues, queueRow{
			Broker: q.Broker, Queue: q.ID, Min: q.Min, Max: q.Max,
			Messages: q.Messages(), LastUpdate: formatTime(q.LastUpdate),
		})
	}
	return o
}

func printTopic(ctx context.Context, s streams, conn *connection, a *client.Admin, name string) error {
	info, err := a.DescribeTopic(ctx, name)
	if err != nil {
		return err
	}
	object := topicObjectOf(info)
	if conn.output.json() {
		return writeJSONLine(s.out, object)
	}
	p := newPrinter(s.out, conn.output, "BROKER", "QUEUE", "MIN", "MAX", "MESSAGES", "LAST UPDATE")
	for _, q := range object.Queues {
		if err := p.print(q); err != nil {
			return err
		}
	}
	return p.flush()
}

func newTopicDescribeCmd(s streams, conn *connection) *cobra.Command {
	return &cobra.Command{
		Use:   "describe TOPIC",
		Short: "Show a topic's queues and what they hold",
		Args:  usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			return conn.withAdmin(cmd.Context(), func(ctx context.Context, a *client.Admin) error {
				return printTopic(ctx, s, conn, a, args[0])
			})
		},
	}
}

func newTopicDeleteCmd(s streams, conn *connection) *cobra.Command {
	return &cobra.Command{
		Use:   "delete TOPIC ...",
		Short: "Delete topics and all their messages",
		Args:  usageArgs(cobra.MinimumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			return conn.withAdmin(cmd.Context(), func(ctx context.Context, a *client.Admin) error {
				for _, name := range args {
					if err := a.DeleteTopic(ctx, name); err != nil {
						return fmt.Errorf("topic %s: %w", name, err)
					}
					s.note("deleted topic %s", name)
				}
				return nil
			})
		},
	}
}
