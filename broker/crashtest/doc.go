// Package crashtest kills real brokers and looks at what they kept. It has tests only; docs/testing.md describes them.
//
// TestMain builds the broker twice: as it is shipped, and with the build tag powercut, under which writes stay in the
// process until they are synced, so that kill -9 is a power cut. The tests run these programs as children on free ports
// of the loopback interface, each in a data directory of its own, and kill them by their process ids.
//
// # Invariants that are checked
//
//   - An acknowledged message is at its offset after every kill, unless its mode allows the loss (guarantee 1).
//   - Offsets are dense, never change and are never reused, holes included (guarantee 2).
//   - What a reader has seen stays (guarantee 3).
//   - A batch is there as a whole or not at all; a message that was refused is not there; no message is there twice.
//   - Delayed messages arrive once; committed offsets do not fall back by more than the second they are coalesced over.
package crashtest
