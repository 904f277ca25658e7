// Package message knows RocketMQ's stored message layout: the bytes that a
// broker keeps for each message and that a pull returns unchanged. It also owns
// what is derived from those bytes: property strings, batch bodies, tag hashes,
// message ids, physical offsets, delay levels and name rules.
//
// All integers are big-endian. One stored message is
//
//	off size
//	  0    4  total size, this field included
//	  4    4  magic: V1 0xDAA320A7, V2 0xDAA320AB (topic longer than 127 B)
//	  8    4  CRC-32 (IEEE) of the body & 0x7fffffff
//	 12    4  queue id
//	 16    4  flag of the user
//	 20    8  queue offset
//	 28    8  physical offset, see [PhysicalOffset]
//	 36    4  system flag, see [SysFlagCompressed] and the following
//	 40    8  born timestamp, ms
//	 48  8|20 born host: address (4 or 16) and port (4)
//	  +    8  store timestamp, ms
//	  + 8|20  store host
//	  +    4  reconsume times
//	  +    8  prepared transaction offset
//	  +  4+n  body
//	  +  1+n  topic (V2: 2+n)
//	  +  2+n  properties: name 0x01 value 0x02, repeated
//
// The package is pure: no sockets, no goroutines, no global state. Its types
// are not safe for concurrent writing, except [IDGenerator]. Views and the
// slices they return alias the bytes they were made from; nothing is copied
// unless the comment says so. Decoders check every length and never panic.
package message
