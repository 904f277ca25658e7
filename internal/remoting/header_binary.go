package remoting

import (
	"encoding/binary"
	"fmt"
	"math"
)

// binaryFixed is the length of a binary header without remark and ext fields.
const binaryFixed = 2 + 1 + 2 + 4 + 4 + 4 + 4

// decodeBinaryHeader decodes the header that fills b.
func decodeBinaryHeader(b []byte, c *Command) error {
	be := binary.BigEndian
	if len(b) < binaryFixed {
		return fmt.Errorf("binary header of %d bytes: %w", len(b), ErrMalformedHeader)
	}
	c.Code = int32(int16(be.Uint16(b)))
	c.Language = languageOf(int64(int8(b[2])))
	c.Version = int32(int16(be.Uint16(b[3:])))
	c.Opaque = int32(be.Uint32(b[5:]))
	c.Flag = int32(be.Uint32(b[9:]))
	if !c.IsResponse() {
		c.Code = unwrapCode(c.Code)
	}
	remark, b, ok := cutBinary(b[13:], 4)
	if !ok {
		return fmt.Errorf("binary header: remark: %w", ErrMalformedHeader)
	}
	c.Remark = string(remark)
	ext, b, ok := cutBinary(b, 4)
	if !ok || len(b) != 0 {
		return fmt.Errorf("binary header: ext fields: %w", ErrMalformedHeader)
	}
	for len(ext) > 0 {
		var f Field
		if f.Key, ext, ok = cutBinary(ext, 2); !ok {
			return fmt.Errorf("binary header: ext key %d: %w", c.Ext.Len(), ErrMalformedHeader)
		}
		if f.Value, ext, ok = cutBinary(ext, 4); !ok {
			return fmt.Errorf("binary header: ext value %d: %w", c.Ext.Len(), ErrMalformedHeader)
		}
		if c.Ext.Len() == MaxExtFields {
			return fmt.Errorf("binary header: more than %d ext fields: %w", MaxExtFields, ErrMalformedHeader)
		}
		// An empty value means null to Java, and so absent; so does an empty key.
		if len(f.Key) > 0 && len(f.Value) > 0 {
			c.Ext.fields = append(c.Ext.fields, f)
		}
	}
	return nil
}

// cutBinary cuts a string with a length of 2 or 4 bytes off b.
func cutBinary(b []byte, width int) (s, rest []byte, ok bool) {
	if len(b) < width {
		return nil, nil, false
	}
	var n int
	if width == 2 {
		n = int(int16(binary.BigEndian.Uint16(b)))
	} else {
		n = int(int32(binary.BigEndian.Uint32(b)))
	}
	if n < 0 || n > len(b)-width {
		return nil, nil, false
	}
	end := width + n
	return b[width:end:end], b[end:], true //nolint:gosec // n was checked against the length
}

// appendBinaryHeader appends the binary header of c. Code and version are cut
// to 16 bits, as Java does. Keys beyond 32,767 bytes are left out.
func appendBinaryHeader(dst []byte, c *Command) []byte {
	be := binary.BigEndian
	dst = be.AppendUint16(dst, uint16(c.Code))
	dst = append(dst, byte(c.Language))
	dst = be.AppendUint16(dst, uint16(c.Version))
	dst = be.AppendUint32(dst, uint32(c.Opaque))
	dst = be.AppendUint32(dst, uint32(c.Flag))
	dst = be.AppendUint32(dst, uint32(len(c.Remark)))
	dst = append(dst, c.Remark...)
	at := len(dst)
	dst = append(dst, 0, 0, 0, 0)
	for _, f := range c.Ext.fields {
		if len(f.Key) == 0 || len(f.Key) > math.MaxInt16 {
			continue
		}
		dst = be.AppendUint16(dst, uint16(len(f.Key)))
		dst = append(dst, f.Key...)
		dst = be.AppendUint32(dst, uint32(len(f.Value)))
		dst = append(dst, f.Value...)
	}
	be.PutUint32(dst[at:], uint32(len(dst)-at-4))
	return dst
}
