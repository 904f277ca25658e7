//go:build race

package catalog

// slow is how much longer things may take: the race detector makes them so.
const slow = 15
