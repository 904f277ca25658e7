// Package brokertest runs whole brokers for tests, inside the test's process ([Start]) or in processes of their own ([Host]), and an etcd beside them ([Etcd]): real
// files, real sockets on loopback.
package brokertest
