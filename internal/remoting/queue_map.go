package remoting

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// QueueEntry is one entry of a QueueMap.
type QueueEntry[V any] struct {
	Queue MessageQueue
	Value V
}

// QueueMap is a map keyed by queues, as a list in the order it was sent. Java
// writes and reads it with objects for keys, {{"brokerName":…}:value,…}, which
// is not JSON; EncodeBody and DecodeBody do so too. DecodeBody also takes the
// list forms of Go, [[queue,value],…], and of C++, [{"brokerName":…,"offset":n},…],
// and keys that are strings holding JSON.
type QueueMap[V any] []QueueEntry[V]

// Get returns the value of a queue.
func (m QueueMap[V]) Get(q MessageQueue) (v V, ok bool) {
	for i := range m {
		if m[i].Queue == q {
			return m[i].Value, true
		}
	}
	return v, false
}

// MarshalJSON writes a list of pairs: what standard JSON can hold. EncodeBody
// does not use it.
func (m QueueMap[V]) MarshalJSON() ([]byte, error) {
	pairs := make([][2]any, len(m))
	for i := range m {
		pairs[i] = [2]any{m[i].Queue, m[i].Value}
	}
	return json.Marshal(pairs)
}

// UnmarshalJSON reads the forms that are JSON.
func (m *QueueMap[V]) UnmarshalJSON(b []byte) error {
	*m = nil
	b = bytes.TrimSpace(b)
	if len(b) == 0 || b[0] == 'n' {
		return nil
	}
	if b[0] == '{' {
		return m.decodeObject(b)
	}
	var items []json.RawMessage
	if err := json.Unmarshal(b, &items); err != nil {
		return fmt.Errorf("queue map: %w", err)
	}
	for _, item := range items {
		var e QueueEntry[V]
		var err error
		if len(item) > 0 && item[0] == '{' {
			flat := struct {
				*MessageQueue
				Offset *V `json:"offset"`
			}{&e.Queue, &e.Value}
			err = json.Unmarshal(item, &flat)
		} else {
			var pair []json.RawMessage
			if err = json.Unmarshal(item, &pair); err == nil {
				err = e.decodePair(pair)
			}
		}
		if err != nil {
			return fmt.Errorf("queue map: %w", err)
		}
		*m = append(*m, e)
	}
	return nil
}

// decodePair decodes [queue, value].
func (e *QueueEntry[V]) decodePair(pair []json.RawMessage) error {
	if len(pair) != 2 {
		return fmt.Errorf("%d elements: %w", len(pair), ErrMalformedBody)
	}
	if err := json.Unmarshal(pair[0], &e.Queue); err != nil {
		return err
	}
	return json.Unmarshal(pair[1], &e.Value)
}

// decodeObject decodes an object whose keys are strings that hold JSON.
func (m *QueueMap[V]) decodeObject(b []byte) error {
	var object map[string]json.RawMessage
	if err := json.Unmarshal(b, &object); err != nil {
		return fmt.Errorf("queue map: %w", err)
	}
	for key, value := range object {
		var e QueueEntry[V]
		if err := e.decodePair([]json.RawMessage{json.RawMessage(key), value}); err != nil {
			return fmt.Errorf("queue map: %w", err)
		}
		*m = append(*m, e)
	}
	slices.SortFunc(*m, func(a, b QueueEntry[V]) int { return compareQueues(a.Queue, b.Queue) })
	return nil
}

// compareQueues orders by topic, broker and id.
func compareQueues(a, b MessageQueue) int {
	if n := strings.Compare(a.Topic, b.Topic); n != 0 {
		return n
	}
	if n := strings.Compare(a.BrokerName, b.BrokerName); n != 0 {
		return n
	}
	return int(a.QueueID) - int(b.QueueID)
}

// appendFastJSON appends the form of Java.
func (m QueueMap[V]) appendFastJSON(dst []byte) ([]byte, error) {
	dst = append(dst, '{')
	for i := range m {
		if i > 0 {
			dst = append(dst, ',')
		}
		key, err := json.Marshal(m[i].Queue)
		if err != nil {
			return nil, err
		}
		value, err := json.Marshal(m[i].Value)
		if err != nil {
			return nil, err
		}
		dst = append(dst, key...)
		dst = append(dst, ':')
		dst = append(dst, value...)
	}
	return append(dst, '}'), nil
}
