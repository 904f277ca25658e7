// Package group keeps what a broker knows of its live clients: which producers and consumers are there, what each consumer
// group is subscribed to, and who holds which queue's lock.
//
// All of it is memory only and is rebuilt from the clients' heartbeats after a restart; what must survive (group
// configuration, committed offsets) is in package metadata.
//
// # Invariants
//
//   - A client is a member of a group from its first heartbeat until it unregisters, its connection closes, or it has been silent
//     for [Config.Expiry] (RocketMQ: 120 s). Every change of a group's members is told to all its members, which then rebalance.
//   - A client id belongs to one connection at a time: the newest. The closing of an older connection does not end the newer membership.
//   - Members are listed in order of their ids, and every caller sees the same list.
//   - A group's subscription to a topic is that of its newest heartbeat (by subscription version): members that disagree are a user's error, logged
//     and served.
//   - A queue is locked by at most one client; a lock ends by unlock, or [Config.LockLease] after its last renewal (RocketMQ: 60 s, while a client
//     trusts its lock for 30 s). After a start nothing is granted for [LockTrust] to groups that were there before; see [Locks].
//
// # Concurrency
//
// All methods are safe for concurrent use. Notifications are sent after the lock was released, by the goroutine that caused them.
package group
