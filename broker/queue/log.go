package queue

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/varvemq/varve/broker/wal"
)

// Log is all queues of one shard over one WAL.
type Log struct {
	cfg   Config
	wal   atomic.Pointer[wal.WAL] // nil until the WAL is open: its sealer may be ahead of Open
	cache *sectionCache
	stats *metrics

	mu      sync.RWMutex         // guards queues, dropped and closed
	queues  map[uint32]*Queue    //
	dropped map[uint32]goneQueue // a dropped queue never comes back
	closed  bool                 //

	filesMu sync.RWMutex              // guards files; below Queue.mu
	files   []*fileIndex              // oldest first
	active  atomic.Pointer[fileIndex] // the newest one appended to

	tier    atomic.Pointer[tierRef] // nil: there are no segments
	sealed  sealQueue               // what becomes visible when it is in a segment
	trimMu  sync.Mutex              // one trim at a time
	timers  timers
	pending sync.Pool // of *pending
	warned  sync.Map  // files whose damaged sections have been reported

	sealedSeq uint64 // the newest file with sections; the sealer's own
}

// Open recovers the log in cfg.WAL.Dir, or makes one, opens its WAL and starts the goroutine of the deadlines; Close ends
// both. ctx bounds the recovery.
// Records are written under Config.Shard's epoch, if it is not 0; one below what the WAL has seen is refused.
func Open(ctx context.Context, cfg Config) (*Log, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	l := newLog(cfg.withDefaults())
	rec := &recovery{log: l, opened: make(chan struct{})}
	wcfg := l.cfg.WAL
	wcfg.Owner = rec
	w, err := wal.Open(ctx, wcfg)
	if err != nil {
		return nil, fmt.Errorf("queue: open: %w", err)
	}
	rec.finish()
	l.wal.Store(w)
	if s := l.cfg.Shard; s.Epoch > 0 {
		if err := w.SetEpoch(s.ID, s.Epoch, 0); err != nil {
			return nil, errors.Join(fmt.Errorf("queue: open: %w", err), w.Close())
		}
	}
	if err := l.stats.register(l, l.cfg.Registerer); err != nil {
		return nil, errors.Join(err, w.Close())
	}
	l.timers.start()
	return l, nil
}

func newLog(cfg Config) *Log {
	l := &Log{
		cfg: cfg, cache: newSectionCache(cfg.IndexCache), stats: &metrics{},
		queues: make(map[uint32]*Queue), dropped: make(map[uint32]goneQueue),
	}
	l.pending.New = func() any { return &pending{log: l} }
	l.timers.init(l)
	return l
}

// Close wakes the waiters, delivers what is pending and closes the WAL. Only the first call does something.
func (l *Log) Close() error {
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return nil
	}
	l.closed = true
	l.mu.Unlock()
	for _, q := range l.allQueues() {
		q.wakeAll(WakeClosed)
	}
	l.timers.stop()
	err := l.w().Close()
	l.sealed.close()
	l.stats.unregister(l.cfg.Registerer)
	if err != nil {
		return fmt.Errorf("queue: close: %w", err)
	}
	return nil
}

// WAL returns the log's WAL, for its stats and files. Append to it, trim or close it only through the log.
func (l *Log) WAL() *wal.WAL { return l.w() }

func (l *Log) w() *wal.WAL { return l.wal.Load() }

// Queue returns the queue with an ordinal, made at its first use. It is never nil; one that was dropped stays dropped
// until the log is opened anew.
func (l *Log) Queue(ordinal uint32) *Queue {
	if q := l.Lookup(ordinal); q != nil {
		return q
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if q := l.queues[ordinal]; q != nil {
		return q
	}
	q := &Queue{log: l, ordinal: ordinal}
	if gone, ok := l.dropped[ordinal]; ok {
		q.dropLocked(gone.next)
		return q
	}
	l.queues[ordinal] = q
	return q
}

// Lookup returns the queue with an ordinal if it exists, or nil.
func (l *Log) Lookup(ordinal uint32) *Queue {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.queues[ordinal]
}

func (l *Log) isClosed() bool {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.closed
}

func (l *Log) allQueues() []*Queue {
	l.mu.RLock()
	defer l.mu.RUnlock()
	all := make([]*Queue, 0, len(l.queues))
	for _, q := range l.queues {
		all = append(all, q)
	}
	return all
}

// Drop forgets queues: their waiters are woken, reads find them empty at their end, appends are refused. Their records
// stay until their files are trimmed, so the caller drops them again after a restart.
func (l *Log) Drop(ordinals []uint32) {
	for _, o := range ordinals {
		q := l.Queue(o)
		q.mu.Lock()
		next := q.next
		l.mu.Lock()
		l.dropped[o] = goneQueue{next: next, at: l.w().Stats().Next}
		delete(l.queues, o)
		l.mu.Unlock()
		q.dropLocked(next)
		q.mu.Unlock()
		q.wakeAll(WakeDropped)
	}
}

// goneQueue is what is left of a dropped queue: its next offset, and where the log ended when it was dropped.
type goneQueue struct {
	next uint64
	at   wal.Position
}

// Logs reports whether the WAL may still have anything of queues that were dropped: records, or states in the sections of its files.
func (l *Log) Logs(ordinals []uint32) bool {
	first := l.w().Stats().First
	l.mu.RLock()
	defer l.mu.RUnlock()
	return slices.ContainsFunc(ordinals, func(o uint32) bool {
		gone, ok := l.dropped[o]
		return !ok || first <= gone.at
	})
}

// dropLocked makes the queue look empty. Live runs stay until their files get sections, which must tell of all records.
func (q *Queue) dropLocked(next uint64) {
	q.dropped.Store(true)
	q.closed = nil
	q.next = next
	q.first.Store(next)
	q.min.Store(next)
	q.visible.Store(next)
}

// fileFor returns the index of the file that a record was appended to. Called with queues locked.
func (l *Log) fileFor(seq uint64, base wal.Position) *fileIndex {
	if f := l.active.Load(); f != nil && f.seq == seq {
		return f
	}
	l.filesMu.Lock()
	defer l.filesMu.Unlock()
	i, ok := l.findFileLocked(seq)
	if !ok {
		l.files = slices.Insert(l.files, i, newFileIndex(seq, base))
		if i == len(l.files)-1 {
			l.active.Store(l.files[i])
		}
	}
	return l.files[i]
}

func (l *Log) findFileLocked(seq uint64) (int, bool) {
	return slices.BinarySearchFunc(l.files, seq, func(f *fileIndex, seq uint64) int {
		switch {
		case f.seq < seq:
			return -1
		case f.seq > seq:
			return 1
		default:
			return 0
		}
	})
}

// file returns the index of a file, nil if it was trimmed.
func (l *Log) file(seq uint64) *fileIndex {
	l.filesMu.RLock()
	defer l.filesMu.RUnlock()
	if i, ok := l.findFileLocked(seq); ok {
		return l.files[i]
	}
	return nil
}

// allFiles returns the files, oldest first.
func (l *Log) allFiles() []*fileIndex {
	l.filesMu.RLock()
	defer l.filesMu.RUnlock()
	return slices.Clone(l.files)
}
