//go:build !race

package metadata

// loadTopics is the number of topics of the load test.
const loadTopics = 25_000
