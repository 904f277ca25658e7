package remoting

import (
	"encoding/hex"
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

// roundTrip checks that what was decoded is encoded to something that decodes alike.
func roundTrip(t *testing.T, c *Command) {
	t.Helper()
	want := fields(&c.Ext)
	frame := AppendFrame(nil, c)
	if len(frame) == 0 {
		return // the escaped form is too long
	}
	var d Command
	if err := DecodeFrame(frame[4:], &d); err != nil {
		t.Fatalf("decode again: %v", err)
	}
	if c.Codec == CodecBinary || c.Codec == CodecJSON && validText(want, c.Remark) {
		if diff := cmp.Diff(want, fields(&d.Ext)); diff != "" {
			t.Fatal(diff)
		}
	}
	if d.Code != c.Code || d.Opaque != c.Opaque || d.Flag != c.Flag || d.Version != c.Version || d.Language != c.Language || len(d.Body) != len(c.Body) {
		t.Fatalf("%+v became %+v", c, d)
	}
}

func FuzzDecodeFrame(f *testing.F) {
	f.Add(frameOf(CodecJSON, javaSend, "body"))
	f.Add(frameOf(CodecJSON, `{"code":"34","language":1,"opaque":4294967295,"extFields":{"n":4,"x":null,"o":{"a":[1]}}}`, ""))
	if raw, err := hex.DecodeString(binaryPop); err == nil {
		f.Add(frameOf(CodecBinary, string(raw), ""))
	}
	f.Fuzz(func(t *testing.T, frame []byte) {
		var c Command
		if DecodeFrame(frame, &c) == nil {
			roundTrip(t, &c)
			var s SendMessageHeader
			_ = s.Decode(&c)
			var p PullMessageHeader
			_ = p.Decode(&c)
		}
	})
}

func FuzzJSONHeader(f *testing.F) {
	f.Add(javaSend)
	f.Add(`{"remark":"\ud83d\ude00\u0001","extFields":{"\u006b":"v"}}`)
	f.Fuzz(func(t *testing.T, header string) {
		var c Command
		if len(header) < MaxHeader && DecodeFrame(frameOf(CodecJSON, header, ""), &c) == nil {
			compareJSON(t, header, &c)
			roundTrip(t, &c)
		}
	})
}

// compareJSON checks the ext fields of c against encoding/json, where that accepts the header.
func compareJSON(t *testing.T, header string, c *Command) {
	t.Helper()
	var top map[string]json.RawMessage
	var want map[string]string
	if !utf8.ValidString(header) || json.Unmarshal([]byte(header), &top) != nil || json.Unmarshal(top["extFields"], &want) != nil {
		return
	}
	if strings.Contains(header, "null") {
		return // we leave nulls out
	}
	for key, value := range want {
		if got, ok := c.Ext.Get(key); !ok || got != value {
			t.Fatalf("%q: %q, want %q", key, got, value)
		}
	}
}

func FuzzBinaryHeader(f *testing.F) {
	raw, err := hex.DecodeString(binaryPop)
	if err != nil {
		f.Fatal(err)
	}
	raw[20] = byte(len(raw) - 21)
	f.Add(raw)
	f.Fuzz(func(t *testing.T, header []byte) {
		var c Command
		if len(header) < MaxHeader && DecodeFrame(frameOf(CodecBinary, string(header), ""), &c) == nil {
			roundTrip(t, &c)
		}
	})
}

func FuzzHeartbeat(f *testing.F) {
	f.Add([]byte(javaHeartbeat))
	f.Add([]byte(goHeartbeat))
	f.Fuzz(func(t *testing.T, body []byte) {
		var h, again HeartbeatData
		if DecodeBody(body, &h) != nil {
			return
		}
		b, err := EncodeBody(h)
		if err != nil {
			t.Fatal(err)
		}
		if err := DecodeBody(b, &again); err != nil {
			t.Fatalf("%s: %v", b, err)
		}
	})
}

func FuzzQueueMap(f *testing.F) {
	f.Add([]byte(`{"offsetTable":{{"brokerName":"b","queueId":0,"topic":"t"}:5}}`))
	f.Add([]byte(`{"offsetTable":[[{"brokerName":"b","queueId":0,"topic":"t"},5],{"topic":"t","offset":1}],0:{1:2}}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		var m, again ResetOffsetBody
		if DecodeBody(body, &m) != nil {
			return
		}
		b, err := EncodeBody(m)
		if err != nil {
			t.Fatal(err)
		}
		if err := DecodeBody(b, &again); err != nil {
			t.Fatalf("%s: %v", b, err)
		}
		if d := cmp.Diff(m, again); d != "" && len(m.OffsetTable) > 0 {
			t.Fatal(d)
		}
	})
}
