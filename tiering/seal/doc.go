// Package seal moves a shard's durable log into segments on object storage: it cuts the records that follow the committed LSN, sorts them by queue, builds a segment
// in a spool file, uploads and commits it, and says what may be trimmed. docs/decisions/0008-sealing-and-fencing.md has the rules.
//
// Segments go through these steps one after the other, each of which is repeated until it is decided. The next one is built, and no more, while one is uploaded.
//
//	cut ─► reserve number and intent ─► spool file, read back ─► PUT if-none-match ─► commit ─► remember, catalog, trim
//
// The number is part of the segment's bytes, so that the intent is there before the spool file.
//
// Invariants:
//   - records are sealed in the order of LSNs, none is left out, none is split; a gap is an error unless a higher epoch begins behind it;
//   - a segment is committed only after its PUT was answered, or the object was found to be ours, byte for byte;
//   - a PUT and its repetitions have the same bytes: those of the spool file, which were read back and compared before the first;
//   - until a commit is decided nothing that depends on it happens: no trim, no upload of the next segment, no other use of the number;
//   - the log is told of a position only after a commit that reaches it was seen applied, by this process or when it started.
//
// What ends sealing for good ends [Sealer.Run] with an error, and the broker must not go on: another owner, records out of order or that no segment can hold,
// a foreign object under our epoch. Faults of the object store, of etcd and of the spool's disk do not: they are waited out, shown in [Status], and logged when they change.
//
// Run, Seal, Kick and Status may be called at the same time. A segment that was under way when a context ended is gone on with by the next call.
package seal
