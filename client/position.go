package client

import "time"

type positionKind uint8

const (
	atFirst positionKind = iota
	atLast
	atOffset
	atTime
)

// Position is a place in a queue. The zero value is the first message.
type Position struct {
	kind   positionKind
	offset int64
	time   time.Time
}

// First is the oldest message that the broker still has.
func First() Position { return Position{kind: atFirst} }

// Last is the end of the queue: only messages that arrive from now on.
func Last() Position { return Position{kind: atLast} }

// AtOffset is the message with that offset. Where the queue begins later, it is the first message.
func AtOffset(offset int64) Position { return Position{kind: atOffset, offset: offset} }

// AtTime is the first message stored at that time or later.
func AtTime(t time.Time) Position { return Position{kind: atTime, time: t} }
