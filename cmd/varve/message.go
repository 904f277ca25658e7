package main

import (
	"bufio"
	"encoding/base64"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/varvemq/varve/client"
)

// messageRow is a message as consume and read print it. Body is set when the
// body is UTF-8, BodyBase64 otherwise; times are RFC 3339 with nanoseconds.
type messageRow struct {
	Topic      string            `json:"topic"`
	Broker     string            `json:"broker,omitempty"`
	Queue      int               `json:"queue"`
	Offset     int64             `json:"offset"`
	MsgID      string            `json:"msgId"`
	Keys       []string          `json:"keys"`
	Tag        string            `json:"tag"`
	Properties map[string]string `json:"properties"`
	BornTime   string            `json:"bornTime"`
	StoreTime  string            `json:"storeTime"`
	Body       *string           `json:"body,omitempty"`
	BodyBase64 string            `json:"bodyBase64,omitempty"`
}

// setBody takes the body as text if it is text.
func (m *messageRow) setBody(body []byte) {
	if utf8.Valid(body) {
		text := string(body)
		m.Body, m.BodyBase64 = &text, ""
		return
	}
	m.Body, m.BodyBase64 = nil, base64.StdEncoding.EncodeToString(body)
}

// bodyCell is the body on one line of a table, cut where it gets long.
func (m *messageRow) bodyCell() string {
	if m.Body == nil {
		return "base64:" + shorten(m.BodyBase64)
	}
	return shorten(oneLine(*m.Body))
}

// tableLine is the message for people, on a line of its own: a consumer shows
// messages as they come, so that there is nothing to align them with.
func (m *messageRow) tableLine() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s/%d@%d  %s", m.Topic, m.Queue, m.Offset, m.StoreTime)
	if m.Tag != "" {
		fmt.Fprintf(&b, "  tag=%s", m.Tag)
	}
	if len(m.Keys) > 0 {
		fmt.Fprintf(&b, "  keys=%s", strings.Join(m.Keys, ","))
	}
	fmt.Fprintf(&b, "  %s", m.bodyCell())
	return b.String()
}

// messageRowOf is m as it is printed.
func messageRowOf(m *client.MessageExt) *messageRow {
	r := &messageRow{
		Topic: m.Topic, Broker: m.Queue.Broker, Queue: m.Queue.ID, Offset: m.Offset, MsgID: m.MsgID,
		Keys: m.Keys, Tag: m.Tag, Properties: m.Properties,
		BornTime: formatTime(m.BornTime), StoreTime: formatTime(m.StoreTime),
	}
	if r.Keys == nil {
		r.Keys = []string{}
	}
	if r.Properties == nil {
		r.Properties = map[string]string{}
	}
	r.setBody(m.Body)
	return r
}

// messagePrinter prints messages as they come, a line each.
type messagePrinter struct {
	out  *bufio.Writer
	json bool
}

func newMessagePrinter(s streams, o outputFlag) *messagePrinter {
	return &messagePrinter{out: bufio.NewWriterSize(s.out, 64<<10), json: o.json()}
}

func (p *messagePrinter) print(m *client.MessageExt) error {
	r := messageRowOf(m)
	if p.json {
		return writeJSONLine(p.out, r)
	}
	_, err := p.out.WriteString(strings.TrimRight(r.tableLine(), " ") + "\n")
	return err
}
