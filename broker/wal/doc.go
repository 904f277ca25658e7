// Package wal is the write-ahead log: one stream of records for all queues of all shards of a broker, in files of a fixed
// size. The format is docs/format/wal.md.
//
// # Life
//
// Open recovers and starts the goroutines, Close ends them: there is no Run.
//
// # Invariants
//
// Positions and each shard's LSNs are dense. A record is valid or torn as a whole. What Reached(Durable, nil) was called
// for is found again after a power cut, what Reached(Written, nil) was called for after a kill. After a failed write or
// fsync nothing is acknowledged any more. Records that a recovery has cut off never come back.
//
// # Concurrency
//
// Append copies a record into the tail, under one mutex, and returns. The committer takes what has gathered while it was
// busy, writes it, and syncs it if somebody in the group waits for Durable; it never waits for more to gather. The
// delivery goroutine calls the waiters, so that the next group's I/O goes on meanwhile. The syncer syncs what nobody waits
// for, and marks an idle log. The keeper prepares spares, and the sealer writes the sections of full files.
package wal
