package manifest

import (
	"errors"
	"fmt"
)

// Errors that a caller branches on; they come wrapped with the place.
var (
	// ErrTruncated says that an object is shorter than it must be, or does not end in a footer.
	ErrTruncated = errors.New("manifest: truncated")
	// ErrVersion says that a root or a page is of a format version this program does not know.
	ErrVersion = errors.New("manifest: unknown format version")
	// ErrIdentity says that an intact object is not the page that was expected.
	ErrIdentity = errors.New("manifest: another object than expected")
	// ErrNotFound says that a page does not have the queue, or not the offset of it.
	ErrNotFound = errors.New("manifest: not found")
	// ErrInvalid says that what was to be encoded cannot be in a manifest.
	ErrInvalid = errors.New("manifest: invalid input")
)

// The parts of a manifest, as a CorruptError names them.
const (
	SectionRoot      = "root"
	SectionPages     = "table of pages"
	SectionQueues    = "table of queues"
	SectionRuns      = "runs"
	SectionDirectory = "directory"
	SectionSegments  = "segment table"
	SectionIndex     = "index"
	SectionFooter    = "footer"
)

// CorruptError is damage to a root or a page: detected, never served, never repaired.
type CorruptError struct {
	Section string
	Pos     int64 // in the object
	Reason  string
}

func (e *CorruptError) Error() string {
	return fmt.Sprintf("manifest: corrupt: %s at %d: %s", e.Section, e.Pos, e.Reason)
}

func corrupt(section string, pos int64, format string, args ...any) error {
	return &CorruptError{Section: section, Pos: pos, Reason: fmt.Sprintf(format, args...)}
}

func invalid(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrInvalid, fmt.Sprintf(format, args...))
}
