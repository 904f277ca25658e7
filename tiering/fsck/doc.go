// Package fsck compares what etcd and the manifest list of a shard with what is in the bucket and in the log, and reports what does not fit together. It may run beside the
// owner: it reads etcd, then the bucket, and before it calls something missing it reads etcd again.
//
// What is compared:
//   - the root and the pages with the pointer and the root that name them, and the segments with what lists them: there, size, identity, checksum of the footer (which stands for
//     every byte), LSNs, counts, offsets per queue; deep: every byte;
//   - LSNs: segments of level 0 overlap nothing, and from the manifest's end to the head nothing is missing. Within the manifest a gap is no fault by itself, since retention makes
//     gaps; it is reported as information. Each segment of level 0 names the checksum of the one before it;
//   - offsets: those of a queue join without gap or overlap, above the first that is kept; the root's row of it says so;
//   - the bucket with the lists: objects that nothing refers to (orphans), that nobody can have written, or that were not made by this program;
//   - intents and records of garbage with the lists: neither may name what is listed;
//   - the log: it begins at or below the head's position, and ends at or above it.
//
// [Repair] deletes orphans, and nothing else: on an operator's word, under the rules of docs/decisions/0008-sealing-and-fencing.md.
//
// Invariants:
//   - a page that cannot be read makes every object suspect of being in it: then nothing is called an orphan;
//   - what is written while it runs is not reported;
//   - memory grows with the number of listed objects only: some 60 bytes for each.
package fsck
