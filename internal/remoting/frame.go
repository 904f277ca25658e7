package remoting

import (
	"encoding/binary"
	"fmt"
)

// Limits of a frame.
const (
	// DefaultMaxFrame is the longest frame that RocketMQ's clients take, without its first four bytes.
	DefaultMaxFrame = 16 << 20
	// MaxHeader is the longest header, in bytes, that this package reads or writes.
	MaxHeader = 1 << 20
	// MaxExtFields is the largest number of ext fields in a header.
	MaxExtFields = 256
	// PrefixSize is the length of the total that begins a frame.
	PrefixSize = 4
)

// wordSize is the length of the codec and header length.
const wordSize = 4

// FrameLength returns the number of bytes that follow the first four bytes of a
// frame. A max of zero means DefaultMaxFrame. It returns ErrFrameTooLarge for a
// longer frame, so that nothing is allocated for it, and ErrMalformedFrame for
// one that has no room for a header.
func FrameLength(prefix [PrefixSize]byte, maxFrame int) (int, error) {
	if maxFrame <= 0 {
		maxFrame = DefaultMaxFrame
	}
	total := int64(int32(binary.BigEndian.Uint32(prefix[:])))
	if total < wordSize {
		return 0, fmt.Errorf("total %d: %w", total, ErrMalformedFrame)
	}
	if total > int64(maxFrame) {
		return 0, fmt.Errorf("total %d, limit %d: %w", total, maxFrame, ErrFrameTooLarge)
	}
	return int(total), nil
}

// DecodeFrame decodes a frame, without its first four bytes, into c, whose old
// values are lost and whose capacity is used. Ext and Body alias frame; see the
// package comment. After an error c is not to be used.
func DecodeFrame(frame []byte, c *Command) error {
	c.Reset()
	if len(frame) < wordSize {
		return fmt.Errorf("frame of %d bytes: %w", len(frame), ErrMalformedFrame)
	}
	word := binary.BigEndian.Uint32(frame)
	n := int(word & 0xffffff)
	if n > len(frame)-wordSize {
		return fmt.Errorf("header of %d bytes in %d: %w", n, len(frame), ErrMalformedFrame)
	}
	if n > MaxHeader {
		return fmt.Errorf("header of %d bytes, limit %d: %w", n, MaxHeader, ErrFrameTooLarge)
	}
	header := frame[wordSize : wordSize+n]
	if rest := frame[wordSize+n:]; len(rest) > 0 {
		c.Body = rest
	}
	c.Codec = Codec(word >> 24)
	switch c.Codec {
	case CodecJSON:
		return decodeJSONHeader(header, c)
	case CodecBinary:
		return decodeBinaryHeader(header, c)
	default:
		return fmt.Errorf("codec %d: %w", c.Codec, ErrUnknownCodec)
	}
}

// AppendFrame appends the whole frame of c, its first four bytes included, to
// dst. It does not allocate if dst has room. See AppendHeader for its limit.
func AppendFrame(dst []byte, c *Command) []byte {
	n := len(dst)
	dst = AppendHeader(dst, c, len(c.Body))
	if len(dst) == n {
		return dst
	}
	return append(dst, c.Body...)
}

// AppendHeader appends the frame of c up to its body, which the caller writes
// separately and which has bodyLen bytes; c.Body is not looked at. A header
// longer than MaxHeader or an unknown codec cannot be written: then dst is
// returned as it was.
func AppendHeader(dst []byte, c *Command, bodyLen int) []byte {
	start := len(dst)
	dst = append(dst, 0, 0, 0, 0, 0, 0, 0, 0)
	switch c.Codec {
	case CodecJSON:
		dst = appendJSONHeader(dst, c)
	case CodecBinary:
		dst = appendBinaryHeader(dst, c)
	default:
		return dst[:start]
	}
	n := len(dst) - start - PrefixSize - wordSize
	if n > MaxHeader {
		return dst[:start]
	}
	binary.BigEndian.PutUint32(dst[start:], uint32(wordSize+n+bodyLen))
	binary.BigEndian.PutUint32(dst[start+PrefixSize:], uint32(c.Codec)<<24|uint32(n))
	return dst
}
