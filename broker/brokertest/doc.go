// Package brokertest starts whole brokers inside a test's process: real etcd, real files, real sockets on loopback.
package brokertest
