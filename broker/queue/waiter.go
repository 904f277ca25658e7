package queue

import (
	"sync/atomic"
	"time"
)

// WakeReason says why a waiter was woken.
type WakeReason uint8

// The reasons.
const (
	// WakeArrived: a message that may match stands at Offset or above.
	WakeArrived WakeReason = iota + 1
	// WakeDeadline: the deadline has passed.
	WakeDeadline
	// WakeDropped: the queue was dropped.
	WakeDropped
	// WakeClosed: the log is being closed.
	WakeClosed
)

// Waiter waits for a message at Offset or above that its filter matches. It belongs to the caller, who embeds it in
// what it stands for; from a Wait that returned true until Wake is called or Cancel has returned true it must not be
// touched. After that it may be used again.
type Waiter struct {
	Offset   uint64
	Filter   Filter    // nil: any message
	Deadline time.Time // zero: none

	// Wake is called exactly once, unless Cancel returned true. It runs on the WAL's delivery goroutine or on that of
	// the deadlines, with no lock held, and must not block: hand the work to somebody else.
	Wake func(w *Waiter, reason WakeReason)

	queue      *Queue
	next, prev *Waiter       // in the queue's list, guarded by queue.waitMu; next also in a list of those to be woken
	state      atomic.Uint32 // whoever moves it from waiting owns the waiter
	heapIndex  int           // + 1, 0: not in it; guarded by timers.mu
}

// States of a waiter.
const (
	waiterIdle uint32 = iota
	waiterWaiting
	waiterTaken
)
