package remoting

import "encoding/json"

// TopicList is the body of the responses that list topics.
type TopicList struct {
	BrokerAddr string   `json:"brokerAddr,omitempty"`
	TopicList  []string `json:"topicList,omitzero"`
}

// Values of TopicConfig.TopicFilterType.
const (
	// SingleTag says that a message has one tag at most.
	SingleTag = "SINGLE_TAG"
	// MultiTag is not used by known clients.
	MultiTag = "MULTI_TAG"
)

// TopicConfig is the configuration of a topic at a broker.
type TopicConfig struct {
	Attributes      map[string]string `json:"attributes,omitempty"`
	Order           bool              `json:"order"`
	Perm            int32             `json:"perm"`
	ReadQueueNums   int32             `json:"readQueueNums"`
	TopicFilterType string            `json:"topicFilterType,omitempty"`
	TopicName       string            `json:"topicName"`
	TopicSysFlag    int32             `json:"topicSysFlag"`
	WriteQueueNums  int32             `json:"writeQueueNums"`
}

// UnmarshalJSON gives absent fields RocketMQ's defaults: 16 queues, readable
// and writable.
func (c *TopicConfig) UnmarshalJSON(b []byte) error {
	type plain TopicConfig
	p := plain{Perm: PermRead | PermWrite, ReadQueueNums: 16, WriteQueueNums: 16, TopicFilterType: SingleTag}
	if err := json.Unmarshal(b, &p); err != nil {
		return err
	}
	*c = TopicConfig(p)
	return nil
}

// DataVersion is the version of a configuration table.
type DataVersion struct {
	Counter      int64 `json:"counter"`
	StateVersion int64 `json:"stateVersion"`
	Timestamp    int64 `json:"timestamp"` // ms since 1970
}

// TopicConfigTable is the body of the response to ReqGetAllTopicConfig.
type TopicConfigTable struct {
	DataVersion      DataVersion            `json:"dataVersion"`
	TopicConfigTable map[string]TopicConfig `json:"topicConfigTable,omitzero"`
}
