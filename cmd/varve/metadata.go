package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/varvemq/varve/internal/vfs"
	"github.com/varvemq/varve/metadata"
	"github.com/varvemq/varve/tiering/objstore"
	"github.com/varvemq/varve/tiering/restore"
	"github.com/varvemq/varve/tiering/snapshot"
)

// storageFlags say where a broker's storage is, for commands that work on it
// while no broker does.
type storageFlags struct{ dataDir, objectStore string }

func (f *storageFlags) register(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.dataDir, "data-dir", defaultConfig().DataDir, "the broker's data directory, `DIR`")
	cmd.Flags().StringVar(&f.objectStore, "object-store", "", "where sealed segments and snapshots are, as for the server, `URL` (default: the directory objects under data-dir)")
}

// open opens the object store.
func (f *storageFlags) open(ctx context.Context) (objstore.Store, error) {
	url := f.objectStore
	if url == "" {
		url = filepath.Join(f.dataDir, "objects")
	}
	bucket, err := objstore.Open(ctx, url)
	if errors.Is(err, objstore.ErrInvalid) {
		return nil, usagef("--object-store: %w", err)
	}
	return bucket, err
}

func newMetadataCmd(s streams) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "metadata",
		Short: "List and restore the snapshots of the embedded etcd",
		Args:  usageArgs(cobra.NoArgs),
		RunE:  helpRun,
	}
	cmd.AddCommand(newMetadataSnapshotsCmd(s), newMetadataRestoreCmd(s))
	return cmd
}

// snapshotRow is a line of `varve metadata snapshots`.
type snapshotRow struct {
	Revision int64  `json:"revision"`
	Time     string `json:"time,omitempty"`
	Shard    string `json:"shard,omitempty"`
	Epoch    uint64 `json:"epoch"`
	Size     int64  `json:"size"`
	Cluster  string `json:"cluster,omitempty"`
	Error    string `json:"error,omitempty"`
}

func (r snapshotRow) cells() []string {
	return []string{fmt.Sprint(r.Revision), dash(r.Time), dash(r.Shard), fmt.Sprint(r.Epoch), byteSize(r.Size).about(), dash(r.Error)}
}

func newMetadataSnapshotsCmd(s streams) *cobra.Command {
	var where storageFlags
	var out outputFlag
	cmd := &cobra.Command{
		Use:     "snapshots",
		Short:   "List the snapshots of the embedded etcd, the newest first",
		Example: `  varve metadata snapshots --object-store s3://my-bucket/varve`,
		Args:    usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			bucket, err := where.open(cmd.Context())
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, bucket.Close()) }()
			all, err := snapshot.List(cmd.Context(), bucket)
			if err != nil {
				return err
			}
			p := newPrinter(s.out, out, "REVISION", "TIME", "SHARD", "EPOCH", "SIZE", "FAULT")
			for i := range all {
				l := &all[i]
				row := snapshotRow{Revision: l.Revision, Shard: l.Shard, Epoch: l.Epoch, Size: l.Size}
				if l.CreatedMs > 0 {
					row.Time, row.Cluster = formatTime(time.UnixMilli(l.CreatedMs)), l.Cluster.String()
				}
				if l.Err != nil {
					row.Error = l.Err.Error()
				}
				if err := p.print(row); err != nil {
					return err
				}
			}
			return p.flush()
		},
	}
	where.register(cmd)
	out.register(cmd.Flags())
	return cmd
}

const metadataRestoreLong = `Bring the embedded etcd back from a snapshot, after its directory was lost.

A broker with the embedded etcd copies it to the object store every ten minutes.
This command makes DIR/etcd of the newest snapshot, and lists again what was
sealed after it: the segments themselves say what they are. It works offline: no
broker may run on the data directory, and there must be no etcd in it. Nothing in
the object store is changed. It is done when the command ends without an error;
until then nothing is there.

What is in no segment is as it was when the snapshot was made: committed offsets,
groups, the settings of topics. Consumers see some messages again.`

func newMetadataRestoreCmd(s streams) *cobra.Command {
	var where storageFlags
	var out outputFlag
	var revision int64
	var cluster string
	var dryRun bool
	cmd := &cobra.Command{
		Use:   "restore",
		Short: "Bring a lost embedded etcd back from a snapshot",
		Long:  metadataRestoreLong,
		Example: `  varve metadata restore --data-dir /var/lib/varve --object-store s3://my-bucket/varve --dry-run
  varve metadata restore --data-dir /var/lib/varve --object-store s3://my-bucket/varve`,
		Args: usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			if revision < 0 {
				return usagef("--revision: %d is none; varve metadata snapshots lists them", revision)
			}
			bucket, err := where.open(cmd.Context())
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, bucket.Close()) }()
			c := defaultConfig()
			c.LogLevel = "error"
			report, err := restore.Run(cmd.Context(), restore.Config{
				Bucket: bucket, FS: vfs.OS(), DataDir: where.dataDir, ClusterName: cluster, Revision: revision, DryRun: dryRun, Logger: newLogger(s.err, c),
			})
			if err != nil {
				return err
			}
			if out.json() {
				return writeJSONLine(s.out, report)
			}
			return writeRestoreReport(s.out, report, where.dataDir)
		},
	}
	where.register(cmd)
	cmd.Flags().Int64Var(&revision, "revision", 0, "take the snapshot of this revision, not the newest")
	cmd.Flags().StringVar(&cluster, "cluster", defaultConfig().Cluster, "RocketMQ's cluster `NAME`, as for the server")
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "do everything but the last step, and say what would be there")
	out.register(cmd.Flags())
	return cmd
}

// writeRestoreReport says plainly what is there now, what may not be, and what
// the next start needs.
func writeRestoreReport(w io.Writer, r *restore.Report, dir string) error {
	var b strings.Builder
	verb := "Restored"
	if r.DryRun {
		verb = "Would restore"
	}
	fmt.Fprintf(&b, "%s the embedded etcd in %s from the snapshot of %s (revision %d).\n",
		verb, filepath.Join(dir, "etcd"), formatTime(time.UnixMilli(r.Snapshot.CreatedMs)), r.Snapshot.Revision)
	for _, name := range r.Skipped {
		fmt.Fprintf(&b, "A newer snapshot, %s, was not uploaded to its end.\n", name)
	}
	fmt.Fprintf(&b, "Its revision is %d, the next ordinal %d: above all that was handed out.\n", r.Revision, r.NextOrdinal)
	for i := range r.Shards {
		writeRestoredShard(&b, &r.Shards[i])
	}
	if len(r.Topics) > 0 {
		b.WriteString("\nTopics from after the snapshot, as segments tell of them, with default settings (varve topic describe):\n")
		for i := range r.Topics {
			fmt.Fprintf(&b, "  %s\n", r.Topics[i].String())
		}
	}
	b.WriteString("\nAs it was at the snapshot: committed offsets (consumers see messages again), groups, settings of topics,\n" +
		"topics without a sealed message, delayed messages (some may be delivered again).\n\nThe next start:\n")
	for i := range r.Shards {
		sh := &r.Shards[i]
		if sh.Tail == metadata.TailClean {
			fmt.Fprintf(&b, "  shard %s: was released with everything sealed; needs nothing.\n", sh.Shard)
			continue
		}
		fmt.Fprintf(&b, "  shard %s: its newest messages are in the log %s of broker %s. With that log in the data directory they are\n"+
			"    there again; without it they are lost, and the start asks for --accept-tail-loss=%s.\n", sh.Shard, sh.WAL, sh.Broker, sh.Shard)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func writeRestoredShard(b *strings.Builder, sh *restore.Shard) {
	fmt.Fprintf(b, "\nShard %s, last owned under epoch %d, sealed up to LSN %d:\n", sh.Shard, sh.Epoch, sh.LSN)
	if len(sh.Segments) == 0 {
		b.WriteString("  nothing was sealed after the snapshot\n")
	} else {
		messages := uint64(0)
		for _, seg := range sh.Segments {
			messages += seg.Messages
		}
		last := sh.Segments[len(sh.Segments)-1]
		fmt.Fprintf(b, "  %d segments from after the snapshot are listed again: LSN %d to %d, %d messages, the last of %s\n",
			len(sh.Segments), sh.FromLSN, sh.LSN, messages, formatTime(time.UnixMilli(last.MaxStore)))
	}
	if n := len(sh.Orphans); n > 0 {
		fmt.Fprintf(b, "  %d objects from after the snapshot that nothing refers to stay where they are: varve fsck\n", n)
	}
	for _, what := range sh.Damaged {
		fmt.Fprintf(b, "  damaged: %s\n", what)
	}
	for _, key := range sh.Missing {
		fmt.Fprintf(b, "  missing: %s, which the snapshot lists; its messages are lost\n", key)
	}
	if sh.UnsearchedEpochs > 0 {
		fmt.Fprintf(b, "  %d epochs since the snapshot were not looked under: there were too many\n", sh.UnsearchedEpochs)
	}
}
