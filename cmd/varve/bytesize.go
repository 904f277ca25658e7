package main

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// byteSize is a number of bytes, written as "256MiB", "10GiB", "1500000".
type byteSize int64

const (
	kib byteSize = 1 << 10
	mib byteSize = 1 << 20
	gib byteSize = 1 << 30
	tib byteSize = 1 << 40
)

type byteUnit struct {
	name string
	size byteSize
}

// byteUnits lists the units, large before small: the first that divides a size
// is the one it is shown in.
func byteUnits() []byteUnit {
	return []byteUnit{
		{"TiB", tib},
		{"TB", 1e12},
		{"GiB", gib},
		{"GB", 1e9},
		{"MiB", mib},
		{"MB", 1e6},
		{"KiB", kib},
		{"KB", 1e3},
		{"B", 1},
	}
}

// parseByteSize reads a size: a number, with a fraction if need be, and a unit
// (B, KB, KiB … TiB; none is bytes). Negative and overflowing sizes are errors.
func parseByteSize(s string) (byteSize, error) {
	number, unit := strings.TrimSpace(s), byteSize(1)
	for _, u := range byteUnits() {
		if head, ok := cutSuffixFold(number, u.name); ok {
			number, unit = strings.TrimSpace(head), u.size
			break
		}
	}
	if n, err := strconv.ParseInt(number, 10, 64); err == nil {
		if n < 0 || n > math.MaxInt64/int64(unit) {
			return 0, fmt.Errorf("%q is out of range", s)
		}
		return byteSize(n) * unit, nil
	}
	if strings.Trim(number, "0123456789.") != "" {
		return 0, fmt.Errorf("%q is no size such as 256MiB or 10GiB", s)
	}
	f, err := strconv.ParseFloat(number, 64)
	if err != nil {
		return 0, fmt.Errorf("%q is no size such as 256MiB or 10GiB", s)
	}
	f *= float64(unit)
	if f >= math.MaxInt64 {
		return 0, fmt.Errorf("%q is out of range", s)
	}
	return byteSize(f), nil
}

func cutSuffixFold(s, suffix string) (string, bool) {
	if len(s) < len(suffix) || !strings.EqualFold(s[len(s)-len(suffix):], suffix) {
		return s, false
	}
	return s[:len(s)-len(suffix)], true
}

// String writes the size so that parseByteSize gives it back exactly.
func (b byteSize) String() string {
	if b == 0 {
		return "0B"
	}
	for _, u := range byteUnits() {
		if b%u.size == 0 {
			return fmt.Sprintf("%d%s", b/u.size, u.name)
		}
	}
	return fmt.Sprintf("%dB", int64(b))
}

// about writes the size for people: about three digits, in powers of 1024.
func (b byteSize) about() string {
	for _, u := range []byteUnit{{"TiB", tib}, {"GiB", gib}, {"MiB", mib}, {"KiB", kib}} {
		if b < u.size {
			continue
		}
		n, decimals := float64(b)/float64(u.size), 2
		switch {
		case n >= 100:
			decimals = 0
		case n >= 10:
			decimals = 1
		}
		text := strconv.FormatFloat(n, 'f', decimals, 64)
		if decimals > 0 {
			text = strings.TrimRight(strings.TrimRight(text, "0"), ".")
		}
		return text + " " + u.name
	}
	return fmt.Sprintf("%d B", int64(b))
}
