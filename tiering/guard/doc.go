// Package guard is step 2 of a start (docs/decisions/0008-sealing-and-fencing.md): is etcd older than what others remember? An etcd that was restored from an old copy
// would hand out epochs, object numbers and offsets a second time, and would take for garbage what it has forgotten. What remembers: the file <data-dir>/remembered, one object
// per acquisition of a shard (epochs/<shard>/<epoch>), and the objects themselves, whose numbers are reserved in etcd before they are used.
//
// Invariants:
//   - [Check] changes nothing, and reads what it says is there: of listings only names of epochs are believed, and only to refuse a start;
//   - an epoch object is created once, under if-none-match, and never written again; the newest two stay;
//   - remembered is whole or not there, whatever the crash, and never falls while the cluster is the same.
//
// The functions are safe for concurrent use but for [Remember], of which one call at a time may run for a directory.
package guard
