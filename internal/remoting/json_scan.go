package remoting

import (
	"unicode/utf16"
	"unicode/utf8"
)

// maxJSONDepth bounds the nesting of values that are skipped or rewritten.
const maxJSONDepth = 32

// jsonKind tells the scalars apart.
type jsonKind uint8

const (
	jsonString jsonKind = iota
	jsonNumber          // or true or false
	jsonNull
)

// jsonScanner walks over JSON text without building anything. Its methods
// return false at malformed text; i is then near the fault.
type jsonScanner struct {
	b   []byte
	i   int
	odd bool // skip has met a key that is not a string
}

// peek skips whitespace and returns the next byte, or zero at the end.
func (s *jsonScanner) peek() byte {
	for s.i < len(s.b) {
		switch c := s.b[s.i]; c {
		case ' ', '\t', '\n', '\r':
			s.i++
		default:
			return c
		}
	}
	return 0
}

// take skips whitespace and the byte c, which must follow.
func (s *jsonScanner) take(c byte) bool {
	if s.peek() != c || s.i == len(s.b) {
		return false
	}
	s.i++
	return true
}

// end reports whether only whitespace is left.
func (s *jsonScanner) end() bool { return s.peek() == 0 && s.i == len(s.b) }

// object walks over an object and calls value at the value of each key, which
// it must consume. Keys are unescaped into the buffer of c.Ext.
func (s *jsonScanner) object(value func(key []byte) bool, c *Command) bool {
	if !s.take('{') {
		return false
	}
	if s.peek() == '}' {
		s.i++
		return true
	}
	for {
		if s.peek() != '"' {
			return false
		}
		key, ok := s.string(&c.Ext)
		if !ok || !s.take(':') || !value(key) {
			return false
		}
		switch s.peek() {
		case ',':
			s.i++
		case '}':
			s.i++
			return true
		default:
			return false
		}
	}
}

// scalar decodes a string, number, true, false or null. The value aliases the
// text, or the buffer of e if it had escapes.
func (s *jsonScanner) scalar(e *Ext) (v []byte, kind jsonKind, ok bool) {
	if s.peek() == '"' {
		v, ok = s.string(e)
		return v, jsonString, ok
	}
	v, ok = s.literal()
	if string(v) == "null" {
		return nil, jsonNull, ok
	}
	return v, jsonNumber, ok
}

// literal cuts off a number, true, false or null.
func (s *jsonScanner) literal() ([]byte, bool) {
	start := s.i
	for s.i < len(s.b) && isLiteral(s.b[s.i]) {
		s.i++
	}
	v := s.b[start:s.i:s.i]
	switch string(v) {
	case "true", "false", "null":
		return v, true
	}
	return v, len(v) > 0 && (v[0] == '-' || v[0] >= '0' && v[0] <= '9')
}

func isLiteral(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c == '-' || c == '+' || c == '.' || c == 'E'
}

// string decodes a string at its opening quote.
func (s *jsonScanner) string(e *Ext) ([]byte, bool) {
	start := s.i + 1
	for i := start; i < len(s.b); i++ {
		switch s.b[i] {
		case '"':
			s.i = i + 1
			return s.b[start:i:i], true
		case '\\':
			return s.unescape(start, i, e)
		}
	}
	s.i = len(s.b)
	return nil, false
}

// unescape decodes the string that begins at start and has its first escape at
// i into the buffer of e.
func (s *jsonScanner) unescape(start, i int, e *Ext) ([]byte, bool) {
	mark := len(e.buf)
	buf := append(e.buf, s.b[start:i]...)
	for i < len(s.b) {
		c := s.b[i]
		i++
		switch {
		case c == '"':
			s.i = i
			e.buf = buf
			return e.since(mark), true
		case c != '\\':
			buf = append(buf, c)
			continue
		}
		if i == len(s.b) {
			break
		}
		c = s.b[i]
		i++
		if c == 'u' {
			r, n := unicodeEscape(s.b[i:])
			if n == 0 {
				s.i = i
				return nil, false
			}
			i += n
			buf = utf8.AppendRune(buf, r)
			continue
		}
		plain := unescaped(c)
		if plain == 0 {
			s.i = i
			return nil, false
		}
		buf = append(buf, plain)
	}
	s.i = len(s.b)
	return nil, false
}

// unescaped returns what a backslash and c stand for, zero if nothing.
func unescaped(c byte) byte {
	switch c {
	case '"', '\\', '/', '\'':
		return c
	case 'b':
		return '\b'
	case 'f':
		return '\f'
	case 'n':
		return '\n'
	case 'r':
		return '\r'
	case 't':
		return '\t'
	case 'v':
		return '\v'
	}
	return 0
}

// unicodeEscape decodes what follows \u at the start of b, a surrogate pair if
// there is one, and returns the bytes used. A lone surrogate is U+FFFD.
func unicodeEscape(b []byte) (r rune, n int) {
	r, ok := hex4(b)
	if !ok {
		return 0, 0
	}
	if !utf16.IsSurrogate(r) {
		return r, 4
	}
	if len(b) >= 10 && b[4] == '\\' && b[5] == 'u' {
		if low, ok := hex4(b[6:]); ok {
			if pair := utf16.DecodeRune(r, low); pair != utf8.RuneError {
				return pair, 10
			}
		}
	}
	return utf8.RuneError, 4
}

// hex4 decodes four hex digits at the start of b.
func hex4(b []byte) (rune, bool) {
	if len(b) < 4 {
		return 0, false
	}
	var r rune
	for _, c := range b[:4] {
		switch {
		case c >= '0' && c <= '9':
			c -= '0'
		case c >= 'a' && c <= 'f':
			c -= 'a' - 10
		case c >= 'A' && c <= 'F':
			c -= 'A' - 10
		default:
			return 0, false
		}
		r = r<<4 | rune(c)
	}
	return r, true
}

// skip walks over any value, nested at most to maxJSONDepth. Keys of objects
// may be of any kind, as fastjson writes them.
func (s *jsonScanner) skip(depth int) bool {
	if depth > maxJSONDepth {
		return false
	}
	switch s.peek() {
	case '"':
		return s.skipString()
	case '{':
		return s.skipList('}', func() bool {
			s.odd = s.peek() != '"' || s.odd
			return s.skip(depth+1) && s.take(':') && s.skip(depth+1)
		})
	case '[':
		return s.skipList(']', func() bool { return s.skip(depth + 1) })
	default:
		_, ok := s.literal()
		return ok
	}
}

// skipList walks over the elements of a list at its opening bracket.
func (s *jsonScanner) skipList(end byte, element func() bool) bool {
	s.i++
	if s.peek() == end {
		s.i++
		return true
	}
	for {
		if !element() {
			return false
		}
		switch s.peek() {
		case ',':
			s.i++
		case end:
			s.i++
			return true
		default:
			return false
		}
	}
}

// skipString walks over a string at its opening quote.
func (s *jsonScanner) skipString() bool {
	for i := s.i + 1; i < len(s.b); i++ {
		switch s.b[i] {
		case '\\':
			i++
		case '"':
			s.i = i + 1
			return true
		}
	}
	s.i = len(s.b)
	return false
}
