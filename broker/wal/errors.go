package wal

import (
	"errors"
	"fmt"
)

// Errors that a caller branches on. ErrFull and ErrNoSpace are flow control: nothing is broken, try later.
var (
	// ErrFull says that the size limit is reached until something is trimmed.
	ErrFull = errors.New("wal: size limit reached")
	// ErrNoSpace says that the disk has no room for the next file.
	ErrNoSpace = errors.New("wal: no space left for the next file")
	// ErrTooLarge says that a record is over Config.MaxRecord.
	ErrTooLarge = errors.New("wal: record too large")
	// ErrTooManyParts says that a record has none or more than 255 parts.
	ErrTooManyParts = errors.New("wal: a record has 1 to 255 parts")
	// ErrTrimmed says that a position is below the first one that the WAL still has.
	ErrTrimmed = errors.New("wal: position has been trimmed")
	// ErrClosed says that the WAL is closed.
	ErrClosed = errors.New("wal: closed")
	// ErrPoisoned is wrapped by what every call returns after a failed write or fsync, or a failed fence.
	ErrPoisoned = errors.New("wal: stopped by a failure")
	// ErrVersion says that a file is of a format version this program does not know.
	ErrVersion = errors.New("wal: unknown format version")
	// ErrTruncated says that a file is shorter than it must be.
	ErrTruncated = errors.New("wal: file truncated")
	// ErrNotClosed says that a file has no sections yet.
	ErrNotClosed = errors.New("wal: file is not closed")
)

// CorruptError is damage in a file: detected, never served, never repaired.
type CorruptError struct {
	File   string // path
	Offset int64  // in the file
	Reason string
}

func (e *CorruptError) Error() string {
	return fmt.Sprintf("wal: corrupt: %s at offset %d: %s", e.File, e.Offset, e.Reason)
}

func corrupt(file string, off int64, format string, args ...any) error {
	return &CorruptError{File: file, Offset: off, Reason: fmt.Sprintf(format, args...)}
}
