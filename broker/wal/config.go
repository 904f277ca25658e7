package wal

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/varvemq/varve/internal/vfs"
)

// Sizes that are not configured.
const (
	minFileSize   = 64 << 10
	maxFileSize   = 128 << 20
	firstFileSize = 8 << 20 // so that a new broker need not wait for 128 MiB of zeros
	maxPending    = 32 << 20
	asyncSyncs    = 4 // the bytes delivered at Written ahead of what is durable, in SyncBytes
	chunkSize     = 1 << 20
	closeGrace    = 10 * time.Second // how long Close lets the fence wait
	limitFiles    = 16               // a file is at most this part of the limit
	minFiles      = 4
	deliveryQueue = 64 // groups that may wait for their callbacks
)

// Config is what a WAL needs. Zero means default.
type Config struct {
	Dir          string                      // made if it is not there
	FS           vfs.FS                      // vfs.Default()
	FileSize     int64                       // bytes; 128 MiB, or Limit/16 when that is less
	Limit        int64                       // bytes of all files, spare included; 10 GiB, at least four files
	MaxRecord    int                         // bytes; 32 MiB, and at most three eighths of a file
	TailBytes    int64                       // bytes of the newest records kept in memory; 256 MiB
	SyncInterval time.Duration               // for records nobody waits for; 200 ms
	SyncBytes    int64                       // the same; 8 MiB
	IdleMark     time.Duration               // how long the log is idle before it is marked; 1 s
	Fence        func(context.Context) error // before each delivered group; may wait for ownership; an error stops the WAL
	BootID       string                      // of this boot of the machine; empty: unknown
	Owner        Owner                       // nil: closed files have no sections but the WAL's own
	Logger       *slog.Logger
	OnFatal      func(error)           // called once when the WAL is poisoned; must return at once
	Registerer   prometheus.Registerer // nil: no metrics
	Clock        func() time.Time      // creation times of files
}

// Validate reports every fault of the configuration.
func (c Config) Validate() error {
	var errs []error
	if c.Dir == "" {
		errs = append(errs, errors.New("wal: Dir is empty"))
	}
	for _, f := range []struct {
		name string
		v    int64
	}{
		{"FileSize", c.FileSize},
		{"Limit", c.Limit},
		{"MaxRecord", int64(c.MaxRecord)},
		{"TailBytes", c.TailBytes},
		{"SyncInterval", int64(c.SyncInterval)},
		{"SyncBytes", c.SyncBytes},
		{"IdleMark", int64(c.IdleMark)},
	} {
		if f.v < 0 {
			errs = append(errs, fmt.Errorf("wal: %s is negative", f.name))
		}
	}
	if c.FileSize != 0 && c.FileSize < minFileSize {
		errs = append(errs, fmt.Errorf("wal: FileSize is under %d", minFileSize))
	}
	if d := c.withDefaults(); d.Limit < minFiles*d.FileSize {
		errs = append(errs, fmt.Errorf("wal: Limit is under %d files of %d bytes", minFiles, d.FileSize))
	}
	return errors.Join(errs...)
}

func (c Config) withDefaults() Config {
	def(&c.Limit, 10<<30)
	def(&c.FileSize, min(max(c.Limit/limitFiles, minFileSize), maxFileSize))
	c.FileSize = (c.FileSize + pageSize - 1) &^ (pageSize - 1)
	def(&c.MaxRecord, 32<<20)
	c.MaxRecord = int(min(int64(c.MaxRecord), c.FileSize/8*3))
	def(&c.TailBytes, 256<<20)
	def(&c.SyncInterval, 200*time.Millisecond)
	def(&c.SyncBytes, 8<<20)
	def(&c.IdleMark, time.Second)
	if c.FS == nil {
		c.FS = vfs.Default()
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Fence == nil {
		c.Fence = func(context.Context) error { return nil }
	}
	if c.OnFatal == nil {
		c.OnFatal = func(error) {}
	}
	if c.Clock == nil {
		c.Clock = time.Now
	}
	return c
}

func def[T comparable](v *T, d T) {
	var zero T
	if *v == zero {
		*v = d
	}
}
