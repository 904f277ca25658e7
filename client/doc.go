// Package client is the Go client of Varve. It speaks RocketMQ's remoting
// protocol with binary headers, so it works against Apache RocketMQ as well.
//
// There are four roles, each with its own connections:
//
//   - [Producer] sends messages: one by one, in batches that gather by
//     themselves, or one-way.
//   - [PushConsumer] is a member of a consumer group: messages come to a
//     [Handler], progress is committed, failures are retried.
//   - [Reader] reads any queue from any offset or time, without a group.
//   - [Admin] manages topics, groups and offsets and looks up messages.
//
// # Errors
//
// What a broker refused, and what the network broke, is an [*Error]. Two
// questions matter to a caller, and each has a function: [Retriable] (may the
// same call succeed later?) and [OutcomeUnknown] (may it have taken effect
// although it failed?). A retry is free of duplicates if the first is true and
// the second false. The package retries such failures by itself; it repeats a
// send whose outcome is unknown only with [WithDuplicatesAllowed].
//
// # Guarantees
//
// Messages with the same sharding key, or for the same explicit queue, arrive
// in the order of their Send or SendAsync calls (SendAsync keeps one batch in
// flight per queue). A consumer sees each message at least once. Its progress
// is committed every few seconds and, written through, when it closes or gives
// a queue away; so a crash repeats messages and never skips one.
//
// # Concurrency
//
// All types are safe for concurrent use, except [Stream], which belongs to one
// goroutine. Every goroutine that a type starts has ended when its Close (or
// Run) returns. Byte slices in a received message belong to the receiver;
// a Message's slices may be reused once its send has been answered, or, with
// SendAsync, as soon as SendAsync has returned.
package client
