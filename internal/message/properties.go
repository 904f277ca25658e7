package message

import (
	"bytes"
	"fmt"
	"iter"
	"strings"
)

const (
	nameValueSeparator = 0x01
	propertySeparator  = 0x02
)

// EachProperty iterates over the names and values of a raw property string, in
// their order. The slices alias raw. Pairs without a name, a separator or a
// value are skipped, as Java does. A name may occur again: the last one counts.
func EachProperty(raw []byte) iter.Seq2[[]byte, []byte] {
	return func(yield func(name, value []byte) bool) {
		for len(raw) > 0 {
			var pair []byte
			pair, raw = nextPair(raw)
			name, value, ok := splitPair(pair)
			if ok && !yield(name, value) {
				return
			}
		}
	}
}

// Property returns the value of a property in a raw property string, the last
// if there are several. The value aliases raw. It does not allocate.
func Property(raw []byte, name string) ([]byte, bool) {
	var found []byte
	ok := false
	for len(raw) > 0 {
		var pair []byte
		pair, raw = nextPair(raw)
		if isPair(pair, name) && len(pair) > len(name)+1 {
			found, ok = pair[len(name)+1:], true
		}
	}
	return found, ok
}

// PropertyString returns a copy of a property's value, or "".
func PropertyString(raw []byte, name string) string {
	v, _ := Property(raw, name)
	return string(v)
}

// AppendProperty appends a property to a raw property string, and the missing
// separator before it. It neither looks for an older value nor checks the
// arguments; see [SetProperty] and [ValidateProperty].
func AppendProperty[V string | []byte](raw []byte, name string, value V) []byte {
	return appendPair(closeLast(raw, 0), name, value)
}

// closeLast appends the separator that raw[start:] lacks at its end.
func closeLast(raw []byte, start int) []byte {
	if n := len(raw); n > start && raw[n-1] != propertySeparator {
		return append(raw, propertySeparator)
	}
	return raw
}

func appendPair[V string | []byte](dst []byte, name string, value V) []byte {
	dst = append(dst, name...)
	dst = append(dst, nameValueSeparator)
	dst = append(dst, value...)
	return append(dst, propertySeparator)
}

// SetProperty appends raw to dst without the named property and then adds it
// with the new value. An empty value only removes. dst must not alias raw.
func SetProperty(dst, raw []byte, name, value string) []byte {
	dst = RemoveProperties(dst, raw, name)
	if value == "" {
		return dst
	}
	return appendPair(dst, name, value)
}

// RemoveProperties appends raw to dst without the named properties. The rest
// keeps its bytes, but ends in a separator. dst must not alias raw.
func RemoveProperties(dst, raw []byte, names ...string) []byte {
pairs:
	for len(raw) > 0 {
		var pair []byte
		pair, raw = nextPair(raw)
		if len(pair) == 0 {
			continue
		}
		for _, name := range names {
			if isPair(pair, name) {
				continue pairs
			}
		}
		dst = append(dst, pair...)
		dst = append(dst, propertySeparator)
	}
	return dst
}

// ValidateProperty reports ErrInvalidProperty if the pair cannot be stored:
// an empty name or value, or a separator inside.
func ValidateProperty(name, value string) error {
	if name == "" || value == "" || strings.ContainsAny(name, "\x01\x02") || strings.ContainsAny(value, "\x01\x02") {
		return fmt.Errorf("property %q: %w", name, ErrInvalidProperty)
	}
	return nil
}

// ValidateProperties reports ErrTooLarge or ErrInvalidProperty if raw is not a
// property string that every client reads alike. An empty value is allowed.
func ValidateProperties(raw []byte) error {
	if len(raw) > MaxProperties {
		return fmt.Errorf("properties of %d bytes: %w", len(raw), ErrTooLarge)
	}
	for len(raw) > 0 {
		var pair []byte
		pair, raw = nextPair(raw)
		i := bytes.IndexByte(pair, nameValueSeparator)
		if i <= 0 || bytes.IndexByte(pair[i+1:], nameValueSeparator) >= 0 {
			return fmt.Errorf("property %q: %w", pair, ErrInvalidProperty)
		}
	}
	return nil
}

// nextPair cuts the bytes before the next separator off raw.
func nextPair(raw []byte) (pair, rest []byte) {
	if i := bytes.IndexByte(raw, propertySeparator); i >= 0 {
		return raw[:i:i], raw[i+1:]
	}
	return raw, nil
}

// splitPair splits a pair; ok is false if Java would drop it.
func splitPair(pair []byte) (name, value []byte, ok bool) {
	i := bytes.IndexByte(pair, nameValueSeparator)
	if i <= 0 || i == len(pair)-1 {
		return nil, nil, false
	}
	return pair[:i:i], pair[i+1:], true
}

// isPair reports whether pair begins with the name and a separator.
func isPair(pair []byte, name string) bool {
	return name != "" && len(pair) > len(name) && pair[len(name)] == nameValueSeparator && string(pair[:len(name)]) == name
}
