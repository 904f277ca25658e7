package remoting

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestSendHeaderNames(t *testing.T) {
	t.Parallel()
	long := `{"code":10,"extFields":{"producerGroup":"g","topic":"t","defaultTopic":"TBW102","defaultTopicQueueNums":"4",` +
		`"queueId":"-1","sysFlag":"1","bornTimestamp":"5","flag":"9","properties":"","reconsumeTimes":"2","unitMode":"TRUE",` +
		`"batch":"false","maxReconsumeTimes":"16","bname":"b"}}`
	var c, d Command
	if err := DecodeFrame(frameOf(CodecJSON, long, ""), &c); err != nil {
		t.Fatal(err)
	}
	var h, again SendMessageHeader
	if err := h.Decode(&c); err != nil {
		t.Fatal(err)
	}
	want := SendMessageHeader{
		ProducerGroup: []byte("g"), Topic: []byte("t"), DefaultTopic: []byte("TBW102"), DefaultTopicQueueNums: 4,
		QueueID: -1, SysFlag: 1, BornTimestamp: 5, Flag: 9, Properties: []byte{}, ReconsumeTimes: 2, UnitMode: true,
		MaxReconsumeTimes: 16, BrokerName: []byte("b"),
	}
	if diff := cmp.Diff(want, h); diff != "" {
		t.Fatal(diff)
	}
	h.AppendExt(&d)
	if err := again.Decode(&d); err != nil {
		t.Fatal(err)
	}
	want.Properties = nil
	if diff := cmp.Diff(want, again); diff != "" {
		t.Fatal(diff)
	}
}

func TestFieldErrors(t *testing.T) {
	t.Parallel()
	var c Command
	for _, name := range []string{"a", "b", "c"} {
		c.Ext.Add(name, "x")
	}
	for _, name := range []string{"d", "e", "f", "g"} {
		c.Ext.Add(name, "1")
	}
	var h SendMessageHeader
	var fe *FieldError
	if err := h.Decode(&c); !errors.As(err, &fe) || fe.Field != "flag" || !errors.Is(err, ErrMissingField) {
		t.Fatalf("missing: %v", err)
	}
	c.Ext.Add("h", "2147483648")
	if err := h.Decode(&c); !errors.As(err, &fe) || fe.Field != "flag" || !errors.Is(err, ErrMalformedField) {
		t.Fatalf("malformed: %v", err)
	}
	if got, want := h.Decode(&c).Error(), `remoting: field flag: malformed: "2147483648"`; got != want {
		t.Fatalf("%s", got)
	}
}

func TestOtherHeadersRoundTrip(t *testing.T) {
	t.Parallel()
	type header interface {
		Decode(*Command) error
		AppendExt(*Command)
	}
	for _, tc := range []struct {
		name      string
		code      int32
		in, out   header
		mandatory int
	}{
		{
			name: "pull", code: ReqPullMessage, mandatory: 8, out: &PullMessageHeader{},
			in: &PullMessageHeader{
				ConsumerGroup: []byte("g"), Topic: []byte("t"), QueueID: 1, QueueOffset: 2, MaxMsgNums: 32, SysFlag: 7,
				CommitOffset: 3, SuspendTimeoutMillis: 15000, Subscription: []byte("a||b"), SubVersion: 4,
				ExpressionType: []byte("TAG"), MaxMsgBytes: Absent, BrokerName: []byte("b"),
			},
		},
		{
			name: "send response", mandatory: 3, out: &SendResponseHeader{},
			in: &SendResponseHeader{MsgID: []byte("id"), QueueID: 1, QueueOffset: 2, TransactionID: []byte("x"), MsgRegion: []byte("r"), TraceOn: true},
		},
		{
			name: "update offset", code: ReqUpdateConsumerOffset, mandatory: 4, out: &OffsetHeader{},
			in: &OffsetHeader{Topic: []byte("t"), QueueID: 1, ConsumerGroup: []byte("g"), CommitOffset: 9, SetZeroIfNotFound: true},
		},
		{
			name: "search offset", code: ReqSearchOffsetByTimestamp, mandatory: 3, out: &OffsetHeader{},
			in: &OffsetHeader{Topic: []byte("t"), Timestamp: 9, Upper: true, SetZeroIfNotFound: true},
		},
		{
			name: "max offset", code: ReqGetMaxOffset, mandatory: 2, out: &OffsetHeader{},
			in: &OffsetHeader{Topic: []byte("t"), Uncommitted: true, SetZeroIfNotFound: true},
		},
		{
			name: "query offset", code: ReqQueryConsumerOffset, mandatory: 3, out: &OffsetHeader{},
			in: &OffsetHeader{Topic: []byte("t"), ConsumerGroup: []byte("g"), BrokerName: []byte("b")},
		},
		{
			name: "send back", code: ReqConsumerSendMsgBack, mandatory: 3, out: &SendBackHeader{},
			in: &SendBackHeader{Offset: 1 << 62, Group: "g", DelayLevel: -1, OriginMsgID: "i", OriginTopic: "t", MaxReconsumeTimes: 3},
		},
		{
			name: "end transaction", code: ReqEndTransaction, mandatory: 4, out: &TransactionHeader{},
			in: &TransactionHeader{Topic: "t", ProducerGroup: "g", TranStateTableOffset: 1, CommitLogOffset: 2, CommitOrRollback: 8, MsgID: "m"},
		},
		{
			name: "check transaction", code: ReqCheckTransactionState, mandatory: 2, out: &TransactionHeader{},
			in: &TransactionHeader{Topic: "t", TranStateTableOffset: 1, CommitLogOffset: 2, OffsetMsgID: "o"},
		},
		{
			name: "query message", code: ReqQueryMessage, mandatory: 5, out: &QueryMessageHeader{},
			in: &QueryMessageHeader{Topic: "t", Key: "k", MaxNum: 32, EndTimestamp: 1, UniqueKey: true},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			c := Command{Code: tc.code}
			tc.in.AppendExt(&c)
			if err := tc.out.Decode(&c); err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(tc.in, tc.out); d != "" {
				t.Fatal(d)
			}
			missing := 0
			for i := range c.Ext.Len() {
				var without Command
				without.Code = tc.code
				for j, f := range c.Ext.Fields() {
					if i != j {
						without.Ext.AddBytes(string(f.Key), f.Value)
					}
				}
				if err := tc.out.Decode(&without); errors.Is(err, ErrMissingField) {
					missing++
				} else if err != nil {
					t.Fatal(err)
				}
			}
			if missing != tc.mandatory {
				t.Fatalf("%d fields are mandatory, want %d", missing, tc.mandatory)
			}
		})
	}
}

func TestExt(t *testing.T) {
	t.Parallel()
	var e Ext
	e.Add("n", "-5")
	e.AddBool("b", true)
	e.AddInt("big", 1<<40)
	e.Set("n", "6")
	e.Set("new", "x")
	if n, err := e.Int32("n", 0); n != 6 || err != nil {
		t.Errorf("n %d %v", n, err)
	}
	if n, err := e.Int32("big", 3); n != 3 || !errors.Is(err, ErrMalformedField) {
		t.Errorf("big %d %v", n, err)
	}
	if n, err := e.Int64("absent", 4); n != 4 || err != nil {
		t.Errorf("absent %d %v", n, err)
	}
	if !e.Bool("b", false) || e.Bool("n", true) || !e.Bool("absent", true) {
		t.Error("bool")
	}
	if _, err := e.RequireString("absent"); !errors.Is(err, ErrMissingField) {
		t.Error(err)
	}
	for s, want := range map[string]bool{
		"9223372036854775807": true, "-9223372036854775808": true, "9223372036854775808": false,
		"": false, "-": false, "1x": false, "99999999999999999999": false, "+1": true, " 1": false,
	} {
		if _, ok := parseInt([]byte(s), 64); ok != want {
			t.Errorf("parseInt(%q) %v", s, ok)
		}
	}
}
