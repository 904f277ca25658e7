package remoting

import (
	"encoding/hex"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// fields is the test's picture of an Ext.
func fields(e *Ext) []string {
	var out []string
	for _, f := range e.Fields() {
		out = append(out, string(f.Key)+"="+string(f.Value))
	}
	return out
}

// frameOf builds a frame, without its first four bytes, from a header and a body.
func frameOf(codec Codec, header, body string) []byte {
	n := len(header)
	b := []byte{byte(codec), byte(n >> 16), byte(n >> 8), byte(n)}
	return append(append(b, header...), body...)
}

// javaSend is a SEND_MESSAGE_V2 as a Java client writes it with fastjson: keys
// sorted, control characters escaped, every ext value a string.
const javaSend = `{"code":310,"extFields":{"a":"please_rename_unique_group_name","b":"TopicTest","c":"TBW102",` +
	`"d":"4","e":"2","f":"0","g":"1700000000123","h":"0",` +
	`"i":"UNIQ_KEY\u0001AC11000100002A139A558F4C2B7C0000\u0002WAIT\u0001true\u0002TAGS\u0001TagA\u0002",` +
	`"j":"0","k":"false","m":"false","n":"varve-a"},"flag":0,"language":"JAVA","opaque":12,` +
	`"serializeTypeCurrentRPC":"JSON","version":479}`

func TestDecodeJavaSend(t *testing.T) {
	t.Parallel()
	var c Command
	if err := DecodeFrame(frameOf(CodecJSON, javaSend, "hello"), &c); err != nil {
		t.Fatal(err)
	}
	if c.Code != ReqSendMessageV2 || c.Opaque != 12 || c.Language != LanguageJava || c.Version != 479 || string(c.Body) != "hello" {
		t.Fatalf("command %+v", c)
	}
	var h SendMessageHeader
	if err := h.Decode(&c); err != nil {
		t.Fatal(err)
	}
	want := SendMessageHeader{
		ProducerGroup: []byte("please_rename_unique_group_name"), Topic: []byte("TopicTest"),
		DefaultTopic: []byte("TBW102"), DefaultTopicQueueNums: 4, QueueID: 2, BornTimestamp: 1700000000123,
		Properties:        []byte("UNIQ_KEY\x01AC11000100002A139A558F4C2B7C0000\x02WAIT\x01true\x02TAGS\x01TagA\x02"),
		MaxReconsumeTimes: Absent, BrokerName: []byte("varve-a"),
	}
	if d := cmp.Diff(want, h); d != "" {
		t.Fatal(d)
	}
}

func TestDecodeJSONHeader(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name, header string
		want         Command
		ext          []string
	}{
		{
			name: "go client pull",
			header: `{"code":11,"language":"GO","version":317,"opaque":7,"flag":0,"remark":"",` +
				`"extFields":{"queueId":"1","topic":"t"}}`,
			want: Command{Code: 11, Language: LanguageGo, Version: 317, Opaque: 7},
			ext:  []string{"queueId=1", "topic=t"},
		},
		{
			name:   "c++: numbers as strings, language as a number, bare ext values",
			header: `{"code":"34","flag":"1","language":1,"opaque":4294967295,"version":"111","extFields":{"n":4,"t":true,"x":null}}`,
			want:   Command{Code: 34, Flag: 1, Language: LanguageCPP, Opaque: -1, Version: 111},
			ext:    []string{"n=4", "t=true"},
		},
		{
			name:   "nulls, unknown keys, nesting, whitespace",
			header: " {\n\t\"extFields\" : null , \"remark\":null,\"a\":{\"b\":[1,{\"c\":\"}\\\"\"}]},\"code\" : 17 }\r\n",
			want:   Command{Code: 17},
		},
		{
			name:   "escapes and surrogates",
			header: `{"code":1,"remark":"a\"\\\/\b\f\n\r\tA\u00e9\u4e2d\ud83d\ude00\ud83d","extFields":{"\u006b":"\u0001é"}}`,
			want:   Command{Code: 1, Remark: "a\"\\/\b\f\n\r\tAé中😀\ufffd"},
			ext:    []string{"k=\x01é"},
		},
		{name: "empty object", header: `{}`},
		{name: "unknown language", header: `{"language":"COBOL"}`, want: Command{Language: LanguageOther}},
		{
			name: "java response", header: `{"code":0,"flag":1,"language":"JAVA","opaque":3,"remark":"FOUND","serializeTypeCurrentRPC":"JSON","suspended":false,"version":479}`,
			want: Command{Flag: 1, Opaque: 3, Remark: "FOUND", Version: 479},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			var c Command
			if err := DecodeFrame(frameOf(CodecJSON, tc.header, ""), &c); err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(tc.ext, fields(&c.Ext)); d != "" {
				t.Error(d)
			}
			c.Ext = Ext{}
			if d := cmp.Diff(tc.want, c, cmp.AllowUnexported(Ext{})); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestMalformedHeaders(t *testing.T) {
	t.Parallel()
	deep := `{"x":` + strings.Repeat("[", 100) + strings.Repeat("]", 100) + `}`
	many := `{"extFields":{` + strings.Repeat(`"a":"b",`, MaxExtFields) + `"a":"b"}}`
	for name, header := range map[string]string{
		"empty": ``, "array": `[]`, "unclosed": `{"code":1`, "trailing": `{} x`, "no colon": `{"code" 1}`,
		"bare key": `{code:1}`, "code is text": `{"code":"x"}`, "code too large": `{"code":4294967296}`,
		"bad escape": `{"remark":"\x"}`, "bad unicode": `{"remark":"\u12g4"}`, "cut unicode": `{"remark":"\u12"}`,
		"cut escape": `{"remark":"\`, "literal": `{"code":nope}`, "comma": `{"code":1,}`, "depth": deep, "fields": many,
		"code is a float": `{"code":1.5}`, "code is an object": `{"code":{}}`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var c Command
			if err := DecodeFrame(frameOf(CodecJSON, header, ""), &c); !errors.Is(err, ErrMalformedHeader) {
				t.Fatalf("error %v", err)
			}
		})
	}
}

// binarySend is laid out by hand: a POP request, whose code does not fit.
const binaryPop = "0d72" + "09" + "01df" + "00000007" + "00000000" + "00000000" +
	"0000001a" + "0005" + "746f706963" + "00000001" + "74" + // topic=t
	"0003" + "6e756c" + "00000000" + // nul= (null)
	"0001" + "61" + "00000000" // a= (null)

func TestBinaryHeader(t *testing.T) {
	t.Parallel()
	raw, err := hex.DecodeString(strings.ReplaceAll(binaryPop, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	raw[20] = byte(len(raw) - 21)
	var c Command
	if err := DecodeFrame(frameOf(CodecBinary, string(raw), "b"), &c); err != nil {
		t.Fatal(err)
	}
	if c.Code != ReqPopMessage || c.Language != LanguageGo || c.Version != 479 || c.Opaque != 7 || c.Codec != CodecBinary {
		t.Fatalf("command %+v", c)
	}
	if d := cmp.Diff([]string{"topic=t"}, fields(&c.Ext)); d != "" {
		t.Fatal(d)
	}
	for cut := range raw {
		if err := DecodeFrame(frameOf(CodecBinary, string(raw[:cut]), ""), &c); !errors.Is(err, ErrMalformedHeader) {
			t.Fatalf("cut at %d: %v", cut, err)
		}
	}
}

func TestFrameRoundTrip(t *testing.T) {
	t.Parallel()
	for _, codec := range []Codec{CodecJSON, CodecBinary} {
		var req, c, d Command
		req.Opaque, req.Codec = 42, codec
		c.InitResponse(&req, RespPullNotFound, "no \"new\" message\n")
		h := PullResponseHeader{SuggestWhichBrokerID: 0, NextBeginOffset: 1 << 40, MinOffset: -1, MaxOffset: 1<<63 - 1}
		h.AppendExt(&c)
		c.Ext.Add("odd", "\x01\x02\x1f\"\\é😀")
		c.Body = []byte("body")
		frame := AppendFrame([]byte("x"), &c)[1:]
		n, err := FrameLength([4]byte(frame), 0)
		if err != nil || n != len(frame)-4 {
			t.Fatalf("length %d of %d: %v", n, len(frame), err)
		}
		if err := DecodeFrame(frame[4:], &d); err != nil {
			t.Fatal(err)
		}
		if d.Code != c.Code || d.Opaque != 42 || !d.IsResponse() || d.IsOneway() || d.Remark != c.Remark || string(d.Body) != "body" || d.Codec != codec {
			t.Fatalf("codec %d: %+v", codec, d)
		}
		if diff := cmp.Diff(fields(&c.Ext), fields(&d.Ext)); diff != "" {
			t.Fatal(diff)
		}
		var got PullResponseHeader
		if err := got.Decode(&d); err != nil || got != h {
			t.Fatalf("header %+v: %v", got, err)
		}
		// A clone survives the frame and the command.
		clone := d.Clone()
		clear(frame)
		d.Reset()
		if v, _ := clone.Ext.Get("odd"); v != "\x01\x02\x1f\"\\é😀" || string(clone.Body) != "body" {
			t.Fatalf("clone %+v", clone)
		}
	}
}

func TestJSONResponseKeys(t *testing.T) {
	t.Parallel()
	var req, c Command
	c.InitResponse(&req, 0, "")
	c.Ext.Add("MSG_REGION", "DefaultRegion")
	got := string(AppendFrame(nil, &c)[8:])
	want := `{"code":0,"extFields":{"MSG_REGION":"DefaultRegion"},"flag":1,"language":"GO","opaque":0,"serializeTypeCurrentRPC":"JSON","version":479}`
	if got != want {
		t.Fatalf("got  %s\nwant %s", got, want)
	}
}

func TestFrameLength(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		prefix [4]byte
		limit  int
		want   error
	}{
		{prefix: [4]byte{0, 0, 0, 3}, want: ErrMalformedFrame},
		{prefix: [4]byte{0xff, 0, 0, 3}, want: ErrMalformedFrame},
		{prefix: [4]byte{0, 0, 0, 4}},
		{prefix: [4]byte{1, 0, 0, 0}},
		{prefix: [4]byte{1, 0, 0, 1}, want: ErrFrameTooLarge},
		{prefix: [4]byte{0, 0, 0, 9}, limit: 8, want: ErrFrameTooLarge},
		{prefix: [4]byte{0x47, 0x45, 0x54, 0x20}, want: ErrFrameTooLarge},
	} {
		if _, err := FrameLength(tc.prefix, tc.limit); !errors.Is(err, tc.want) {
			t.Errorf("%v: %v, want %v", tc.prefix, err, tc.want)
		}
	}
	var c Command
	for name, frame := range map[string][]byte{"short": {0, 0, 0}, "header": {0, 0, 0, 1}, "header of 16M": {0, 0xff, 0xff, 0xff, 1}} {
		if err := DecodeFrame(frame, &c); !errors.Is(err, ErrMalformedFrame) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := DecodeFrame([]byte{9, 0, 0, 0}, &c); !errors.Is(err, ErrUnknownCodec) {
		t.Error(err)
	}
	if err := DecodeFrame(frameOf(CodecJSON, strings.Repeat(" ", MaxHeader+1), ""), &c); !errors.Is(err, ErrFrameTooLarge) {
		t.Error(err)
	}
	c.Reset()
	c.Remark = strings.Repeat("x", MaxHeader)
	if b := AppendFrame([]byte("ab"), &c); string(b) != "ab" {
		t.Errorf("oversized header gave %d bytes", len(b))
	}
}

func TestUnwrapCode(t *testing.T) {
	t.Parallel()
	for wire, want := range map[int32]int32{3442: 200050, 3443: 200051, 3447: 200055, 3543: 200151, 310: 310, 3449: 3449, 200050: 200050} {
		if got := unwrapCode(wire); got != want {
			t.Errorf("%d: %d, want %d", wire, got, want)
		}
	}
}
