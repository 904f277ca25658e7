// Package objstore is the seam to object storage: one small interface, [Store], with drivers for S3 (aws-sdk-go-v2), MinIO (minio-go), a directory and memory.
//
// # Invariants
//
//   - An object appears whole or not at all, and when Put has returned it is durable to the degree the store offers (the directory: file and directories fsynced).
//   - Put with IfNoneMatch creates an object at most once, also among concurrent writers; the others get [ErrPrecondition].
//   - Every error that reaches a caller wraps exactly one of the classes of [Class]; whoever retries asks [Retriable].
//   - Errors and names never contain a secret.
//
// Keys are relative paths with "/" between non-empty parts: see [ValidateKey]. All drivers pass one contract suite and are safe for concurrent use.
//
// # Servers
//
// Drivers of servers make single requests; what is around them is the same for all. A request that fails with a retriable error is repeated, at most
// Options.MaxAttempts times in all, after pauses that grow and are half random, longer ones after throttling. No other layer repeats: the SDKs are told not to.
//
// Each object has in its metadata a value of the Put that wrote it. When a creation is repeated because the answer was lost, and the object is there, the value says
// whether it is our own. A caller that repeats a Put after its error has no such proof: with IfNoneMatch, ErrPrecondition may then mean an object of its own.
//
// An object above Options.MultipartThreshold goes up in parts, several at once if its reader is an io.ReaderAt. No body is held in memory: it is read once for its
// CRC32C (and without TLS once more for the signature's SHA-256) and once for each attempt. An upload that fails is given up, also when its context has ended; what a
// process leaves that dies, the bucket's lifecycle rule clears away. The condition IfNoneMatch is checked before an upload and again by the server at its completion.
//
// A body that breaks off, or ends early, is read on from there by another request, if the object is still the same one. That bytes are right, the formats'
// own checksums must say.
//
// Package faulty makes stores fail on purpose. docs/operations.md, "Object stores", has the URLs and what they need.
package objstore
