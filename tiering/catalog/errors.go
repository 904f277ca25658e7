package catalog

import "errors"

// Errors that a caller branches on; they come wrapped with the queue or the key.
var (
	// ErrTrimmed says that an offset is below the queue's first.
	ErrTrimmed = errors.New("catalog: offset is trimmed")
	// ErrBeyond says that an offset is at or above the queue's end, or that nothing of the queue was ever sealed.
	ErrBeyond = errors.New("catalog: offset is not sealed")
	// ErrNotListed says that no listed segment has an offset that is within the queue's bounds: the manifest is not what it must be.
	ErrNotListed = errors.New("catalog: no listed segment has the offset")
	// ErrMismatch says that an object is not what it was listed as: another size, checksum or identity.
	ErrMismatch = errors.New("catalog: object is not the listed one")
)
