// Package broker wires a broker together: directory and identity, etcd, object store, log, timers, listeners, and their order at start and shutdown.
//
// # Start
//
//  1. lock the data directory, before the embedded etcd opens its own;
//  2. reach etcd (embedded or external) and the object store, or refuse and say which is not there;
//  3. compare the cluster id in the data directory, in etcd and in the bucket, or refuse (identity.go);
//  4. refuse an etcd that is older than what the bucket and the data directory remember (package guard);
//  5. open the log: recovery is the ordinary start, not another path;
//  6. refuse a log that is not the one that segments go on in, or not the whole of it;
//  7. acquire the shard under a new epoch, with the uuid of the WAL that was opened, and mark the epoch in the bucket;
//  8. load committed offsets and the catalog of what is sealed, join the queues to it, make the internal topics, pass over what was lost;
//  9. listen, deliver timers, seal, look after what is sealed, say ready.
//
// Nothing is changed in the bucket or in the log before 6 has passed. docs/decisions/0008 says why.
//
// # Shutdown
//
// The reverse: stop accepting, let connections end, seal the rest of the log if that is quick, flush committed offsets, close the log (which delivers and syncs
// what is pending), give up the shard, close etcd, unlock. The tail is released as clean if all of it is in segments, else it stays dirty. kill -9 between
// any two of these costs nothing but time at the next start.
package broker
