package remoting

import "encoding/json"

// Bits of the permission of a topic.
const (
	// PermInherit lets topics be created after this one.
	PermInherit int32 = 1 << 0
	// PermWrite lets clients send.
	PermWrite int32 = 1 << 1
	// PermRead lets clients pull.
	PermRead int32 = 1 << 2
)

// MasterID is the broker id that clients send to.
const MasterID int64 = 0

// TopicRouteData is the body of the response to ReqGetRouteInfoByTopic.
type TopicRouteData struct {
	BrokerDatas       []BrokerData        `json:"brokerDatas"`
	FilterServerTable map[string][]string `json:"filterServerTable"`
	OrderTopicConf    string              `json:"orderTopicConf,omitempty"` // "broker:queues;…" of an ordered topic
	QueueDatas        []QueueData         `json:"queueDatas"`
}

// MarshalJSON writes empty lists and maps instead of nulls.
func (d TopicRouteData) MarshalJSON() ([]byte, error) {
	type plain TopicRouteData
	p := plain(d)
	if p.BrokerDatas == nil {
		p.BrokerDatas = []BrokerData{}
	}
	if p.FilterServerTable == nil {
		p.FilterServerTable = map[string][]string{}
	}
	if p.QueueDatas == nil {
		p.QueueDatas = []QueueData{}
	}
	return json.Marshal(p)
}

// QueueData says how many queues a topic has at a broker.
type QueueData struct {
	BrokerName     string `json:"brokerName"`
	Perm           int32  `json:"perm"`
	ReadQueueNums  int32  `json:"readQueueNums"`
	TopicSysFlag   int32  `json:"topicSysFlag"`
	WriteQueueNums int32  `json:"writeQueueNums"`
}

// BrokerData says where a broker is. The keys of BrokerAddrs are broker ids.
type BrokerData struct {
	BrokerAddrs        map[int64]string `json:"brokerAddrs"`
	BrokerName         string           `json:"brokerName"`
	Cluster            string           `json:"cluster"`
	EnableActingMaster bool             `json:"enableActingMaster"`
	ZoneName           string           `json:"zoneName,omitempty"`
}

// ClusterInfo is the body of the response to ReqGetBrokerClusterInfo.
type ClusterInfo struct {
	BrokerAddrTable  map[string]BrokerData `json:"brokerAddrTable"`
	ClusterAddrTable map[string][]string   `json:"clusterAddrTable"`
}
