package filter

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/varvemq/varve/internal/message"
)

// Limits of a tag expression.
const (
	// MaxExpression is the longest expression, in bytes.
	MaxExpression = 64 << 10
	// MaxTags is the largest number of tags in an expression.
	MaxTags = 1024
)

// All is the expression that matches every message.
const All = "*"

const orOperator = "||"

// ErrExpression means that an expression cannot be parsed or exceeds a limit.
var ErrExpression = errors.New("filter: bad expression")

// linearTags is the number of tags up to which a linear scan beats a binary search.
const linearTags = 8

// Tags is a parsed tag expression. The zero value matches nothing; see [ParseTags].
type Tags struct {
	all  bool
	tags []tag // sorted by hash, then by name; no duplicates
}

type tag struct {
	hash int64
	name string
}

// ParseTags parses a tag expression: "*" or "" for all messages, else tags
// separated by "||". Spaces around a tag are dropped, and so are empty tags: an
// expression of blanks matches nothing, as in RocketMQ. An expression of
// nothing but operators, or beyond the limits, is ErrExpression.
func ParseTags(expr string) (Tags, error) {
	if expr == "" || expr == All {
		return Tags{all: true}, nil
	}
	if len(expr) > MaxExpression {
		return Tags{}, fmt.Errorf("%d bytes, limit %d: %w", len(expr), MaxExpression, ErrExpression)
	}
	var t Tags
	operatorsOnly := true
	for part := range strings.SplitSeq(expr, orOperator) {
		operatorsOnly = operatorsOnly && part == ""
		name := strings.TrimFunc(part, func(r rune) bool { return r <= ' ' })
		if name == "" {
			continue
		}
		if len(t.tags) == MaxTags {
			return Tags{}, fmt.Errorf("more than %d tags: %w", MaxTags, ErrExpression)
		}
		name = strings.Clone(name)
		t.tags = append(t.tags, tag{hash: message.TagHash(name), name: name})
	}
	if operatorsOnly {
		return Tags{}, fmt.Errorf("no tag: %w", ErrExpression)
	}
	slices.SortFunc(t.tags, func(a, b tag) int {
		return cmp.Or(cmp.Compare(a.hash, b.hash), strings.Compare(a.name, b.name))
	})
	t.tags = slices.Compact(t.tags)
	return t, nil
}

// All reports whether the expression matches every message, tagged or not.
func (t Tags) All() bool { return t.all }

// Len returns the number of different tags; it is zero if All.
func (t Tags) Len() int { return len(t.tags) }

// Names returns the tags in no particular order.
func (t Tags) Names() []string {
	names := make([]string, len(t.tags))
	for i := range t.tags {
		names[i] = t.tags[i].name
	}
	return names
}

// Hashes returns the hashes of the tags in ascending order, without duplicates.
func (t Tags) Hashes() []int64 {
	hashes := make([]int64, len(t.tags))
	for i := range t.tags {
		hashes[i] = t.tags[i].hash
	}
	return slices.Compact(hashes)
}

// MatchHash reports whether a message whose tag has the hash may be wanted. It
// never rejects a wanted message.
func (t Tags) MatchHash(hash int64) bool {
	if t.all {
		return true
	}
	i := t.search(hash)
	return i < len(t.tags) && t.tags[i].hash == hash
}

// MatchTag reports whether a message with the tag is wanted. A message without a
// tag, of length zero, matches only All.
func (t Tags) MatchTag(name []byte) bool { return matchTag(t, name) }

// MatchString is MatchTag for a string.
func (t Tags) MatchString(name string) bool { return matchTag(t, name) }

func matchTag[S string | []byte](t Tags, name S) bool {
	if t.all {
		return true
	}
	hash := message.TagHash(name)
	for i := t.search(hash); i < len(t.tags) && t.tags[i].hash == hash; i++ {
		if t.tags[i].name == string(name) {
			return true
		}
	}
	return false
}

// search returns the index of the first tag whose hash is not below hash.
func (t Tags) search(hash int64) int {
	if len(t.tags) <= linearTags {
		i := 0
		for i < len(t.tags) && t.tags[i].hash < hash {
			i++
		}
		return i
	}
	i, _ := slices.BinarySearchFunc(t.tags, hash, func(e tag, h int64) int { return cmp.Compare(e.hash, h) })
	return i
}
