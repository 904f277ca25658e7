package main

import (
	"strconv"
	"strings"
	"time"

	"github.com/varvemq/varve/client"
)

// parsePosition reads "first", "last", or a time as parseTime does.
func parsePosition(s string, now time.Time) (client.Position, error) {
	switch s {
	case "first":
		return client.First(), nil
	case "last":
		return client.Last(), nil
	}
	t, err := parseTime(s, now)
	if err != nil {
		return client.Position{}, usagef("%q is none of first, last, and a time such as 2026-01-31T15:04:05Z", s)
	}
	return client.AtTime(t), nil
}

// parseOffset reads "first", "last" or an offset.
func parseOffset(s string) (client.Position, error) {
	switch s {
	case "first":
		return client.First(), nil
	case "last":
		return client.Last(), nil
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < 0 {
		return client.Position{}, usagef("%q is none of first, last, and an offset", s)
	}
	return client.AtOffset(n), nil
}

// parseTime reads RFC 3339, with or without fractions, or how long ago: "-90m".
func parseTime(s string, now time.Time) (time.Time, error) {
	if strings.HasPrefix(s, "-") {
		if d, err := time.ParseDuration(s); err == nil {
			return now.Add(d), nil
		}
	}
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		return time.Time{}, usagef("%q is no time such as 2026-01-31T15:04:05Z, or -90m", s)
	}
	return t, nil
}

// parsePairs reads NAME=VALUE arguments. With removal allowed, NAME= stands for
// an empty value.
func parsePairs(flag string, pairs []string) (map[string]string, error) {
	if len(pairs) == 0 {
		return nil, nil
	}
	m := make(map[string]string, len(pairs))
	for _, pair := range pairs {
		name, value, ok := strings.Cut(pair, "=")
		if !ok || name == "" {
			return nil, usagef("--%s: %q is no NAME=VALUE", flag, pair)
		}
		if _, twice := m[name]; twice {
			return nil, usagef("--%s: %s is given twice", flag, name)
		}
		m[name] = value
	}
	return m, nil
}
