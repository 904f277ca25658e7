package maintain

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"github.com/varvemq/varve/metadata"
	"github.com/varvemq/varve/tiering/catalog"
	"github.com/varvemq/varve/tiering/manifest"
	"github.com/varvemq/varve/tiering/objstore"
	"github.com/varvemq/varve/tiering/segment"
)

// barTime is how long a segment is left alone that could not be merged.
const barTime = time.Hour

// queueFacts is what the policy is told.
type queueFacts struct {
	m     *Maintainer
	bytes map[uint32]uint64
}

func (m *Maintainer) facts(recent []catalog.Recent) queueFacts {
	f := queueFacts{m: m, bytes: map[uint32]uint64{}}
	for row := range m.cfg.Catalog.Queues() {
		f.bytes[row.Ordinal] = row.Bytes
	}
	for i := range recent {
		for _, r := range recent[i].Runs {
			f.bytes[r.Ordinal] += r.Bytes
		}
	}
	return f
}

func (f queueFacts) dead(ordinal uint32) bool { return f.m.cfg.Topics.Dead(ordinal) }

func (f queueFacts) first(ordinal uint32) uint64 {
	first, _, _ := f.m.cfg.Catalog.Bounds(ordinal)
	return first
}

func (f queueFacts) history(ordinal uint32) uint64 { return f.bytes[ordinal] }

func (f queueFacts) barred(object uint64) bool {
	until, ok := f.m.barred[object]
	return ok && f.m.cfg.Now().Before(until)
}

// plan asks the policy.
func (m *Maintainer) plan() plan {
	recent := m.cfg.Catalog.Recent()
	return planOf(recent, &m.limits, m.facts(recent))
}

// compact merges groups until the policy has no more.
func (m *Maintainer) compact(ctx context.Context) error {
	for {
		p := m.plan()
		if p.merge == nil {
			return ctx.Err()
		}
		if err := m.mergeUnits(ctx, p.merge); err != nil {
			return err
		}
	}
}

// mergeUnits merges a group.
func (m *Maintainer) mergeUnits(ctx context.Context, units []unit) error {
	var in []catalog.Recent
	for i := range units {
		in = append(in, units[i].segs...)
	}
	c, err := m.buildMerge(ctx, in)
	if err != nil {
		err = fmt.Errorf("merge %d segments from %d on: %w", len(in), in[0].Object, err)
		if !inherent(err) {
			return err
		}
		// It would fail again: they stay as they are, are rolled, and can be read as far as they are whole.
		for i := range in {
			m.barred[in[i].Object] = m.cfg.Now().Add(barTime)
		}
		m.metrics.bars.Inc()
		m.cfg.Logger.Error("segments cannot be merged; they stay as they are", "shard", m.cfg.Shard, "error", err)
		return nil
	}
	return m.start(ctx, c)
}

// inherent reports a failure that lies in the segments.
func inherent(err error) bool {
	if _, damaged := errors.AsType[*segment.CorruptError](err); damaged {
		return true
	}
	for _, e := range []error{errOverlap, errCoverage, segment.ErrInvalid, segment.ErrTruncated, segment.ErrIdentity, segment.ErrVersion, objstore.ErrNotFound} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// buildMerge makes and checks the outputs of a merge in the spool. After an error nothing is left but, perhaps, intents.
func (m *Maintainer) buildMerge(ctx context.Context, in []catalog.Recent) (_ *mergeJob, err error) {
	j := &mergeJob{in: in}
	merged := &merger{limit: m.limits.output, fate: m.fate}
	defer func() {
		for _, src := range merged.inputs {
			err = errors.Join(err, src.close())
		}
		if err != nil {
			err = errors.Join(err, j.remove(m))
			for _, o := range j.outs {
				m.unused = append(m.unused, o.upload)
			}
		}
	}()
	hull := segment.Config{Level: 1, FirstLSN: in[0].FirstLSN, EndLSN: in[0].EndLSN, Created: m.cfg.Now().UnixMilli()}
	for i := range in {
		hull.FirstLSN, hull.EndLSN = min(hull.FirstLSN, in[i].FirstLSN), max(hull.EndLSN, in[i].EndLSN)
		src, err := m.openInput(ctx, &in[i].Segment)
		if err != nil {
			return nil, err
		}
		merged.inputs = append(merged.inputs, src)
	}
	merged.begin = func(ctx context.Context) (*output, error) { return m.beginOutput(ctx, j, hull) }
	if err := merged.merge(ctx); err != nil {
		return nil, err
	}
	if n := 2*len(j.outs) + len(in) + 1; n > metadata.MaxReplaceOps {
		return nil, fmt.Errorf("%w: %d outputs of %d inputs", errOverlap, len(j.outs), len(in))
	}
	return j, m.checkMerge(ctx, merged, j)
}

func (m *Maintainer) fate(ordinal uint32) fate {
	f := fate{dead: m.cfg.Topics.Dead(ordinal)}
	f.first, _, _ = m.cfg.Catalog.Bounds(ordinal)
	if p, ok := m.cfg.Topics.Retention(ordinal); ok {
		f.compression = p.Compression
	}
	return f
}

func (m *Maintainer) openInput(ctx context.Context, seg *metadata.Segment) (*input, error) {
	src := &object{bucket: m.cfg.Bucket, key: catalog.ObjectKey(m.cfg.Shard, seg.Epoch, seg.Object, metadata.KindSegment), size: seg.Size}
	id := m.identity(seg.Epoch, seg.Object)
	return openInput(ctx, src, segment.Expect{Identity: &id, FooterCRC: seg.FooterCRC})
}

func (m *Maintainer) identity(epoch, object uint64) segment.Identity {
	return segment.Identity{Cluster: m.cfg.Cluster, Shard: m.cfg.Shard, Epoch: epoch, Sequence: object}
}

// beginOutput reserves a number and begins a segment in a spool file.
func (m *Maintainer) beginOutput(ctx context.Context, j *mergeJob, cfg segment.Config) (*output, error) {
	ups, err := m.reserve(ctx, metadata.KindSegment)
	if err != nil {
		return nil, err
	}
	cfg.Identity, cfg.EtcdRevision = m.identity(ups[0].Epoch, ups[0].Object), uint64(ups[0].Revision)
	file, err := m.cfg.FS.Create(filepath.Join(m.cfg.SpoolDir, fmt.Sprintf("merge-%016x.seg", ups[0].Object)))
	if err != nil {
		m.unused = append(m.unused, ups[0])
		return nil, fmt.Errorf("make spool file: %w", err)
	}
	o, err := newOutput(file, cfg, ups[0])
	j.outs = append(j.outs, o)
	return o, err
}

// checkMerge proves that outputs, read back from the spool, have what the inputs have.
func (m *Maintainer) checkMerge(ctx context.Context, merged *merger, j *mergeJob) error {
	var inputs, outputs []manifest.Run
	for _, in := range merged.inputs {
		runs, err := queueRanges(ctx, in.r)
		if err != nil {
			return err
		}
		inputs = append(inputs, runs...)
	}
	for _, o := range j.outs {
		runs, err := o.verify(ctx)
		if err != nil {
			return err
		}
		outputs = append(outputs, runs...)
	}
	for _, d := range merged.drops {
		if f := m.fate(d.Ordinal); !f.dead && d.End > f.first {
			return fmt.Errorf("%w: queue %d, offsets [%d, %d) are dropped, but the first offset is %d", errCoverage, d.Ordinal, d.First, d.End, f.first)
		}
	}
	return checkCoverage(inputs, outputs, merged.drops)
}

// mergeJob is a merge whose outputs are made and checked.
type mergeJob struct {
	in       []catalog.Recent
	outs     []*output
	uploaded int
	done     bool // committed
}

// String names the job.
func (j *mergeJob) String() string {
	return fmt.Sprintf("merge %d segments from %d on into %d from %d on", len(j.in), j.in[0].Object, len(j.outs), j.outs[0].upload.Object)
}

func (j *mergeJob) run(ctx context.Context, m *Maintainer) error {
	for ; j.uploaded < len(j.outs); j.uploaded++ {
		if err := m.putSegment(ctx, j.outs[j.uploaded]); err != nil {
			return err
		}
	}
	if !j.done {
		if err := j.commit(ctx, m); err != nil {
			return err
		}
		j.done = true
	}
	return j.remove(m)
}

func (j *mergeJob) commit(ctx context.Context, m *Maintainer) error {
	in, objects := make([]metadata.Segment, len(j.in)), make([]uint64, len(j.in))
	for i := range j.in {
		in[i], objects[i] = j.in[i].Segment, j.in[i].Object
		m.metrics.inputBytes.Add(float64(in[i].Size))
	}
	out := make([]metadata.Segment, len(j.outs))
	for i, o := range j.outs {
		out[i] = o.segment()
	}
	out[0].Cursors = lastCursors(in)
	if err := m.cfg.Own.ReplaceSegments(ctx, in, out, "merged"); err != nil {
		return err
	}
	recents := make([]catalog.Recent, len(out))
	for i, o := range j.outs {
		recents[i] = catalog.RecentOf(out[i], &o.summary)
		m.metrics.outputBytes.Add(float64(out[i].Size))
	}
	m.cfg.Catalog.Replace(objects, recents)
	m.metrics.merges.Inc()
	m.metrics.inputs.Add(float64(len(in)))
	m.metrics.outputs.Add(float64(len(out)))
	m.cfg.Logger.Debug("segments are merged", "shard", m.cfg.Shard, "inputs", len(in), "outputs", len(out), "first_object", out[0].Object)
	return nil
}

// remove gives up the spool files.
func (j *mergeJob) remove(m *Maintainer) error {
	var errs []error
	for _, o := range j.outs {
		if o.file == nil {
			continue
		}
		m.litter = append(m.litter, o.file.Name())
		errs = append(errs, o.file.Close())
		o.file = nil
	}
	return errors.Join(append(errs, m.removeLitter())...)
}

// lastCursors returns the last value of each cursor that moved in segments, which are by LSN.
func lastCursors(segs []metadata.Segment) []metadata.QueueCursor {
	at := map[uint32]uint64{}
	for i := range segs {
		for _, c := range segs[i].Cursors {
			at[c.Ordinal] = c.Offset
		}
	}
	if len(at) == 0 {
		return nil
	}
	out := make([]metadata.QueueCursor, 0, len(at))
	for ordinal, offset := range at {
		out = append(out, metadata.QueueCursor{Ordinal: ordinal, Offset: offset})
	}
	slices.SortFunc(out, func(a, b metadata.QueueCursor) int { return int(a.Ordinal) - int(b.Ordinal) })
	return out
}
