// Package restore is `varve metadata restore`: it brings a lost embedded etcd back from a snapshot in the bucket, and rolls it forward over what was committed after it. Segments
// say in their footers what they are and what they follow, and in their indexes which queues they have; so what etcd has forgotten of them can be listed again. What is nowhere
// but in etcd (committed offsets, groups, settings of topics, cursors) is that of the snapshot.
//
// It works in <data-dir>/etcd.restoring and renames that at the very end, so that a restoration is whole or not there. The data directory is locked meanwhile. In the bucket
// nothing is changed.
//
// Invariants:
//   - nothing that the bucket has seen is handed out again: etcd's revision, the shards' epochs, object numbers, ordinals and incarnations are raised above it;
//   - a segment is listed only if it follows the head exactly: first LSN, predecessor's crc, an epoch that is no lower;
//   - the snapshot's intents and records of garbage are dropped, and no new ones made: so nothing is deleted on the strength of what etcd has forgotten. `varve fsck` finds what
//     nothing refers to;
//   - at the end the guard of a start is asked, and must pass.
package restore
