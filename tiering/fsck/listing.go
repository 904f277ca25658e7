package fsck

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"slices"

	"github.com/google/uuid"

	"github.com/varvemq/varve/metadata"
	"github.com/varvemq/varve/tiering/catalog"
	"github.com/varvemq/varve/tiering/guard"
	"github.com/varvemq/varve/tiering/manifest"
	"github.com/varvemq/varve/tiering/objstore"
)

// listed is an object that etcd or the manifest list.
type listed struct {
	object, epoch    uint64
	size             int64
	firstLSN, endLSN uint64 // of a segment
	crc              uint32
	level            uint8
	kind             uint8 // index into guard.Kinds
	seen             bool  // in the bucket
}

const (
	seg uint8 = iota
	root
	page
)

// listing is all that is listed, by number.
type listing struct {
	objects []listed
	root    *manifest.Root
}

func (l *listed) key(shard string) string {
	return catalog.ObjectKey(shard, l.epoch, l.object, guard.Kinds()[l.kind])
}

// find returns the object of a number, nil if there is none.
func (l *listing) find(object uint64) *listed {
	i, ok := slices.BinarySearchFunc(l.objects, object, func(o listed, object uint64) int { return cmp.Compare(o.object, object) })
	if !ok {
		return nil
	}
	return &l.objects[i]
}

// Listing is what a state of etcd, and the manifest that it names, list.
type Listing struct{ l *listing }

// Has reports whether an object is listed.
func (l Listing) Has(object uint64) bool { return l.l.find(object) != nil }

// UnreadableError says that a root or a page cannot be read, so that it is not known what is listed.
type UnreadableError struct {
	Key string
	Err error
}

func (e *UnreadableError) Error() string { return fmt.Sprintf("%s cannot be read: %v", e.Key, e.Err) }

// Unwrap returns Err.
func (e *UnreadableError) Unwrap() error { return e.Err }

// Load reads what is listed, from etcd's state and the bucket. An [UnreadableError] says that this is not known.
func Load(ctx context.Context, bucket objstore.Store, cluster uuid.UUID, shard string, st *metadata.SealedState) (Listing, error) {
	var unreadable error
	l, err := load(ctx, bucket, cluster, shard, st, func(key string, _ uint64, err error) { unreadable = &UnreadableError{Key: key, Err: err} }, nil)
	if err == nil {
		err = unreadable
	}
	return Listing{l}, err
}

// load reads what is listed. bad is told of roots and pages that cannot be read; each of pages that can, if it is not nil.
func load(
	ctx context.Context, bucket objstore.Store, cluster uuid.UUID, shard string, st *metadata.SealedState,
	bad func(key string, object uint64, err error), each func(ref *manifest.PageRef, p *manifest.Page, entries []manifest.Entry),
) (*listing, error) {
	l := &listing{}
	for i := range st.Segments {
		e := entryOf(&st.Segments[i])
		l.add(&e)
	}
	if m := st.Manifest; m != nil {
		o := listed{object: m.Object, epoch: m.Epoch, size: m.Size, crc: m.CRC, kind: root}
		l.objects = append(l.objects, o)
		var err error
		if l.root, err = readRoot(ctx, bucket, cluster, shard, m); err != nil {
			if outage(err) {
				return nil, err
			}
			bad(o.key(shard), o.object, err)
		}
	}
	if l.root != nil {
		for i := range l.root.Pages {
			ref := &l.root.Pages[i]
			o := listed{object: ref.Object, epoch: ref.Epoch, size: ref.Size, crc: ref.CRC, kind: page}
			l.objects = append(l.objects, o)
			p, entries, err := readPage(ctx, bucket, cluster, shard, ref)
			if err != nil {
				if outage(err) {
					return nil, err
				}
				bad(o.key(shard), o.object, err)
				continue
			}
			for j := range entries {
				l.add(&entries[j])
			}
			if each != nil {
				each(ref, p, entries)
			}
		}
	}
	slices.SortStableFunc(l.objects, func(a, b listed) int { return cmp.Compare(a.object, b.object) })
	return l, nil
}

func (l *listing) add(e *manifest.Entry) {
	l.objects = append(l.objects, listed{
		object: e.Object, epoch: e.Epoch, size: e.Size, crc: e.FooterCRC, firstLSN: e.FirstLSN, endLSN: e.EndLSN, level: e.Level, kind: seg,
	})
}

// errOther says that an intact root or page is another one than is listed.
var errOther = errors.New("it is another one than is listed")

// maxRoot bounds the root that is read.
const maxRoot = 256 << 20

func readRoot(ctx context.Context, bucket objstore.Store, cluster uuid.UUID, shard string, m *metadata.ManifestPointer) (*manifest.Root, error) {
	if m.Size > maxRoot {
		return nil, fmt.Errorf("%w: %d bytes are listed", errOther, m.Size)
	}
	b, err := objstore.ReadAll(ctx, bucket, catalog.ObjectKey(shard, m.Epoch, m.Object, metadata.KindRoot), m.Size)
	if err != nil {
		return nil, err
	}
	if crc := crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)); crc != m.CRC || int64(len(b)) != m.Size {
		return nil, fmt.Errorf("%w: %d bytes with crc %08x, not %d with %08x", errOther, len(b), crc, m.Size, m.CRC)
	}
	r, err := manifest.DecodeRoot(b)
	if err != nil {
		return nil, err
	}
	if r.Cluster != cluster || r.Shard != shard || r.Epoch != m.Epoch || r.Object != m.Object {
		return nil, fmt.Errorf("%w: it says it is object %d, epoch %d of shard %s, cluster %s", errOther, r.Object, r.Epoch, r.Shard, uuid.UUID(r.Cluster))
	}
	return r, nil
}

func readPage(ctx context.Context, bucket objstore.Store, cluster uuid.UUID, shard string, ref *manifest.PageRef) (*manifest.Page, []manifest.Entry, error) {
	src := &objstore.Object{Store: bucket, Key: catalog.ObjectKey(shard, ref.Epoch, ref.Object, metadata.KindPage)}
	p, err := manifest.OpenPage(ctx, src, *ref)
	if err != nil {
		return nil, nil, err
	}
	if id := p.Identity(); id.Cluster != cluster || id.Shard != shard {
		return nil, nil, fmt.Errorf("%w: it says it is of shard %s, cluster %s", errOther, id.Shard, uuid.UUID(id.Cluster))
	}
	entries, err := p.Entries(ctx)
	return p, entries, err
}

// outage reports an error that says nothing about an object: the bucket did not answer.
func outage(err error) bool {
	class := objstore.Class(err)
	if errors.Is(err, objstore.ErrInvalid) { // longer than it may be
		return false
	}
	return class != nil && !errors.Is(err, objstore.ErrNotFound)
}

// load reads what is listed and checks the root and the pages.
func (c *checker) load(ctx context.Context) error {
	var err error
	c.list, err = load(ctx, c.in.Bucket, c.in.Cluster, c.in.Shard, c.st, func(key string, object uint64, err error) {
		c.lost = true
		c.findObject(Error, faultKind(err), key, object, "%v", err)
	}, c.checkPage)
	if err != nil {
		return err
	}
	if c.lost {
		c.find(Warning, KindSkipped, "", "it is not known what a root or a page that cannot be read lists: orphans, gaps and rows of queues were not looked for")
	}
	for i, o := range c.list.objects {
		if i > 0 && c.list.objects[i-1].object == o.object {
			c.findObject(Error, KindListedTwice, o.key(c.in.Shard), o.object, "object %d is listed twice", o.object)
		}
		switch o.kind {
		case seg:
			c.report.Segments++
			c.report.Bytes += o.size
		case page:
			c.report.Pages++
		}
	}
	if m := c.st.Manifest; m != nil && c.list.root != nil && (c.list.root.EndLSN != m.EndLSN || !c.lost && c.segmentsInPages() != m.Segments) {
		o := c.list.find(m.Object)
		c.findObject(Error, KindMismatch, o.key(c.in.Shard), m.Object, "the root ends at LSN %d and its pages have %d segments, etcd says %d and %d",
			c.list.root.EndLSN, c.segmentsInPages(), m.EndLSN, m.Segments)
	}
	return nil
}

func (c *checker) segmentsInPages() uint64 {
	n := uint64(0)
	for i := range c.list.root.Pages {
		n += uint64(c.list.root.Pages[i].Segments)
	}
	return n
}

func faultKind(err error) Kind {
	if errors.Is(err, objstore.ErrNotFound) {
		return KindMissing
	}
	return KindDamaged
}

// checkPage compares a page with what the root says of it.
func (c *checker) checkPage(ref *manifest.PageRef, p *manifest.Page, entries []manifest.Entry) {
	key := catalog.ObjectKey(c.in.Shard, ref.Epoch, ref.Object, metadata.KindPage)
	if got := p.Ref(); got != *ref {
		c.findObject(Error, KindMismatch, key, ref.Object, "the page is %+v, the root says %+v", got, *ref)
	}
	bytes := uint64(0)
	for i := range entries {
		bytes += uint64(entries[i].Size)
	}
	if len(entries) != int(ref.Segments) || bytes != ref.Bytes {
		c.findObject(Error, KindMismatch, key, ref.Object, "the page has %d segments of %d bytes, the root says %d of %d", len(entries), bytes, ref.Segments, ref.Bytes)
	}
	c.tell(1)
}
