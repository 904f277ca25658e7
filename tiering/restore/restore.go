package restore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"path/filepath"
	"time"

	"github.com/google/uuid"

	"github.com/varvemq/varve/internal/vfs"
	"github.com/varvemq/varve/metadata"
	"github.com/varvemq/varve/tiering/guard"
	"github.com/varvemq/varve/tiering/objstore"
	"github.com/varvemq/varve/tiering/snapshot"
)

var (
	// ErrExists says that the data directory has an etcd.
	ErrExists = errors.New("restore: there is an etcd already")
	// ErrCluster says that data directory, bucket or snapshot belong to different clusters, or to none.
	ErrCluster = errors.New("restore: cluster ids do not match")
	// ErrNoSnapshot says that there is no snapshot, or not the one asked for.
	ErrNoSnapshot = errors.New("restore: no such snapshot")
)

// etcdDir is the embedded etcd's directory in a data directory.
const etcdDir = "etcd"

// Config says what to restore, and where.
type Config struct {
	Bucket objstore.Store
	// FS is the operating system's: etcd writes its directory past the seam.
	FS      vfs.FS
	DataDir string
	// ClusterName is RocketMQ's cluster name, which the keys begin with. Default: that of metadata.StoreConfig.
	ClusterName string
	// Revision chooses the snapshot by the revision in its name. Default: the newest.
	Revision int64
	// DryRun does everything but the last step, and removes what it made.
	DryRun bool
	Logger *slog.Logger
	Now    func() time.Time
	// UnsafeNoFsync trades safety for speed. Tests only.
	UnsafeNoFsync bool
}

// Report says what was done.
type Report struct {
	Snapshot snapshot.Info `json:"snapshot"`
	// Skipped are newer snapshots whose upload never ended.
	Skipped []string `json:"skipped,omitempty"`
	// Revision is that of the restored etcd.
	Revision int64 `json:"revision"`
	// Shards are by name, Topics those that were made again, by name.
	Shards []Shard `json:"shards"`
	Topics []Topic `json:"topics,omitempty"`
	// NextOrdinal is the lowest ordinal that was never handed out.
	NextOrdinal uint32 `json:"next_ordinal"`
	DryRun      bool   `json:"dry_run"`
}

// Run restores.
func Run(ctx context.Context, cfg Config) (_ *Report, err error) {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if err := cfg.FS.MkdirAll(cfg.DataDir); err != nil {
		return nil, fmt.Errorf("restore: data directory %s: %w", cfg.DataDir, err)
	}
	lock, err := cfg.FS.Lock(filepath.Join(cfg.DataDir, "lock"))
	if err != nil {
		return nil, fmt.Errorf("restore: data directory %s: %w", cfg.DataDir, err)
	}
	defer func() { err = errors.Join(err, lock.Close()) }()
	r := &restorer{cfg: cfg, dir: filepath.Join(cfg.DataDir, etcdDir+metadata.RestoringSuffix), report: &Report{DryRun: cfg.DryRun}}
	if err := r.run(ctx); err != nil {
		return nil, errors.Join(err, metadata.DiscardRestored(r.dir))
	}
	if cfg.DryRun {
		return r.report, metadata.DiscardRestored(r.dir)
	}
	return r.report, r.finish()
}

// restorer is a restoration.
type restorer struct {
	cfg        Config
	dir        string // where etcd is being restored
	cluster    uuid.UUID
	remembered *guard.Remembered
	marks      map[string]*guard.Epoch // by shard, the newest
	store      *metadata.Store
	report     *Report
}

func (r *restorer) run(ctx context.Context) error {
	if err := r.refuseEtcd(); err != nil {
		return err
	}
	if err := r.identify(ctx); err != nil {
		return err
	}
	info, err := r.choose(ctx)
	if err != nil {
		return err
	}
	r.report.Snapshot = info
	if err := r.readMarks(ctx); err != nil {
		return err
	}
	if err := r.restoreFrom(ctx, info); err != nil {
		return err
	}
	return r.withEtcd(ctx, r.roll)
}

// refuseEtcd refuses a data directory that has an etcd.
func (r *restorer) refuseEtcd() error {
	dir := filepath.Join(r.cfg.DataDir, etcdDir)
	names, err := r.cfg.FS.List(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("restore: %w", err)
	}
	if len(names) > 0 {
		return fmt.Errorf("%w: %s has %s; if it is to be replaced, move it away first, and keep it", ErrExists, dir, names[0])
	}
	return nil
}

// identify learns the cluster's id from the bucket, and compares it with the data directory's.
func (r *restorer) identify(ctx context.Context) error {
	const name, limit = "cluster-id", 128
	b, err := objstore.ReadAll(ctx, r.cfg.Bucket, name, limit)
	if errors.Is(err, objstore.ErrNotFound) {
		return fmt.Errorf("%w: %s has none: is it the right bucket?", ErrCluster, r.cfg.Bucket.URL())
	}
	if err != nil {
		return fmt.Errorf("restore: %w", err)
	}
	if r.cluster, err = parseID(b); err != nil {
		return fmt.Errorf("%w: in %s: %w", ErrCluster, r.cfg.Bucket.URL(), err)
	}
	f, err := r.cfg.FS.Open(filepath.Join(r.cfg.DataDir, name))
	if err == nil {
		b, err = io.ReadAll(io.NewSectionReader(f, 0, limit))
		if err = errors.Join(err, f.Close()); err == nil {
			var inDir uuid.UUID
			if inDir, err = parseID(b); err == nil && inDir != r.cluster {
				err = fmt.Errorf("%w: %s has %s, the data directory %s", ErrCluster, r.cfg.Bucket.URL(), r.cluster, inDir)
			}
		}
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("restore: %w", err)
	}
	r.remembered, err = guard.Recall(r.cfg.FS, r.cfg.DataDir)
	if err == nil && r.remembered != nil && r.remembered.Cluster != r.cluster {
		err = fmt.Errorf("%w: %s has %s, the data directory remembers %s", ErrCluster, r.cfg.Bucket.URL(), r.cluster, r.remembered.Cluster)
	}
	return err
}

// choose returns the snapshot asked for. One that is damaged is refused, and the next older one named: its user shall know how much more is lost.
func (r *restorer) choose(ctx context.Context) (snapshot.Info, error) {
	all, err := snapshot.List(ctx, r.cfg.Bucket)
	if err != nil {
		return snapshot.Info{}, err
	}
	for i := range all {
		l := &all[i]
		switch {
		case r.cfg.Revision != 0 && l.Revision != r.cfg.Revision:
			continue
		case r.cfg.Revision == 0 && errors.Is(l.Err, snapshot.ErrUnfinished):
			r.report.Skipped = append(r.report.Skipped, l.Name())
			continue
		case l.Err != nil:
			return snapshot.Info{}, r.refuse(all, l.Info, l.Err)
		case l.Cluster != r.cluster:
			return snapshot.Info{}, fmt.Errorf("%w: %s has %s, the snapshot %s is of %s", ErrCluster, r.cfg.Bucket.URL(), r.cluster, l.Name(), l.Cluster)
		}
		return l.Info, nil
	}
	if r.cfg.Revision != 0 {
		return snapshot.Info{}, fmt.Errorf("%w: of revision %d in %s: see `varve metadata snapshots`", ErrNoSnapshot, r.cfg.Revision, r.cfg.Bucket.URL())
	}
	return snapshot.Info{}, fmt.Errorf("%w: %s has none", ErrNoSnapshot, r.cfg.Bucket.URL())
}

// refuse says which snapshot can be taken instead of one that is damaged.
func (r *restorer) refuse(all []snapshot.Listed, bad snapshot.Info, err error) error {
	for i := range all {
		if l := &all[i]; l.Revision < bad.Revision && l.Err == nil {
			return fmt.Errorf("snapshot %s: %w. The next older one is of %s: take it with --revision %d",
				bad.Name(), err, time.UnixMilli(l.CreatedMs).UTC().Format(time.RFC3339), l.Revision)
		}
	}
	return fmt.Errorf("snapshot %s: %w. There is no older one", bad.Name(), err)
}

// readMarks reads the newest epoch object of each shard.
func (r *restorer) readMarks(ctx context.Context) error {
	shards, err := guard.MarkedShards(ctx, r.cfg.Bucket)
	if err != nil {
		return err
	}
	r.marks = map[string]*guard.Epoch{}
	for shard, epochs := range shards {
		mark, err := guard.ReadEpoch(ctx, r.cfg.Bucket, shard, epochs[len(epochs)-1])
		if err != nil {
			return err
		}
		if mark.Cluster != r.cluster {
			return fmt.Errorf("%w: %s has %s, its %s is of %s", ErrCluster, r.cfg.Bucket.URL(), r.cluster, guard.EpochKey(shard, mark.Epoch), mark.Cluster)
		}
		r.marks[shard] = mark
	}
	return nil
}

// restoreFrom fetches the snapshot and makes etcd's directory of it.
func (r *restorer) restoreFrom(ctx context.Context, info snapshot.Info) (err error) {
	name := filepath.Join(r.cfg.DataDir, "restore.snap")
	f, err := r.cfg.FS.Create(name)
	if err != nil {
		return fmt.Errorf("restore: %w", err)
	}
	defer func() { err = errors.Join(err, r.cfg.FS.Remove(name)) }()
	err = snapshot.Fetch(ctx, r.cfg.Bucket, info, io.NewOffsetWriter(f, 0))
	if err = errors.Join(err, f.Close()); err != nil {
		if !errors.Is(err, snapshot.ErrDamaged) {
			return err
		}
		all, lerr := snapshot.List(ctx, r.cfg.Bucket)
		return errors.Join(r.refuse(all, info, err), lerr)
	}
	above := info.Revision
	for _, m := range r.marks {
		above = max(above, m.Revision)
	}
	if r.remembered != nil {
		above = max(above, r.remembered.Revision)
	}
	return metadata.RestoreEmbedded(metadata.RestoreConfig{Dir: r.dir, Snapshot: name, Revision: info.Revision, Above: above, Logger: r.cfg.Logger})
}

// withEtcd calls f with the restored etcd running.
func (r *restorer) withEtcd(ctx context.Context, f func(context.Context) error) (err error) {
	e, err := metadata.OpenEmbedded(ctx, metadata.EmbedConfig{Dir: r.dir, Logger: r.cfg.Logger, UnsafeNoFsync: r.cfg.UnsafeNoFsync})
	if err != nil {
		return fmt.Errorf("restore: %w", err)
	}
	defer func() { err = errors.Join(err, e.Close()) }()
	if r.store, err = e.Open(ctx, metadata.StoreConfig{Cluster: r.cfg.ClusterName, Logger: r.cfg.Logger}); err != nil {
		return fmt.Errorf("restore: %w", err)
	}
	defer func() { err = errors.Join(err, r.store.Close()) }()
	id, err := r.store.ClusterID(ctx)
	if err != nil {
		return fmt.Errorf("restore: the snapshot %s: %w (is it the right --cluster?)", r.report.Snapshot.Name(), err)
	}
	if id != r.cluster {
		return fmt.Errorf("%w: %s has %s, the snapshot %s", ErrCluster, r.cfg.Bucket.URL(), r.cluster, id)
	}
	return f(ctx)
}

// finish puts the restored etcd in its place.
func (r *restorer) finish() error {
	for _, dir := range []string{"member/snap", "member/wal", "member", "."} {
		if err := r.cfg.FS.SyncDir(filepath.Join(r.dir, filepath.FromSlash(dir))); err != nil {
			return fmt.Errorf("restore: %w", err)
		}
	}
	to := filepath.Join(r.cfg.DataDir, etcdDir)
	if err := r.cfg.FS.Remove(to); err != nil && !errors.Is(err, fs.ErrNotExist) { // it is empty
		return fmt.Errorf("restore: %w", err)
	}
	if err := r.cfg.FS.Rename(r.dir, to); err != nil {
		return fmt.Errorf("restore: %w", err)
	}
	if err := r.cfg.FS.SyncDir(r.cfg.DataDir); err != nil {
		return fmt.Errorf("restore: %w", err)
	}
	return nil
}

func parseID(b []byte) (uuid.UUID, error) { return uuid.ParseBytes(bytes.TrimSpace(b)) }
