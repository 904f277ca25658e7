// Package objstore is the seam to object storage: one small interface, [Store], with drivers for S3 (aws-sdk-go-v2), MinIO (minio-go), a directory and memory.
//
// # Invariants
//
//   - An object appears whole or not at all, and when Put has returned it is durable to the degree the store offers (the directory: file and directory fsynced).
//   - Put with IfNoneMatch creates an object at most once, also among concurrent writers; the others get [ErrPrecondition].
//   - Every error that reaches a caller wraps exactly one of the classes of [Class]; whoever retries asks [Retriable].
//   - Errors and names never contain a secret.
//
// Keys are relative paths with "/" between non-empty parts: see [ValidateKey]. All drivers pass one contract suite and are safe for concurrent use.
package objstore
