package client

import (
	"context"
	"errors"
	"fmt"
)

// Errors of the client itself. Compare with [errors.Is].
var (
	// ErrClosed means that the producer, consumer, reader or admin was closed.
	ErrClosed = errors.New("client: closed")
	// ErrNoRoute means that no name server knows the topic, or that no broker serves it now.
	ErrNoRoute = errors.New("client: no route to topic")
	// ErrBufferFull means that back-pressure refused a message; see [WithNonBlocking].
	ErrBufferFull = errors.New("client: too many messages in flight")
	// ErrInvalid means that an argument or an option breaks the rules; the text says which.
	ErrInvalid = errors.New("client: invalid")
	// ErrExists means that a topic is there already.
	ErrExists = errors.New("client: exists already")
	// ErrNotFound means that a message, group or topic does not exist.
	ErrNotFound = errors.New("client: not found")
	// ErrMalformed means that a peer sent bytes that are not the protocol. The connection was closed.
	ErrMalformed = errors.New("client: malformed data from the server")
)

// Code is a response code of the remoting protocol.
type Code int

// Codes that callers may want to tell apart.
const (
	// CodeNone means that no server answered: the failure is one of the network.
	CodeNone Code = -1
	// CodeSystemError is any failure inside the broker.
	CodeSystemError Code = 1
	// CodeSystemBusy is flow control: the broker refused, and nothing was stored.
	CodeSystemBusy Code = 2
	// CodeNotSupported means that the server does not know the request.
	CodeNotSupported Code = 3
	// CodeMessageIllegal means a message that is too large or badly formed.
	CodeMessageIllegal Code = 13
	// CodeServiceNotAvailable means that the broker is stopping or read-only.
	CodeServiceNotAvailable Code = 14
	// CodeNoPermission means that the topic, group or broker forbids it.
	CodeNoPermission Code = 16
	// CodeTopicNotExist means that the broker does not know the topic.
	CodeTopicNotExist Code = 17
	// CodeQueryNotFound means that there is no such message or offset.
	CodeQueryNotFound Code = 22
	// CodeGroupNotExist means that the broker does not know the group.
	CodeGroupNotExist Code = 26
	// CodeInvalidParameter means an argument that the broker refuses.
	CodeInvalidParameter Code = 29
	// CodeConsumerNotOnline means that no member of the group is connected.
	CodeConsumerNotOnline Code = 206
	// CodeFlowControl is flow control of pulls.
	CodeFlowControl Code = 215
	// CodeGoAway means that the server drains the connection; a new one helps.
	CodeGoAway Code = 1500
)

// Error is a request that failed: refused by a server (Code is what it
// answered) or broken by the network (Code is CodeNone and Err says how).
type Error struct {
	// Op is what was tried, such as "send".
	Op string
	// Addr is the server's address, host:port; empty if none was reached.
	Addr string
	Code Code
	// Remark is the server's explanation.
	Remark string
	// Err is the cause of a network failure, nil otherwise.
	Err error
	// Unknown says that the request may have taken effect; see [OutcomeUnknown].
	Unknown bool
}

// Error describes the failure in one line.
func (e *Error) Error() string {
	s := e.Op
	if e.Addr != "" {
		s += " " + e.Addr
	}
	if e.Code != CodeNone {
		s += fmt.Sprintf(": code %d: %s", e.Code, e.Remark)
	}
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	if e.Unknown {
		s += " (outcome unknown)"
	}
	return s
}

// Unwrap returns the cause of a network failure.
func (e *Error) Unwrap() error { return e.Err }

// Is makes errors.Is(err, ErrNotFound) true for the codes that mean it.
func (e *Error) Is(target error) bool {
	if target != ErrNotFound {
		return false
	}
	return e.Code == CodeQueryNotFound || e.Code == CodeTopicNotExist || e.Code == CodeGroupNotExist
}

// Retriable reports whether the same call may succeed when it is made again:
// the network failed, or the server said that it is busy, stopping or moving.
// Whether the first try took effect is another question: see [OutcomeUnknown].
func Retriable(err error) bool {
	if errors.Is(err, ErrBufferFull) || errors.Is(err, ErrNoRoute) {
		return true
	}
	e, ok := errors.AsType[*Error](err)
	if !ok {
		return false
	}
	switch e.Code {
	case CodeNone:
		return !errors.Is(e.Err, context.Canceled) && !errors.Is(e.Err, ErrInvalid)
	case CodeSystemBusy, CodeServiceNotAvailable, CodeSystemError, CodeFlowControl, CodeGoAway,
		codeNoBuyerID, codeNotInCurrentUnit, CodeTopicNotExist:
		return true
	default:
		return false
	}
}

// Codes that RocketMQ's clients retry on another broker.
const (
	codeNoBuyerID        Code = 204
	codeNotInCurrentUnit Code = 205
)

// OutcomeUnknown reports whether a failed call may nevertheless have taken
// effect: the request was on its way when the connection broke or the time was
// up, or the broker failed in the middle of it. Sending such a message again
// can store it twice.
func OutcomeUnknown(err error) bool {
	e, ok := errors.AsType[*Error](err)
	return ok && e.Unknown
}

// retrySafe reports whether a retry can neither fail for sure nor duplicate.
func retrySafe(err error) bool { return Retriable(err) && !OutcomeUnknown(err) }

// codeOf returns the code that a server answered, CodeNone if none did.
func codeOf(err error) Code {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Code
	}
	return CodeNone
}
