package seal

import (
	"errors"
	"fmt"
)

// Errors that a caller branches on. All of them end sealing.
var (
	// ErrOrder says that the log's records are not what must follow the committed ones.
	ErrOrder = errors.New("seal: records out of order")
	// ErrForeign says that an object with a number and the epoch of ours is not what we have written: somebody else acts as us.
	ErrForeign = errors.New("seal: a foreign object under our epoch")
)

// disorder makes an ErrOrder.
func disorder(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrOrder, fmt.Sprintf(format, args...))
}

// diskError is a fault of the spool's disk: another attempt may succeed.
type diskError struct{ err error }

func (e *diskError) Error() string { return "spool: " + e.err.Error() }
func (e *diskError) Unwrap() error { return e.err }

// errSpoolLost says that a spool file could not be read any more while it was uploaded: the segment has to be built again, under another number.
var errSpoolLost = errors.New("seal: the spool file cannot be read")
