package message

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestProperty(t *testing.T) {
	t.Parallel()
	raw := []byte("TAGS\x01a\x02TAG\x01b\x02\x02\x01x\x02E\x01\x02noseparator\x02TAGS\x01c=\x01d\x02LAST\x01z")
	for name, want := range map[string]string{"TAGS": "c=\x01d", "TAG": "b", "LAST": "z", "E": "", "X": "", "": "", "noseparator": "", "TAGSx": ""} {
		if got, ok := Property(raw, name); string(got) != want || ok != (want != "" && name != "") {
			t.Errorf("%q: %q %v", name, got, ok)
		}
	}
	var got []string
	for name, value := range EachProperty(raw) {
		got = append(got, string(name)+"="+string(value))
	}
	if d := cmp.Diff([]string{"TAGS=a", "TAG=b", "TAGS=c=\x01d", "LAST=z"}, got); d != "" {
		t.Error(d)
	}
}

func TestChangeProperties(t *testing.T) {
	t.Parallel()
	raw := []byte("a\x011\x02b\x012\x02a\x013")
	for _, tc := range []struct{ name, got, want string }{
		{"remove", string(RemoveProperties([]byte("p"), raw, "a", "x")), "pb\x012\x02"},
		{"remove none", string(RemoveProperties(nil, raw)), "a\x011\x02b\x012\x02a\x013\x02"},
		{"set", string(SetProperty([]byte("p"), raw, "a", "9")), "pb\x012\x02a\x019\x02"},
		{"set first", string(SetProperty([]byte("p"), nil, "a", "9")), "pa\x019\x02"},
		{"set empty", string(SetProperty(nil, raw, "b", "")), "a\x011\x02a\x013\x02"},
		{"append", string(AppendProperty([]byte("a\x013"), "c", []byte("4"))), "a\x013\x02c\x014\x02"},
		{"append first", string(AppendProperty(nil, "c", "4")), "c\x014\x02"},
	} {
		if tc.got != tc.want {
			t.Errorf("%s: %q, want %q", tc.name, tc.got, tc.want)
		}
	}
}

func TestValidateProperties(t *testing.T) {
	t.Parallel()
	for raw, want := range map[string]error{
		"": nil, "a\x01b": nil, "a\x01b\x02": nil, "a\x01\x02": nil, "a": ErrInvalidProperty, "\x01b\x02": ErrInvalidProperty,
		"a\x01b\x01c": ErrInvalidProperty, "a\x01b\x02\x02": ErrInvalidProperty, strings.Repeat("x", MaxProperties+1): ErrTooLarge,
	} {
		if err := ValidateProperties([]byte(raw)); !errors.Is(err, want) {
			t.Errorf("%.20q: %v", raw, err)
		}
	}
	for pair, ok := range map[[2]string]bool{{"a", "b"}: true, {"", "b"}: false, {"a", ""}: false, {"a\x01", "b"}: false, {"a", "\x02"}: false} {
		if err := ValidateProperty(pair[0], pair[1]); (err == nil) != ok {
			t.Errorf("%q: %v", pair, err)
		}
	}
}
