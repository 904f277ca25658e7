package metadata

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// The attributes of a topic that say how its messages are kept. They stand in [Topic.Attributes].
const (
	AttributeRetentionMs    = "retention.ms"    // how long sealed messages are kept, ms; none: for ever
	AttributeRetentionBytes = "retention.bytes" // how many stored bytes of all queues are kept; none: all
	AttributeCompression    = "compression"     // of segments: lz4, lz4-1 … lz4-9, none
	AttributeIndexKeys      = "index.keys"      // which keys can be looked up in segments: all, keys (not UNIQ_KEY), none
	AttributeDurability     = "durability"      // local, object
)

// The classes of durability.
const (
	DurabilityLocal  = "local"  // acknowledged when the owner's log has it
	DurabilityObject = "object" // acknowledged when a committed segment has it
)

// IndexKeys says which keys of a topic's messages are indexed in segments.
type IndexKeys uint8

// The values of index.keys.
const (
	IndexKeysAll IndexKeys = iota
	IndexKeysOnly
	IndexKeysNone
)

// NoCompression is the Compression of a topic whose segments are not compressed.
const NoCompression = -1

// Policy is how a topic's messages are kept. The zero value is the default.
type Policy struct {
	MaxAge      time.Duration // 0: for ever
	MaxBytes    int64         // 0: unlimited
	Compression int8          // 0: fast lz4, 1 … 9: smaller and slower, [NoCompression]
	IndexKeys   IndexKeys
	Object      bool // of class [DurabilityObject]
}

// maxRetentionMs keeps ages within a time.Duration.
const maxRetentionMs = int64(1<<63-1) / int64(time.Millisecond)

// Policy returns how the topic's messages are kept. Attributes that are not understood have no effect: a later version may have set them.
func (t *Topic) Policy() Policy {
	var p Policy
	for key, value := range t.Attributes {
		_ = p.set(key, value)
	}
	return p
}

// CheckPolicyAttribute reports why a value is not one that an attribute of a policy can have, wrapping [ErrInvalid]. known says whether key is such an attribute.
func CheckPolicyAttribute(key, value string) (known bool, err error) {
	switch key {
	case AttributeRetentionMs, AttributeRetentionBytes, AttributeCompression, AttributeIndexKeys, AttributeDurability:
		return true, new(Policy).set(key, value)
	}
	return false, nil
}

func (p *Policy) set(key, value string) error {
	bad := func(want string) error { return fmt.Errorf("%w: %s=%q: want %s", ErrInvalid, key, value, want) }
	switch key {
	case AttributeRetentionMs:
		ms, err := strconv.ParseInt(value, 10, 64)
		if err != nil || ms == 0 || ms < -1 || ms > maxRetentionMs {
			return bad("a number of milliseconds, or -1 for ever")
		}
		p.MaxAge = time.Duration(max(ms, 0)) * time.Millisecond
	case AttributeRetentionBytes:
		n, err := strconv.ParseInt(value, 10, 64)
		if err != nil || n == 0 || n < -1 {
			return bad("a number of bytes, or -1 for all")
		}
		p.MaxBytes = max(n, 0)
	case AttributeCompression:
		level, named := strings.CutPrefix(value, "lz4-")
		switch {
		case value == "lz4":
			p.Compression = 0
		case value == "none":
			p.Compression = NoCompression
		case named && len(level) == 1 && level[0] >= '1' && level[0] <= '9':
			p.Compression = int8(level[0] - '0')
		default:
			return bad("lz4, lz4-1 to lz4-9 or none")
		}
	case AttributeIndexKeys:
		at := map[string]IndexKeys{"all": IndexKeysAll, "keys": IndexKeysOnly, "none": IndexKeysNone}
		mode, ok := at[value]
		if !ok {
			return bad("all, keys or none")
		}
		p.IndexKeys = mode
	case AttributeDurability:
		if value != DurabilityLocal && value != DurabilityObject {
			return bad("local or object")
		}
		p.Object = value == DurabilityObject
	}
	return nil
}
