package coldread

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/varvemq/varve/internal/vfs"
	"github.com/varvemq/varve/tiering/catalog"
	"github.com/varvemq/varve/tiering/manifest"
	"github.com/varvemq/varve/tiering/segment"
)

// Catalog says what is sealed and where: *catalog.Catalog. Each call looks at the newest snapshot.
type Catalog interface {
	Bounds(ordinal uint32) (first, end uint64, ok bool)
	Find(ctx context.Context, ordinal uint32, offset uint64) (manifest.Entry, manifest.Run, error)
	Since(ctx context.Context, ordinal uint32, ms int64) iter.Seq2[catalog.Located, error]
	Entries(ctx context.Context, beginMs, endMs int64) iter.Seq2[manifest.Entry, error]
	OpenSegment(ctx context.Context, e manifest.Entry) (*segment.Reader, error)
	SegmentSource(e manifest.Entry) segment.Source
}

// Config configures a Reader.
type Config struct {
	Catalog Catalog
	// Shard is the shard's name, for the keys in errors.
	Shard string
	// CacheBytes bounds the decoded blocks that are kept. Default: 64 MiB.
	CacheBytes int64
	// InFlightBytes bounds the ranges that are being fetched or wait to be decoded. Three quarters are for Iterate, the rest for everything else. Default: 64 MiB.
	InFlightBytes int64
	// FS and DiskCache are where fetched blocks are kept as they are stored, DiskCacheBytes at most; 0: nowhere. The directory is made if need be.
	FS             vfs.FS
	DiskCache      string
	DiskCacheBytes int64
	// ReadAhead is how many bytes of messages are fetched ahead of a sequential reader at most. Default: 8 MiB. Negative: none.
	ReadAhead int64
	// Concurrency is how many GETs of blocks are under way at once at most. A quarter of them is for what readers wait for. Default: 16.
	Concurrency int
	// Decoders is how many blocks are decoded at once at most. Default: 1.
	Decoders int
	// HedgeAfter is when a GET that has not been answered gets company by a second one, besides 16 ms for each MiB. Default: 0, never.
	HedgeAfter time.Duration
	Logger     *slog.Logger
	Registerer prometheus.Registerer
}

const (
	minWindow = 256 << 10 // a sequential reader's first window
	maxGet    = 8 << 20   // what one GET asks for at most, if it is not for one block
	gapBytes  = 64 << 10  // what is fetched in vain rather than with two GETs
	maxWalk   = 4096      // entries of an index that are passed over at once
)

// Validate reports all faults at once.
func (c Config) Validate() error {
	var faults []error
	if c.Catalog == nil {
		faults = append(faults, errors.New("coldread: catalog"))
	}
	for _, f := range []struct {
		key   string
		value int64
	}{
		{"cache_bytes", c.CacheBytes},
		{"in_flight_bytes", c.InFlightBytes},
		{"disk_cache_bytes", c.DiskCacheBytes},
		{"concurrency", int64(c.Concurrency)},
		{"decoders", int64(c.Decoders)},
		{"hedge_after", int64(c.HedgeAfter)},
	} {
		if f.value < 0 {
			faults = append(faults, fmt.Errorf("coldread: %s: %d is negative", f.key, f.value))
		}
	}
	if c.DiskCacheBytes > 0 && (c.FS == nil || c.DiskCache == "") {
		faults = append(faults, errors.New("coldread: disk_cache_bytes without fs and disk_cache"))
	}
	return errors.Join(faults...)
}

func (c Config) withDefaults() Config {
	if c.CacheBytes <= 0 {
		c.CacheBytes = 64 << 20
	}
	if c.InFlightBytes <= 0 {
		c.InFlightBytes = 64 << 20
	}
	if c.ReadAhead == 0 {
		c.ReadAhead = 8 << 20
	}
	if c.Concurrency <= 0 {
		c.Concurrency = 16
	}
	if c.Decoders <= 0 {
		c.Decoders = 1
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}
