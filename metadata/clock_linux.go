package metadata

import (
	"time"

	"golang.org/x/sys/unix"
)

// BootClock reads the time since boot, the time the machine slept included. Unlike Go's monotonic clock it cannot make a lease look alive after a
// suspension.
func BootClock() time.Duration {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		return 1<<63 - 1 // no clock, no lease: every lease looks expired
	}
	return time.Duration(ts.Nano())
}
