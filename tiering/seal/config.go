package seal

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/varvemq/varve/internal/vfs"
	"github.com/varvemq/varve/metadata"
	"github.com/varvemq/varve/tiering/catalog"
	"github.com/varvemq/varve/tiering/objstore"
)

// Catalog takes in segments that are committed: *catalog.Catalog.
type Catalog interface{ Add(catalog.Recent) }

// Config configures a Sealer. The zero value of a field means its default.
type Config struct {
	Own     *metadata.Ownership
	Bucket  objstore.Store
	Catalog Catalog
	Source  Source
	Topics  Topics
	Cluster uuid.UUID
	Shard   string
	// FS and SpoolDir are where a segment stands before it is uploaded. The directory is the sealer's own, and emptied at the start.
	FS       vfs.FS
	SpoolDir string
	// Head is where sealing stands, read under Own. It names Source's WAL.
	Head metadata.SealHead
	// Bytes is how much of the log a segment is made of, at most, and what a segment is made of without waiting. A larger record is a segment alone. Default: 64 MiB.
	Bytes int64
	// Age is how old the oldest record that is in no segment gets before it is sealed. Default: 60 s.
	Age time.Duration
	// UploadRate smooths uploads: after each segment the sealer waits as long as its bytes would have taken at so many bytes per second, unless somebody waits for
	// the segment that follows, or the log has more than a quarter of Pressure that is not sealed. Default: 0, which is no smoothing.
	UploadRate int64
	// Pressure is how much of the log may be unsealed at all. Default: 1 GiB.
	Pressure int64
	// Clock is the time of day. Default: time.Now.
	Clock func() time.Time
	// OnCommit remembers in the data directory that etcd has reached a revision. Until it succeeds, the log is not trimmed. May be nil.
	OnCommit   func(revision int64) error
	Logger     *slog.Logger
	Registerer prometheus.Registerer
}

const (
	defaultBytes    = 64 << 20
	defaultAge      = time.Minute
	defaultPressure = 1 << 30
)

// Validate reports all faults at once.
func (c Config) Validate() error {
	var faults []error
	for _, f := range []struct {
		bad bool
		key string
	}{
		{c.Own == nil, "own: missing"},
		{c.Bucket == nil, "bucket: missing"},
		{c.Catalog == nil, "catalog: missing"},
		{c.Source == nil, "source: missing"},
		{c.Topics == nil, "topics: missing"},
		{c.Cluster == uuid.Nil, "cluster: missing"},
		{c.Shard == "", "shard: missing"},
		{c.FS == nil, "fs: missing"},
		{c.SpoolDir == "", "spool_dir: missing"},
		{c.Bytes < 0, "bytes: negative"},
		{c.Age < 0, "age: negative"},
		{c.UploadRate < 0, "upload_rate: negative"},
		{c.Pressure < 0, "pressure: negative"},
		{c.Head.LSN == 0, "head: no LSN"},
	} {
		if f.bad {
			faults = append(faults, errors.New("seal: "+f.key))
		}
	}
	if c.Own != nil && c.Own.Shard() != c.Shard {
		faults = append(faults, fmt.Errorf("seal: shard: %q, but the ownership is of %q", c.Shard, c.Own.Shard()))
	}
	if c.Source != nil {
		if wal := c.Source.WALUUID(); c.Head.WALUUID != wal && (c.Head.WALUUID != "" || c.Head.LSN != 1 || c.Head.Position != 0) {
			faults = append(faults, fmt.Errorf("seal: head: it is of WAL %q, not of %q", c.Head.WALUUID, wal))
		}
	}
	return errors.Join(faults...)
}

func (c Config) withDefaults() Config {
	if c.Bytes == 0 {
		c.Bytes = defaultBytes
	}
	if c.Age == 0 {
		c.Age = defaultAge
	}
	if c.Pressure == 0 {
		c.Pressure = defaultPressure
	}
	if c.Clock == nil {
		c.Clock = time.Now
	}
	if c.OnCommit == nil {
		c.OnCommit = func(int64) error { return nil }
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}
