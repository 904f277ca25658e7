package metadata

import (
	"fmt"
	"log/slog"
	"os" //nolint:depguard // etcd itself writes its directory past the seam
	"strings"

	"go.etcd.io/etcd/etcdutl/v3/snapshot"
)

// RestoringSuffix ends the name of a directory in which an embedded etcd is being restored. When all is done it is renamed.
const RestoringSuffix = ".restoring"

// revisionMargin is how far a restored etcd's revision is above all that anybody remembers: more than etcd can have made since.
const revisionMargin = 1 << 30

// RestoreConfig configures RestoreEmbedded.
type RestoreConfig struct {
	// Dir is where etcd is restored to. Its name ends in RestoringSuffix; what is there is removed.
	Dir string
	// Snapshot is the file with the snapshot, and Revision a revision that it has at least.
	Snapshot string
	Revision int64
	// Above is the highest revision that anybody remembers.
	Above  int64
	Logger *slog.Logger
}

// RestoreEmbedded makes the data directory of an embedded etcd from a snapshot. Its revision is above all that anybody remembers, and its history ends there.
func RestoreEmbedded(cfg RestoreConfig) error {
	if err := DiscardRestored(cfg.Dir); err != nil {
		return err
	}
	bump := uint64(max(0, cfg.Above-cfg.Revision)) + revisionMargin
	ec, err := embedConfig(EmbedConfig{Dir: cfg.Dir}.withDefaults(), os.TempDir())
	if err != nil {
		return fmt.Errorf("restore the embedded etcd: %w", err)
	}
	err = snapshot.NewV3(zapBridge(cfg.Logger, false)).Restore(snapshot.RestoreConfig{
		SnapshotPath: cfg.Snapshot, OutputDataDir: cfg.Dir, Name: ec.Name, PeerURLs: []string{advertisedPeer}, InitialCluster: ec.InitialCluster,
		InitialClusterToken: ec.InitialClusterToken, RevisionBump: bump, MarkCompacted: true,
	})
	if err != nil {
		return fmt.Errorf("restore the embedded etcd in %s: %w", cfg.Dir, err)
	}
	return nil
}

// DiscardRestored removes a directory in which an etcd was being restored.
func DiscardRestored(dir string) error {
	if !strings.HasSuffix(dir, RestoringSuffix) {
		return fmt.Errorf("%w: %s is no directory of a restoration", ErrInvalid, dir)
	}
	if err := os.RemoveAll(dir); err != nil {
		return fmt.Errorf("remove what an earlier restoration left: %w", err)
	}
	return nil
}
