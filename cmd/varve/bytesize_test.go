package main

import (
	"math"
	"testing"
)

func TestParseByteSize(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		text string
		want byteSize
		show string
	}{
		{"0", 0, "0B"},
		{"1", 1, "1B"},
		{"1500000", 1500000, "1500KB"},
		{"10GiB", 10 * gib, "10GiB"},
		{"10 gib", 10 * gib, "10GiB"},
		{" 256MiB ", 256 * mib, "256MiB"},
		{"4096", 4 * kib, "4KiB"},
		{"1.5GiB", 3 * gib / 2, "1536MiB"},
		{"10GB", 10_000_000_000, "10GB"},
		{"7B", 7, "7B"},
		{"9223372036854775807", math.MaxInt64, "9223372036854775807B"},
	} {
		t.Run(tc.text, func(t *testing.T) {
			t.Parallel()
			got, err := parseByteSize(tc.text)
			if err != nil || got != tc.want {
				t.Fatalf("parseByteSize(%q) = %d, %v, want %d", tc.text, got, err, tc.want)
			}
			if got.String() != tc.show {
				t.Errorf("String() = %q, want %q", got.String(), tc.show)
			}
			again, err := parseByteSize(got.String())
			if err != nil || again != got {
				t.Errorf("parseByteSize(%q) = %d, %v, want %d", got.String(), again, err, got)
			}
		})
	}
}

func TestParseByteSizeRefuses(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		"", "GiB", "-1", "-1GiB", "10XB", "1e9", "0x10", "1.2.3KiB", "NaN", "inf",
		"9223372036854775808", "9000000000GiB", "9007199254740993.5TiB",
	} {
		if got, err := parseByteSize(text); err == nil {
			t.Errorf("parseByteSize(%q) = %d, want an error", text, got)
		}
	}
}
