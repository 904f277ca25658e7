package segment

import (
	"encoding/binary"
	"hash/crc32"
	"slices"

	"github.com/cespare/xxhash/v2"

	"github.com/varvemq/varve/internal/message"
)

// The constants of docs/format/segment.md.
const (
	footerMagic   = "VARVESEG"
	blockMagic    = "VBLK"
	rootMagic     = "VSRT"
	formatVersion = 1

	footerSize    = 512
	footerTrailer = 16 // the last bytes, the same in every version
	blockHeader   = 64
	maxHeader     = blockHeader + hostFieldV6
	hostFieldV4   = 8
	hostFieldV6   = 24

	contentMessages = 1
	contentHole     = 255
	codecNone       = 0
	codecLZ4        = 1

	// MaxBlock bounds the raw bytes of a block with several messages.
	MaxBlock = 1 << 20
	// MaxMessage bounds a message, which then is a block alone.
	MaxMessage = 32 << 20
	// MaxKeysPerMessage bounds the keys of one message that are indexed.
	MaxKeysPerMessage = 256
	// MaxTags is the number of different tag hashes of a block that are kept.
	MaxTags = 32
	// TailBytes is what Open reads first.
	TailBytes = 64 << 10

	pageTarget   = 8 << 10
	maxPage      = 32 << 10
	runTableRow  = 6
	rootHeader   = 24
	rootRowSize  = 48
	keyRowSize   = 8
	maxRoot      = 16 << 20
	maxTopicName = 255
	maxShardName = 255
	maxMessages  = 1<<32 - 1
	maxOffset    = 1<<63 - 1

	tagsHole = 254
	tagsAny  = 255

	runKeysMask  = 3
	runContinued = 4
	runContinues = 8

	keySize         = 8
	keyPageEntries  = 2048
	keyPageSize     = keyPageEntries * keySize
	bloomBlock      = 32
	bloomPageSize   = 16 << 10
	bloomBitsPerKey = 10

	expansion      = 255 // lz4 cannot expand more
	expansionSlack = 64
)

//nolint:gochecknoglobals // a constant table
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

//nolint:gochecknoglobals // a constant
var le = binary.LittleEndian

func crcOf(b []byte) uint32 { return crc32.Checksum(b, castagnoli) }

// Identity says which segment an object is.
type Identity struct {
	Cluster  [16]byte // the cluster id, a uuid
	Shard    string   // its name
	Epoch    uint64
	Sequence uint64
}

// tag is what every block has of its segment's identity.
func (id *Identity) tag() uint64 {
	b := make([]byte, 0, 32+maxShardName)
	b = append(b, id.Cluster[:]...)
	b = le.AppendUint64(b, id.Epoch)
	b = le.AppendUint64(b, id.Sequence)
	return xxhash.Sum64(append(b, id.Shard...))
}

// KeyMode says which keys of a queue's messages are indexed: the topic's index.keys.
type KeyMode uint8

// The values of index.keys.
const (
	KeysAll  KeyMode = iota // UNIQ_KEY and the words of KEYS
	KeysOnly                // the words of KEYS
	KeysNone                // nothing
)

// Queue says what a queue's ordinal stands for, so that a segment can be understood without metadata.
type Queue struct {
	Ordinal     uint32
	QueueID     int32
	ExtentBase  uint64 // physical offset = Ordinal<<35 | (offset - ExtentBase)
	Incarnation uint64 // of the topic
	Topic       string
	Keys        KeyMode
}

func (q *Queue) validate() error {
	switch {
	case q.Ordinal > message.MaxOrdinal:
		return invalid("queue ordinal %d", q.Ordinal)
	case len(q.Topic) > maxTopicName:
		return invalid("topic of %d bytes", len(q.Topic))
	case q.QueueID < 0:
		return invalid("queue id %d", q.QueueID)
	case q.Keys > KeysNone:
		return invalid("key mode %d", q.Keys)
	case q.ExtentBase > maxOffset:
		return invalid("extent base %d", q.ExtentBase)
	}
	return nil
}

// QueueInfo is what a segment has of a queue.
type QueueInfo struct {
	Queue

	First, End uint64 // offsets [First, End), holes included
	Blocks     int    // holes included
}

// BlockRef is a block as the queue index has it.
type BlockRef struct {
	Ordinal            uint32
	Count              uint32 // messages, or offsets in the hole
	Base               uint64 // offset of the first message
	Number             uint64 // message number of the first message
	Pos                int64  // in the object
	Size               int    // header and payload; blocks of a queue are adjacent
	Raw                int    // bytes of messages
	MinStore, MaxStore int64  // unix ms; 0 in a hole
	Hole               bool

	crc   uint32 // of the header
	ntags uint8
	tags  [MaxTags]int32
}

// End returns the offset after the block's last.
func (r *BlockRef) End() uint64 { return r.Base + uint64(r.Count) }

// Tags returns the tag hashes of the block's messages, 0 for messages without a tag, or false if the index does not have them all. They alias r.
func (r *BlockRef) Tags() ([]int32, bool) {
	if r.ntags > MaxTags {
		return nil, r.ntags == tagsHole
	}
	return r.tags[:r.ntags], true
}

// MayMatch reports whether the block may have a message with one of the tag hashes (message.TagHash).
func (r *BlockRef) MayMatch(hashes []int64) bool {
	tags, known := r.Tags()
	if !known {
		return true
	}
	return slices.ContainsFunc(tags, func(t int32) bool { return slices.Contains(hashes, int64(t)) })
}
