package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/spf13/cobra"

	"github.com/varvemq/varve/client"
)

// statusObject is a broker as `varve status -o json` prints it.
type statusObject struct {
	Cluster string            `json:"cluster"`
	Broker  string            `json:"broker"`
	ID      int               `json:"id"`
	Addr    string            `json:"addr"`
	Status  map[string]string `json:"status,omitempty"`
	Error   string            `json:"error,omitempty"`
}

// statusRow is a line of the table: one thing that a broker says about itself.
type statusRow struct{ broker, name, value string }

func (r statusRow) cells() []string { return []string{r.broker, dash(r.name), dash(r.value)} }

func newStatusCmd(s streams, conn *connection) *cobra.Command {
	return &cobra.Command{
		Use:   "status",
		Short: "Show the brokers and what they say about themselves",
		Args:  usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return conn.withAdmin(cmd.Context(), func(ctx context.Context, a *client.Admin) error {
				brokers, err := a.Brokers(ctx)
				if err != nil {
					return err
				}
				p := newPrinter(s.out, conn.output, "BROKER", "NAME", "VALUE")
				var faults []error
				for _, b := range brokers {
					o := statusObject{Cluster: b.Cluster, Broker: b.Name, ID: b.ID, Addr: b.Addr}
					status, err := a.BrokerStatus(ctx, b.Addr)
					if err != nil {
						faults = append(faults, fmt.Errorf("broker %s: %w", b.Name, err))
						o.Error = err.Error()
					}
					o.Status = status
					if err := printStatus(p, s, o); err != nil {
						return err
					}
				}
				return errors.Join(append(faults, p.flush())...)
			})
		},
	}
}

func printStatus(p *printer, s streams, o statusObject) error {
	if p.json {
		return writeJSONLine(s.out, o)
	}
	rows := []statusRow{{o.Broker, "cluster", o.Cluster}, {o.Broker, "address", o.Addr}, {o.Broker, "id", fmt.Sprint(o.ID)}}
	for _, name := range slices.Sorted(maps.Keys(o.Status)) {
		rows = append(rows, statusRow{o.Broker, name, o.Status[name]})
	}
	if o.Error != "" {
		rows = append(rows, statusRow{o.Broker, "error", o.Error})
	}
	for _, r := range rows {
		if err := p.print(r); err != nil {
			return err
		}
	}
	return nil
}
