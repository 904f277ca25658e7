//go:build !linux

package metadata

import "time"

var processStart = time.Now()

// BootClock reads Go's monotonic clock, which on some systems stands still while the machine sleeps.
func BootClock() time.Duration { return time.Since(processStart) }
