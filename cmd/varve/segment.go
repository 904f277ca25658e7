package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/varvemq/varve/client"
	"github.com/varvemq/varve/internal/remoting"
)

// storeTime writes unix ms for a table.
func storeTime(ms int64) string {
	if ms == 0 {
		return "-"
	}
	return time.UnixMilli(ms).UTC().Format("2006-01-02T15:04:05.000Z")
}

func newSegmentCmd(s streams, conn *connection) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "segment",
		Short: "List, inspect and verify the segments on object storage",
		Args:  usageArgs(cobra.NoArgs),
		RunE:  helpRun,
	}
	var broker brokerFlag
	cmd.PersistentFlags().StringVar(&broker.name, "broker", "", "the broker (its `NAME`) whose segments are meant, if there are several")
	cmd.AddCommand(newSegmentListCmd(s, conn, &broker), newSegmentInspectCmd(s, conn, &broker), newSegmentVerifyCmd(s, conn, &broker))
	return cmd
}

func newSegmentListCmd(s streams, conn *connection, broker *brokerFlag) *cobra.Command {
	var most int
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the segments, newest first",
		Args:  usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return conn.withAdmin(cmd.Context(), func(ctx context.Context, a *client.Admin) error {
				addr, err := broker.addr(ctx, a)
				if err != nil {
					return err
				}
				p := newPrinter(s.out, conn.output, segmentHeader()...)
				err = eachSegment(ctx, a, addr, most, func(info remoting.SegmentInfo) error { return p.print(segmentRow{info}) })
				return errors.Join(err, p.flush())
			})
		},
	}
	cmd.Flags().IntVar(&most, "max", 100, "list at most `M` segments; 0: all")
	return cmd
}

// eachSegment calls f for the newest segments, all if most is 0.
func eachSegment(ctx context.Context, a *client.Admin, addr string, most int, f func(remoting.SegmentInfo) error) error {
	for offset, n := 0, 0; ; {
		list, err := ask[remoting.SegmentList](ctx, a, "list segments", addr, remoting.ReqListSegments, map[string]string{"offset": strconv.Itoa(offset)})
		if err != nil {
			return err
		}
		for _, info := range list.Segments {
			if err := f(info); err != nil {
				return err
			}
			if n++; n == most {
				return nil
			}
		}
		if list.Next <= offset {
			return nil
		}
		offset = list.Next
	}
}

// segmentQueueRow is a queue of an inspected segment.
type segmentQueueRow struct{ remoting.SegmentQueue }

func (r segmentQueueRow) cells() []string {
	return []string{dash(r.Topic), fmt.Sprint(r.Queue), fmt.Sprint(r.First), fmt.Sprint(r.End), fmt.Sprint(r.Blocks), fmt.Sprint(r.Ordinal), fmt.Sprint(r.Incarnation)}
}

func newSegmentInspectCmd(s streams, conn *connection, broker *brokerFlag) *cobra.Command {
	return &cobra.Command{
		Use:   "inspect OBJECT",
		Short: "Show what a segment says of itself: footer and queues",
		Args:  usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			number, err := object(args[0])
			if err != nil {
				return err
			}
			return conn.withAdmin(cmd.Context(), func(ctx context.Context, a *client.Admin) error {
				addr, err := broker.addr(ctx, a)
				if err != nil {
					return err
				}
				d, err := ask[remoting.SegmentDetail](ctx, a, "inspect segment", addr, remoting.ReqInspectSegment, map[string]string{"object": number})
				if err != nil {
					return err
				}
				if conn.output.json() {
					return writeJSONLine(s.out, d)
				}
				if _, err := fmt.Fprintf(s.out, `segment %d, level %d, %s
cluster %s, shard %s, epoch %d, etcd revision %d, created %s
%s stored, %s raw, %d messages in %d blocks, %d holes, %d keys, footer crc %08x
LSN %d to %d, stored %s to %s

`, d.Object, d.Level, d.Key, d.Cluster, d.Shard, d.Epoch, d.EtcdRevision, storeTime(d.Created), byteSize(d.Size).about(), byteSize(d.RawBytes).about(),
					d.Messages, d.Blocks, d.Holes, d.Keys, d.FooterCRC, d.FirstLSN, d.EndLSN, storeTime(d.MinStore), storeTime(d.MaxStore)); err != nil {
					return err
				}
				p := newPrinter(s.out, conn.output, "TOPIC", "QUEUE", "FIRST", "END", "BLOCKS", "ORDINAL", "INCARNATION")
				for _, q := range d.Queues {
					if err := p.print(segmentQueueRow{q}); err != nil {
						return err
					}
				}
				return p.flush()
			})
		},
	}
}

// verifyRow is a segment that was checked.
type verifyRow struct{ remoting.SegmentCheck }

func (r verifyRow) cells() []string {
	verdict := "ok"
	if n := len(r.Faults); n > 0 {
		verdict = fmt.Sprintf("DAMAGED: %s", r.Faults[0])
		if n > 1 {
			verdict += fmt.Sprintf(" (and %d more)", n-1)
		}
	}
	return []string{fmt.Sprint(r.Object), byteSize(r.Size).about(), fmt.Sprint(r.Messages), r.Key, verdict}
}

func newSegmentVerifyCmd(s streams, conn *connection, broker *brokerFlag) *cobra.Command {
	var all bool
	cmd := &cobra.Command{
		Use:   "verify OBJECT...",
		Short: "Read whole segments and check every byte of them",
		Long: `Read whole segments and check them: every checksum, the index against the blocks,
each message against its place, tags and keys. The command fails if one is damaged.
With --all it reads everything there is, which on S3 costs requests and traffic.`,
		Args: usageArgs(cobra.ArbitraryArgs),
		RunE: func(cmd *cobra.Command, args []string) error {
			if all == (len(args) > 0) {
				return usagef("say which segments, or --all")
			}
			return conn.withAdmin(cmd.Context(), func(ctx context.Context, a *client.Admin) error {
				addr, err := broker.addr(ctx, a)
				if err != nil {
					return err
				}
				return verifySegments(ctx, s, conn, a, addr, args)
			})
		},
	}
	cmd.Flags().BoolVar(&all, "all", false, "all segments")
	return cmd
}

func verifySegments(ctx context.Context, s streams, conn *connection, a *client.Admin, addr string, args []string) error {
	p := newPrinter(s.out, conn.output, "OBJECT", "SIZE", "MESSAGES", "KEY", "VERDICT")
	damaged := 0
	verify := func(number string) error {
		check, err := ask[remoting.SegmentCheck](ctx, a, "verify segment", addr, remoting.ReqVerifySegment, map[string]string{"object": number})
		if err != nil {
			return err
		}
		if len(check.Faults) > 0 {
			damaged++
		}
		return p.print(verifyRow{check})
	}
	var err error
	if len(args) == 0 {
		err = eachSegment(ctx, a, addr, 0, func(info remoting.SegmentInfo) error { return verify(strconv.FormatUint(info.Object, 10)) })
	}
	for _, arg := range args {
		number, perr := object(arg)
		if err = perr; err == nil {
			err = verify(number)
		}
		if err != nil {
			break
		}
	}
	if err == nil && damaged > 0 {
		err = fmt.Errorf("%d segments are damaged", damaged)
	}
	return errors.Join(p.flush(), err)
}
