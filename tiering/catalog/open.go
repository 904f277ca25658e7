package catalog

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"maps"

	"golang.org/x/sync/errgroup"

	"github.com/varvemq/varve/metadata"
	"github.com/varvemq/varve/tiering/manifest"
	"github.com/varvemq/varve/tiering/objstore"
)

// Open reads what etcd's state refers to: the manifest's root, with one GET, and the queue index of each segment that etcd lists. An object that is not there, or not what it was
// listed as, is an error that names its key.
func Open(ctx context.Context, cfg Config, st *metadata.SealedState) (*Catalog, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	c := newCatalog(cfg.withDefaults())
	maps.Copy(c.trims, st.Trims)
	next := &snapshot{recents: make([]Recent, len(st.Segments))}
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(c.cfg.Concurrency)
	if st.Manifest != nil {
		next.ptr = *st.Manifest
		g.Go(func() (err error) {
			next.root, err = c.readRoot(gctx, st.Manifest)
			return err
		})
	}
	for i := range st.Segments {
		g.Go(func() (err error) {
			next.recents[i], err = c.readOrScan(gctx, &st.Segments[i])
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return nil, fmt.Errorf("open the catalog of shard %s: %w", cfg.Shard, err)
	}
	next.recents = next.withRecents(nil, nil)
	next.table = c.build(next.root, next.recents, nil)
	c.snap.Store(next)
	return c, nil
}

// readRoot reads the manifest's root.
func (c *Catalog) readRoot(ctx context.Context, ptr *metadata.ManifestPointer) (*manifest.Root, error) {
	key := ObjectKey(c.cfg.Shard, ptr.Epoch, ptr.Object, metadata.KindRoot)
	bad := func(format string, args ...any) (*manifest.Root, error) {
		return nil, fmt.Errorf("manifest %s: %w: %s", key, ErrMismatch, fmt.Sprintf(format, args...))
	}
	if ptr.Size > manifest.MaxRootBytes {
		return bad("%d bytes", ptr.Size)
	}
	b, err := objstore.ReadAll(ctx, c.cfg.Bucket, key, ptr.Size)
	switch {
	case errors.Is(err, objstore.ErrInvalid):
		return bad("more than %d bytes", ptr.Size)
	case err != nil:
		return nil, fmt.Errorf("manifest: %w", err)
	case int64(len(b)) != ptr.Size:
		return bad("%d bytes, not %d", len(b), ptr.Size)
	}
	if crc := crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)); crc != ptr.CRC {
		return bad("crc %08x, not %08x", crc, ptr.CRC)
	}
	root, err := manifest.DecodeRoot(b)
	if err != nil {
		return nil, fmt.Errorf("manifest %s: %w", key, err)
	}
	var segments uint64
	for i := range root.Pages {
		segments += uint64(root.Pages[i].Segments)
	}
	switch {
	case root.Cluster != [16]byte(c.cfg.Cluster) || root.Shard != c.cfg.Shard:
		return bad("of cluster %x, shard %q", root.Cluster, root.Shard)
	case root.Epoch != ptr.Epoch || root.Object != ptr.Object || root.EndLSN != ptr.EndLSN || segments != ptr.Segments:
		return bad("it says epoch %d, object %d, end LSN %d, %d segments, not %d, %d, %d, %d", root.Epoch, root.Object, root.EndLSN, segments, ptr.Epoch, ptr.Object, ptr.EndLSN,
			ptr.Segments)
	}
	return root, nil
}

// readRecent reads the queue index of a segment that etcd lists.
func (c *Catalog) readRecent(ctx context.Context, seg *metadata.Segment) (Recent, error) {
	e := EntryOf(seg)
	r, err := c.OpenSegment(ctx, e)
	if err != nil {
		return Recent{}, err
	}
	key := ObjectKey(c.cfg.Shard, e.Epoch, e.Object, metadata.KindSegment)
	if f := r.Footer(); f.FirstLSN != seg.FirstLSN || f.EndLSN != seg.EndLSN || f.Level != seg.Level || f.Messages != seg.Messages {
		return Recent{}, fmt.Errorf("segment %s: %w: LSNs [%d, %d), level %d, %d messages, not [%d, %d), %d, %d", key, ErrMismatch, f.FirstLSN, f.EndLSN, f.Level, f.Messages,
			seg.FirstLSN, seg.EndLSN, seg.Level, seg.Messages)
	}
	rec, err := NewRecent(ctx, *seg, r)
	if err != nil {
		return Recent{}, fmt.Errorf("segment %s: %w", key, err)
	}
	return rec, nil
}
