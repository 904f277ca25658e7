package remoting

import "fmt"

// decodeJSONHeader decodes the JSON object that fills b. It takes what known
// clients send: numbers as strings and strings as numbers, a language by name or
// number, unknown keys, nulls, whitespace, control characters inside strings.
func decodeJSONHeader(b []byte, c *Command) error {
	s := jsonScanner{b: b}
	if !s.object(func(key []byte) bool { return s.headerValue(key, c) }, c) || !s.end() {
		return fmt.Errorf("json header at byte %d: %w", s.i, ErrMalformedHeader)
	}
	return nil
}

// headerValue decodes the value of one key of the header.
func (s *jsonScanner) headerValue(key []byte, c *Command) bool {
	switch string(key) {
	case "code":
		return s.int32(&c.Code, c)
	case "version":
		return s.int32(&c.Version, c)
	case "opaque":
		return s.int32(&c.Opaque, c)
	case "flag":
		return s.int32(&c.Flag, c)
	case "language":
		v, kind, ok := s.scalar(&c.Ext)
		if !ok || kind == jsonNull {
			return ok
		}
		if n, isInt := parseInt(v, 32); isInt {
			c.Language = languageOf(n)
		} else {
			c.Language = ParseLanguage(v)
		}
		return true
	case "remark":
		v, kind, ok := s.scalar(&c.Ext)
		if ok && kind != jsonNull {
			c.Remark = string(v)
		}
		return ok
	case "extFields":
		if s.peek() != '{' {
			return s.skip(0)
		}
		return s.object(func(name []byte) bool { return s.extValue(name, &c.Ext) }, c)
	default:
		return s.skip(0)
	}
}

// extValue decodes one ext field. Nulls are left out; what is neither a string
// nor null keeps its text.
func (s *jsonScanner) extValue(key []byte, e *Ext) bool {
	if e.Len() == MaxExtFields {
		return false
	}
	var v []byte
	switch s.peek() {
	case '{', '[':
		start := s.i
		if !s.skip(0) {
			return false
		}
		v = s.b[start:s.i:s.i]
	default:
		var kind jsonKind
		var ok bool
		if v, kind, ok = s.scalar(e); !ok || kind == jsonNull {
			return ok
		}
	}
	e.fields = append(e.fields, Field{Key: key, Value: v})
	return true
}

// int32 decodes a number, or a string that holds one; null leaves *p alone.
// Numbers up to 2^32-1 wrap: C++ clients print their opaque unsigned.
func (s *jsonScanner) int32(p *int32, c *Command) bool {
	v, kind, ok := s.scalar(&c.Ext)
	if !ok || kind == jsonNull {
		return ok
	}
	n, ok := parseInt(v, 64)
	if !ok || n < -1<<31 || n >= 1<<32 {
		return false
	}
	*p = int32(n)
	return true
}
