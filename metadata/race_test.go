//go:build race

package metadata

// loadTopics is the number of topics of the load test: the race detector makes it ten times slower.
const loadTopics = 2_500
