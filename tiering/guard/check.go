package guard

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"path/filepath"

	"github.com/google/uuid"
	"golang.org/x/sync/errgroup"

	"github.com/varvemq/varve/metadata"
	"github.com/varvemq/varve/tiering/catalog"
	"github.com/varvemq/varve/tiering/objstore"
	"github.com/varvemq/varve/tiering/segment"
)

const (
	// ProbeObjects is how many object numbers from head.NextObject on must not be there.
	ProbeObjects = 32
	// probeAtOnce bounds the requests under way.
	probeAtOnce = 16
	// maxRoot bounds the root that is read.
	maxRoot = 256 << 20
)

// Kinds are the kinds of numbered objects.
func Kinds() []string { return []string{metadata.KindSegment, metadata.KindRoot, metadata.KindPage} }

// Input is what Check compares.
type Input struct {
	Bucket objstore.Store
	// Cluster is the cluster's id, from step 1.
	Cluster uuid.UUID
	Shard   string
	// ShardEpoch and ShardClaim are those of etcd's record of the shard, 0 and "" without one.
	ShardEpoch uint64
	ShardClaim string
	State      *metadata.SealedState
	// EtcdRevision is etcd's, read before or with State.
	EtcdRevision int64
	// Remembered is what Recall returned, and DataDir names its directory in errors.
	Remembered *Remembered
	DataDir    string
}

// CheckFresh is [Check] of what read reads. A fault is looked at again with all read anew: an owner that lives may have written in between.
func CheckFresh(ctx context.Context, read func(context.Context) (Input, error)) error {
	for again := false; ; again = true {
		in, err := read(ctx)
		if err != nil {
			return err
		}
		err = Check(ctx, in)
		var stale *StaleError
		var missing *MissingError
		if err == nil || again || !errors.As(err, &stale) && !errors.As(err, &missing) {
			return err
		}
	}
}

// Check reports whether etcd is older than what others remember ([StaleError]), or lists as newest what is not in the bucket ([MissingError]). It is called before the shard is
// acquired, and changes nothing.
func Check(ctx context.Context, in Input) error {
	if err := in.remembered(); err != nil {
		return err
	}
	newest, err := in.epochs(ctx)
	if err != nil {
		return err
	}
	if newest > 0 {
		if err := in.probe(ctx, newest); err != nil {
			return err
		}
	}
	if err := in.newestSegment(ctx); err != nil {
		return err
	}
	return in.root(ctx)
}

// remembered compares with the data directory.
func (in *Input) remembered() error {
	r := in.Remembered
	if r == nil {
		return nil
	}
	where := filepath.Join(in.DataDir, RememberedFile)
	if in.Cluster != uuid.Nil && r.Cluster != in.Cluster {
		return fmt.Errorf("%w: %s is of cluster %s, this one is %s", ErrCluster, where, r.Cluster, in.Cluster)
	}
	if in.EtcdRevision < r.Revision {
		return &StaleError{Stale: StaleRevision, Shard: in.Shard, Where: where, Seen: uint64(r.Revision), Etcd: uint64(in.EtcdRevision)}
	}
	if r.Shard == in.Shard && in.ShardEpoch < r.Epoch {
		return &StaleError{Stale: StaleEpoch, Shard: in.Shard, Where: where, Seen: r.Epoch, Etcd: in.ShardEpoch}
	}
	return nil
}

// epochs compares with the epoch objects, and returns the newest marked epoch, 0 without one.
func (in *Input) epochs(ctx context.Context) (uint64, error) {
	epochs, err := ListEpochs(ctx, in.Bucket, in.Shard)
	if err != nil || len(epochs) == 0 {
		return 0, err
	}
	newest := epochs[len(epochs)-1]
	where := EpochKey(in.Shard, newest) + " in " + in.Bucket.URL()
	mark, err := ReadEpoch(ctx, in.Bucket, in.Shard, newest)
	if err != nil {
		return 0, err
	}
	if in.Cluster != uuid.Nil && mark.Cluster != in.Cluster {
		return 0, fmt.Errorf("%w: %s is of cluster %s, this one is %s", ErrCluster, where, mark.Cluster, in.Cluster)
	}
	if newest > in.ShardEpoch {
		return 0, &StaleError{Stale: StaleEpoch, Shard: in.Shard, Where: where, Seen: newest, Etcd: in.ShardEpoch}
	}
	if newest == in.ShardEpoch && mark.Claim != in.ShardClaim {
		return 0, &StaleError{Stale: StaleClaim, Shard: in.Shard, Where: where, Seen: newest, Etcd: in.ShardEpoch}
	}
	if in.EtcdRevision < mark.Revision {
		return 0, &StaleError{Stale: StaleRevision, Shard: in.Shard, Where: where, Seen: uint64(mark.Revision), Etcd: uint64(in.EtcdRevision)}
	}
	return newest, nil
}

// probe looks for objects of the newest epoch with numbers that etcd has not handed out. An older epoch's cannot be: whoever acquires the shard afterwards reads etcd first.
func (in *Input) probe(ctx context.Context, epoch uint64) error {
	next := max(1, in.State.Head.NextObject)
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(probeAtOnce)
	for object := next; object < next+ProbeObjects; object++ {
		for _, kind := range Kinds() {
			g.Go(func() error {
				key := catalog.ObjectKey(in.Shard, epoch, object, kind)
				_, err := in.Bucket.Head(gctx, key)
				switch {
				case errors.Is(err, objstore.ErrNotFound):
					return nil
				case err != nil:
					return fmt.Errorf("probe the objects of shard %s: %w", in.Shard, err)
				}
				return &StaleError{Stale: StaleObject, Shard: in.Shard, Where: key + " in " + in.Bucket.URL(), Seen: object, Etcd: next}
			})
		}
	}
	return g.Wait()
}

// newestSegment opens the newest segment that etcd lists.
func (in *Input) newestSegment(ctx context.Context) error {
	var newest *metadata.Segment
	for i := range in.State.Segments {
		if s := &in.State.Segments[i]; newest == nil || s.EndLSN > newest.EndLSN || s.EndLSN == newest.EndLSN && s.Object > newest.Object {
			newest = s
		}
	}
	if newest == nil {
		return nil
	}
	key := catalog.ObjectKey(in.Shard, newest.Epoch, newest.Object, metadata.KindSegment)
	id := segment.Identity{Cluster: in.Cluster, Shard: in.Shard, Epoch: newest.Epoch, Sequence: newest.Object}
	expect := segment.Expect{FooterCRC: newest.FooterCRC}
	if in.Cluster != uuid.Nil {
		expect.Identity = &id
	}
	info, err := in.Bucket.Head(ctx, key)
	if err == nil && info.Size != newest.Size {
		err = fmt.Errorf("%w: it has %d bytes, not %d", segment.ErrIdentity, info.Size, newest.Size)
	}
	if err == nil {
		_, err = segment.Open(ctx, &objstore.Object{Store: in.Bucket, Key: key}, newest.Size, expect)
	}
	return in.missing(metadata.KindSegment, key, err)
}

// root reads the manifest's root.
func (in *Input) root(ctx context.Context) error {
	m := in.State.Manifest
	if m == nil {
		return nil
	}
	key := catalog.ObjectKey(in.Shard, m.Epoch, m.Object, metadata.KindRoot)
	if m.Size < 0 || m.Size > maxRoot {
		return fmt.Errorf("manifest of shard %s: %d bytes: %w", in.Shard, m.Size, ErrCorrupt)
	}
	info, err := in.Bucket.Head(ctx, key)
	if err == nil && info.Size != m.Size {
		err = fmt.Errorf("%w: it has %d bytes, not %d", ErrCorrupt, info.Size, m.Size)
	}
	if err == nil {
		var b []byte
		if b, err = objstore.ReadAll(ctx, in.Bucket, key, m.Size); err == nil {
			if got := crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)); got != m.CRC {
				err = fmt.Errorf("%w: crc %08x, not %08x", ErrCorrupt, got, m.CRC)
			}
		}
	}
	return in.missing(metadata.KindRoot, key, err)
}

// missing tells an object that is not there, or is another one, from a bucket that does not answer.
func (in *Input) missing(kind, key string, err error) error {
	var corrupt *segment.CorruptError
	switch {
	case err == nil:
		return nil
	case errors.Is(err, objstore.ErrNotFound), errors.Is(err, ErrCorrupt), errors.As(err, &corrupt),
		errors.Is(err, segment.ErrIdentity), errors.Is(err, segment.ErrTruncated), errors.Is(err, segment.ErrVersion):
		return &MissingError{Kind: kind, Key: key, Bucket: in.Bucket.URL(), Err: err}
	default:
		return fmt.Errorf("check the newest %s of shard %s: %w", kind, in.Shard, err)
	}
}
