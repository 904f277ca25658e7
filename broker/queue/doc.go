// Package queue keeps the queues of a shard in a WAL: it assigns offsets, publishes messages in order, reads them back,
// finds them by time, key and physical offset, and wakes those who wait for more. The sections it writes behind closed
// WAL files are docs/format/queue-index.md.
//
// # Life
//
// Open recovers and starts one goroutine (deadlines of waiters), Close ends it and the WAL: there is no Run.
//
// # Invariants
//
// Offsets of a queue are dense, in WAL order, and never reused. Store times never fall within a queue. A message is
// visible once its record is durable, in mode async once it is written, and never before every earlier message of its
// queue: an operation on a queue with an earlier record that is not yet published is itself treated as sync if that
// record is. Only the WAL's delivery goroutine publishes.
//
// # Concurrency
//
// Everything may be called from any goroutine. A queue's append lock is held from the assignment of offsets until the
// record is in the WAL and in the index; nothing under it does I/O. An operation on several queues locks them in the
// order of their ordinals. Order of locks: Queue.mu (by ordinal) → fileIndex.mu or Log.mu; Queue.waitMu → timers.mu;
// Queue.mu and Queue.waitMu are never held together, and no lock is held while a callback runs.
package queue
