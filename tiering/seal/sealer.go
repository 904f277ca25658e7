package seal

import (
	"context"
	"sync"
	"time"

	"github.com/varvemq/varve/metadata"
)

const (
	// poll is how often the log is looked at.
	poll = 250 * time.Millisecond
	// kickInterval is the shortest time between two cuts for records that wait for their segment.
	kickInterval = 250 * time.Millisecond
	// settleInterval is the time between attempts to remember a commit, or to trim the log.
	settleInterval = 10 * time.Second
)

// Sealer seals a shard.
type Sealer struct {
	cfg     Config
	wal     string
	metrics *metrics
	kick    chan struct{}
	wake    chan struct{} // wanted was raised

	busy chan struct{} // a semaphore of one, which guards the fields of this paragraph
	work *work         // nil: none is under way
	next *work         // the one behind it, which is not uploaded before work is committed
	// trimTo is the position below which the log may be trimmed: of the last commit that is remembered, which is at revision remembered. owing says that something
	// is to be done again: remembering, or trimming.
	trimTo     uint64
	remembered int64
	owing      bool

	dead chan struct{} // closed when sealing has ended for good
	fate error         // why; set before

	mu       sync.Mutex // guards the rest
	head     metadata.SealHead
	epoch    uint32 // of the last record sealed, or that of the last commit, which is not below it
	from     uint64 // position: below it no record is unsealed
	seen     sightings
	failures map[step]*failure
	running  bool          // Run is there to do the work
	wanted   uint64        // position up to which somebody waits
	changed  chan struct{} // closed, and replaced, when from or running changes
}

// New returns a Sealer, and empties its spool directory. What Head says is what the log may be trimmed to when Run begins: its revision is remembered already.
func New(cfg Config) (*Sealer, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if err := emptySpool(cfg.FS, cfg.SpoolDir); err != nil {
		return nil, err
	}
	s := &Sealer{
		cfg: cfg.withDefaults(), wal: cfg.Source.WALUUID(), kick: make(chan struct{}, 1), wake: make(chan struct{}, 1), busy: make(chan struct{}, 1), dead: make(chan struct{}),
		trimTo: cfg.Head.Position, remembered: cfg.Head.Revision, owing: true,
		head: cfg.Head, epoch: uint32(cfg.Head.Epoch), from: cfg.Head.Position, failures: map[step]*failure{}, changed: make(chan struct{}),
	}
	var err error
	if s.metrics, err = newMetrics(cfg.Registerer, s); err != nil {
		return nil, err
	}
	return s, nil
}

// Run seals until ctx ends, which is no error, or sealing has to end for good.
func (s *Sealer) Run(ctx context.Context) error {
	s.setRunning(true)
	defer s.setRunning(false)
	var kicked bool
	var lastKick, settled time.Time
	for {
		if err := s.lost(); err != nil {
			return err
		}
		now := time.Now()
		if now.Sub(settled) >= settleInterval {
			if err := s.settle(ctx); err != nil {
				return s.ended(ctx, err)
			}
			settled = now
		}
		select {
		case <-s.kick:
			kicked = true
		default:
		}
		var target uint64
		switch {
		case kicked && now.Sub(lastKick) >= kickInterval:
			target = s.cfg.Source.Durable()
			kicked, lastKick = false, now
		default:
			target = s.due()
		}
		if target > 0 {
			began := time.Now()
			before := s.Head()
			if err := s.sealTo(ctx, target); err != nil {
				return s.ended(ctx, err)
			}
			kicked = s.smooth(ctx, began, before) || kicked
			continue
		}
		wait := poll
		if kicked {
			wait = min(wait, kickInterval-now.Sub(lastKick))
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-s.kick:
			kicked = true
		case <-s.wake:
		case <-s.dead:
		case <-s.cfg.Own.Lost():
		case <-ctx.Done():
		}
		timer.Stop()
		if err := s.ended(ctx, nil); err != nil || ctx.Err() != nil {
			return err
		}
	}
}

// ended returns what Run ends with.
func (s *Sealer) ended(ctx context.Context, err error) error {
	select {
	case <-s.dead:
		return s.fate
	default:
	}
	if ctx.Err() != nil {
		return nil //nolint:nilerr // the end of ctx is no error
	}
	return err
}

// due returns the position to seal up to, 0 if there is nothing to do.
func (s *Sealer) due() uint64 {
	durable := s.cfg.Source.Durable()
	s.observe(durable)
	s.mu.Lock()
	defer s.mu.Unlock()
	oldest, some := s.seen.oldest(s.from)
	switch {
	case s.wanted > s.from:
		return s.wanted
	case some && time.Since(oldest) >= s.cfg.Age:
		return durable
	case durable > s.from && durable-s.from >= uint64(s.cfg.Bytes):
		return s.from + 1 // one segment; there may be more when it is done
	default:
		return 0
	}
}

// settle does again what could not be done after a commit, and at the start what an earlier process may not have done.
func (s *Sealer) settle(ctx context.Context) error {
	select {
	case s.busy <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-s.busy }()
	if s.owing {
		head := s.Head()
		s.remember(head)
		s.release(head)
	}
	return nil
}

// smooth waits after segments that were sealed since began, before the next, if uploads are to be smoothed. It reports whether it was ended by Kick.
func (s *Sealer) smooth(ctx context.Context, began time.Time, before metadata.SealHead) (kicked bool) {
	if s.cfg.UploadRate == 0 {
		return false
	}
	after := s.Head()
	wait := time.Duration(float64(after.Position-before.Position)/float64(s.cfg.UploadRate)*float64(time.Second)) - time.Since(began)
	for wait > 0 && s.Status().Backlog <= s.cfg.Pressure/4 {
		timer := time.NewTimer(min(wait, poll))
		select {
		case <-timer.C:
		case <-s.kick:
			kicked = true
		case <-s.wake:
			timer.Stop()
			return false
		case <-s.dead:
		case <-ctx.Done():
		}
		timer.Stop()
		if kicked || s.ended(ctx, ctx.Err()) != nil || ctx.Err() != nil {
			return kicked
		}
		wait -= poll
	}
	return kicked
}

// Seal seals everything that is durable at the call, and returns the head. While Run runs, that does the work, and the end of ctx ends the waiting only. Without Run
// the caller does it; what is under way when ctx ends is left for the next call, or for Run.
func (s *Sealer) Seal(ctx context.Context) (metadata.SealHead, error) {
	target := s.cfg.Source.Durable()
	for {
		s.mu.Lock()
		done, running, changed := s.from >= target, s.running, s.changed
		if running {
			s.wanted = max(s.wanted, target)
		}
		s.mu.Unlock()
		switch {
		case done && running:
			return s.Head(), nil
		case !running:
			if err := s.sealTo(ctx, target); err != nil {
				return metadata.SealHead{}, err
			}
			return s.Head(), nil
		}
		select {
		case s.wake <- struct{}{}:
		default:
		}
		select {
		case <-changed:
		case <-s.dead:
			return metadata.SealHead{}, s.fate
		case <-ctx.Done():
			return metadata.SealHead{}, ctx.Err()
		}
	}
}

// Kick says that a durable record waits for its segment: everything that is durable then is cut within 250 ms, but not more often than every 250 ms. It does not
// block. Whoever has records that were not in that cut kicks again, at the latest when [Source.Sealed] is called.
func (s *Sealer) Kick() {
	select {
	case s.kick <- struct{}{}:
	default:
	}
}

// Head returns where sealing stands.
func (s *Sealer) Head() metadata.SealHead {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.head
}

// scanned returns the position below which no record is unsealed.
func (s *Sealer) scanned() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.from
}

// passed notes that there are no records below a position that are not sealed, and tells those who wait for that.
func (s *Sealer) passed(pos uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.from = max(s.from, pos)
	s.seen = s.seen.above(s.from)
	s.changedLocked()
}

func (s *Sealer) changedLocked() {
	close(s.changed)
	s.changed = make(chan struct{})
}

func (s *Sealer) setRunning(on bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.running = on
	s.changedLocked()
}
