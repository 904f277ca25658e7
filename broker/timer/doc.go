// Package timer delivers what falls due. For now these are RocketMQ's delay levels: a delayed message is an ordinary message of the
// internal topic SCHEDULE_TOPIC_XXXX, in the queue of its level, with its destination in its properties.
//
// All messages of one queue wait equally long, so their order is the order in which they fall due: one goroutine per
// level reads its queue from the queue's cursor on and waits for the first that is not yet due.
//
// # Invariants
//
//   - A delivery and the cursor's move past it are one WAL record: after a crash at any instant a delayed message is in its
//     destination once, or still due, and never both or neither.
//   - A message is not delivered before its time: its store time (which never goes backwards within a queue) plus its level's delay.
//   - A destination that no longer exists is dropped with a log line, and the cursor moves on; any other failure is tried again.
package timer
