// Package remoting is the codec of RocketMQ's remoting protocol: frames, both
// header encodings, request and response codes, the header structs of the hot
// requests and the JSON bodies. Broker and client share it.
//
// All integers are big-endian. One frame is
//
//	int32  total = bytes after this field
//	int32  word  = codec << 24 | header length
//	bytes  header
//	bytes  body
//
// The header is JSON (codec 0) or RocketMQ's binary form (codec 1):
//
//	int16 code | int8 language | int16 version | int32 opaque | int32 flag
//	int32 n, remark | int32 n, n bytes of { int16 n, key | int32 n, value }
//
// A response is encoded as its request was.
//
// # Ownership
//
// A decoded [Command] owns no memory of its own for values: Ext and Body alias
// the frame, or, for values that had JSON escapes, a scratch buffer inside the
// command. They are valid until the frame's buffer is reused or the command is
// decoded into again, whichever is first. Everything of type []byte in the
// header structs aliases in the same way; everything of type string is a copy.
// Use [Command.Clone] to keep a command.
//
// The package is pure: no sockets, no goroutines, no global state. Its types
// are not safe for concurrent writing. Decoders bound every length before
// allocating, never panic, and never write to the frame.
package remoting
