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

// sealRow is the outcome of `varve seal`.
type sealRow struct {
	Broker string `json:"broker"`
	LSN    uint64 `json:"lsn"`
}

func (r sealRow) cells() []string { return []string{r.Broker, fmt.Sprint(r.LSN)} }

func newSealCmd(s streams, conn *connection) *cobra.Command {
	return &cobra.Command{
		Use:   "seal [TOPIC]",
		Short: "Put what is only in the log into segments on object storage, now",
		Long: `Put everything that is durable, and so far only in the write-ahead log of a broker,
into segments on object storage, and return when that is done: what was
acknowledged before the command survives the loss of the broker's disk.

A segment holds all queues of a shard, so a TOPIC says whose messages are meant
but not less work: the shards that have it are sealed. Without one, all are.`,
		Args: usageArgs(cobra.MaximumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			return conn.withAdmin(cmd.Context(), func(ctx context.Context, a *client.Admin) error {
				brokers, err := a.Brokers(ctx)
				if err != nil {
					return err
				}
				holds := map[string]bool{}
				if len(args) == 1 {
					info, err := a.DescribeTopic(ctx, args[0])
					if err != nil {
						return err
					}
					for _, q := range info.Queues {
						holds[q.Broker] = true
					}
				}
				p := newPrinter(s.out, conn.output, "BROKER", "SEALED BELOW LSN")
				for _, b := range brokers {
					if len(args) == 1 && !holds[b.Name] {
						continue
					}
					lsn, err := sealBroker(ctx, s, a, b.Name, b.Addr)
					if err != nil {
						return fmt.Errorf("broker %s: %w", b.Name, err)
					}
					if err := p.print(sealRow{Broker: b.Name, LSN: lsn}); err != nil {
						return err
					}
				}
				return p.flush()
			})
		},
	}
}

// sealBroker asks again and again until the target of the first answer is reached, and says so when it takes long.
func sealBroker(ctx context.Context, s streams, a *client.Admin, name, addr string) (uint64, error) {
	fields := map[string]string{}
	told := ""
	for {
		answer, err := ask[remoting.SealProgress](ctx, a, "seal", addr, remoting.ReqSeal, fields)
		switch {
		case err != nil:
			return 0, err
		case answer.Done:
			return answer.LSN, nil
		}
		fields["lsn"] = strconv.FormatUint(answer.Target, 10)
		if text := fmt.Sprintf("%s: sealed below LSN %d of %d. %s", name, answer.LSN, answer.Target, answer.LastError); text != told {
			s.note("%s", text)
			told = text
		}
		select {
		case <-ctx.Done():
			return 0, errors.Join(ctx.Err(), errors.New(answer.LastError))
		case <-time.After(100 * time.Millisecond):
		}
	}
}
