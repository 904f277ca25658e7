// Package tiertest breaks whole brokers whose log is tiered to object storage, and looks at what is left. It has tests only; docs/testing.md describes them.
//
// Brokers run as processes of their own where they are killed or stopped by signals, and inside the test's process elsewhere. Etcd is one of the test's process,
// outside the brokers, unless a test says otherwise. The object store is the server in VARVE_TEST_S3 (tools/s3/with-s3.sh sets it); without one it is a directory,
// or, where a test has to disturb the connection, a small server of the S3 protocol in the test's process.
//
// # What is checked
//
//   - Sealed is safe: with the data directory gone, every sealed message is read byte-identical, at its offset, in order, and committed offsets are there.
//   - Acknowledged is safe: kill -9 between any two steps of seal, upload, commit and trim loses nothing and doubles nothing.
//   - A loss is declared, never silent: a start without what was in the log alone is refused until an operator accepts it, and then shows as a hole.
//   - An outage of the object store delays and refuses; it ends by itself.
//   - One owner: who lost the shard acknowledges and commits nothing.
//   - Damage is found and named, and touches nothing else.
//   - In doubt nothing is deleted: no object, no file of the log.
package tiertest
