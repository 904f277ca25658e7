package wal

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"sync"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"github.com/varvemq/varve/internal/vfs"
)

// WAL is an open write-ahead log. All methods are safe for concurrent use.
type WAL struct {
	cfg     Config
	uuid    [16]byte
	seed    uint32 // crc of the uuid
	boot    [bootSize]byte
	found   Recovery
	lock    io.Closer
	tail    tail
	room    room
	windows windowCache
	stats   counters
	metrics *metrics

	next    atomic.Uint64 // position of the next record; written under mu
	written atomic.Uint64 // all below is written
	durable atomic.Uint64 // all below is covered by a successful fdatasync; written under syncMu
	used    atomic.Int64  // bytes that count against the limit
	fullAt  atomic.Uint64 // position at which the newest file is full
	unmade  atomic.Int32  // files that are planned and not made yet
	noSpace atomic.Bool   // the last attempt to make a spare failed, and there is none
	poison  atomic.Pointer[failure]

	fileList atomic.Pointer[[]*logFile] // a copy of files, for readers

	syncMu sync.Mutex // one fdatasync at a time: an error is reported to one of them only
	trimMu sync.Mutex // one trim at a time

	mu         sync.Mutex // guards what follows; taken after every other lock but tail.mu and room.mu
	cond       *sync.Cond // the committer waits here
	idle       bool       // the committer waits
	cur        *group     // what has gathered
	free       []*group
	shards     map[uint32]*shardState
	asyncCap   int64
	lost       bool
	async      bool       // the log's marks say that records may have been delivered at Written
	files      []*logFile // oldest first, with those that are planned only
	active     *logFile   // the newest that exists
	chunk      *chunk
	spareChunk []byte
	markEnd    Position // end of the last mark
	ready      []spare
	spareErr   error
	spareSeq   uint64
	sealing    []*logFile
	trimTarget Position
	closing    bool

	delivery   chan delivery
	syncKick   chan struct{}
	keeperKick chan struct{}
	sealKick   chan struct{}
	spareCome  chan struct{}
	stopping   chan struct{}   // closed by Close
	drained    chan struct{}   // closed when the committer has ended
	fenceCtx   context.Context //nolint:containedctx // the life of the WAL, ended by Close
	fenceStop  context.CancelFunc
	workers    errgroup.Group
	closeOnce  sync.Once
	closeErr   error
}

type failure struct{ err error }

// logFile is a file of the WAL.
type logFile struct {
	seq  uint64
	base Position
	name string // path

	h     vfs.File     // set before written passes base
	ioMu  sync.RWMutex // held by who reads h or writes the trailer, taken to recycle it
	gone  error        // why it cannot be read any more; guarded by ioMu
	first []byte       // the first record, written with the header
	page  []byte       // the header page, for the close mark

	// Guarded by WAL.mu.
	end      Position // fixed once a newer file is planned
	size     int64    // on disk
	closed   bool
	endTable []byte // section 0
	marked   closeMark
}

// full is the position at which the file is full: an eighth is left for the trailer.
func (f *logFile) full() Position {
	return f.base + Position(f.size-f.size/8-pageSize)
}

func (f *logFile) offset(pos Position) int64 { return pageSize + int64(pos-f.base) }

func (f *logFile) refLocked() FileRef {
	return FileRef{Seq: f.seq, Base: f.base, End: f.end, Closed: f.closed}
}

func newWAL(ctx context.Context, cfg Config) *WAL {
	w := &WAL{
		cfg:        cfg,
		shards:     make(map[uint32]*shardState),
		asyncCap:   asyncSyncs * cfg.SyncBytes,
		cur:        new(group),
		delivery:   make(chan delivery, deliveryQueue),
		syncKick:   make(chan struct{}, 1),
		keeperKick: make(chan struct{}, 1),
		sealKick:   make(chan struct{}, 1),
		spareCome:  make(chan struct{}, 1),
		stopping:   make(chan struct{}),
		drained:    make(chan struct{}),
	}
	w.cond = sync.NewCond(&w.mu)
	w.tail.max = cfg.TailBytes
	w.room.max = max(maxPending, int64(cfg.MaxRecord))
	w.windows.init()
	if cfg.BootID != "" {
		sum := sha256.Sum256([]byte(cfg.BootID))
		copy(w.boot[:], sum[:])
	}
	w.fenceCtx, w.fenceStop = context.WithCancel(context.WithoutCancel(ctx))
	return w
}

// Open recovers the WAL in cfg.Dir, or makes one, and starts its goroutines, which Close ends. ctx bounds the recovery
// only. The errors that mean something are *CorruptError, ErrVersion and ErrTruncated; nothing has been changed then.
func Open(ctx context.Context, cfg Config) (*WAL, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	w := newWAL(ctx, cfg.withDefaults())
	if err := w.open(ctx); err != nil {
		w.fenceStop()
		return nil, fmt.Errorf("open wal %s: %w", cfg.Dir, errors.Join(err, w.closeFiles()))
	}
	return w, nil
}

func (w *WAL) open(ctx context.Context) error {
	dir := w.cfg.Dir
	if err := w.cfg.FS.MkdirAll(dir); err != nil {
		return err
	}
	lock, err := w.cfg.FS.Lock(filepath.Join(dir, "lock"))
	if err != nil {
		return err
	}
	w.lock = lock
	if err := w.recover(ctx); err != nil {
		return err
	}
	if w.metrics, err = newMetrics(w, w.cfg.Registerer); err != nil {
		return err
	}
	w.start()
	// The recovery's own mark is durable before anything is served.
	if err := w.Sync(ctx); err != nil {
		return errors.Join(err, w.Close())
	}
	return nil
}

// start starts the goroutines; Close waits for them.
func (w *WAL) start() {
	w.workers.Go(w.commitLoop)
	w.workers.Go(w.deliverLoop)
	w.workers.Go(w.syncLoop)
	w.workers.Go(w.keepLoop)
	w.workers.Go(w.sealLoop)
	kick(w.keeperKick)
	kick(w.sealKick)
}

func kick(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// fail poisons the WAL: the first error stays.
func (w *WAL) fail(err error) {
	f := &failure{fmt.Errorf("%w: %w", ErrPoisoned, err)}
	if !w.poison.CompareAndSwap(nil, f) {
		return
	}
	w.cfg.Logger.Error("the write-ahead log has stopped", "error", err)
	w.room.fail(f.err)
	w.fenceStop()
	kick(w.spareCome)
	w.mu.Lock()
	w.cond.Signal()
	w.mu.Unlock()
	w.cfg.OnFatal(f.err)
}

func (w *WAL) failed() error {
	if f := w.poison.Load(); f != nil {
		return f.err
	}
	return nil
}

// UUID returns the identity of the WAL, minted with its first file.
func (w *WAL) UUID() [16]byte { return w.uuid }

// Recovery says what Open found.
func (w *WAL) Recovery() Recovery { return w.found }

// SettleLoss records durably that the owner has dealt with the loss of a machine that Recovery reports: the next Open
// does not report it again.
func (w *WAL) SettleLoss(ctx context.Context) error {
	if err := w.usable(); err != nil {
		return err
	}
	w.mu.Lock()
	w.lost, w.async = false, false // when this mark is found, all before it is
	w.asyncCap = asyncSyncs * w.cfg.SyncBytes
	w.markLocked(markLoss)
	w.mu.Unlock()
	return w.Sync(ctx)
}

// SetEpoch sets the epoch under which the shard's records are written from now on. A higher epoch may begin at a higher
// LSN: minNext is the least that the shard's next record may have (0: just the next one).
func (w *WAL) SetEpoch(shard, epoch uint32, minNext uint64) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := w.shardLocked(shard)
	switch {
	case epoch < s.Epoch:
		return fmt.Errorf("wal: shard %d: epoch %d is below %d", shard, epoch, s.Epoch)
	case epoch == s.Epoch && minNext > s.next && s.next > 1:
		return fmt.Errorf("wal: shard %d: lsn %d instead of %d needs a higher epoch", shard, minNext, s.next)
	}
	s.Epoch = epoch
	s.next = max(s.next, minNext)
	return nil
}

func (w *WAL) shardLocked(id uint32) *shardState {
	s := w.shards[id]
	if s == nil {
		s = &shardState{Shard: Shard{ID: id}, next: 1}
		w.shards[id] = s
	}
	return s
}

// NextLSN returns the LSN of the shard's next record.
func (w *WAL) NextLSN(shard uint32) uint64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	if s := w.shards[shard]; s != nil {
		return s.next
	}
	return 1
}

func (w *WAL) usable() error {
	if err := w.failed(); err != nil {
		return err
	}
	select {
	case <-w.stopping:
		return ErrClosed
	default:
		return nil
	}
}

// publishFilesLocked makes the list of files visible to readers.
func (w *WAL) publishFilesLocked() {
	list := append([]*logFile(nil), w.files...)
	w.fileList.Store(&list)
}

// Stats returns a snapshot.
func (w *WAL) Stats() Stats {
	reserved, pending := w.room.usage()
	s := Stats{
		Next: Position(w.next.Load()), Written: Position(w.written.Load()), Durable: Position(w.durable.Load()),
		Bytes: w.used.Load(), Limit: w.cfg.Limit, FileSize: w.cfg.FileSize, Pending: reserved + pending,
		Syncs: w.stats.syncs.Load(), Groups: w.stats.groups.Load(), Records: w.stats.records.Load(),
		TailBytes: w.tail.size(), Err: w.failed(),
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	s.First, s.Files, s.Spares = w.files[0].base, len(w.files), len(w.ready)
	if s.Err == nil {
		s.Err = w.spareErr
	}
	return s
}

// Close delivers what is pending, makes everything durable, marks the log as orderly closed and ends the goroutines.
// After a failure it only ends them.
func (w *WAL) Close() error {
	w.closeOnce.Do(func() {
		close(w.stopping)
		w.room.fail(ErrClosed)
		w.mu.Lock()
		w.closing = true
		w.cond.Signal()
		w.mu.Unlock()
		w.closeErr = w.workers.Wait()
		w.fenceStop()
		w.metrics.unregister()
		w.closeErr = errors.Join(w.closeErr, w.closeFiles())
	})
	return w.closeErr
}

func (w *WAL) closeFiles() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	var errs []error
	keep := func(err error) { errs = append(errs, err) }
	for _, f := range w.files {
		if f.h != nil && f.gone == nil {
			f.ioMu.Lock()
			f.gone = ErrClosed
			keep(f.h.Close())
			f.ioMu.Unlock()
		}
	}
	for _, s := range w.ready {
		keep(s.h.Close())
	}
	if w.lock != nil {
		keep(w.lock.Close())
		w.lock = nil
	}
	w.ready = nil
	return errors.Join(errs...)
}
