package remoting

import "bytes"

// Codec is the encoding of a frame's header.
type Codec uint8

// The header codecs.
const (
	// CodecJSON is the default of all clients.
	CodecJSON Codec = 0
	// CodecBinary is RocketMQ's own form, chosen by some.
	CodecBinary Codec = 1
)

// Bits of Command.Flag.
const (
	// FlagResponse marks a response.
	FlagResponse int32 = 1 << 0
	// FlagOneway marks a request that wants no response.
	FlagOneway int32 = 1 << 1
)

// Command is one request or response. See the package comment for who owns the
// bytes in Ext and Body. The zero value is an empty JSON request by Java.
type Command struct {
	Code     int32 // a request or a response code
	Language Language
	Version  int32
	Opaque   int32
	Flag     int32
	Remark   string // a copy
	Ext      Ext
	Body     []byte
	Codec    Codec
}

// IsResponse reports whether the command is a response.
func (c *Command) IsResponse() bool { return c.Flag&FlagResponse != 0 }

// IsOneway reports whether the command is a request that wants no response.
// The Go client does not set the bit, and drops the answers it gets.
func (c *Command) IsOneway() bool { return c.Flag&FlagOneway != 0 }

// Reset makes c a zero command, but keeps the capacity of Ext.
func (c *Command) Reset() {
	c.Ext.Reset()
	*c = Command{Ext: c.Ext}
}

// InitResponse makes c a response to req, with our language and version, no
// ext fields and no body. c and req must be different.
func (c *Command) InitResponse(req *Command, code int32, remark string) {
	c.Ext.Reset()
	*c = Command{
		Code: code, Language: LanguageGo, Version: CurrentVersion, Opaque: req.Opaque,
		Flag: FlagResponse, Remark: remark, Ext: c.Ext, Codec: req.Codec,
	}
}

// Clone returns a deep copy that aliases nothing.
func (c *Command) Clone() *Command {
	d := *c
	d.Ext = c.Ext.Clone()
	d.Body = bytes.Clone(c.Body)
	return &d
}
