// Package scaletest measures whole brokers, as processes of their own, by what Linux says of them: the memory of idle queues and of waiting pulls, and the
// time of a start on a long log. `go test` runs a small form in seconds, `make scale` the numbers that the project promises.
package scaletest
