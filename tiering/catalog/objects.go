package catalog

import (
	"context"
	"fmt"

	"github.com/varvemq/varve/metadata"
	"github.com/varvemq/varve/tiering/manifest"
	"github.com/varvemq/varve/tiering/objstore"
	"github.com/varvemq/varve/tiering/segment"
)

// SegmentSource returns a listed segment's bytes, by ranged GETs. If the segment is gone, Get's error wraps objstore.ErrNotFound.
func (c *Catalog) SegmentSource(e manifest.Entry) segment.Source {
	return &objstore.Object{Store: c.cfg.Bucket, Key: ObjectKey(c.cfg.Shard, e.Epoch, e.Object, metadata.KindSegment)}
}

// OpenSegment returns a reader of a listed segment. It is shared with others who read the segment. Errors name the key.
func (c *Catalog) OpenSegment(ctx context.Context, e manifest.Entry) (*segment.Reader, error) {
	key := manifest.CacheKey{Object: e.Object, Pos: -1}
	if v, ok := c.readers.Get(key); ok {
		if r, ok := v.(*segment.Reader); ok && r.Footer().CRC == e.FooterCRC {
			return r, nil
		}
	}
	id := segment.Identity{Cluster: c.cfg.Cluster, Shard: c.cfg.Shard, Epoch: e.Epoch, Sequence: e.Object}
	r, err := segment.Open(ctx, c.SegmentSource(e), e.Size, segment.Expect{Identity: &id, FooterCRC: e.FooterCRC})
	if err != nil {
		return nil, fmt.Errorf("segment %s: %w", ObjectKey(c.cfg.Shard, e.Epoch, e.Object, metadata.KindSegment), err)
	}
	c.readers.Put(key, r, int64(r.MemoryBytes()))
	return r, nil
}

// Page opens a page of the manifest. Its parts are kept in the catalog's cache. Errors name the key.
func (c *Catalog) Page(ctx context.Context, ref manifest.PageRef) (*manifest.Page, error) {
	key := ObjectKey(c.cfg.Shard, ref.Epoch, ref.Object, metadata.KindPage)
	p, err := c.pages.OpenPage(ctx, &objstore.Object{Store: c.cfg.Bucket, Key: key}, ref)
	if err != nil {
		return nil, fmt.Errorf("page %s: %w", key, err)
	}
	if id := p.Identity(); id.Cluster != [16]byte(c.cfg.Cluster) || id.Shard != c.cfg.Shard {
		return nil, fmt.Errorf("page %s: %w: of cluster %x, shard %q", key, manifest.ErrIdentity, id.Cluster, id.Shard)
	}
	return p, nil
}
