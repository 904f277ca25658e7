package main

import (
	"os"
	"strings"

	"github.com/varvemq/varve/internal/vfs"
)

// bootID names this boot of the machine's kernel, so that the log can tell the
// end of a process, after which the page cache still has what was written, from
// that of the machine. Empty means unknown, which is always safe: where the
// system does not say, and where every end of the process is made a power cut.
func bootID() string {
	if vfs.Mode != "os" {
		return ""
	}
	id, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(id))
}
