package remoting

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
)

// looseInt is a number that some clients write as a string.
type looseInt int64

// UnmarshalJSON implements json.Unmarshaler.
func (n *looseInt) UnmarshalJSON(b []byte) error {
	s := strings.Trim(string(b), `"`)
	if s == "null" || s == "" {
		*n = 0
		return nil
	}
	v, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return fmt.Errorf("number %.32q: %w", s, ErrMalformedBody)
	}
	*n = looseInt(v)
	return nil
}

// looseBool is a boolean that some clients write as a string.
type looseBool bool

// UnmarshalJSON implements json.Unmarshaler.
func (t *looseBool) UnmarshalJSON(b []byte) error {
	*t = looseBool(parseBool([]byte(strings.Trim(string(b), `"`))))
	return nil
}

// looseStrings is a list of strings in which some clients write numbers.
type looseStrings []string

// UnmarshalJSON implements json.Unmarshaler.
func (l *looseStrings) UnmarshalJSON(b []byte) error {
	var raw []json.RawMessage
	if err := json.Unmarshal(b, &raw); err != nil {
		return fmt.Errorf("list of strings: %w", err)
	}
	*l = make(looseStrings, len(raw))
	for i, r := range raw {
		if json.Unmarshal(r, &(*l)[i]) != nil {
			(*l)[i] = string(r)
		}
	}
	return nil
}
