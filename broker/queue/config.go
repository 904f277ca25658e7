package queue

import (
	"errors"
	"log/slog"
	"net/netip"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/varvemq/varve/broker/wal"
)

// Config is what a Log needs. Zero means default, except in WAL.Dir.
type Config struct {
	WAL        wal.Config            // Owner is set by Open; FS, Fence, Logger and Clock are the WAL's own
	Shard      wal.Shard             // what the queues belong to; records of other shards are ignored. Epoch 0: as the WAL has it
	StoreHost  netip.AddrPort        // advertised; messages stored under another are rewritten as they are read. Zero: never
	IndexCache int64                 // bytes of sections of closed files kept in memory; 64 MiB
	Logger     *slog.Logger          // WAL.Logger, else none
	Registerer prometheus.Registerer // WAL.Registerer, else no metrics
	Clock      func() time.Time      // store times; WAL.Clock, else time.Now
}

// Validate reports every fault of the configuration, the WAL's included.
func (c Config) Validate() error {
	var errs []error
	if c.IndexCache < 0 {
		errs = append(errs, errors.New("queue: IndexCache is negative"))
	}
	if c.WAL.Owner != nil {
		errs = append(errs, errors.New("queue: WAL.Owner is set"))
	}
	if c.WAL.FileSize > maxFileSize {
		errs = append(errs, errors.New("queue: WAL.FileSize is over 16 GiB"))
	}
	return errors.Join(append(errs, c.WAL.Validate())...)
}

func (c Config) withDefaults() Config {
	if c.IndexCache == 0 {
		c.IndexCache = 64 << 20
	}
	if c.Logger == nil {
		c.Logger = c.WAL.Logger
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Registerer == nil {
		c.Registerer = c.WAL.Registerer
	}
	if c.Clock == nil {
		c.Clock = c.WAL.Clock
	}
	if c.Clock == nil {
		c.Clock = time.Now
	}
	return c
}

// maxFileSize keeps record places within 32 bits, with room for a last record beyond the planned size.
const maxFileSize = 16 << 30
