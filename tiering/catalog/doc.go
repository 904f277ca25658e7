// Package catalog is a shard's listed segments in memory: which segment has an offset of a queue, what the first and last offsets of each queue are. It joins what etcd lists
// (the newest segments, the manifest pointer, the first offsets kept) with the manifest's root and pages in the bucket.
//
// It is changed after etcd has the change, by the sealer and by maintenance, a change as a whole: readers see the state before it or after it, never between. It decides nothing
// and deletes nothing.
//
// Invariants:
//   - an offset in a queue's bounds is in exactly one run, unless an object was lost;
//   - a queue's end never falls, but with the queue;
//   - what is read from the bucket was listed, and is checked against the crc it was listed with.
//
// A Catalog may be used by many goroutines at once. Readers work on an immutable snapshot and hold no lock.
package catalog
