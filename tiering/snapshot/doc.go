// Package snapshot keeps copies of the embedded etcd in the bucket, for `varve metadata restore`: a data directory that is lost takes the embedded etcd with it, and with it the list
// of what is in the bucket.
//
//	metadata/snapshots/<revision, 16 hex digits>-<epoch, 16 hex digits>.snap   etcd's database, and its sha256 as etcd writes it
//	metadata/snapshots/<revision>-<epoch>.json                                  what it is: written after it, so that a snapshot without it is none
//
// The revision is etcd's when the copy began; the copy has that state or a later one.
//
// Invariants:
//   - a snapshot is listed only when its bytes are in the bucket, and restored only if their sha256 is the listed one;
//   - the newest 24 stay; only older ones are deleted, and only by the owner of the shard, after a new one is there.
//
// A [Keeper] has one Run; its other methods, and the functions, are safe for concurrent use.
package snapshot
