package broker

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/google/uuid"

	"github.com/varvemq/varve/internal/vfs"
	"github.com/varvemq/varve/metadata"
	"github.com/varvemq/varve/tiering/objstore"
)

// The cluster id is a uuid, minted at the cluster's first start. It stands in etcd, in the bucket and in every data directory; parts that do not
// belong together must not be joined, since metadata that is empty or another cluster's would authorise nonsense.
//
//	etcd     bucket   directory   what happens
//	none     none     none        a new cluster: mint the id, write it to etcd, then the bucket, then the directory
//	id       none     –           the first start ended early, or a new bucket: written if nothing else is in the bucket, else refused
//	id       same     none        a new broker, or a new disk: written
//	none     any id somewhere     refused: etcd is empty, restored from nothing, or another one
//	differs                       refused, naming all three
const (
	clusterIDObject = "cluster-id"
	clusterIDFile   = "cluster-id"
)

// ErrIdentity says that etcd, bucket and data directory belong to different clusters.
var ErrIdentity = errors.New("cluster ids do not match")

func ensureIdentity(ctx context.Context, store *metadata.Store, bucket objstore.Store, fs vfs.FS, dataDir string) (uuid.UUID, error) {
	inDir, err := readIDFile(fs, filepath.Join(dataDir, clusterIDFile))
	if err != nil {
		return uuid.Nil, err
	}
	inBucket, err := readIDObject(ctx, bucket)
	if err != nil {
		return uuid.Nil, err
	}
	inEtcd, err := store.ClusterID(ctx)
	if err != nil && !errors.Is(err, metadata.ErrNoClusterID) {
		return uuid.Nil, fmt.Errorf("read the cluster id from etcd: %w", err)
	}
	fresh := inEtcd == uuid.Nil
	switch {
	case fresh && (inDir != uuid.Nil || inBucket != uuid.Nil):
		return uuid.Nil, fmt.Errorf("%w: etcd has none, the object store %s, the data directory %s: is this the right etcd?", ErrIdentity, inBucket, inDir)
	case fresh:
		if inEtcd, err = store.EnsureClusterID(ctx, uuid.New()); err != nil {
			return uuid.Nil, fmt.Errorf("write the cluster id to etcd: %w", err)
		}
	}
	for _, other := range []uuid.UUID{inDir, inBucket} {
		if other != uuid.Nil && other != inEtcd {
			return uuid.Nil, fmt.Errorf("%w: etcd has %s, the object store %s, the data directory %s", ErrIdentity, inEtcd, inBucket, inDir)
		}
	}
	if inBucket == uuid.Nil {
		if err := writeIDObject(ctx, bucket, inEtcd); err != nil {
			return uuid.Nil, err
		}
	}
	if inDir == uuid.Nil {
		if err := writeIDFile(fs, dataDir, inEtcd); err != nil {
			return uuid.Nil, err
		}
	}
	return inEtcd, nil
}
