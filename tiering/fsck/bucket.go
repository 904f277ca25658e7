package fsck

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/varvemq/varve/tiering/catalog"
	"github.com/varvemq/varve/tiering/guard"
	"github.com/varvemq/varve/tiering/objstore"
	"github.com/varvemq/varve/tiering/snapshot"
)

// checkRecords compares intents and records of garbage with what is listed.
func (c *checker) checkRecords() {
	for i := range c.st.Uploads {
		u := &c.st.Uploads[i]
		if o := c.list.find(u.Object); o != nil {
			c.findObject(Error, KindIntentListed, o.key(c.in.Shard), u.Object, "the object is listed, but there is an intent of it: a later epoch would take it for given up")
		}
	}
	for i := range c.st.Garbage {
		for _, g := range c.st.Garbage[i].Objects {
			c.report.Pending++
			if o := c.list.find(g.Object); o != nil {
				c.findObject(Error, KindGarbageListed, o.key(c.in.Shard), g.Object, "the object is listed, but on record as garbage: %s", c.st.Garbage[i].Why)
			}
		}
	}
}

// checkBucket compares what is in the bucket with what is listed.
func (c *checker) checkBucket(ctx context.Context) error {
	pending := c.pending()
	for info, err := range c.in.Bucket.List(ctx, "") {
		if err != nil {
			return err
		}
		k, ok := catalog.ParseObjectKey(info.Key)
		if !ok || !slices.Contains(guard.Kinds(), k.Kind) {
			c.checkOther(info.Key)
			continue
		}
		if k.Shard == c.in.Shard {
			c.checkObject(info, &k, pending)
		}
	}
	for i := range c.list.objects {
		o := &c.list.objects[i]
		if o.seen {
			continue
		}
		// A listing is no proof of absence.
		info, err := c.in.Bucket.Head(ctx, o.key(c.in.Shard))
		switch {
		case err == nil:
			o.seen = true
			c.checkSize(o, info.Size)
		case !errors.Is(err, objstore.ErrNotFound):
			return err
		case o.kind == seg: // a root's and a page's absence were found when they were read
			c.findObject(Error, KindMissing, o.key(c.in.Shard), o.object, "LSN [%d, %d) is listed, but the object is not there", o.firstLSN, o.endLSN)
		}
	}
	return nil
}

// pending returns the objects that intents and records of garbage name.
func (c *checker) pending() map[uint64]bool {
	out := map[uint64]bool{}
	for i := range c.st.Uploads {
		out[c.st.Uploads[i].Object] = true
	}
	for i := range c.st.Garbage {
		for _, g := range c.st.Garbage[i].Objects {
			out[g.Object] = false
		}
	}
	return out
}

// checkObject looks at an object of the shard.
func (c *checker) checkObject(info objstore.Info, k *catalog.ParsedKey, pending map[uint64]bool) {
	if o := c.list.find(k.Object); o != nil && o.epoch == k.Epoch && guard.Kinds()[o.kind] == k.Kind {
		o.seen = true
		c.checkSize(o, info.Size)
		return
	}
	intent, known := pending[k.Object]
	switch {
	case k.Epoch > c.in.Epoch:
		c.find(Error, KindStranger, info.Key, "it is of epoch %d, but the shard is owned under %d: does another cluster write here?", k.Epoch, c.in.Epoch)
	case k.Object >= c.st.Head.NextObject && k.Epoch == c.in.Epoch: // written since etcd was read
	case k.Object >= c.st.Head.NextObject:
		c.find(Error, KindStranger, info.Key, "number %d was never handed out, %d is next: is etcd older than the bucket?", k.Object, c.st.Head.NextObject)
	case known && intent:
		if k.Epoch < c.in.Epoch {
			c.find(Info, KindIntent, info.Key, "it was never committed; it will be deleted")
		}
	case known || c.lost:
	case k.Epoch == c.in.Epoch:
		c.find(Info, KindOrphan, info.Key, "%d bytes that nothing refers to, of the present epoch: after the next restart it can be deleted", info.Size)
	default:
		c.find(Warning, KindOrphan, info.Key, "%d bytes that nothing refers to", info.Size)
		if len(c.report.Orphans) < maxFindings {
			c.report.Orphans = append(c.report.Orphans, Orphan{Key: info.Key, Kind: k.Kind, Epoch: k.Epoch, Object: k.Object, Size: info.Size, Modified: info.Modified})
		}
	}
}

func (c *checker) checkSize(o *listed, size int64) {
	if size != o.size {
		c.findObject(Error, KindSize, o.key(c.in.Shard), o.object, "it has %d bytes, %d are listed", size, o.size)
	}
}

// checkOther looks at an object that is no segment, root or page.
func (c *checker) checkOther(key string) {
	if _, _, ok := guard.ParseEpochKey(key); ok || key == "cluster-id" || snapshot.IsKey(key) {
		return
	}
	if strings.HasPrefix(key, ".varve-check/") {
		c.find(Info, KindUnknown, key, "a check of the object store that did not come to its end has left it")
		return
	}
	c.find(Warning, KindUnknown, key, "this program does not make objects of this name")
}

// checkEpochs looks at the objects that mark epochs.
func (c *checker) checkEpochs(ctx context.Context) error {
	epochs, err := guard.ListEpochs(ctx, c.in.Bucket, c.in.Shard)
	if err != nil {
		return err
	}
	for _, epoch := range epochs {
		key := guard.EpochKey(c.in.Shard, epoch)
		switch mark, err := guard.ReadEpoch(ctx, c.in.Bucket, c.in.Shard, epoch); {
		case errors.Is(err, objstore.ErrNotFound): // pruned meanwhile
		case err != nil && outage(err):
			return err
		case err != nil:
			c.find(Error, KindDamaged, key, "%v", err)
		case mark.Cluster != c.in.Cluster:
			c.find(Error, KindEpoch, key, "it is of cluster %s, not %s", mark.Cluster, c.in.Cluster)
		case epoch > c.in.Epoch:
			c.find(Error, KindEpoch, key, "epoch %d is marked, but the shard is owned under %d", epoch, c.in.Epoch)
		}
	}
	if !slices.Contains(epochs, c.in.Epoch) && c.in.Epoch > 0 {
		c.find(Warning, KindEpoch, guard.EpochKey(c.in.Shard, c.in.Epoch), "the owner's epoch %d is not marked", c.in.Epoch)
	}
	return nil
}
