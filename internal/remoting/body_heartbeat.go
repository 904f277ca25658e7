package remoting

import "encoding/json"

// Values of ConsumerData.ConsumeType.
const (
	// ConsumeActively is a pull consumer.
	ConsumeActively = "CONSUME_ACTIVELY"
	// ConsumePassively is a push consumer.
	ConsumePassively = "CONSUME_PASSIVELY"
	// ConsumePop is a POP consumer.
	ConsumePop = "CONSUME_POP"
)

// Values of ConsumerData.MessageModel.
const (
	// Broadcasting delivers every message to every member.
	Broadcasting = "BROADCASTING"
	// Clustering delivers every message to one member.
	Clustering = "CLUSTERING"
)

// Values of ConsumerData.ConsumeFromWhere.
const (
	// ConsumeFromLastOffset starts a new group at the end.
	ConsumeFromLastOffset = "CONSUME_FROM_LAST_OFFSET"
	// ConsumeFromFirstOffset starts a new group at the beginning.
	ConsumeFromFirstOffset = "CONSUME_FROM_FIRST_OFFSET"
	// ConsumeFromTimestamp starts a new group at a time.
	ConsumeFromTimestamp = "CONSUME_FROM_TIMESTAMP"
)

// Values of SubscriptionData.ExpressionType.
const (
	// ExpressionTag is a tag expression.
	ExpressionTag = "TAG"
	// ExpressionSQL92 is an SQL92 expression.
	ExpressionSQL92 = "SQL92"
)

// HeartbeatData is the body of ReqHeartbeat.
type HeartbeatData struct {
	ClientID             string         `json:"clientID"`
	ConsumerDataSet      []ConsumerData `json:"consumerDataSet,omitzero"`
	HeartbeatFingerprint int32          `json:"heartbeatFingerprint"`
	ProducerDataSet      []ProducerData `json:"producerDataSet,omitzero"`
	WithoutSub           bool           `json:"withoutSub"`
}

// UnmarshalJSON accepts numbers and booleans as strings.
func (d *HeartbeatData) UnmarshalJSON(b []byte) error {
	type plain HeartbeatData
	aux := struct {
		*plain
		HeartbeatFingerprint looseInt  `json:"heartbeatFingerprint"`
		WithoutSub           looseBool `json:"withoutSub"`
	}{plain: (*plain)(d)}
	if err := json.Unmarshal(b, &aux); err != nil {
		return err
	}
	d.HeartbeatFingerprint, d.WithoutSub = int32(aux.HeartbeatFingerprint), bool(aux.WithoutSub)
	return nil
}

// ProducerData is a producer group of a client.
type ProducerData struct {
	GroupName string `json:"groupName"`
}

// ConsumerData is a consumer group of a client.
type ConsumerData struct {
	ConsumeFromWhere    string             `json:"consumeFromWhere,omitempty"`
	ConsumeType         string             `json:"consumeType,omitempty"`
	GroupName           string             `json:"groupName"`
	MessageModel        string             `json:"messageModel,omitempty"`
	SubscriptionDataSet []SubscriptionData `json:"subscriptionDataSet,omitzero"`
	UnitMode            bool               `json:"unitMode"`
}

// UnmarshalJSON accepts booleans as strings.
func (d *ConsumerData) UnmarshalJSON(b []byte) error {
	type plain ConsumerData
	aux := struct {
		*plain
		UnitMode looseBool `json:"unitMode"`
	}{plain: (*plain)(d)}
	if err := json.Unmarshal(b, &aux); err != nil {
		return err
	}
	d.UnitMode = bool(aux.UnitMode)
	return nil
}

// SubscriptionData is what a consumer group wants of a topic. CodeSet is not to
// be trusted: Go clients hash tags in another way.
type SubscriptionData struct {
	ClassFilterMode bool     `json:"classFilterMode"`
	CodeSet         []int32  `json:"codeSet,omitzero"`
	ExpressionType  string   `json:"expressionType,omitempty"` // empty: ExpressionTag
	SubString       string   `json:"subString"`
	SubVersion      int64    `json:"subVersion"`
	TagsSet         []string `json:"tagsSet,omitzero"`
	Topic           string   `json:"topic"`
}

// UnmarshalJSON accepts numbers and booleans as strings.
func (d *SubscriptionData) UnmarshalJSON(b []byte) error {
	type plain SubscriptionData
	aux := struct {
		*plain
		ClassFilterMode looseBool    `json:"classFilterMode"`
		CodeSet         []looseInt   `json:"codeSet"`
		SubVersion      looseInt     `json:"subVersion"`
		TagsSet         looseStrings `json:"tagsSet"`
	}{plain: (*plain)(d)}
	if err := json.Unmarshal(b, &aux); err != nil {
		return err
	}
	d.ClassFilterMode, d.SubVersion, d.TagsSet = bool(aux.ClassFilterMode), int64(aux.SubVersion), aux.TagsSet
	d.CodeSet = nil
	for _, n := range aux.CodeSet {
		d.CodeSet = append(d.CodeSet, int32(n))
	}
	return nil
}
