// Package faulty makes object stores fail, for tests: [Store] wraps any store and fails calls by a plan or by chance from a seed, and [Proxy] stands between a driver
// and a real server and fails its HTTP requests.
//
// Both tell the truth about what they did: a fault that says that nothing was written wrote nothing, and those that lie ([LostAnswer], [OwnPrecondition], [FlipBit],
// [TruncateBody], [StaleList]) are the lies that servers and networks have been seen to tell. Both are safe for concurrent use; calls made one after the other meet the
// same faults for the same seed.
package faulty
