package broker

import (
	"fmt"
	"time"
)

// troubles says what does not work, a line each, while sends and pulls are served.
func (b *broker) troubles() (lines []string) {
	if st := b.tier.sealer.Status(); st.Err != nil {
		lines = append(lines, fmt.Sprintf("sealing into object storage has failed for %v, with %d bytes in the log alone: %v", time.Since(st.Since).Round(time.Second), st.Backlog, st.Err))
	}
	if err := b.tier.maintain.Err(); err != nil {
		lines = append(lines, fmt.Sprintf("maintenance of object storage fails: %v", err))
	}
	return lines
}

// whyFull says why the log is not trimmed, if that is known.
func (b *broker) whyFull() string {
	if st := b.tier.sealer.Status(); st.Err != nil {
		return fmt.Sprintf(": for %v object storage has taken nothing: %v", time.Since(st.Since).Round(time.Second), st.Err)
	}
	return ""
}
