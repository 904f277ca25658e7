package main

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/varvemq/varve/client"
)

func TestParsePosition(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 31, 15, 0, 0, 0, time.UTC)
	for _, tc := range []struct {
		text string
		want client.Position
		bad  bool
	}{
		{text: "first", want: client.First()},
		{text: "last", want: client.Last()},
		{text: "2026-01-31T15:04:05Z", want: client.AtTime(now.Add(4*time.Minute + 5*time.Second))},
		{text: "2026-01-31T16:00:00.5+01:00", want: client.AtTime(now.Add(500 * time.Millisecond))},
		{text: "-90m", want: client.AtTime(now.Add(-90 * time.Minute))},
		{text: "90m", bad: true},
		{text: "-soon", bad: true},
		{text: "", bad: true},
		{text: "17", bad: true},
		{text: "2026-01-31", bad: true},
	} {
		t.Run(tc.text, func(t *testing.T) {
			t.Parallel()
			got, err := parsePosition(tc.text, now)
			if (err != nil) != tc.bad {
				t.Fatalf("error = %v", err)
			}
			if diff := cmp.Diff(tc.want, got, cmp.AllowUnexported(client.Position{}), cmpopts.EquateApproxTime(0)); err == nil && diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

func TestParseOffset(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		text string
		want client.Position
		bad  bool
	}{
		{text: "first", want: client.First()},
		{text: "last", want: client.Last()},
		{text: "0", want: client.AtOffset(0)},
		{text: "9223372036854775807", want: client.AtOffset(1<<63 - 1)},
		{text: "9223372036854775808", bad: true},
		{text: "-1", bad: true},
		{text: "", bad: true},
	} {
		t.Run(tc.text, func(t *testing.T) {
			t.Parallel()
			got, err := parseOffset(tc.text)
			if (err != nil) != tc.bad {
				t.Fatalf("error = %v", err)
			}
			if diff := cmp.Diff(tc.want, got, cmp.AllowUnexported(client.Position{})); err == nil && diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

func TestParsePairs(t *testing.T) {
	t.Parallel()
	got, err := parsePairs("property", []string{"a=1", "b=x=y", "c="})
	if diff := cmp.Diff(map[string]string{"a": "1", "b": "x=y", "c": ""}, got); err != nil || diff != "" {
		t.Errorf("%v (-want +got)\n%s", err, diff)
	}
	for _, pairs := range [][]string{{"a"}, {"=1"}, {""}, {"a=1", "a=2"}} {
		if got, err := parsePairs("property", pairs); err == nil {
			t.Errorf("parsePairs(%q) = %v, want an error", pairs, got)
		}
	}
}
