package maintain

import (
	"context"
	"fmt"
	"hash/crc32"
	"slices"

	"github.com/varvemq/varve/metadata"
	"github.com/varvemq/varve/tiering/catalog"
	"github.com/varvemq/varve/tiering/manifest"
)

// edit is a change of the manifest.
type edit struct {
	why     string
	pages   []pageEdit
	rows    rows
	rolled  []catalog.Recent         // move from etcd into the pages
	garbage []metadata.GarbageObject // segments that the pages have no more
	done    func()                   // after the commit
}

// pageEdit is a page made anew.
type pageEdit struct {
	at   int                    // in the root's pages; len(root.Pages) is a new one
	segs []manifest.PageSegment // none: the page goes
}

// manifestJob is a new root, with new pages, that is made.
type manifestJob struct {
	edit     *edit
	old      *metadata.ManifestPointer // nil: there is none
	next     metadata.ManifestPointer
	root     *manifest.Root
	garbage  []metadata.GarbageObject
	intents  []metadata.Upload
	bytes    [][]byte // of intents
	uploaded int
	done     bool
}

// String names the job.
func (j *manifestJob) String() string {
	return fmt.Sprintf("%s: manifest %d", j.edit.why, j.next.Object)
}

// buildManifest makes the root and the pages of an edit.
func (m *Maintainer) buildManifest(ctx context.Context, e *edit) (_ *manifestJob, err error) {
	root, ptr := m.cfg.Catalog.Root()
	kinds := []string{metadata.KindRoot}
	for i := range e.pages {
		if len(e.pages[i].segs) > 0 {
			kinds = append(kinds, metadata.KindPage)
		}
	}
	ups, err := m.reserve(ctx, kinds...)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			m.unused = append(m.unused, ups...)
		}
	}()
	j := &manifestJob{edit: e, intents: ups, bytes: make([][]byte, len(ups))}
	next := &manifest.Root{
		Cluster: m.cfg.Cluster, Shard: m.cfg.Shard, Epoch: ups[0].Epoch, Object: ups[0].Object, EtcdRevision: uint64(ups[0].Revision),
		Created: m.cfg.Now().UnixMilli(), Queues: e.rows.sorted(),
	}
	if root != nil {
		j.old = &ptr
		next.EndLSN, next.Pages = root.EndLSN, slices.Clone(root.Pages)
		j.garbage = append(j.garbage, metadata.GarbageObject{Object: ptr.Object, Epoch: ptr.Epoch, Kind: metadata.KindRoot, EndLSN: ptr.EndLSN})
	}
	for i := range e.rolled {
		next.EndLSN = max(next.EndLSN, e.rolled[i].EndLSN)
	}
	if err := m.buildPages(j, next); err != nil {
		return nil, err
	}
	j.garbage = append(j.garbage, e.garbage...)
	if err := next.Validate(); err != nil {
		return nil, err
	}
	j.root, j.bytes[0] = next, next.Encode()
	j.next = metadata.ManifestPointer{
		Object: next.Object, Epoch: next.Epoch, Size: int64(len(j.bytes[0])), CRC: crc32.Checksum(j.bytes[0], crc32.MakeTable(crc32.Castagnoli)), EndLSN: next.EndLSN,
	}
	for i := range next.Pages {
		j.next.Segments += uint64(next.Pages[i].Segments)
	}
	return j, nil
}

// buildPages makes an edit's pages and gives the root their names. Those that they replace are garbage.
func (m *Maintainer) buildPages(j *manifestJob, next *manifest.Root) error {
	at := 1
	gone := map[uint64]bool{}
	for i := range j.edit.pages {
		p := &j.edit.pages[i]
		if p.at < len(next.Pages) {
			old := &next.Pages[p.at]
			j.garbage = append(j.garbage, metadata.GarbageObject{
				Object: old.Object, Epoch: old.Epoch, Kind: metadata.KindPage, FirstLSN: old.FirstLSN, EndLSN: old.EndLSN,
			})
			if len(p.segs) == 0 {
				gone[old.Object] = true
				continue
			}
		}
		u := &j.intents[at]
		id := manifest.PageIdentity{Cluster: m.cfg.Cluster, Shard: m.cfg.Shard, Epoch: u.Epoch, Object: u.Object}
		b, ref, err := manifest.EncodePage(id, p.segs)
		if err != nil {
			return err
		}
		j.bytes[at] = b
		at++
		if p.at < len(next.Pages) {
			next.Pages[p.at] = ref
		} else {
			next.Pages = append(next.Pages, ref)
		}
	}
	next.Pages = slices.DeleteFunc(next.Pages, func(p manifest.PageRef) bool { return gone[p.Object] })
	return nil
}

func (j *manifestJob) run(ctx context.Context, m *Maintainer) error {
	for ; j.uploaded < len(j.intents); j.uploaded++ {
		if err := m.putBytes(ctx, j.intents[j.uploaded], j.bytes[j.uploaded]); err != nil {
			return err
		}
	}
	if j.done {
		return nil
	}
	rolled, objects := make([]metadata.Segment, len(j.edit.rolled)), make([]uint64, len(j.edit.rolled))
	for i := range j.edit.rolled {
		rolled[i], objects[i] = j.edit.rolled[i].Segment, j.edit.rolled[i].Object
	}
	intents := make([]uint64, len(j.intents))
	for i := range j.intents {
		intents[i] = j.intents[i].Object
	}
	ptr, err := m.cfg.Own.CommitManifest(ctx, j.old, j.next, rolled, intents, j.garbage, j.edit.why)
	if err != nil {
		return err
	}
	j.done = true
	m.cfg.Catalog.SetManifest(j.root, ptr, objects)
	if m.cfg.OnRoll != nil {
		m.cfg.OnRoll()
	}
	if j.edit.done != nil {
		j.edit.done()
	}
	m.cfg.Logger.Debug("the manifest is replaced", "shard", m.cfg.Shard, "why", j.edit.why, "object", ptr.Object, "pages", len(j.root.Pages), "segments", ptr.Segments)
	return nil
}

// change makes an edit of the manifest.
func (m *Maintainer) change(ctx context.Context, e *edit) error {
	j, err := m.buildManifest(ctx, e)
	if err != nil {
		return fmt.Errorf("%s: %w", e.why, err)
	}
	return m.start(ctx, j)
}
