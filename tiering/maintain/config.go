package maintain

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/varvemq/varve/internal/vfs"
	"github.com/varvemq/varve/metadata"
	"github.com/varvemq/varve/tiering/catalog"
	"github.com/varvemq/varve/tiering/objstore"
	"github.com/varvemq/varve/tiering/segment"
)

// Policy is how the messages of a queue's topic are kept.
type Policy struct {
	Topic       string
	MaxAge      time.Duration // 0: for ever
	MaxBytes    int64         // of all queues of the topic; 0: unlimited
	Compression segment.Compression
}

// Topics says what metadata knows of queues. It answers from memory.
type Topics interface {
	// Retention returns the policy of a queue's topic, or false if metadata does not know the queue: then nothing of it goes.
	Retention(ordinal uint32) (Policy, bool)
	// Dead reports whether a tombstone has the queue: nobody reads or writes it any more.
	Dead(ordinal uint32) bool
}

// Config configures a [Maintainer].
type Config struct {
	Own     *metadata.Ownership
	Meta    *metadata.Store
	Bucket  objstore.Store
	Catalog *catalog.Catalog
	Topics  Topics
	// FS and SpoolDir are where outputs stand until they are committed: up to 1.3 GiB. The directory exists, and is emptied at each start.
	FS       vfs.FS
	SpoolDir string
	Cluster  uuid.UUID
	Shard    string

	// Grace is how long what is garbage stays. Default: 1 hour.
	Grace time.Duration
	// Interval is the time between passes, about. Default: 10 s.
	Interval time.Duration
	// SweepInterval is the time between sweeps, each of which reads the shard's state from etcd. Default: a sixtieth of Grace, at least Interval.
	SweepInterval time.Duration
	// DeleteBefore, if set, returns the time before which something must have become garbage to be deleted: that of the newest snapshot of the embedded etcd in
	// the bucket, so that none which may be restored lists it.
	DeleteBefore func() (ms int64)
	// Trimmed, if set, is told of first offsets that were raised, by ordinal, after the catalog: what is below them can be gone from now on.
	Trimmed func(firsts map[uint32]uint64)
	// Tombstones, if set, returns tombstones of the shard whose ordinals neither the log nor a segment that is being made has any more. The catalog is looked at after that.
	Tombstones func(ctx context.Context) ([]*metadata.Tombstone, error)
	// DropTombstone, if set, is called for one of them when no listed segment has its ordinals.
	DropTombstone func(ctx context.Context, t *metadata.Tombstone) error

	// OnRoll, if set, is told of a new root.
	OnRoll func()

	Logger     *slog.Logger
	Registerer prometheus.Registerer
	// Now is the wall clock. Default: time.Now.
	Now func() time.Time
	// Clock counts also the time the machine slept; it is that of Meta. Default: [metadata.BootClock].
	Clock func() time.Duration

	limits *limits // of tests
}

// Validate reports all faults at once.
func (c Config) Validate() error {
	var faults []error
	for _, f := range []struct {
		missing bool
		key     string
	}{
		{c.Own == nil, "own"},
		{c.Meta == nil, "meta"},
		{c.Bucket == nil, "bucket"},
		{c.Catalog == nil, "catalog"},
		{c.Topics == nil, "topics"},
		{c.FS == nil, "fs"},
		{c.SpoolDir == "", "spool_dir"},
		{c.Cluster == uuid.Nil, "cluster"},
		{c.Shard == "", "shard"},
		{c.Own != nil && c.Shard != "" && c.Own.Shard() != c.Shard, "shard (not the owned one)"},
		{c.Grace < 0 || c.Interval < 0 || c.SweepInterval < 0, "grace or interval (negative)"},
		{(c.Tombstones == nil) != (c.DropTombstone == nil), "tombstones (one function of two)"},
	} {
		if f.missing {
			faults = append(faults, errors.New("maintain: "+f.key))
		}
	}
	return errors.Join(faults...)
}

func (c Config) withDefaults() Config {
	if c.Grace == 0 {
		c.Grace = time.Hour
	}
	if c.Interval == 0 {
		c.Interval = 10 * time.Second
	}
	if c.SweepInterval == 0 {
		c.SweepInterval = max(c.Interval, c.Grace/60)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Clock == nil {
		c.Clock = metadata.BootClock
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.limits == nil {
		l := defaultLimits()
		c.limits = &l
	}
	return c
}
