package main

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/varvemq/varve/client"
)

func testMessage(body string) *client.MessageExt {
	return &client.MessageExt{
		Topic: "orders", Tag: "paid", Keys: []string{"4711", "a&b"}, Body: []byte(body),
		Properties: map[string]string{"UNIQ_KEY": "7F01", "TAGS": "paid"},
		Queue:      client.Queue{Broker: "varve-a", ID: 3}, Offset: 1 << 40, MsgID: "7F01",
		BornTime:  time.Date(2026, 1, 31, 16, 4, 5, 6000000, time.FixedZone("", 3600)),
		StoreTime: time.Date(2026, 1, 31, 15, 4, 5, 123000000, time.UTC),
	}
}

func TestMessageOutput(t *testing.T) {
	t.Parallel()
	const head = `{"topic":"orders","broker":"varve-a","queue":3,"offset":1099511627776,"msgId":"7F01",` +
		`"keys":["4711","a&b"],"tag":"paid","properties":{"TAGS":"paid","UNIQ_KEY":"7F01"},` +
		`"bornTime":"2026-01-31T15:04:05.006Z","storeTime":"2026-01-31T15:04:05.123Z",`
	const line = "orders/3@1099511627776  2026-01-31T15:04:05.123Z  tag=paid  keys=4711,a&b  "
	for _, tc := range []struct {
		name, body, json, table string
	}{
		{"text", "grüße <1>", `"body":"grüße <1>"}`, "grüße <1>"},
		{"empty", "", `"body":""}`, ""},
		{"not UTF-8", "\xff\x00", `"bodyBase64":"/wA="}`, "base64:/wA="},
		{"control characters", "a\n\x1b[2Jb\u0085", `"body":"a\n\u001b[2Jb` + "\u0085" + `"}`, `a\n\x1b[2Jb\x85`},
		{"long", strings.Repeat("é", 121), `"body":"` + strings.Repeat("é", 121) + `"}`, strings.Repeat("é", 119) + "…"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			for format, want := range map[outputFormat]string{
				formatJSON:  head + tc.json + "\n",
				formatTable: strings.TrimRight(line+tc.table, " ") + "\n",
			} {
				var out bytes.Buffer
				p := newMessagePrinter(streams{out: &out}, outputFlag{format: format})
				if err := p.print(testMessage(tc.body)); err != nil {
					t.Fatal(err)
				}
				if err := p.out.Flush(); err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(want, out.String()); diff != "" {
					t.Errorf("%s (-want +got)\n%s", format, diff)
				}
			}
		})
	}
}

// Scripts index these without asking whether they are there.
func TestMessageWithoutKeysOrTag(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	if err := writeJSONLine(&out, messageRowOf(&client.MessageExt{Topic: "t"})); err != nil {
		t.Fatal(err)
	}
	want := `{"topic":"t","queue":0,"offset":0,"msgId":"","keys":[],"tag":"","properties":{},` +
		`"bornTime":"","storeTime":"","body":""}` + "\n"
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestPrinter(t *testing.T) {
	t.Parallel()
	info := &client.TopicInfo{Name: "orders", Perm: 6, ReadQueues: 2, WriteQueues: 2, Queues: []client.QueueInfo{
		{Queue: client.Queue{Broker: "varve-a", ID: 0}, Min: 5, Max: 12, LastUpdate: time.Unix(1769871845, 0)},
		{Queue: client.Queue{Broker: "varve-a", ID: 10}},
	}}
	for format, want := range map[outputFormat]string{
		formatTable: "BROKER   QUEUE  MIN  MAX  MESSAGES  LAST UPDATE\n" +
			"varve-a  0      5    12   7         2026-01-31T15:04:05Z\n" +
			"varve-a  10     0    0    0         -\n",
		formatJSON: `{"broker":"varve-a","queue":0,"minOffset":5,"maxOffset":12,"messages":7,"lastUpdate":"2026-01-31T15:04:05Z"}` + "\n" +
			`{"broker":"varve-a","queue":10,"minOffset":0,"maxOffset":0,"messages":0}` + "\n",
	} {
		var out bytes.Buffer
		p := newPrinter(&out, outputFlag{format: format}, "BROKER", "QUEUE", "MIN", "MAX", "MESSAGES", "LAST UPDATE")
		for _, q := range topicObjectOf(info).Queues {
			if err := p.print(q); err != nil {
				t.Fatal(err)
			}
		}
		if err := p.flush(); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, out.String()); diff != "" {
			t.Errorf("%s (-want +got)\n%s", format, diff)
		}
	}
}

func TestEmptyTableIsItsHeader(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	if err := newPrinter(&out, outputFlag{}, "TOPIC").flush(); err != nil || out.String() != "TOPIC\n" {
		t.Errorf("%q, %v", out.String(), err)
	}
}

func TestGroupOutput(t *testing.T) {
	t.Parallel()
	object := groupObjectOf(&client.GroupInfo{
		Name: "billing", Online: true, Model: "CLUSTERING",
		Members: []client.Member{{ClientID: "10.0.0.1@7", Addr: "10.0.0.1:555", Language: "JAVA", Version: 479}},
		Progress: []client.GroupProgress{
			{Topic: "orders", Queue: client.Queue{Broker: "varve-a", ID: 1}, Committed: 3, Max: 10},
			{Topic: "orders", Queue: client.Queue{Broker: "varve-a", ID: 2}, Committed: -1, Max: 4},
		},
	})
	for format, want := range map[outputFormat]string{
		formatTable: "MEMBER      ADDRESS       LANGUAGE  VERSION\n" +
			"10.0.0.1@7  10.0.0.1:555  JAVA      479\n\n" +
			"TOPIC   BROKER   QUEUE  COMMITTED  MAX  LAG  LAST CONSUMED\n" +
			"orders  varve-a  1      3          10   7    -\n" +
			"orders  varve-a  2      -          4    4    -\n",
		formatJSON: `{"group":"billing","online":true,"model":"CLUSTERING","lag":11,` +
			`"members":[{"clientId":"10.0.0.1@7","addr":"10.0.0.1:555","language":"JAVA","version":479}],` +
			`"progress":[{"topic":"orders","broker":"varve-a","queue":1,"committed":3,"maxOffset":10,"lag":7},` +
			`{"topic":"orders","broker":"varve-a","queue":2,"committed":-1,"maxOffset":4,"lag":4}]}` + "\n",
	} {
		var out bytes.Buffer
		conn := &connection{output: outputFlag{format: format}}
		if err := printGroup(streams{out: &out}, conn, object); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, out.String()); diff != "" {
			t.Errorf("%s (-want +got)\n%s", format, diff)
		}
	}
}
