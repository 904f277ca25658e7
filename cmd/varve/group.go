package main

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/varvemq/varve/client"
)

func newGroupCmd(s streams, conn *connection) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "group",
		Short: "List and describe consumer groups, and reset their offsets",
		Args:  usageArgs(cobra.NoArgs),
		RunE:  helpRun,
	}
	cmd.AddCommand(newGroupListCmd(s, conn), newGroupDescribeCmd(s, conn), newGroupResetCmd(s, conn))
	return cmd
}

// groupName is a line of `varve group list`.
type groupName struct {
	Group string `json:"group"`
}

func (g groupName) cells() []string { return []string{g.Group} }

// isSystemGroup reports whether RocketMQ or a tool of its kind uses the name.
func isSystemGroup(name string) bool {
	switch name {
	case "TOOLS_CONSUMER", "FILTERSRV_CONSUMER", "SELF_TEST_C_GROUP", "DEFAULT_CONSUMER", "__MONITOR_CONSUMER":
		return true
	}
	return strings.HasPrefix(name, "CID_RMQ_SYS_") || strings.HasPrefix(name, "CID_ONSAPI_") || strings.HasPrefix(name, "CID_ONS-HTTP-")
}

func newGroupListCmd(s streams, conn *connection) *cobra.Command {
	var all bool
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the consumer groups",
		Args:  usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return conn.withAdmin(cmd.Context(), func(ctx context.Context, a *client.Admin) error {
				names, err := a.ListGroups(ctx)
				if err != nil {
					return err
				}
				p := newPrinter(s.out, conn.output, "GROUP")
				for _, name := range names {
					if !all && isSystemGroup(name) {
						continue
					}
					if err := p.print(groupName{Group: name}); err != nil {
						return err
					}
				}
				return p.flush()
			})
		},
	}
	cmd.Flags().BoolVar(&all, "all", false, "also those that tools and RocketMQ itself use")
	return cmd
}

// groupObject is what `varve group describe -o json` prints.
type groupObject struct {
	Group         string            `json:"group"`
	Online        bool              `json:"online"`
	Model         string            `json:"model,omitempty"`
	ConsumeType   string            `json:"consumeType,omitempty"`
	ConsumeFrom   string            `json:"consumeFrom,omitempty"`
	Subscriptions map[string]string `json:"subscriptions,omitempty"`
	Lag           int64             `json:"lag"`
	Members       []memberRow       `json:"members"`
	Progress      []progressRow     `json:"progress"`
}

type memberRow struct {
	ClientID string `json:"clientId"`
	Addr     string `json:"addr"`
	Language string `json:"language"`
	Version  int    `json:"version"`
}

func (m memberRow) cells() []string {
	return []string{dash(m.ClientID), dash(m.Addr), dash(m.Language), fmt.Sprint(m.Version)}
}

type progressRow struct {
	Topic        string `json:"topic"`
	Broker       string `json:"broker"`
	Queue        int    `json:"queue"`
	Committed    int64  `json:"committed"`
	Max          int64  `json:"maxOffset"`
	Lag          int64  `json:"lag"`
	LastConsumed string `json:"lastConsumed,omitempty"`
}

func (r progressRow) cells() []string {
	committed := "-"
	if r.Committed >= 0 {
		committed = fmt.Sprint(r.Committed)
	}
	return []string{
		dash(r.Topic), r.Broker, fmt.Sprint(r.Queue), committed,
		fmt.Sprint(r.Max), fmt.Sprint(r.Lag), dash(r.LastConsumed),
	}
}

func groupObjectOf(info *client.GroupInfo) groupObject {
	o := groupObject{
		Group: info.Name, Online: info.Online, Model: info.Model, ConsumeType: info.ConsumeType,
		ConsumeFrom: info.ConsumeFrom, Subscriptions: info.Subscriptions, Lag: info.Lag(),
		Members:  make([]memberRow, 0, len(info.Members)),
		Progress: make([]progressRow, 0, len(info.Progress)),
	}
	for _, m := range info.Members {
		o.Members = append(o.Members, memberRow{
			ClientID: m.ClientID, Addr: m.Addr, Language: m.Language, Version: m.Version,
		})
	}
	for _, p := range info.Progress {
		o.Progress = append(o.Progress, progressRow{
			Topic: p.Topic, Broker: p.Broker, Queue: p.ID, Committed: p.Committed,
			Max: p.Max, Lag: p.Lag(), LastConsumed: formatTime(p.LastConsumed),
		})
	}
	return o
}

func newGroupDescribeCmd(s streams, conn *connection) *cobra.Command {
	return &cobra.Command{
		Use:   "describe GROUP",
		Short: "Show a group's members and how far it is",
		Args:  usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			return conn.withAdmin(cmd.Context(), func(ctx context.Context, a *client.Admin) error {
				info, err := a.DescribeGroup(ctx, args[0])
				if err != nil {
					return err
				}
				return printGroup(s, conn, groupObjectOf(info))
			})
		},
	}
}

func printGroup(s streams, conn *connection, g groupObject) error {
	if conn.output.json() {
		return writeJSONLine(s.out, g)
	}
	if len(g.Members) > 0 {
		members := newPrinter(s.out, conn.output, "MEMBER", "ADDRESS", "LANGUAGE", "VERSION")
		for _, m := range g.Members {
			if err := members.print(m); err != nil {
				return err
			}
		}
		if err := members.flush(); err != nil {
			return err
		}
		if _, err := fmt.Fprintln(s.out); err != nil {
			return err
		}
	}
	queues := newPrinter(s.out, conn.output, "TOPIC", "BROKER", "QUEUE", "COMMITTED", "MAX", "LAG", "LAST CONSUMED")
	for _, r := range g.Progress {
		if err := queues.print(r); err != nil {
			return err
		}
	}
	return queues.flush()
}

// resetRow is a queue that a group was moved in.
type resetRow struct {
	Group  string `json:"group"`
	Topic  string `json:"topic"`
	Broker string `json:"broker"`
	Queue  int    `json:"queue"`
	Offset int64  `json:"offset"`
}

func (r resetRow) cells() []string {
	return []string{r.Topic, r.Broker, fmt.Sprint(r.Queue), fmt.Sprint(r.Offset)}
}

func newGroupResetCmd(s streams, conn *connection) *cobra.Command {
	var topic, to string
	cmd := &cobra.Command{
		Use:   "reset-offset GROUP --topic TOPIC --to first|last|TIME",
		Short: "Move a group to another place in a topic",
		Example: `  varve group reset-offset billing --topic orders --to first
  varve group reset-offset billing --topic orders --to 2026-01-31T15:04:05Z
  varve group reset-offset billing --topic orders --to=-90m`,
		Args: usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if topic == "" || to == "" {
				return usagef("--topic and --to are needed (see %s --help)", cmd.CommandPath())
			}
			position, err := parsePosition(to, time.Now())
			if err != nil {
				return err
			}
			return conn.withAdmin(cmd.Context(), func(ctx context.Context, a *client.Admin) error {
				offsets, err := a.ResetOffset(ctx, args[0], topic, position)
				if err != nil {
					return err
				}
				p := newPrinter(s.out, conn.output, "TOPIC", "BROKER", "QUEUE", "OFFSET")
				for _, r := range resetRows(args[0], topic, offsets) {
					if err := p.print(r); err != nil {
						return err
					}
				}
				return p.flush()
			})
		},
	}
	cmd.Flags().StringVar(&topic, "topic", "", "the `TOPIC` to move in")
	cmd.Flags().StringVar(&to, "to", "", "first, last, or a `TIME`: RFC 3339, or how long ago (-90m)")
	return cmd
}

func resetRows(group, topic string, offsets map[client.Queue]int64) []resetRow {
	rows := make([]resetRow, 0, len(offsets))
	for q, offset := range offsets {
		rows = append(rows, resetRow{Group: group, Topic: topic, Broker: q.Broker, Queue: q.ID, Offset: offset})
	}
	slices.SortFunc(rows, func(a, b resetRow) int {
		return cmp.Or(cmp.Compare(a.Broker, b.Broker), cmp.Compare(a.Queue, b.Queue))
	})
	return rows
}
