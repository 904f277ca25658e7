package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/varvemq/varve/internal/vfs"
	"github.com/varvemq/varve/metadata"
	"github.com/varvemq/varve/tiering/objstore"
	"github.com/varvemq/varve/tiering/restore"
	"github.com/varvemq/varve/tiering/snapshot"
)

// lostEtcd makes a data directory whose etcd was lost after a snapshot.
func lostEtcd(t *testing.T) (dir string, info snapshot.Info) {
	t.Helper()
	ctx := t.Context()
	dir = t.TempDir()
	bucket, err := objstore.Open(ctx, filepath.Join(dir, "objects"))
	if err != nil {
		t.Fatal(err)
	}
	id := uuid.New()
	if err := objstore.PutBytes(ctx, bucket, "cluster-id", []byte(id.String()), objstore.PutOptions{}); err != nil {
		t.Fatal(err)
	}
	e, err := metadata.OpenEmbedded(ctx, metadata.EmbedConfig{Dir: filepath.Join(dir, "etcd"), UnsafeNoFsync: true})
	if err != nil {
		t.Fatal(err)
	}
	store, err := e.Open(ctx, metadata.StoreConfig{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := store.EnsureClusterID(ctx, id); err != nil {
		t.Fatal(err)
	}
	own, err := store.AcquireShard(ctx, metadata.ShardClaim{Shard: "broker-a", Broker: "b", WALUUID: "the-log", LeaseExempt: true})
	if err != nil {
		t.Fatal(err)
	}
	k, err := snapshot.New(snapshot.Config{
		Source: e, Bucket: bucket, Cluster: id, Shard: "broker-a", Epoch: own.Epoch(), FS: vfs.OS(), SpoolDir: t.TempDir(), Valid: func() bool { return true },
	})
	if err != nil {
		t.Fatal(err)
	}
	if info, err = k.Take(ctx); err != nil {
		t.Fatal(err)
	}
	for _, end := range []func() error{store.Close, e.Close, bucket.Close, func() error { return os.RemoveAll(filepath.Join(dir, "etcd")) }} {
		if err := end(); err != nil {
			t.Fatal(err)
		}
	}
	return dir, info
}

func TestMetadataRestore(t *testing.T) {
	t.Parallel()
	dir, info := lostEtcd(t)
	at := "--data-dir=" + dir
	rows := jsonLines[snapshotRow](t, "", "metadata", "snapshots", at)
	if len(rows) != 1 || rows[0].Revision != info.Revision || rows[0].Epoch != 1 || rows[0].Cluster != info.Cluster.String() || rows[0].Error != "" {
		t.Errorf("%+v", rows)
	}
	if code, out, stderr := runVarve(t, "", "metadata", "snapshots", at); code != exitOK || !strings.Contains(out, "broker-a") {
		t.Errorf("%d: %s%s", code, out, stderr)
	}
	code, out, stderr := runVarve(t, "", "metadata", "restore", at, "--dry-run")
	for _, words := range []string{"Would restore", "nothing was sealed after the snapshot", "the log the-log of broker b", "--accept-tail-loss=broker-a"} {
		if code != exitOK || !strings.Contains(out, words) {
			t.Errorf("%d: %q is not in\n%s%s", code, words, out, stderr)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "etcd")); !os.IsNotExist(err) {
		t.Errorf("a dry run: %v", err)
	}
	reports := jsonLines[restore.Report](t, "", "metadata", "restore", at)
	if len(reports) != 1 || reports[0].Snapshot != info || len(reports[0].Shards) != 1 || reports[0].Shards[0].WAL != "the-log" || reports[0].DryRun {
		t.Errorf("%+v", reports)
	}
	if code, _, stderr := runVarve(t, "", "metadata", "restore", at); code != exitFailed || !strings.Contains(stderr, "there is an etcd already") {
		t.Errorf("a second time: %d: %s", code, stderr)
	}
}

func TestMetadataUsage(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{{"restore", "--revision=-1"}, {"restore", "extra"}, {"snapshots", "--object-store", "ftp://x"}} {
		code, _, stderr := runVarve(t, "", append([]string{"metadata"}, append(args, "--data-dir", t.TempDir())...)...)
		if code != exitUsage {
			t.Errorf("%v: %d: %s", args, code, stderr)
		}
	}
	if code, _, stderr := runVarve(t, "", "metadata", "restore", "--data-dir", t.TempDir()); code != exitFailed || !strings.Contains(stderr, "right bucket") {
		t.Errorf("an empty directory: %d: %s", code, stderr)
	}
}
