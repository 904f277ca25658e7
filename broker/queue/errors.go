package queue

import (
	"errors"
	"fmt"
)

// Errors that a caller branches on. Those of package wal come through wrapped: wal.ErrFull and wal.ErrNoSpace are flow
// control, a *wal.CorruptError is damage in a record.
var (
	// ErrDropped says that the queue's topic was deleted: nothing can be appended any more.
	ErrDropped = errors.New("queue: dropped")
	// ErrNotFound says that no visible message has this physical offset or key.
	ErrNotFound = errors.New("queue: no such message")
	// ErrInvalidOp says that an operation is empty, holds what is not a stored message, or counts wrongly.
	ErrInvalidOp = errors.New("queue: invalid operation")
	// ErrExhausted says that a queue has used up the offsets of its ordinal: it needs another.
	ErrExhausted = errors.New("queue: offsets of the ordinal are used up")
	// ErrSealStalled says that messages of class object have been waiting for object storage for too long: no more are taken.
	ErrSealStalled = errors.New("queue: object storage has taken no segment for too long")
	// ErrClosed says that the log is closed.
	ErrClosed = errors.New("queue: closed")
)

// CorruptError is damage to what this package wrote: a section that breaks its format, or records whose offsets
// contradict each other. Damage below that is a *wal.CorruptError.
type CorruptError struct {
	File    uint64 // sequence of the WAL file
	Section int    // of its sections, 0 if it is the records
	Reason  string
}

func (e *CorruptError) Error() string {
	if e.Section == 0 {
		return fmt.Sprintf("queue: corrupt: records of WAL file %d: %s", e.File, e.Reason)
	}
	return fmt.Sprintf("queue: corrupt: section %d of WAL file %d: %s", e.Section, e.File, e.Reason)
}

func corrupt(file uint64, section int, format string, args ...any) error {
	return &CorruptError{File: file, Section: section, Reason: fmt.Sprintf(format, args...)}
}
