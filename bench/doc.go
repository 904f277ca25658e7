// Package bench measures Varve, and the brokers it is compared with, from
// outside: workloads, drivers that speak each broker's public client, latency
// histograms and reports. It drives the wire and never reaches into a broker;
// the micro-benchmarks of single packages live beside the code they measure
// and run with `make bench`.
//
// Nothing but this comment is here yet: the drivers come with the benchmark
// suite.
package bench
