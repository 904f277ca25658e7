package restore

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"golang.org/x/sync/errgroup"

	"github.com/varvemq/varve/metadata"
	"github.com/varvemq/varve/tiering/catalog"
	"github.com/varvemq/varve/tiering/guard"
	"github.com/varvemq/varve/tiering/objstore"
	"github.com/varvemq/varve/tiering/segment"
)

const (
	// window is how many object numbers behind the last one found are looked for: more than the guard looks at, and than are reserved at once.
	window = 64
	// stride is how many of them are looked for at once.
	stride = 16
	// maxEpochs bounds the epochs under which they are looked for.
	maxEpochs = 64
	// requests bounds the requests under way.
	requests = 16
)

// Shard is what was done to a shard.
type Shard struct {
	Shard string `json:"shard"`
	// Epoch is the highest that was seen: the next owner's is higher. WAL and Tail are what the next start of a broker will need.
	Epoch  uint64 `json:"epoch"`
	WAL    string `json:"wal"`
	Broker string `json:"broker"`
	Tail   string `json:"tail"`
	// FromLSN and LSN: records of [FromLSN, LSN) are in the segments that were listed again.
	FromLSN  uint64    `json:"from_lsn"`
	LSN      uint64    `json:"lsn"`
	Segments []Segment `json:"segments,omitempty"`
	// NextObject is above every object number that was seen.
	NextObject uint64 `json:"next_object"`
	// Orphans are objects from after the snapshot that nothing refers to now. Damaged are segments among them that cannot be read.
	Orphans []string `json:"orphans,omitempty"`
	Damaged []string `json:"damaged,omitempty"`
	// Missing are segments that the snapshot lists and the bucket has not: it is older than the grace period of deletions.
	Missing []string `json:"missing,omitempty"`
	// UnsearchedEpochs is how many epochs since the snapshot were not looked under, since there were too many.
	UnsearchedEpochs uint64 `json:"unsearched_epochs,omitempty"`
}

// Segment is a segment that was listed again.
type Segment struct {
	Object   uint64 `json:"object"`
	Epoch    uint64 `json:"epoch"`
	FirstLSN uint64 `json:"first_lsn"`
	EndLSN   uint64 `json:"end_lsn"`
	Messages uint64 `json:"messages"`
	MinStore int64  `json:"min_store"`
	MaxStore int64  `json:"max_store"`
}

// object is an object from after the snapshot.
type object struct {
	kind          string
	epoch, number uint64
	size          int64
	reader        *segment.Reader // of a segment that could be opened
	listed        bool            // again
}

// roll rolls all shards forward, and raises what was handed out.
func (r *restorer) roll(ctx context.Context) error {
	ids := map[string]struct{}{}
	for _, rec := range r.store.ListShards() {
		ids[rec.ID] = struct{}{}
	}
	for shard := range r.marks {
		ids[shard] = struct{}{}
	}
	t, err := r.newTopics(ctx)
	if err != nil {
		return err
	}
	for _, id := range slices.Sorted(maps.Keys(ids)) {
		if err := r.rollShard(ctx, id, t); err != nil {
			return fmt.Errorf("restore shard %s: %w", id, err)
		}
	}
	if err := t.write(ctx); err != nil {
		return err
	}
	for i := range r.report.Shards {
		if err := r.check(ctx, r.report.Shards[i].Shard); err != nil {
			return fmt.Errorf("the restored etcd would not let shard %s start: %w", r.report.Shards[i].Shard, err)
		}
	}
	r.report.Revision, err = r.store.Revision(ctx)
	return err
}

// rollShard rolls a shard forward.
func (r *restorer) rollShard(ctx context.Context, id string, t *topics) error {
	st, err := r.store.SealedState(ctx, id)
	if err != nil {
		return err
	}
	out := Shard{Shard: id, FromLSN: st.Head.LSN}
	rec := r.record(id)
	found, err := r.find(ctx, rec, st, &out)
	if err != nil {
		return err
	}
	out.NextObject = st.Head.NextObject
	for i := range found {
		out.NextObject = max(out.NextObject, found[i].number+1)
	}
	if err := r.store.RestoreShard(ctx, rec); err != nil {
		return err
	}
	out.Epoch, out.WAL, out.Broker, out.Tail = rec.Epoch, rec.WALUUID, rec.Owner, rec.Tail
	if err := r.store.RestoreNumbers(ctx, id, out.NextObject); err != nil {
		return err
	}
	if err := r.chain(ctx, st.Head, found, &out); err != nil {
		return err
	}
	if err := r.store.RestoreWAL(ctx, id, rec.WALUUID); err != nil {
		return err
	}
	if err := r.missing(ctx, st, &out); err != nil {
		return err
	}
	for i := range found {
		o := &found[i]
		if o.reader != nil {
			if err := t.see(ctx, id, o.reader, o.listed); err != nil {
				return fmt.Errorf("%s: %w", o.key(id), err)
			}
		}
		if !o.listed {
			out.Orphans = append(out.Orphans, o.key(id))
		}
	}
	r.report.Shards = append(r.report.Shards, out)
	return nil
}

func (o *object) key(shard string) string { return catalog.ObjectKey(shard, o.epoch, o.number, o.kind) }

// record returns the record of a shard as its last owner left it, as far as anybody knows.
func (r *restorer) record(id string) metadata.Shard {
	rec := metadata.Shard{ID: id, Tail: metadata.TailDirty}
	if have, ok := r.store.Shard(id); ok {
		rec = *have
	}
	if m := r.marks[id]; m != nil && m.Epoch > rec.Epoch {
		rec.Epoch, rec.Owner, rec.WALUUID, rec.Claim, rec.Tail, rec.Released = m.Epoch, m.Broker, m.WAL, m.Claim, metadata.TailDirty, false
	}
	if m := r.remembered; m != nil && m.Shard == id && m.Epoch > rec.Epoch {
		rec.Epoch, rec.Tail, rec.Released = m.Epoch, metadata.TailDirty, false
	}
	return rec
}

// find looks for objects that the snapshot does not know: those of its intents, and those with numbers that were handed out later.
func (r *restorer) find(ctx context.Context, rec metadata.Shard, st *metadata.SealedState, out *Shard) ([]object, error) {
	tries := make([]object, 0, len(st.Uploads))
	for _, u := range st.Uploads {
		tries = append(tries, object{kind: u.Kind, epoch: u.Epoch, number: u.Object})
	}
	found, err := r.probe(ctx, rec.ID, tries, nil)
	if err != nil {
		return nil, err
	}
	epochs := r.epochs(rec, out)
	for from, end := st.Head.NextObject, st.Head.NextObject+window; from < end; from += stride {
		tries = tries[:0]
		for number := from; number < from+stride; number++ {
			for _, epoch := range epochs {
				for _, kind := range guard.Kinds() {
					tries = append(tries, object{kind: kind, epoch: epoch, number: number})
				}
			}
		}
		before := len(found)
		if found, err = r.probe(ctx, rec.ID, tries, found); err != nil {
			return nil, err
		}
		for _, o := range found[before:] {
			end = max(end, o.number+1+window)
		}
	}
	slices.SortFunc(found, func(a, b object) int {
		return cmp.Or(cmp.Compare(a.number, b.number), cmp.Compare(a.epoch, b.epoch), cmp.Compare(a.kind, b.kind))
	})
	return found, r.open(ctx, rec.ID, found, out)
}

// epochs returns the epochs since the snapshot: the first and the newest if there are too many.
func (r *restorer) epochs(rec metadata.Shard, out *Shard) []uint64 {
	first := uint64(1)
	if have, ok := r.store.Shard(rec.ID); ok {
		first = have.Epoch
	}
	epochs := []uint64{first}
	next := first + 1
	if rec.Epoch >= next+maxEpochs-1 {
		out.UnsearchedEpochs = rec.Epoch - (maxEpochs - 1) + 1 - next
		next += out.UnsearchedEpochs
	}
	for ; next <= rec.Epoch; next++ {
		epochs = append(epochs, next)
	}
	return epochs
}

// probe appends those of tries that are in the bucket.
func (r *restorer) probe(ctx context.Context, shard string, tries, found []object) ([]object, error) {
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(requests)
	sizes := make([]int64, len(tries))
	for i := range tries {
		sizes[i] = -1
		g.Go(func() error {
			info, err := r.cfg.Bucket.Head(gctx, tries[i].key(shard))
			if errors.Is(err, objstore.ErrNotFound) {
				return nil
			}
			sizes[i] = info.Size
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	for i := range tries {
		if sizes[i] >= 0 {
			o := tries[i]
			o.size = sizes[i]
			found = append(found, o)
		}
	}
	return found, nil
}

// open opens the segments among the objects.
func (r *restorer) open(ctx context.Context, shard string, found []object, out *Shard) error {
	for i := range found {
		o := &found[i]
		if o.kind != metadata.KindSegment {
			continue
		}
		id := segment.Identity{Cluster: r.cluster, Shard: shard, Epoch: o.epoch, Sequence: o.number}
		var err error
		o.reader, err = segment.Open(ctx, &objstore.Object{Store: r.cfg.Bucket, Key: o.key(shard)}, o.size, segment.Expect{Identity: &id})
		if err != nil && objstore.Class(err) != nil {
			return err
		}
		if err != nil {
			out.Damaged = append(out.Damaged, fmt.Sprintf("%s: %v", o.key(shard), err))
		}
	}
	return nil
}

// chain lists the segments of level 0 that follow the head, each the one before it.
func (r *restorer) chain(ctx context.Context, head metadata.SealHead, found []object, out *Shard) error {
	for {
		var next *object
		for i := range found {
			o := &found[i]
			if o.reader == nil {
				continue
			}
			// Of several that follow, all but the last epoch's were never committed, and their records sealed again.
			if f := o.reader.Footer(); f.Level == 0 && f.FirstLSN == head.LSN && f.EndLSN > f.FirstLSN && f.Previous == head.FooterCRC && o.epoch >= head.Epoch &&
				(next == nil || o.epoch > next.epoch || o.epoch == next.epoch && o.number > next.number) {
				next = o
			}
		}
		if next == nil {
			out.LSN = head.LSN
			return nil
		}
		f := next.reader.Footer()
		seg := catalog.SegmentOf(&f, next.size)
		var err error
		if head, err = r.store.RestoreSegment(ctx, out.Shard, seg, f.Previous); err != nil {
			return err
		}
		next.listed = true
		out.Segments = append(out.Segments, Segment{
			Object: seg.Object, Epoch: seg.Epoch, FirstLSN: seg.FirstLSN, EndLSN: seg.EndLSN, Messages: seg.Messages, MinStore: seg.MinStore, MaxStore: seg.MaxStore,
		})
	}
}

// missing reports segments of the snapshot that are not in the bucket. Without the manifest's root nothing older can be read: that is refused by check.
func (r *restorer) missing(ctx context.Context, st *metadata.SealedState, out *Shard) error {
	tries := make([]object, len(st.Segments))
	for i := range st.Segments {
		tries[i] = object{kind: metadata.KindSegment, epoch: st.Segments[i].Epoch, number: st.Segments[i].Object}
	}
	there, err := r.probe(ctx, out.Shard, tries, nil)
	if err != nil {
		return err
	}
	for i := range tries {
		if !slices.ContainsFunc(there, func(o object) bool { return o.number == tries[i].number }) {
			out.Missing = append(out.Missing, tries[i].key(out.Shard))
		}
	}
	return nil
}

// check asks the guard whether a broker would start.
func (r *restorer) check(ctx context.Context, id string) error {
	st, err := r.store.SealedState(ctx, id)
	if err != nil {
		return err
	}
	rec, ok := r.store.Shard(id)
	if !ok {
		return fmt.Errorf("no record of shard %s", id)
	}
	return guard.Check(ctx, guard.Input{
		Bucket: r.cfg.Bucket, Cluster: r.cluster, Shard: id, ShardEpoch: rec.Epoch, ShardClaim: rec.Claim, State: st, EtcdRevision: st.Revision,
		Remembered: r.remembered, DataDir: r.cfg.DataDir,
	})
}
