package remoting

import (
	"testing"
	"unicode/utf8"
)

// validText reports whether all strings are UTF-8: others do not survive JSON.
func validText(list []string, more string) bool {
	for _, s := range append(list, more) {
		if !utf8.ValidString(s) {
			return false
		}
	}
	return true
}

// sendFrame returns the frame of javaSend, without its first four bytes, in a codec.
func sendFrame(tb testing.TB, codec Codec) []byte {
	tb.Helper()
	var c Command
	if err := DecodeFrame(frameOf(CodecJSON, javaSend, string(make([]byte, 128))), &c); err != nil {
		tb.Fatal(err)
	}
	c.Codec = codec
	return AppendFrame(nil, &c)[4:]
}

func BenchmarkDecodeSend(b *testing.B) {
	for name, codec := range map[string]Codec{"json": CodecJSON, "binary": CodecBinary} {
		b.Run(name, func(b *testing.B) {
			frame := sendFrame(b, codec)
			var c Command
			var h SendMessageHeader
			b.SetBytes(int64(len(frame)))
			b.ReportAllocs()
			for b.Loop() {
				if err := DecodeFrame(frame, &c); err != nil {
					b.Fatal(err)
				}
				if err := h.Decode(&c); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkEncodeSendResponse(b *testing.B) {
	for name, codec := range map[string]Codec{"json": CodecJSON, "binary": CodecBinary} {
		b.Run(name, func(b *testing.B) {
			req := Command{Opaque: 12345, Codec: codec}
			h := SendResponseHeader{MsgID: []byte("0A00000100002A9F0000000000000001"), QueueID: 3, QueueOffset: 123456, MsgRegion: []byte("DefaultRegion"), TraceOn: true}
			var c Command
			buf := make([]byte, 0, 1024)
			b.ReportAllocs()
			for b.Loop() {
				c.InitResponse(&req, RespSuccess, "")
				h.AppendExt(&c)
				buf = AppendFrame(buf[:0], &c)
			}
			b.SetBytes(int64(len(buf)))
		})
	}
}

// TestNoAllocations holds the hot paths to what the benchmarks show.
func TestNoAllocations(t *testing.T) {
	for _, codec := range []Codec{CodecJSON, CodecBinary} {
		frame := sendFrame(t, codec)
		var c, r Command
		var h SendMessageHeader
		out := SendResponseHeader{MsgID: []byte("0A00000100002A9F0000000000000001"), MsgRegion: []byte("DefaultRegion")}
		buf := make([]byte, 0, 1024)
		n := testing.AllocsPerRun(100, func() {
			if DecodeFrame(frame, &c) != nil || h.Decode(&c) != nil {
				t.Fatal("decode")
			}
			r.InitResponse(&c, RespSuccess, "")
			out.AppendExt(&r)
			buf = AppendFrame(buf[:0], &r)
		})
		if n != 0 {
			t.Errorf("codec %d: %v allocations", codec, n)
		}
	}
}
