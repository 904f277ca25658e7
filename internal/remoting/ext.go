package remoting

import (
	"slices"
	"strconv"
)

// Field is one ext field. Both slices alias what the Ext was decoded from.
type Field struct {
	Key   []byte
	Value []byte
}

// Ext is the ordered list of a command's ext fields. The zero value is empty.
// If a key occurs again the last one counts. Lookups scan: the lists are short.
// An Ext is not to be copied and then added to; use Clone.
type Ext struct {
	fields []Field
	buf    []byte // backs unescaped and added values; old backing arrays stay valid as it grows
}

// Len returns the number of fields.
func (e *Ext) Len() int { return len(e.fields) }

// Fields returns the fields in their order. They are valid as long as e's.
func (e *Ext) Fields() []Field { return e.fields }

// Reset removes all fields but keeps the capacity.
func (e *Ext) Reset() {
	clear(e.fields)
	e.fields = e.fields[:0]
	e.buf = e.buf[:0]
}

// Clone returns a deep copy.
func (e *Ext) Clone() Ext {
	size := 0
	for _, f := range e.fields {
		size += len(f.Key) + len(f.Value)
	}
	c := Ext{fields: make([]Field, 0, len(e.fields)), buf: make([]byte, 0, size)}
	for _, f := range e.fields {
		c.fields = append(c.fields, Field{Key: c.keepBytes(f.Key), Value: c.keepBytes(f.Value)})
	}
	return c
}

// Bytes returns a field's value without copying it.
func (e *Ext) Bytes(key string) ([]byte, bool) {
	for _, f := range slices.Backward(e.fields) {
		if string(f.Key) == key {
			return f.Value, true
		}
	}
	return nil, false
}

// Get returns a copy of a field's value. It allocates; see Bytes.
func (e *Ext) Get(key string) (string, bool) {
	v, ok := e.Bytes(key)
	return string(v), ok
}

// String returns a copy of a field's value, or "" if the field is absent.
func (e *Ext) String(key string) string {
	v, _ := e.Bytes(key)
	return string(v)
}

// Int32 returns a field's value as a number, or def if the field is absent. A
// value that is no number is a *FieldError, and def.
func (e *Ext) Int32(key string, def int32) (int32, error) {
	v, ok := e.Bytes(key)
	if !ok {
		return def, nil
	}
	n, ok := parseInt(v, 32)
	if !ok {
		return def, malformedField(key, v)
	}
	return int32(n), nil
}

// Int64 is Int32 for 64 bits.
func (e *Ext) Int64(key string, def int64) (int64, error) {
	v, ok := e.Bytes(key)
	if !ok {
		return def, nil
	}
	n, ok := parseInt(v, 64)
	if !ok {
		return def, malformedField(key, v)
	}
	return n, nil
}

// Bool returns whether a field's value is "true" in any case, or def if the
// field is absent. Like Java's parseBoolean it takes everything else for false.
func (e *Ext) Bool(key string, def bool) bool {
	v, ok := e.Bytes(key)
	if !ok {
		return def
	}
	return parseBool(v)
}

// RequireString is String for a mandatory field: absent, it is a *FieldError.
func (e *Ext) RequireString(key string) (string, error) {
	v, ok := e.Bytes(key)
	if !ok {
		return "", missingField(key)
	}
	return string(v), nil
}

// RequireInt32 is Int32 for a mandatory field.
func (e *Ext) RequireInt32(key string) (int32, error) {
	if _, ok := e.Bytes(key); !ok {
		return 0, missingField(key)
	}
	return e.Int32(key, 0)
}

// RequireInt64 is Int64 for a mandatory field.
func (e *Ext) RequireInt64(key string) (int64, error) {
	if _, ok := e.Bytes(key); !ok {
		return 0, missingField(key)
	}
	return e.Int64(key, 0)
}

// Add appends a field. It copies both strings.
func (e *Ext) Add(key, value string) {
	e.fields = append(e.fields, Field{Key: e.keep(key), Value: e.keep(value)})
}

// AddBytes appends a field. It copies the key and aliases the value.
func (e *Ext) AddBytes(key string, value []byte) {
	e.fields = append(e.fields, Field{Key: e.keep(key), Value: value})
}

// AddInt appends a field with a number.
func (e *Ext) AddInt(key string, value int64) {
	k := e.keep(key)
	start := len(e.buf)
	e.buf = strconv.AppendInt(e.buf, value, 10)
	e.fields = append(e.fields, Field{Key: k, Value: e.since(start)})
}

// AddBool appends a field that is "true" or "false".
func (e *Ext) AddBool(key string, value bool) { e.Add(key, strconv.FormatBool(value)) }

// Set replaces the value of a field, or adds it. It copies both strings.
func (e *Ext) Set(key, value string) {
	for i := len(e.fields) - 1; i >= 0; i-- {
		if string(e.fields[i].Key) == key {
			e.fields[i].Value = e.keep(value)
			return
		}
	}
	e.Add(key, value)
}

// keep copies s to the buffer.
func (e *Ext) keep(s string) []byte {
	start := len(e.buf)
	e.buf = append(e.buf, s...)
	return e.since(start)
}

func (e *Ext) keepBytes(b []byte) []byte {
	start := len(e.buf)
	e.buf = append(e.buf, b...)
	return e.since(start)
}

// since returns what was appended to the buffer from start on.
func (e *Ext) since(start int) []byte { return e.buf[start:len(e.buf):len(e.buf)] }

// parseInt parses a decimal number that fits the given bits, as Java does.
func parseInt(b []byte, bits uint) (int64, bool) {
	neg := false
	if len(b) > 0 && (b[0] == '-' || b[0] == '+') {
		neg = b[0] == '-'
		b = b[1:]
	}
	if len(b) == 0 || len(b) > 19 {
		return 0, false
	}
	var n uint64
	for _, c := range b {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + uint64(c-'0')
	}
	limit := uint64(1) << (bits - 1)
	if neg {
		return -int64(n), n <= limit
	}
	return int64(n), n < limit
}

func parseBool(b []byte) bool {
	return len(b) == 4 && b[0]|0x20 == 't' && b[1]|0x20 == 'r' && b[2]|0x20 == 'u' && b[3]|0x20 == 'e'
}
