// Package manifest is the codec of manifests: which segments a shard has that etcd does not list any more, and which offsets of which queues are in them. The format is
// docs/format/manifest.md. A root names immutable pages of up to 1,024 segments each, and has a row per queue. The package knows neither object stores nor metadata: a [Page]
// reads from a segment.Source.
//
// Invariants:
//   - the same input gives the same bytes: no clock, no randomness;
//   - nothing is returned whose crc32c, or that of anything on the way from the root or the page's footer to it, has not been checked;
//   - every length is bounded before memory is allocated for it; decoders never panic.
//
// A Page and a [Cache] may be used by many goroutines at once. What they return belongs to the caller.
package manifest
