package remoting

import (
	"encoding/json"
	"fmt"
)

// MaxBody is the longest JSON body, in bytes, that DecodeBody reads.
const MaxBody = DefaultMaxFrame

// fastJSON is implemented by bodies that Java wants as fastjson writes them,
// which is not JSON: see QueueMap.
type fastJSON interface {
	appendFastJSON(dst []byte) ([]byte, error)
}

// EncodeBody returns the JSON form of one of the bodies of this package, as a
// Java client reads it.
func EncodeBody(v any) ([]byte, error) {
	var b []byte
	var err error
	if f, ok := v.(fastJSON); ok {
		b, err = f.appendFastJSON(nil)
	} else {
		b, err = json.Marshal(v)
	}
	if err != nil {
		return nil, fmt.Errorf("encode body %T: %w", v, err)
	}
	return b, nil
}

// DecodeBody decodes a JSON body into v, a pointer to one of the bodies of this
// package. It accepts what fastjson writes beyond JSON: keys that are numbers or
// objects. Bodies longer than MaxBody or nested deeper than 32 levels, and
// malformed ones, are ErrMalformedBody.
func DecodeBody(b []byte, v any) error {
	if len(b) > MaxBody {
		return fmt.Errorf("body of %d bytes, limit %d: %w", len(b), MaxBody, ErrMalformedBody)
	}
	s := jsonScanner{b: b}
	if !s.skip(0) || !s.end() {
		return fmt.Errorf("body at byte %d: %w", s.i, ErrMalformedBody)
	}
	if s.odd {
		s = jsonScanner{b: b}
		b = s.rewrite(make([]byte, 0, len(b)+len(b)/4))
	}
	if err := json.Unmarshal(b, v); err != nil {
		return fmt.Errorf("body %T: %w: %w", v, ErrMalformedBody, err)
	}
	return nil
}
