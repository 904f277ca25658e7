package faulty

import (
	"context"
	"time"
)

// Fault is what happens to a call.
type Fault uint8

// The faults. One that cannot happen to a call (a flipped bit in an answer to a delete) does not happen to it.
const (
	None Fault = iota
	// Throttled fails a call, and those after it for Config.Burst, with ErrThrottled and without an effect.
	Throttled
	// ServerError fails a call with ErrTransient and without an effect.
	ServerError
	// LostAnswer does what a Put or a Delete asks and fails it with ErrTransient.
	LostAnswer
	// OwnPrecondition does what a Put with IfNoneMatch asks and fails it with ErrPrecondition, as a driver does that repeats a request whose answer was lost and cannot
	// find out that it was its own.
	OwnPrecondition
	// ResetBody breaks off the body of a Get, or a List, with ErrTransient.
	ResetBody
	// TruncateBody ends the body of a Get early and without an error.
	TruncateBody
	// FlipBit flips a bit in the body of a Get. (In that of a Put the request's checksum would find it.)
	FlipBit
	// StaleList makes a List leave out what was put, and show what was deleted, during Config.StaleFor.
	StaleList
	// Hang lets a call wait until its context ends.
	Hang
	faults
)

var faultNames = [faults]string{"none", "throttled", "server error", "lost answer", "own precondition", "reset body", "truncated body", "flipped bit", "stale list", "hang"}

// String names the fault.
func (f Fault) String() string {
	if f < faults {
		return faultNames[f]
	}
	return "unknown"
}

// Kind is a kind of call.
type Kind uint8

// The kinds of calls of a store.
const (
	Put Kind = iota + 1
	Get
	Head
	List
	Delete
)

// possible reports whether a fault can happen to a kind of call.
func (f Fault) possible(k Kind, ifNoneMatch bool) bool {
	switch f {
	case LostAnswer:
		return k == Put || k == Delete
	case OwnPrecondition:
		return k == Put && ifNoneMatch
	case ResetBody:
		return k == Get || k == List
	case TruncateBody, FlipBit:
		return k == Get
	case StaleList:
		return k == List
	default:
		return true
	}
}

// Op is a call about to be made.
type Op struct {
	// N counts the calls from 1.
	N    int
	Kind Kind
	// Key is that of the call, the first one of a Delete, or the prefix of a List.
	Key         string
	IfNoneMatch bool
}

// Clock is the time of a Store.
type Clock interface {
	Now() time.Time
	// Sleep waits for d or until ctx ends, and returns its error then.
	Sleep(ctx context.Context, d time.Duration) error
}

// wallClock is the real one.
type wallClock struct{}

// Now implements Clock.
func (wallClock) Now() time.Time { return time.Now() }

// Sleep implements Clock.
func (wallClock) Sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}
