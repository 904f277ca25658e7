package segment

import (
	"errors"
	"fmt"
)

// Errors that a caller branches on; they come wrapped with the place.
var (
	// ErrTruncated says that an object is shorter than it must be, or does not end in a footer.
	ErrTruncated = errors.New("segment: truncated")
	// ErrVersion says that a segment is of a format version this program does not know.
	ErrVersion = errors.New("segment: unknown format version")
	// ErrIdentity says that an intact object is not the segment that was expected.
	ErrIdentity = errors.New("segment: another segment than expected")
	// ErrNotFound says that a segment does not have the queue, or not the offset or time in it.
	ErrNotFound = errors.New("segment: not found")
	// ErrInvalid says that what a Writer was given cannot be in a segment.
	ErrInvalid = errors.New("segment: invalid input")
)

// The parts of a segment, as a CorruptError names them.
const (
	SectionBlock  = "block"
	SectionKeys   = "key index"
	SectionBloom  = "bloom filter"
	SectionIndex  = "queue index"
	SectionRoot   = "root"
	SectionFooter = "footer"
)

// CorruptError is damage to a segment: detected, never served, never repaired.
type CorruptError struct {
	Section string
	Pos     int64 // in the object
	Reason  string
}

func (e *CorruptError) Error() string {
	return fmt.Sprintf("segment: corrupt: %s at %d: %s", e.Section, e.Pos, e.Reason)
}

func corrupt(section string, pos int64, format string, args ...any) error {
	return &CorruptError{Section: section, Pos: pos, Reason: fmt.Sprintf(format, args...)}
}

func invalid(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrInvalid, fmt.Sprintf(format, args...))
}
