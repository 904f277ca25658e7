package client

import (
	"context"
	"errors"
	"fmt"
)

// Handler handles one message. Nil acknowledges it. Any other error has it
// delivered again: later, with growing delays and to any member of the group,
// or, in an orderly consumer, in place after a pause. [RetryLater], [DeadLetter]
// and [GiveBack] choose otherwise. A panic counts as an error.
//
// The context ends when the consumer gives up waiting for the handler; see
// [WithShutdownTimeout].
type Handler func(ctx context.Context, msg *MessageExt) error

// RetryLater is an error for a [Handler] to return: deliver the message again
// after the delay of that level, 1 to 18 (see [Message].DelayLevel). Level 0
// leaves it to the broker, whose delays grow with each attempt.
func RetryLater(level int) error { return &verdict{level: level} }

// DeadLetter is an error for a [Handler] to return: do not deliver the message
// again but put it in the group's dead letter topic, %DLQ%group.
func DeadLetter() error { return &verdict{level: -1} }

// GiveBack is an error for a [Handler] to return whose consumer is about to be closed: the message counts as not seen. Its queue's progress stays
// before it, and whoever gets the queue next begins with it. In a consumer that goes on, it is not handled again until the queue moves.
func GiveBack() error { return errGivenBack }

var errGivenBack = errors.New("client: given back")

// verdict is what RetryLater and DeadLetter return.
type verdict struct{ level int }

func (v *verdict) Error() string {
	if v.level < 0 {
		return "client: dead letter"
	}
	return fmt.Sprintf("client: retry later, level %d", v.level)
}

// levelOf returns the delay level that a handler's error asks for.
func levelOf(err error) int {
	if v, ok := errors.AsType[*verdict](err); ok {
		return v.level
	}
	return 0
}
