package snapshot

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/varvemq/varve/internal/vfs"
	"github.com/varvemq/varve/tiering/objstore"
)

// Source is an etcd that can be copied: *metadata.Embedded.
type Source interface {
	// Snapshot writes a copy of the state at a revision, or later, to w.
	Snapshot(ctx context.Context, w io.Writer) (revision int64, err error)
}

// Config configures a Keeper.
type Config struct {
	Source  Source
	Bucket  objstore.Store
	Cluster uuid.UUID
	// Shard and Epoch are this broker's.
	Shard string
	Epoch uint64
	// Valid reports whether this broker still owns its shard; without it nothing is uploaded or deleted.
	Valid func() bool
	// FS and SpoolDir are where a copy stands before it is uploaded. The directory exists.
	FS       vfs.FS
	SpoolDir string
	// Interval is the time between two snapshots. Default: 10 minutes.
	Interval time.Duration
	// MinInterval is the shortest time between two, however often Kick is called, and between failures. Default: 1 minute.
	MinInterval time.Duration
	// Keep is how many snapshots stay. Default: 24.
	Keep int
	// Now is the time of day, for the descriptions. Default: time.Now.
	Now        func() time.Time
	Logger     *slog.Logger
	Registerer prometheus.Registerer
}

// Validate reports all faults at once.
func (c Config) Validate() error {
	var faults []error
	for _, f := range []struct {
		missing bool
		key     string
	}{
		{c.Source == nil, "source"},
		{c.Bucket == nil, "bucket"},
		{c.Cluster == uuid.Nil, "cluster"},
		{c.Shard == "", "shard"},
		{c.Epoch == 0, "epoch"},
		{c.FS == nil, "fs"},
		{c.SpoolDir == "", "spool_dir"},
		{c.Valid == nil, "valid"},
		{c.Interval < 0 || c.MinInterval < 0, "interval (negative)"},
		{c.Keep < 0, "keep (negative)"},
	} {
		if f.missing {
			faults = append(faults, errors.New("snapshot: "+f.key))
		}
	}
	return errors.Join(faults...)
}

func (c Config) withDefaults() Config {
	if c.Interval == 0 {
		c.Interval = 10 * time.Minute
	}
	if c.MinInterval == 0 {
		c.MinInterval = min(time.Minute, c.Interval)
	}
	if c.Keep == 0 {
		c.Keep = 24
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}

// Status is how the snapshots stand.
type Status struct {
	// Last is the newest one that this Keeper took, zero before.
	Last Info
	// Err is why the last attempt failed, nil if it did not.
	Err error
}

// Keeper takes snapshots and deletes old ones.
type Keeper struct {
	cfg  Config
	kick chan struct{}

	mu     sync.Mutex // guards status
	status Status

	taken, failed prometheus.Counter
	last          prometheus.Gauge
}

// New returns a Keeper.
func New(cfg Config) (*Keeper, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	k := &Keeper{
		cfg: cfg.withDefaults(), kick: make(chan struct{}, 1),
		taken:  prometheus.NewCounter(prometheus.CounterOpts{Name: "varve_snapshot_taken_total", Help: "Snapshots of the embedded etcd that were uploaded."}),
		failed: prometheus.NewCounter(prometheus.CounterOpts{Name: "varve_snapshot_failed_total", Help: "Snapshots of the embedded etcd that failed."}),
		last: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "varve_snapshot_last_timestamp_seconds", Help: "Time of the last snapshot of the embedded etcd that was uploaded, since 1970.",
		}),
	}
	if cfg.Registerer != nil {
		for _, c := range []prometheus.Collector{k.taken, k.failed, k.last} {
			if err := cfg.Registerer.Register(c); err != nil {
				return nil, fmt.Errorf("metrics of snapshots: %w", err)
			}
		}
	}
	return k, nil
}

// Kick asks for a snapshot soon: after a roll of the manifest. It never blocks.
func (k *Keeper) Kick() {
	select {
	case k.kick <- struct{}{}:
	default:
	}
}

// Status returns how the snapshots stand.
func (k *Keeper) Status() Status {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.status
}

// Run takes a snapshot MinInterval after the start, every Interval, and when kicked, until ctx ends. Failures are logged and tried again.
func (k *Keeper) Run(ctx context.Context) error {
	wait, failing := k.cfg.MinInterval, false
	for {
		if !k.sleep(ctx, wait) {
			return nil
		}
		info, err := k.Take(ctx)
		switch {
		case err == nil && failing:
			k.cfg.Logger.Info("snapshots of the embedded etcd are taken again", "snapshot", info.Name())
		case err != nil && !failing && ctx.Err() == nil:
			k.cfg.Logger.Warn("no snapshot of the embedded etcd; tried again", "error", err)
		}
		if failing = err != nil; failing {
			wait = k.cfg.MinInterval
			continue
		}
		wait = k.cfg.Interval
	}
}

// sleep waits for d or a kick, but no less than MinInterval; false when ctx ends.
func (k *Keeper) sleep(ctx context.Context, d time.Duration) bool {
	for _, step := range []struct {
		d    time.Duration
		kick <-chan struct{}
	}{{k.cfg.MinInterval, nil}, {d - k.cfg.MinInterval, k.kick}} {
		if step.d <= 0 {
			continue
		}
		timer := time.NewTimer(step.d)
		select {
		case <-timer.C:
		case <-step.kick:
		case <-ctx.Done():
		}
		timer.Stop()
		if ctx.Err() != nil {
			return false
		}
	}
	select { // what asked for this one is answered by it
	case <-k.kick:
	default:
	}
	return true
}

// Take takes a snapshot now, and then deletes those that are too old. Run is not needed for it, but must not take one at the same time.
func (k *Keeper) Take(ctx context.Context) (Info, error) {
	info, err := k.take(ctx)
	if err == nil {
		err = k.prune(ctx)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if info.Size > 0 {
		k.status.Last = info
		k.taken.Inc()
		k.last.Set(float64(info.CreatedMs) / 1000)
	}
	if k.status.Err = err; err != nil {
		k.failed.Inc()
	}
	return info, err
}

// errNotOwner says that the shard has another owner.
var errNotOwner = errors.New("the shard is not owned any more")

// take copies etcd into a file and uploads that. It returns the zero Info if there is a snapshot of this state already.
func (k *Keeper) take(ctx context.Context) (_ Info, err error) {
	name := filepath.Join(k.cfg.SpoolDir, "etcd.snap")
	f, err := k.cfg.FS.Create(name)
	if err != nil {
		return Info{}, fmt.Errorf("take snapshot: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close(), k.cfg.FS.Remove(name)) }()
	info := Info{Cluster: k.cfg.Cluster, Shard: k.cfg.Shard, Epoch: k.cfg.Epoch, CreatedMs: k.cfg.Now().UnixMilli()}
	h, size := sha256.New(), int64(0)
	if info.Revision, err = k.cfg.Source.Snapshot(ctx, io.MultiWriter(io.NewOffsetWriter(f, 0), h, counter{&size})); err != nil {
		return Info{}, fmt.Errorf("take snapshot: %w", err)
	}
	info.Size, info.SHA256 = size, hex.EncodeToString(h.Sum(nil))
	switch _, err := k.cfg.Bucket.Head(ctx, info.infoKey()); {
	case err == nil:
		return Info{}, nil
	case !errors.Is(err, objstore.ErrNotFound):
		return Info{}, fmt.Errorf("take snapshot: %w", err)
	}
	if err := k.upload(ctx, &info, f); err != nil {
		return Info{}, fmt.Errorf("upload snapshot %s: %w", info.Name(), err)
	}
	return info, nil
}

// counter counts what is written to it.
type counter struct{ n *int64 }

func (c counter) Write(p []byte) (int, error) {
	*c.n += int64(len(p))
	return len(p), nil
}

func (k *Keeper) upload(ctx context.Context, info *Info, f vfs.File) error {
	if !k.cfg.Valid() {
		return errNotOwner
	}
	desc, err := encodeInfo(info)
	if err != nil {
		return err
	}
	// Without a description what may be there is none's: replaced.
	if err := k.cfg.Bucket.Put(ctx, info.Key(), io.NewSectionReader(f, 0, info.Size), info.Size, objstore.PutOptions{}); err != nil {
		return err
	}
	return objstore.PutBytes(ctx, k.cfg.Bucket, info.infoKey(), desc, objstore.PutOptions{})
}

// prune deletes snapshots older than the newest Keep whole ones.
func (k *Keeper) prune(ctx context.Context) error {
	all, err := List(ctx, k.cfg.Bucket)
	if err != nil {
		return fmt.Errorf("prune snapshots: %w", err)
	}
	whole := 0
	var descs, data []string
	for i := range all {
		l := &all[i]
		if whole >= k.cfg.Keep {
			descs, data = append(descs, l.infoKey()), append(data, l.Key())
		} else if l.Err == nil {
			whole++
		}
	}
	if len(descs) == 0 {
		return nil
	}
	if !k.cfg.Valid() {
		return fmt.Errorf("prune snapshots: %w", errNotOwner)
	}
	// First all descriptions: what loses the other object only is not listed as whole.
	if err := k.cfg.Bucket.Delete(ctx, descs...); err != nil {
		return fmt.Errorf("prune snapshots: %w", err)
	}
	if err := k.cfg.Bucket.Delete(ctx, data...); err != nil {
		return fmt.Errorf("prune snapshots: %w", err)
	}
	return nil
}
