package maintain

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/varvemq/varve/metadata"
	"github.com/varvemq/varve/tiering/objstore"
)

// ErrForeign says that an object has other bytes than this epoch has written under its number: somebody else writes under our epoch.
var ErrForeign = errors.New("maintain: an object of this epoch has other bytes")

// Maintainer looks after a shard's sealed history. There is one for an ownership.
type Maintainer struct {
	cfg     Config
	limits  limits
	metrics *metrics
	pass    chan struct{} // a semaphore of one: what is below belongs to the pass that holds it

	fault   atomic.Pointer[fault] // of the last pass of Run
	job     job                   // that has reserved numbers and is not committed yet; nil: none
	unused  []metadata.Upload     // reserved, and never written
	litter  []string              // spool files to be removed
	barred  map[uint64]time.Time  // segments that could not be merged, until when
	expires map[uint32]expiry     // by ordinal, see retention
	sized   map[string]sized      // by topic
	pages   map[uint64]*pageLife  // by the page's object
	absent  map[absence]struct{}  // pages that do not have a tombstone's ordinals

	wall       time.Time // at the start,
	mono       time.Duration
	drifted    bool                     // the two clocks do not agree
	seen       map[uint64]time.Duration // when a record of garbage or an intent was seen first, by object
	lastSweep  time.Duration
	swept      bool // there was a sweep
	lastRoll   time.Duration
	lastUnlist time.Duration
}

// fault makes an error fit an atomic pointer.
type fault struct{ err error }

// Err returns why the last pass of Run failed, nil if it did not.
func (m *Maintainer) Err() error {
	if f := m.fault.Load(); f != nil {
		return f.err
	}
	return nil
}

// job is what has reserved numbers. It can be run until it succeeds; each step that is done stays done.
type job interface {
	run(ctx context.Context, m *Maintainer) error
	String() string
}

// New returns a Maintainer. It does nothing by itself.
func New(cfg Config) (*Maintainer, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	cfg = cfg.withDefaults()
	m := &Maintainer{
		cfg: cfg, limits: *cfg.limits, pass: make(chan struct{}, 1), barred: map[uint64]time.Time{}, expires: map[uint32]expiry{}, sized: map[string]sized{},
		pages: map[uint64]*pageLife{}, absent: map[absence]struct{}{}, seen: map[uint64]time.Duration{}, wall: cfg.Now(), mono: cfg.Clock(),
	}
	m.lastRoll, m.lastUnlist = m.mono, m.mono
	var err error
	m.metrics, err = newMetrics(cfg.Registerer)
	return m, err
}

// maxBackoff bounds the time between passes that fail.
const maxBackoff = 5 * time.Minute

// Run makes passes until ctx ends, which is no error, or until one fails for good: [metadata.ErrFenced], [metadata.ErrConflict] if etcd does not have what this
// process has committed, or [ErrForeign]. All other failures are logged when they begin and when they end, and tried again.
func (m *Maintainer) Run(ctx context.Context) error {
	wait, told := m.cfg.Interval, false
	for {
		timer := time.NewTimer(wait - wait/10 + rand.N(wait/5+1)) //nolint:gosec // jitter needs no secrecy
		select {
		case <-timer.C:
		case <-ctx.Done():
		}
		timer.Stop()
		if ctx.Err() != nil {
			return nil //nolint:nilerr // the end of ctx is no error
		}
		err := m.Pass(ctx)
		m.fault.Store(&fault{err})
		switch {
		case ctx.Err() != nil:
			return nil //nolint:nilerr // the end of ctx is no error
		case final(err):
			return err
		case err == nil && told:
			told = false
			m.cfg.Logger.Info("maintenance of the sealed history goes on", "shard", m.cfg.Shard)
		case err != nil && !told && (!errors.Is(err, metadata.ErrUnavailable) || objstore.Class(err) != nil): // an outage of etcd alone is logged by the store
			told = true
			m.cfg.Logger.Warn("maintenance of the sealed history fails; tried again", "shard", m.cfg.Shard, "error", err)
		}
		if err != nil {
			wait = min(2*wait, max(maxBackoff, m.cfg.Interval))
		} else {
			wait = m.cfg.Interval
		}
	}
}

// final reports an error after which maintenance must not go on.
func final(err error) bool {
	return errors.Is(err, metadata.ErrFenced) || errors.Is(err, metadata.ErrConflict) || errors.Is(err, ErrForeign)
}

// Pass makes one round of everything that is due: retention, compaction, roll, unlisting, tombstones, sweep. A step that fails does not keep those from their work
// that do not need it. It waits for a pass in progress.
func (m *Maintainer) Pass(ctx context.Context) error {
	select {
	case m.pass <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-m.pass }()
	began := m.cfg.Now()
	var errs []error
	for _, step := range []struct {
		name string
		do   func(context.Context) error
	}{
		{"retention", m.retention},
		{"changes", m.changes},
		{"tombstones", m.tombstones},
		{"sweep", m.sweep},
	} {
		err := step.do(ctx)
		if err == nil {
			continue
		}
		m.metrics.errors.WithLabelValues(step.name).Inc()
		errs = append(errs, fmt.Errorf("%s: %w", step.name, err))
		if final(err) || ctx.Err() != nil {
			break
		}
	}
	m.metrics.seconds.Observe(m.cfg.Now().Sub(began).Seconds())
	m.metrics.recent.Set(float64(len(m.cfg.Catalog.Recent())))
	return errors.Join(errs...)
}

// changes brings what is listed into shape: first the job that was left, then compaction, roll and unlisting. All of them need both etcd and the bucket.
func (m *Maintainer) changes(ctx context.Context) error {
	if err := m.finishJob(ctx); err != nil {
		return err
	}
	if err := m.removeLitter(); err != nil {
		return err
	}
	if err := m.dropUnused(ctx); err != nil {
		return err
	}
	// A group that cannot be merged must not keep the others from the manifest.
	return errors.Join(m.compact(ctx), m.roll(ctx), m.unlist(ctx))
}

// start makes j the job, and runs it.
func (m *Maintainer) start(ctx context.Context, j job) error {
	m.job = j
	return m.finishJob(ctx)
}

// finishJob runs the job that was left, if there is one.
func (m *Maintainer) finishJob(ctx context.Context) error {
	if m.job == nil {
		return nil
	}
	if err := m.job.run(ctx, m); err != nil {
		return fmt.Errorf("%v: %w", m.job, err)
	}
	m.job = nil
	return nil
}

// reserve reserves a number for an object of each kind.
func (m *Maintainer) reserve(ctx context.Context, kinds ...string) ([]metadata.Upload, error) {
	return m.cfg.Own.ReserveObjects(ctx, kinds)
}

// dropUnused removes the intents of objects that were never written.
func (m *Maintainer) dropUnused(ctx context.Context) error {
	for len(m.unused) > 0 {
		if err := m.cfg.Own.DropUpload(ctx, m.unused[0]); err != nil {
			return err
		}
		m.unused = m.unused[1:]
	}
	return nil
}

// removeLitter removes spool files that nobody needs any more.
func (m *Maintainer) removeLitter() error {
	for len(m.litter) > 0 {
		if err := m.cfg.FS.Remove(m.litter[0]); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("remove spool file: %w", err)
		}
		m.litter = m.litter[1:]
	}
	return nil
}

// valid reports that the lease has ended: nothing may be deleted.
func (m *Maintainer) valid() error {
	select {
	case <-m.cfg.Own.Lost():
		return fmt.Errorf("shard %s, epoch %d: %w", m.cfg.Shard, m.cfg.Own.Epoch(), metadata.ErrFenced)
	default:
	}
	if !m.cfg.Own.Valid(m.cfg.Clock()) {
		return fmt.Errorf("the lease of shard %s is not known to hold: %w", m.cfg.Shard, metadata.ErrUnavailable)
	}
	return nil
}

// retriable reports whether the same may succeed later without anybody's doing.
func retriable(err error) bool {
	return objstore.Retriable(err) || errors.Is(err, metadata.ErrUnavailable)
}
