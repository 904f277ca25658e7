//go:build !race

package catalog

// slow is how much longer things may take.
const slow = 1
