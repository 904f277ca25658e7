// Package coldread is the reading tier over sealed segments: blocks of queues by offset, by time and by key, from the object store through caches.
//
// A [Reader] finds the run that has an offset in the catalog, the block in the segment's index, and the block's messages in its cache of decoded blocks, in the disk cache,
// or by a ranged GET. Readers that go on where they were are recognised, and what they will want next is fetched ahead of them in few large ranges.
//
// # Invariants
//
//   - What is returned has passed segment.Decode: every checksum, and that it is the block that the index means.
//   - What is damaged on the way is fetched once more, also if it has come into a reader of the catalog's.
//   - However many want a block, one GET is under way for it. (A hedged GET is two.)
//   - Blocks in memory are bounded by CacheBytes, ranges under way and not yet decoded by InFlightBytes, GETs by Concurrency, decodings by Decoders. What a single
//     block needs is granted also when it is more than the bound, alone. (Indexes are the catalog's: its GETs and its memory are not counted here.)
//   - A block that the index rules out by its tags is not fetched.
//   - That segments are compacted, rolled or deleted costs a reader a look at the catalog's newest snapshot and no error. An object that the newest snapshot still names
//     and that is not there, or that is damaged, is an [ObjectError] with its key; everything else stays readable.
//   - No goroutine outlives Close, and none of a call's own outlives the call.
//
// # What is kept
//
// A block comes into the cache on probation. It is kept for longer when it is asked for again at an offset that was asked for before: a scan, which asks for each offset
// once, passes through without driving out what others come back to. A block that a sequential reader has left goes first, one fetched ahead and not used yet later.
//
// # Locks
//
// Reader.mu, cache.mu, cursors.mu and diskCache.mu are leaves: none is held when another is taken, and none during I/O.
package coldread
