package wal

import "context"

const pageSize = 4096

// WAL is an open write-ahead log.
type WAL struct{}

// File is a file of the WAL, as it was when asked for.
type File struct{ FileRef }

// Section reads and verifies section i (1…7) of a closed file; ErrNotClosed, ErrTrimmed, or a *CorruptError.
func (f *File) Section(i int) ([]byte, error) { return nil, nil }

// Open recovers the WAL in cfg.Dir, or makes one, and starts its goroutines; ctx bounds the recovery only.
func Open(ctx context.Context, cfg Config) (*WAL, error) { return nil, nil }

// UUID returns the identity of the WAL, minted with its first file.
func (w *WAL) UUID() [16]byte { return [16]byte{} }

// SetEpoch sets the epoch under which the shard's records are written from now on.
func (w *WAL) SetEpoch(shard, epoch uint32) {}

// Reserve waits for room in the pending buffer.
func (w *WAL) Reserve(ctx context.Context, n int, internal bool) error { return nil }

// Unreserve gives back n bytes of a reservation that no Append has used.
func (w *WAL) Unreserve(n int) {}

// Append appends.
func (w *WAL) Append(shard uint32, parts []Part, notify Stage, waiter Waiter) (Appended, error) {
	return Appended{}, nil
}

// RecordSize returns the size of a record of these parts: what to reserve for it.
func RecordSize(parts []Part) int { return 0 }

// Record reads one whole record.
func (w *WAL) Record(pos Position, n int) (Record, error) { return Record{}, nil }

// Files lists files.
func (w *WAL) Files() []FileRef { return nil }

// File returns a file.
func (w *WAL) File(seq uint64) (*File, error) { return nil, nil }

// TrimTo trims.
func (w *WAL) TrimTo(pos Position) error { return nil }

// Sync syncs.
func (w *WAL) Sync(ctx context.Context) error { return nil }

// Stats returns stats.
func (w *WAL) Stats() Stats { return Stats{} }

// Close closes.
func (w *WAL) Close() error { return nil }
