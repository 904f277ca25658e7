package queue

// Status says how a read ended. The names are those of RocketMQ's pull results.
type Status uint8

// The statuses of a read.
const (
	// Found: Count messages were appended to dst.
	Found Status = iota + 1
	// NoMessage: Offset is the visible end, Next = Offset.
	NoMessage
	// NoMatch: everything read was filtered out; Next has moved on.
	NoMatch
	// OffsetTooSmall: Offset is below the first message kept, Next = Min.
	OffsetTooSmall
	// OffsetTooLarge: Offset is above the visible end, Next = Max.
	OffsetTooLarge
)

// String returns the name RocketMQ gives the status, as it stands in remarks.
func (s Status) String() string {
	switch s {
	case Found:
		return "FOUND"
	case NoMessage:
		return "OFFSET_OVERFLOW_ONE"
	case NoMatch:
		return "NO_MATCHED_MESSAGE"
	case OffsetTooSmall:
		return "OFFSET_TOO_SMALL"
	case OffsetTooLarge:
		return "OFFSET_OVERFLOW_BADLY"
	default:
		return "UNKNOWN"
	}
}

// Filter chooses messages by their tag, nil if a message has none. It must not keep the tag, nor block.
type Filter interface {
	MatchTag(tag []byte) bool
}

// ReadRequest asks for messages from Offset on.
type ReadRequest struct {
	Offset      uint64
	MaxMessages int    // 0: 32
	MaxBytes    int    // 0: 256 KiB; the first message is returned even if it is larger
	MaxScan     int    // messages looked at, for a filter that matches little; 0: 16,384
	Filter      Filter // nil: everything
}

// ReadResult tells what a read found. Next is where to go on, Min and Max are the queue's at that time.
type ReadResult struct {
	Status         Status
	Next, Min, Max uint64
	Count          int
}

// KeyQuery asks for messages by a key of a topic: a word of KEYS, or with Unique the UNIQ_KEY. Begin and End bound the
// store time, both inclusive, in unix ms; an End of 0 is no bound. Max bounds the messages; 0: 64. MaxBytes bounds their
// bytes, but one is returned even if it is larger; 0: 8 MiB.
type KeyQuery struct {
	Topic, Key string
	Unique     bool
	Begin, End int64
	Max        int
	MaxBytes   int
}
