package client

import (
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/varvemq/varve/internal/message"
)

// itemOverhead is the length of a batch item without body and properties.
const itemOverhead = 22

// checkMessage reports ErrInvalid if the message cannot be sent.
func checkMessage(m *Message) error {
	if m == nil {
		return fmt.Errorf("message: nil: %w", ErrInvalid)
	}
	if err := message.ValidateTopic(m.Topic); err != nil {
		return fmt.Errorf("message: %w: %w", ErrInvalid, err)
	}
	if message.IsForbiddenSendTopic(m.Topic) {
		return fmt.Errorf("message: topic %s is the broker's own: %w", m.Topic, ErrInvalid)
	}
	if len(m.Body) > message.MaxBody {
		return fmt.Errorf("message: body of %d bytes: %w", len(m.Body), ErrInvalid)
	}
	if m.DelayLevel < 0 || m.DelayLevel > 0 && !m.DeliverAt.IsZero() {
		return fmt.Errorf("message: delay level %d, deliver at %v: %w", m.DelayLevel, m.DeliverAt, ErrInvalid)
	}
	if hasSeparator(m.Tag) || hasSeparator(m.ShardingKey) {
		return fmt.Errorf("message: control character in tag or sharding key: %w", ErrInvalid)
	}
	for _, k := range m.Keys {
		if k == "" || hasSeparator(k) || strings.IndexByte(k, ' ') >= 0 {
			return fmt.Errorf("message: key %q: %w", k, ErrInvalid)
		}
	}
	for k, v := range m.Properties {
		if reserved(k) {
			return fmt.Errorf("message: property %s has a field of its own: %w", k, ErrInvalid)
		}
		if err := message.ValidateProperty(k, v); err != nil {
			return fmt.Errorf("message: %w: %w", ErrInvalid, err)
		}
	}
	return nil
}

func hasSeparator(s string) bool {
	for i := range len(s) {
		if s[i] == 1 || s[i] == 2 {
			return true
		}
	}
	return false
}

// reserved reports whether a property is the protocol's and may not be the application's.
func reserved(name string) bool {
	switch name {
	case message.PropertyUniqKey, message.PropertyKeys, message.PropertyTags, message.PropertyWait,
		message.PropertyDelay, message.PropertyTimerDeliverMS, message.PropertyTimerDelaySec,
		message.PropertyTimerDelayMS, message.PropertyShardingKey, message.PropertyRetryTopic,
		message.PropertyRealTopic, message.PropertyRealQueueID, message.PropertyTransactionPrepared,
		message.PropertyReconsumeTime, message.PropertyMaxReconsumeTimes, message.PropertyPopCK,
		message.PropertyOriginMessageID, message.PropertyInnerNum, message.PropertyInnerBase:
		return true
	default:
		return false
	}
}

// appendProperties appends the message's property string, without an id.
func appendProperties(dst []byte, m *Message) []byte {
	if m.Tag != "" {
		dst = appendProperty(dst, message.PropertyTags, m.Tag)
	}
	if len(m.Keys) > 0 {
		dst = append(dst, message.PropertyKeys...)
		dst = append(dst, 1)
		for i, k := range m.Keys {
			if i > 0 {
				dst = append(dst, ' ')
			}
			dst = append(dst, k...)
		}
		dst = append(dst, 2)
	}
	if m.ShardingKey != "" {
		dst = appendProperty(dst, message.PropertyShardingKey, m.ShardingKey)
	}
	if m.NoWait {
		dst = appendProperty(dst, message.PropertyWait, "false")
	}
	if m.DelayLevel > 0 {
		dst = appendProperty(dst, message.PropertyDelay, strconv.Itoa(m.DelayLevel))
	}
	if !m.DeliverAt.IsZero() {
		dst = appendProperty(dst, message.PropertyTimerDeliverMS, strconv.FormatInt(millis(m.DeliverAt), 10))
	}
	for k, v := range m.Properties {
		dst = appendProperty(dst, k, v)
	}
	return dst
}

// appendProperty appends a pair to a string that ends in a separator, or is empty.
func appendProperty(dst []byte, name, value string) []byte {
	dst = append(dst, name...)
	dst = append(dst, 1)
	dst = append(dst, value...)
	return append(dst, 2)
}

// appendItem appends a checked message to a batch body. With ids it gets a new
// id, which is appended to idBuf too. On an error both are as they were.
func appendItem(dst, idBuf []byte, m *Message, ids *message.IDGenerator, now time.Time) (newDst, newIDs []byte, err error) {
	be := binary.BigEndian
	start := len(dst)
	dst = be.AppendUint32(dst, 0)
	dst = be.AppendUint64(dst, 0)
	dst = be.AppendUint32(dst, uint32(m.Flag))
	dst = be.AppendUint32(dst, uint32(len(m.Body)))
	dst = append(dst, m.Body...)
	at := len(dst)
	dst = append(dst, 0, 0)
	idStart := len(idBuf)
	if ids != nil {
		idBuf = ids.Append(idBuf, now)
		dst = append(dst, message.PropertyUniqKey...)
		dst = append(dst, 1)
		dst = append(dst, idBuf[idStart:]...)
		dst = append(dst, 2)
	}
	dst = appendProperties(dst, m)
	n := len(dst) - at - 2
	if n > message.MaxProperties {
		return dst[:start], idBuf[:idStart], fmt.Errorf("message: properties of %d bytes: %w", n, ErrInvalid)
	}
	be.PutUint16(dst[at:], uint16(n))
	be.PutUint32(dst[start:], uint32(len(dst)-start))
	return dst, idBuf, nil
}

// compress returns the zlib form of a body and its system flag, or the body
// itself if that is no shorter.
func compress(body []byte) ([]byte, int32) {
	var b bytes.Buffer
	w := zlib.NewWriter(&b)
	_, err := w.Write(body)
	if cerr := w.Close(); err != nil || cerr != nil || b.Len() >= len(body) {
		return body, 0
	}
	return b.Bytes(), message.SysFlagCompressed | message.SysFlagCompressionZLIB
}
