package remoting

import (
	"encoding/json"
	"fmt"
)

// TopicOffset is the extent of a queue.
type TopicOffset struct {
	LastUpdateTimestamp int64 `json:"lastUpdateTimestamp"` // ms since 1970
	MaxOffset           int64 `json:"maxOffset"`
	MinOffset           int64 `json:"minOffset"`
}

// TopicStatsTable is the body of the response to ReqGetTopicStatsInfo.
type TopicStatsTable struct {
	OffsetTable QueueMap[TopicOffset] `json:"offsetTable"`
	TopicPutTPS float64               `json:"topicPutTps"`
}

func (t TopicStatsTable) appendFastJSON(dst []byte) ([]byte, error) {
	return appendTable(dst, t.OffsetTable, "topicPutTps", t.TopicPutTPS)
}

// OffsetWrapper is the progress of a group in a queue.
type OffsetWrapper struct {
	BrokerOffset   int64 `json:"brokerOffset"`
	ConsumerOffset int64 `json:"consumerOffset"`
	LastTimestamp  int64 `json:"lastTimestamp"` // ms since 1970
	PullOffset     int64 `json:"pullOffset"`
}

// ConsumeStats is the body of the response to ReqGetConsumeStats.
type ConsumeStats struct {
	ConsumeTPS  float64                 `json:"consumeTps"`
	OffsetTable QueueMap[OffsetWrapper] `json:"offsetTable"`
}

func (t ConsumeStats) appendFastJSON(dst []byte) ([]byte, error) {
	return appendTable(dst, t.OffsetTable, "consumeTps", t.ConsumeTPS)
}

// ResetOffsetBody is the body of the response to ReqInvokeBrokerToResetOffset
// and of ReqResetConsumerClientOffset.
type ResetOffsetBody struct {
	OffsetTable QueueMap[int64] `json:"offsetTable"`
}

func (t ResetOffsetBody) appendFastJSON(dst []byte) ([]byte, error) {
	return appendTable(dst, t.OffsetTable, "", 0)
}

// ConsumerStatusBody is the body of the response to ReqGetConsumerStatusFromClient.
type ConsumerStatusBody struct {
	MessageQueueTable QueueMap[int64] `json:"messageQueueTable"`
}

func (t ConsumerStatusBody) appendFastJSON(dst []byte) ([]byte, error) {
	dst, err := t.MessageQueueTable.appendFastJSON(append(dst, `{"messageQueueTable":`...))
	return append(dst, '}'), err
}

// EncodeResetOffsetForC returns the body of ReqResetConsumerClientOffset in the
// form for clients in C++: a list.
func EncodeResetOffsetForC(t *ResetOffsetBody) ([]byte, error) {
	type entry struct {
		MessageQueue
		Offset int64 `json:"offset"`
	}
	list := make([]entry, len(t.OffsetTable))
	for i, e := range t.OffsetTable {
		list[i] = entry{MessageQueue: e.Queue, Offset: e.Value}
	}
	b, err := json.Marshal(struct {
		OffsetTable []entry `json:"offsetTable"`
	}{list})
	if err != nil {
		return nil, fmt.Errorf("encode reset offset body: %w", err)
	}
	return b, nil
}

// appendTable appends an object with an offset table and, if rateName is not
// empty, a rate.
func appendTable[V any](dst []byte, table QueueMap[V], rateName string, rate float64) ([]byte, error) {
	dst, err := table.appendFastJSON(append(dst, `{"offsetTable":`...))
	if err != nil {
		return nil, err
	}
	if rateName != "" {
		r, err := json.Marshal(rate)
		if err != nil {
			return nil, err
		}
		dst = append(dst, `,"`...)
		dst = append(dst, rateName...)
		dst = append(dst, `":`...)
		dst = append(dst, r...)
	}
	return append(dst, '}'), nil
}
