// Package segment is the codec of segments: immutable objects that hold a contiguous slice of a shard's log, sorted by queue. The format is
// docs/format/segment.md. The package knows neither object stores nor metadata: a [Writer] writes to an [io.Writer], a [Reader] reads from a [Source].
//
// Invariants:
//   - the same input gives the same bytes: no clock, no randomness, no state of an earlier segment;
//   - what the writer takes has been checked: layout, queue offset and physical offset of every message;
//   - nothing is returned whose crc32c, or that of anything on the way from the footer to it, has not been checked;
//   - every length is bounded before memory is allocated for it, decompression by the declared raw size; decoders never panic.
//
// A Writer belongs to one goroutine. A Reader may be used by many at once; what it returns belongs to the caller unless its comment says otherwise.
package segment
