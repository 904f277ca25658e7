package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/varvemq/varve/client"
	"github.com/varvemq/varve/internal/remoting"
)

// statusObject is a broker as `varve status -o json` prints it.
type statusObject struct {
	Cluster string            `json:"cluster"`
	Broker  string            `json:"broker"`
	ID      int               `json:"id"`
	Addr    string            `json:"addr"`
	Status  map[string]string `json:"status,omitempty"`
	// Storage is nil if the broker is not one of Varve.
	Storage *remoting.StorageStatus `json:"storage,omitempty"`
	Error   string                  `json:"error,omitempty"`
}

// ask asks the broker.
func (o *statusObject) ask(ctx context.Context, a *client.Admin) (err error) {
	if o.Status, err = a.BrokerStatus(ctx, o.Addr); err != nil {
		return err
	}
	st, err := ask[remoting.StorageStatus](ctx, a, "storage status", o.Addr, remoting.ReqStorageStatus, nil)
	var refusal *client.Error
	if errors.As(err, &refusal) && refusal.Code == client.CodeNotSupported {
		return nil
	}
	if err == nil {
		o.Storage = &st
	}
	return err
}

// statusRow is a line of the table: one thing that a broker says about itself.
type statusRow struct{ broker, name, value string }

func (r statusRow) cells() []string { return []string{r.broker, dash(r.name), dash(r.value)} }

func newStatusCmd(s streams, conn *connection) *cobra.Command {
	var all bool
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show the brokers and what they say about themselves",
		Long: `Show the brokers and the most important of what they say about themselves.

The numbers of messages are since the broker's start. With -o json each broker
is a line with all that it says, by the names that RocketMQ uses.`,
		Args: usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return conn.withAdmin(cmd.Context(), func(ctx context.Context, a *client.Admin) error {
				brokers, err := a.Brokers(ctx)
				if err != nil {
					return err
				}
				objects := make([]statusObject, 0, len(brokers))
				var faults []error
				for _, b := range brokers {
					o := statusObject{Cluster: b.Cluster, Broker: b.Name, ID: b.ID, Addr: b.Addr}
					if err := o.ask(ctx, a); err != nil {
						faults = append(faults, fmt.Errorf("broker %s: %w", b.Name, err))
						o.Error = err.Error()
					}
					objects = append(objects, o)
				}
				return errors.Join(append(faults, printStatus(s, conn.output, objects, all, time.Now()))...)
			})
		},
	}
	cmd.Flags().BoolVar(&all, "all", false, "everything that the brokers say")
	return cmd
}

func printStatus(s streams, output outputFlag, objects []statusObject, all bool, now time.Time) error {
	switch {
	case output.json():
		for _, o := range objects {
			if err := writeJSONLine(s.out, o); err != nil {
				return err
			}
		}
		return nil
	case all:
		return printWholeStatus(newPrinter(s.out, output, "BROKER", "NAME", "VALUE"), objects)
	default:
		return printSummaries(s.out, objects, now)
	}
}

// printWholeStatus prints every key of every broker.
func printWholeStatus(p *printer, objects []statusObject) error {
	for _, o := range objects {
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
	}
	return p.flush()
}
