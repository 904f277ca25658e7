package client

import (
	"bytes"
	"compress/zlib"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"

	"github.com/varvemq/varve/internal/message"
)

// maxInflated bounds a body after decompression.
const maxInflated = 64 << 20

// decodeMessages decodes concatenated stored messages. Their bodies alias b.
func decodeMessages(b []byte, broker string) ([]*MessageExt, error) {
	var out []*MessageExt
	for len(b) > 0 {
		v, rest, err := message.Next(b)
		if err != nil {
			return nil, fmt.Errorf("message %d: %w: %w", len(out), ErrMalformed, err)
		}
		m, err := decodeMessage(v, broker)
		if err != nil {
			return nil, fmt.Errorf("message %d: %w", len(out), err)
		}
		out = append(out, m)
		b = rest
	}
	return out, nil
}

func decodeMessage(v message.View, broker string) (*MessageExt, error) {
	m := &MessageExt{
		Topic:          string(v.Topic()),
		Queue:          Queue{Broker: broker, ID: int(v.QueueID())},
		Offset:         v.QueueOffset(),
		PhysicalOffset: v.PhysicalOffset(),
		BornTime:       time.UnixMilli(v.BornTimestamp()),
		StoreTime:      time.UnixMilli(v.StoreTimestamp()),
		BornHost:       v.BornHost(),
		StoreHost:      v.StoreHost(),
		Attempt:        int(v.ReconsumeTimes()) + 1,
		Flag:           v.Flag(),
		SysFlag:        v.SysFlag(),
		Body:           v.Body(),
	}
	m.Properties = decodeProperties(string(v.Properties()))
	m.Tag = m.Properties[message.PropertyTags]
	if keys := m.Properties[message.PropertyKeys]; keys != "" {
		m.Keys = strings.Fields(keys)
	}
	m.OffsetMsgID = message.OffsetID(m.StoreHost, m.PhysicalOffset)
	if m.MsgID = m.Properties[message.PropertyUniqKey]; m.MsgID == "" {
		m.MsgID = m.OffsetMsgID
	}
	if m.SysFlag&message.SysFlagCompressed == 0 {
		return m, nil
	}
	var err error
	if m.Body, err = inflate(m.Body, m.SysFlag); err != nil {
		return nil, fmt.Errorf("offset %d: decompress: %w: %w", m.Offset, ErrMalformed, err)
	}
	return m, nil
}

// decodeProperties splits a property string. The values alias it.
func decodeProperties(raw string) map[string]string {
	props := make(map[string]string, strings.Count(raw, "\x02"))
	for raw != "" {
		var pair string
		pair, raw, _ = strings.Cut(raw, "\x02")
		if name, value, ok := strings.Cut(pair, "\x01"); ok && name != "" && value != "" {
			props[name] = value
		}
	}
	return props
}

// inflate decompresses a body as its system flag says.
func inflate(body []byte, sysFlag int32) ([]byte, error) {
	var r io.Reader
	switch sysFlag & message.SysFlagCompressionMask {
	case message.SysFlagCompressionLZ4:
		r = lz4.NewReader(bytes.NewReader(body))
	case message.SysFlagCompressionZSTD:
		d, err := zstd.NewReader(bytes.NewReader(body), zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(maxInflated))
		if err != nil {
			return nil, err
		}
		defer d.Close()
		r = d
	default:
		z, err := zlib.NewReader(bytes.NewReader(body))
		if err != nil {
			return nil, err
		}
		r = z
	}
	out, err := io.ReadAll(io.LimitReader(r, maxInflated+1))
	if err != nil {
		return nil, err
	}
	if len(out) > maxInflated {
		return nil, fmt.Errorf("more than %d bytes: %w", maxInflated, message.ErrTooLarge)
	}
	return out, nil
}
