package coldread

import (
	"context"
	"hash/crc32"

	"github.com/google/uuid"

	"github.com/varvemq/varve/metadata"
	"github.com/varvemq/varve/tiering/catalog"
	"github.com/varvemq/varve/tiering/manifest"
	"github.com/varvemq/varve/tiering/objstore"
	"github.com/varvemq/varve/tiering/segment"
)

// realCatalog is the catalog itself, with GETs of blocks being counted.
type realCatalog struct {
	*catalog.Catalog

	w *world
}

var _ intoSource = (*objstore.Object)(nil)

// SegmentSource implements Catalog.
func (c realCatalog) SegmentSource(e manifest.Entry) segment.Source {
	inner, ok := c.Catalog.SegmentSource(e).(wholeSource)
	if !ok {
		c.w.tb.Error("the catalog's sources cannot read into memory of the caller's")
	}
	return counted{c.w, e.Object, inner}
}

// openReal puts the first half of the segments into a page of a manifest, the others into etcd, and opens a catalog of them in the world's place.
func (w *world) openReal() {
	w.tb.Helper()
	state := &metadata.SealedState{Trims: map[uint32]uint64{}}
	for i := range w.segs {
		if w.segs[i].paged = i < len(w.segs)/2; !w.segs[i].paged {
			state.Segments = append(state.Segments, w.segs[i].rec.Segment)
		}
	}
	_, ptr := w.writeManifest()
	state.Manifest = &ptr
	if err := again(func() (err error) {
		w.real, err = catalog.Open(w.tb.Context(), catalog.Config{Bucket: w.store, Cluster: uuid.UUID(cluster), Shard: shard, PageCache: 4096, ReaderCache: 20_000}, state)
		return err
	}); err != nil {
		w.tb.Fatal(err)
	}
}

// writeManifest writes a page of the paged segments, and a root that names it.
func (w *world) writeManifest() (*manifest.Root, metadata.ManifestPointer) {
	w.tb.Helper()
	put := func(object uint64, kind string, b []byte) {
		if err := objstore.PutBytes(context.WithoutCancel(w.tb.Context()), w.bucket, catalog.ObjectKey(shard, 1, object, kind), b, objstore.PutOptions{}); err != nil {
			w.tb.Fatal(err)
		}
	}
	var segs []manifest.PageSegment
	rows := map[uint32]manifest.QueueRow{}
	for _, s := range w.segs {
		if !s.paged {
			continue
		}
		segs = append(segs, manifest.PageSegment{Entry: s.Entry, Runs: s.rec.Runs})
		for _, r := range s.rec.Runs {
			row, ok := rows[r.Ordinal]
			if !ok {
				row = manifest.QueueRow{Ordinal: r.Ordinal, First: r.First}
			}
			row.End, row.Bytes = r.End, row.Bytes+r.Bytes
			rows[r.Ordinal] = row
		}
	}
	page := w.next
	w.next += 2
	b, ref, err := manifest.EncodePage(manifest.PageIdentity{Cluster: cluster, Shard: shard, Epoch: 1, Object: page}, segs)
	if err != nil {
		w.tb.Fatal(err)
	}
	put(page, metadata.KindPage, b)
	root := &manifest.Root{Cluster: cluster, Shard: shard, Epoch: 1, Object: page + 1, EndLSN: ref.EndLSN, Pages: []manifest.PageRef{ref}}
	for _, q := range w.queues {
		if row, ok := rows[q.Ordinal]; ok {
			root.Queues = append(root.Queues, row)
		}
	}
	b = root.Encode()
	put(root.Object, metadata.KindRoot, b)
	return root, metadata.ManifestPointer{
		Object: root.Object, Epoch: 1, Size: int64(len(b)), CRC: crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)), EndLSN: root.EndLSN, Segments: uint64(len(segs)),
	}
}

// replaced tells the real catalog of segments that were replaced. The old page goes at once.
func (w *world) replaced(in []listed, out *listed) {
	if w.real == nil {
		return
	}
	if !out.paged {
		var numbers []uint64
		for _, s := range in {
			numbers = append(numbers, s.Object)
		}
		w.real.Replace(numbers, []catalog.Recent{out.rec})
		return
	}
	old, _ := w.real.Root()
	root, ptr := w.writeManifest()
	w.real.SetManifest(root, ptr, nil)
	if err := w.bucket.Delete(context.WithoutCancel(w.tb.Context()), catalog.ObjectKey(shard, 1, old.Pages[0].Object, metadata.KindPage)); err != nil {
		w.tb.Error(err)
	}
}
