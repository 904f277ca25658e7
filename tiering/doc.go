// Package tiering owns sealed history: it builds segments from a shard's tail, uploads and commits them, reads them back, and deletes what retention has
// passed. So far it holds the object stores only, in package objstore; sealing comes with a later change.
package tiering
