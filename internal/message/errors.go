package message

import "errors"

// Errors of the decoders. They are wrapped with the place; compare with errors.Is.
var (
	// ErrTruncated means that the bytes end before the lengths in them are satisfied.
	ErrTruncated = errors.New("message: truncated")
	// ErrCorrupt means that the lengths or values in the bytes contradict each other.
	ErrCorrupt = errors.New("message: corrupt")
	// ErrUnknownMagic means that the bytes are of a layout version this package does not know.
	ErrUnknownMagic = errors.New("message: unknown magic")
	// ErrTooLarge means that a field does not fit the layout or an agreed limit.
	ErrTooLarge = errors.New("message: too large")
	// ErrInvalidName means that a topic or group name breaks the rules of ValidateTopic or ValidateGroup.
	ErrInvalidName = errors.New("message: invalid name")
	// ErrInvalidProperty means that a property name or value cannot be written to a property string.
	ErrInvalidProperty = errors.New("message: invalid property")
	// ErrInvalidID means that a message id or a physical offset cannot be decoded or built.
	ErrInvalidID = errors.New("message: invalid id")
	// ErrHostFamily means that a host cannot be patched in place, because its address family has another length.
	ErrHostFamily = errors.New("message: host of another address family")
)
