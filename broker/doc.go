// Package broker wires a broker together: directory and identity, etcd, object store, log, timers, listeners, and their order at start and shutdown.
//
// # Start
//
//  1. lock the data directory, before the embedded etcd opens its own;
//  2. reach etcd (embedded or external) and the object store, or refuse and say which is not there;
//  3. compare the cluster id in the data directory, in etcd and in the bucket, or refuse (identity.go);
//  4. open the log: recovery is the ordinary start, not another path;
//  5. acquire the shard under a new epoch, with the uuid of the WAL that was opened;
//  6. load committed offsets, make the internal topics, drop the queues of deleted topics;
//  7. listen, deliver timers, say ready.
//
// # Shutdown
//
// The reverse: stop accepting, let connections end, flush committed offsets, close the log (which delivers and syncs what is pending), give up
// the shard, close etcd, unlock. The tail stays dirty unless it is empty, since nothing is sealed yet. kill -9 between
// any two of these costs nothing but time at the next start.
package broker
