package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/varvemq/varve/client"
	"github.com/varvemq/varve/internal/remoting"
)

// findingRow is a finding of fsck.
type findingRow struct{ remoting.FsckFinding }

func (r findingRow) cells() []string { return []string{r.Severity, r.Kind, dash(r.Key), r.Detail} }

const fsckPoll = 500 * time.Millisecond

func newFsckCmd(s streams, conn *connection) *cobra.Command {
	var broker brokerFlag
	var deep bool
	var repair string
	cmd := &cobra.Command{
		Use:   "fsck",
		Short: "Compare metadata, object storage and log, and report what does not fit",
		Long: `Compare what etcd and the manifest list with what is on object storage and in the
log: objects that are missing or orphaned, gaps and overlaps, sizes and checksums
of footers; with --deep every byte of every segment. The broker does it, at low
speed, and serves meanwhile. Nothing is changed, except that --repair orphans
deletes objects of former epochs that nothing refers to any more.

The command fails if it finds an error; orphans are none.`,
		Args: usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if repair != "" && repair != "orphans" {
				return usagef("--repair: %q: only orphans can be repaired", repair)
			}
			return conn.withAdmin(cmd.Context(), func(ctx context.Context, a *client.Admin) error {
				addr, err := broker.addr(ctx, a)
				if err != nil {
					return err
				}
				st, err := fsckBroker(ctx, s, a, addr, deep, repair != "")
				if err != nil {
					return err
				}
				return printFsck(s, conn, st)
			})
		},
	}
	cmd.Flags().StringVar(&broker.name, "broker", "", "the broker (its `NAME`) whose storage is meant, if there are several")
	cmd.Flags().BoolVar(&deep, "deep", false, "read and check every segment as a whole")
	cmd.Flags().StringVar(&repair, "repair", "", "what to mend: `orphans`")
	return cmd
}

// fsckBroker starts a check and waits for its end, telling how far it is.
func fsckBroker(ctx context.Context, s streams, a *client.Admin, addr string, deep, repair bool) (remoting.FsckStatus, error) {
	fields := map[string]string{"start": "true", "deep": fmt.Sprint(deep), "repair": fmt.Sprint(repair)}
	told := newProgress(s, "objects checked", 0, true)
	defer told.end()
	seen := int64(0)
	for {
		st, err := ask[remoting.FsckStatus](ctx, a, "fsck", addr, remoting.ReqFsck, fields)
		if err != nil {
			return st, err
		}
		told.add(st.Checked - seen)
		seen = st.Checked
		if !st.Running {
			return st, nil
		}
		fields = nil
		select {
		case <-ctx.Done():
			return st, ctx.Err()
		case <-time.After(fsckPoll):
		}
	}
}

func printFsck(s streams, conn *connection, st remoting.FsckStatus) error {
	p := newPrinter(s.out, conn.output, "SEVERITY", "KIND", "KEY", "DETAIL")
	faults := 0
	for _, f := range st.Findings {
		if f.Severity == "error" {
			faults++
		}
		if err := p.print(findingRow{f}); err != nil {
			return err
		}
	}
	if err := p.flush(); err != nil {
		return err
	}
	for _, key := range st.Repaired {
		s.note("deleted %s", key)
	}
	switch {
	case st.Error != "":
		return fmt.Errorf("the check did not come to its end: %w", errors.New(st.Error))
	case faults > 0:
		return fmt.Errorf("%d errors found", faults)
	}
	return nil
}
