package remoting

import (
	"errors"
	"fmt"
)

// Errors of the codec. They are wrapped with the place; compare with errors.Is.
var (
	// ErrFrameTooLarge means that a frame announces more bytes than allowed. Close the connection.
	ErrFrameTooLarge = errors.New("remoting: frame too large")
	// ErrMalformedFrame means that the lengths of a frame contradict each other. Close the connection.
	ErrMalformedFrame = errors.New("remoting: malformed frame")
	// ErrUnknownCodec means that a frame's header has an encoding this package does not know.
	ErrUnknownCodec = errors.New("remoting: unknown header codec")
	// ErrMalformedHeader means that a frame's header cannot be decoded. Close the connection.
	ErrMalformedHeader = errors.New("remoting: malformed header")
	// ErrMalformedBody means that a JSON body cannot be decoded or exceeds a limit.
	ErrMalformedBody = errors.New("remoting: malformed body")
	// ErrMissingField is the cause in a FieldError for a mandatory field that is absent.
	ErrMissingField = errors.New("missing")
	// ErrMalformedField is the cause in a FieldError for a value that cannot be parsed.
	ErrMalformedField = errors.New("malformed")
)

// FieldError says which ext field of a command is absent or malformed.
type FieldError struct {
	Field string // the field's long name
	Value string // what was sent, if malformed, cut to 64 bytes
	Err   error  // ErrMissingField or ErrMalformedField
}

// Error implements error.
func (e *FieldError) Error() string {
	if e.Value == "" {
		return fmt.Sprintf("remoting: field %s: %v", e.Field, e.Err)
	}
	return fmt.Sprintf("remoting: field %s: %v: %q", e.Field, e.Err, e.Value)
}

// Unwrap returns the cause.
func (e *FieldError) Unwrap() error { return e.Err }

func malformedField(field string, value []byte) error {
	return &FieldError{Field: field, Value: string(value[:min(len(value), 64)]), Err: ErrMalformedField}
}

func missingField(field string) error { return &FieldError{Field: field, Err: ErrMissingField} }
