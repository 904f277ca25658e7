package message

import (
	"unicode/utf8"
)

// TagHash returns Java's String.hashCode of a tag, sign-extended: the number
// that RocketMQ filters by. It is computed over UTF-16 units; invalid UTF-8
// counts as U+FFFD. The hash of no tag is zero. ASCII does not allocate.
func TagHash[S string | []byte](tag S) int64 {
	var h int32
	for i := 0; i < len(tag); i++ {
		c := tag[i]
		if c >= utf8.RuneSelf {
			return int64(tagHashUnicode(h, string(tag[i:])))
		}
		h = 31*h + int32(c)
	}
	return int64(h)
}

// tagHashUnicode continues a hash over text that is not ASCII.
func tagHashUnicode(h int32, s string) int32 {
	for _, r := range s {
		if r >= 0x10000 {
			r -= 0x10000
			h = 31*h + (0xD800 + r>>10)
			h = 31*h + (0xDC00 + r&0x3ff)
			continue
		}
		h = 31*h + r
	}
	return h
}
