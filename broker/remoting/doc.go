// Package remoting is the front end for RocketMQ's remoting protocol: the name server's and the broker's requests, served on
// the listeners that the broker hands over.
//
// # What is where
//
// [Server] owns the connections and what they share; conn.go reads frames and outbox.go writes them; dispatch.go is the one table from request
// code to handler. Each family of requests has a file: send.go, pull.go, offsets.go, heartbeat.go, locks.go, route.go,
// query.go, sendback.go and admin_*.go. Errors become response codes in errors.go and nowhere else. No type of the protocol is seen below this
// package, the stored message's layout excepted.
//
// # Concurrency
//
// A connection has one reading and one writing goroutine. The reader runs the handlers of hot requests itself: they never block on I/O, and
// work on the bytes of the frame in place. A send is answered by the write-ahead log's delivery goroutine, which appends the response to
// the connection's outbox. A pull runs on one of a fixed number of workers; one that finds nothing becomes a waiter of the queue,
// which holds neither a goroutine nor a buffer. Everything that may have to wait for etcd or walk over much data runs in a
// goroutine of its own, on a copy of the request, a bounded number per connection.
//
// # Limits
//
// A frame's length is checked before memory is taken for it, and memory for a large frame is taken as its bytes arrive. A connection whose
// peer does not read stops being read once its outbox is full, so that a peer costs bounded memory whatever it sends. A
// malformed frame closes its connection and touches no other.
package remoting
