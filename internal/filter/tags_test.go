package filter

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/varvemq/varve/internal/message"
)

func TestParseTags(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		expr  string
		all   bool
		names []string
		err   error
	}{
		{expr: "", all: true},
		{expr: "*", all: true},
		{expr: "a", names: []string{"a"}},
		{expr: " a || b\t||a||", names: []string{"a", "b"}},
		{expr: "|| a", names: []string{"a"}},
		{expr: "a|b", names: []string{"a|b"}},
		{expr: "a|||b", names: []string{"a", "|b"}},
		{expr: "a||*", names: []string{"*", "a"}},
		{expr: "AaAa||BBBB||中文", names: []string{"AaAa", "BBBB", "中文"}},
		{expr: "  ", names: []string{}},
		{expr: " || ", names: []string{}},
		{expr: "||", err: ErrExpression},
		{expr: "||||", err: ErrExpression},
		{expr: strings.Repeat("x", MaxExpression+1), err: ErrExpression},
		{expr: strings.Repeat("x||", MaxTags+1), err: ErrExpression},
	} {
		t.Run(fmt.Sprintf("%.20q", tc.expr), func(t *testing.T) {
			t.Parallel()
			tags, err := ParseTags(tc.expr)
			if !errors.Is(err, tc.err) {
				t.Fatal(err)
			}
			if tc.err != nil {
				return
			}
			names := tags.Names()
			slices.Sort(names)
			if tags.All() != tc.all || !tc.all && cmp.Diff(tc.names, names) != "" {
				t.Errorf("all %v, names %q", tags.All(), names)
			}
		})
	}
}

func TestMatch(t *testing.T) {
	t.Parallel()
	var many []string
	for i := range 100 {
		many = append(many, fmt.Sprintf("tag%d", i))
	}
	for _, tc := range []struct {
		expr             string
		yes, no, hashYes []string
	}{
		{expr: "*", yes: []string{"", "a"}},
		{expr: "a||b", yes: []string{"a", "b"}, no: []string{"", "c", "ab"}},
		{expr: "AaAa", yes: []string{"AaAa"}, no: []string{"BBBB"}, hashYes: []string{"BBBB"}},
		{expr: "AaAa||BBBB", yes: []string{"AaAa", "BBBB"}, no: []string{"AaBB"}, hashYes: []string{"AaBB"}},
		{expr: " ", no: []string{"", "a", " "}},
		{expr: strings.Join(many, "||"), yes: many, no: []string{"", "tag", "tag100"}},
	} {
		tags, err := ParseTags(tc.expr)
		if err != nil {
			t.Fatal(err)
		}
		for _, tag := range tc.yes {
			if !tags.MatchString(tag) || !tags.MatchTag([]byte(tag)) || !tags.MatchHash(message.TagHash(tag)) {
				t.Errorf("%.20q rejects %q", tc.expr, tag)
			}
		}
		for _, tag := range tc.no {
			if tags.MatchString(tag) || tags.MatchTag([]byte(tag)) {
				t.Errorf("%.20q matches %q", tc.expr, tag)
			}
			if got := tags.MatchHash(message.TagHash(tag)); got != slices.Contains(tc.hashYes, tag) {
				t.Errorf("%.20q: hash of %q: %v", tc.expr, tag, got)
			}
		}
	}
	if (Tags{}).MatchHash(0) {
		t.Error("the zero value matches")
	}
}

func FuzzParseTags(f *testing.F) {
	f.Add("a || b", "a")
	f.Fuzz(func(t *testing.T, expr, tag string) {
		tags, err := ParseTags(expr)
		if err != nil {
			return
		}
		for _, name := range append(tags.Names(), tag) {
			if tags.MatchString(name) && !tags.MatchHash(message.TagHash(name)) {
				t.Fatalf("%q: %q matches, its hash does not", expr, name)
			}
		}
		again, err := ParseTags(strings.Join(tags.Names(), " || "))
		if tags.Len() > 0 && tags.Names()[0] != All && (err != nil || again.Len() != tags.Len()) {
			t.Fatalf("%q: %v", expr, err)
		}
	})
}

func BenchmarkMatchHash(b *testing.B) {
	for _, n := range []int{1, 8, 100} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			var expr []string
			for i := range n {
				expr = append(expr, fmt.Sprintf("tag%d", i))
			}
			tags, err := ParseTags(strings.Join(expr, "||"))
			if err != nil {
				b.Fatal(err)
			}
			h := message.TagHash("tag0")
			b.ReportAllocs()
			for b.Loop() {
				if !tags.MatchHash(h) {
					b.Fatal("no match")
				}
			}
		})
	}
}
