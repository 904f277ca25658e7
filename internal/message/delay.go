package message

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// DefaultDelayLevels is RocketMQ's table of delay levels.
const DefaultDelayLevels = "1s 5s 10s 30s 1m 2m 3m 4m 5m 6m 7m 8m 9m 10m 20m 30m 1h 2h"

// maxDelayLevels bounds a configured table.
const maxDelayLevels = 256

// DelayLevels is a table of delays; level 1 is its first element.
type DelayLevels []time.Duration

// ParseDelayLevels parses a table such as DefaultDelayLevels: positive numbers
// with the unit s, m, h or d, separated by spaces.
func ParseDelayLevels(s string) (DelayLevels, error) {
	words := strings.Fields(s)
	if len(words) == 0 || len(words) > maxDelayLevels {
		return nil, fmt.Errorf("%d delay levels, want 1 to %d", len(words), maxDelayLevels)
	}
	levels := make(DelayLevels, len(words))
	for i, w := range words {
		var unit time.Duration
		switch w[len(w)-1] {
		case 's':
			unit = time.Second
		case 'm':
			unit = time.Minute
		case 'h':
			unit = time.Hour
		case 'd':
			unit = 24 * time.Hour
		}
		n, err := strconv.ParseInt(w[:len(w)-1], 10, 32)
		if err != nil || n <= 0 || unit == 0 || n > int64(1<<62/unit) {
			return nil, fmt.Errorf("delay level %q: want a positive number and s, m, h or d", w)
		}
		levels[i] = time.Duration(n) * unit
	}
	return levels, nil
}

// Max returns the highest level.
func (d DelayLevels) Max() int { return len(d) }

// Delay returns the delay of a level: zero for level zero and below, that of the
// highest level above it.
func (d DelayLevels) Delay(level int) time.Duration {
	if level <= 0 || len(d) == 0 {
		return 0
	}
	return d[min(level, len(d))-1]
}
