// Package maintain looks after the sealed history of one shard: it merges small or scattered segments into level 1, moves those that etcd lists into the
// manifest, moves first offsets up by retention, unlists what is dead, and deletes what nothing refers to. The rules are docs/decisions/0008-sealing-and-fencing.md,
// the policy of level 1 is docs/format/segment.md.
//
// Invariants:
//   - every offset that can be read is in exactly one listed run before, during and after each step: a step is one transaction of etcd, and the catalog follows;
//   - nothing is uploaded by compaction before the outputs, read back from their spool files, are whole and have exactly the inputs' offsets but for what is
//     declared as dropped: queues of tombstones, and blocks below first offsets;
//   - what a segment says besides its messages outlives it: its cursors go to the first output, or to the manifest's rows; of a living queue compaction keeps
//     the last block with messages and all behind it, so that its end and its last store time stay known; a segment that etcd lists is never just unlisted,
//     it goes through the manifest;
//   - first offsets are committed before anything below them is dropped or unlisted;
//   - an object is deleted only on the strength of a record of garbage, or of an intent of a lower epoch, that a read of etcd just before still shows, after
//     the grace period, with a valid lease, when neither that read nor the catalog list it. No list of the bucket is ever made.
//
// A job that has reserved numbers stays until it is committed: an upload that failed is repeated with the same bytes, a commit of unknown outcome with the
// same arguments. What the end of the process leaves are intents of its epoch, which the next one sweeps.
//
// One round of everything is a pass. Passes do not overlap: [Maintainer.Run] makes them, and [Maintainer.Pass] one at any time.
package maintain
