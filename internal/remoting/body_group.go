package remoting

import "encoding/json"

// ConsumerListBody is the body of the response to ReqGetConsumerListByGroup.
type ConsumerListBody struct {
	ConsumerIDList []string `json:"consumerIdList,omitzero"`
}

// GroupList is the body of the response to ReqQueryTopicConsumeByWho.
type GroupList struct {
	GroupList []string `json:"groupList,omitzero"`
}

// SubscriptionGroupConfig is the configuration of a consumer group.
type SubscriptionGroupConfig struct {
	Attributes                     map[string]string `json:"attributes,omitempty"`
	BrokerID                       int64             `json:"brokerId"`
	ConsumeBroadcastEnable         bool              `json:"consumeBroadcastEnable"`
	ConsumeEnable                  bool              `json:"consumeEnable"`
	ConsumeFromMinEnable           bool              `json:"consumeFromMinEnable"`
	ConsumeMessageOrderly          bool              `json:"consumeMessageOrderly"`
	ConsumeTimeoutMinute           int32             `json:"consumeTimeoutMinute"`
	GroupName                      string            `json:"groupName"`
	GroupSysFlag                   int32             `json:"groupSysFlag"`
	NotifyConsumerIDsChangedEnable bool              `json:"notifyConsumerIdsChangedEnable"`
	RetryMaxTimes                  int32             `json:"retryMaxTimes"`
	RetryQueueNums                 int32             `json:"retryQueueNums"`
	WhichBrokerWhenConsumeSlowly   int64             `json:"whichBrokerWhenConsumeSlowly"`
}

// DefaultSubscriptionGroup returns RocketMQ's default configuration of a group.
func DefaultSubscriptionGroup(group string) SubscriptionGroupConfig {
	return SubscriptionGroupConfig{
		ConsumeBroadcastEnable: true, ConsumeEnable: true, ConsumeFromMinEnable: true, ConsumeTimeoutMinute: 15,
		GroupName: group, NotifyConsumerIDsChangedEnable: true, RetryMaxTimes: 16, RetryQueueNums: 1,
		WhichBrokerWhenConsumeSlowly: 1,
	}
}

// UnmarshalJSON gives absent fields the values of DefaultSubscriptionGroup.
func (c *SubscriptionGroupConfig) UnmarshalJSON(b []byte) error {
	type plain SubscriptionGroupConfig
	p := plain(DefaultSubscriptionGroup(""))
	if err := json.Unmarshal(b, &p); err != nil {
		return err
	}
	*c = SubscriptionGroupConfig(p)
	return nil
}

// SubscriptionGroupTable is the body of the response to ReqGetAllSubscriptionGroupConfig.
type SubscriptionGroupTable struct {
	DataVersion            DataVersion                        `json:"dataVersion"`
	ForbiddenTable         map[string]map[string]int32        `json:"forbiddenTable,omitzero"`
	SubscriptionGroupTable map[string]SubscriptionGroupConfig `json:"subscriptionGroupTable,omitzero"`
}

// Connection is one client in the connection lists.
type Connection struct {
	ClientAddr string `json:"clientAddr"`
	ClientID   string `json:"clientId"`
	Language   string `json:"language"` // Language.String
	Version    int32  `json:"version"`
}

// ConsumerConnection is the body of the response to ReqGetConsumerConnectionList.
type ConsumerConnection struct {
	ConnectionSet     []Connection                `json:"connectionSet,omitzero"`
	ConsumeFromWhere  string                      `json:"consumeFromWhere,omitempty"`
	ConsumeType       string                      `json:"consumeType,omitempty"`
	MessageModel      string                      `json:"messageModel,omitempty"`
	SubscriptionTable map[string]SubscriptionData `json:"subscriptionTable,omitzero"`
}

// ProducerConnection is the body of the response to ReqGetProducerConnectionList.
type ProducerConnection struct {
	ConnectionSet []Connection `json:"connectionSet,omitzero"`
}

// KVTable is the body of the response to ReqGetBrokerRuntimeInfo and ReqGetKVListByNamespace.
type KVTable struct {
	Table map[string]string `json:"table,omitzero"`
}
