package remoting

// Absent is the value of an optional number that was not sent, where zero means
// something else.
const Absent int32 = -1

// SendMessageHeader is the request of ReqSendMessage, ReqSendMessageV2,
// ReqSendBatchMessage and the two reply requests. Slices alias the command.
type SendMessageHeader struct {
	ProducerGroup         []byte // a, mandatory
	Topic                 []byte // b, mandatory
	DefaultTopic          []byte // c, mandatory: the template if Topic is to be created
	DefaultTopicQueueNums int32  // d, mandatory
	QueueID               int32  // e, mandatory; negative: any
	SysFlag               int32  // f, mandatory
	BornTimestamp         int64  // g, mandatory: ms since 1970
	Flag                  int32  // h, mandatory
	Properties            []byte // i
	ReconsumeTimes        int32  // j
	UnitMode              bool   // k
	MaxReconsumeTimes     int32  // l, Absent if not sent
	Batch                 bool   // m
	BrokerName            []byte // n or bname
}

// sendMandatory are the long names of the mandatory fields, by bit.
var sendMandatory = [...]string{
	"producerGroup", "topic", "defaultTopic", "defaultTopicQueueNums",
	"queueId", "sysFlag", "bornTimestamp", "flag",
}

// Decode reads the ext fields of c, by their letters or long names. It returns
// a *FieldError for the first absent or malformed one.
func (h *SendMessageHeader) Decode(c *Command) error {
	*h = SendMessageHeader{MaxReconsumeTimes: Absent}
	r := fieldReader{}
	for _, f := range c.Ext.fields {
		v := f.Value
		switch string(f.Key) {
		case "a", "producerGroup":
			h.ProducerGroup = r.bytes(0, v)
		case "b", "topic":
			h.Topic = r.bytes(1, v)
		case "c", "defaultTopic":
			h.DefaultTopic = r.bytes(2, v)
		case "d", "defaultTopicQueueNums":
			h.DefaultTopicQueueNums = r.int32(3, "defaultTopicQueueNums", v)
		case "e", "queueId":
			h.QueueID = r.int32(4, "queueId", v)
		case "f", "sysFlag":
			h.SysFlag = r.int32(5, "sysFlag", v)
		case "g", "bornTimestamp":
			h.BornTimestamp = r.int64(6, "bornTimestamp", v)
		case "h", "flag":
			h.Flag = r.int32(7, "flag", v)
		case "i", "properties":
			h.Properties = v
		case "j", "reconsumeTimes":
			h.ReconsumeTimes = r.int32(optional, "reconsumeTimes", v)
		case "k", "unitMode":
			h.UnitMode = parseBool(v)
		case "l", "maxReconsumeTimes":
			h.MaxReconsumeTimes = r.int32(optional, "maxReconsumeTimes", v)
		case "m", "batch":
			h.Batch = parseBool(v)
		case "n", "bname":
			h.BrokerName = v
		}
	}
	return r.done(sendMandatory[:])
}

// AppendExt adds the fields to c under their letters, as ReqSendMessageV2 and
// ReqSendBatchMessage want them.
func (h *SendMessageHeader) AppendExt(c *Command) {
	e := &c.Ext
	e.AddBytes("a", h.ProducerGroup)
	e.AddBytes("b", h.Topic)
	e.AddBytes("c", h.DefaultTopic)
	e.AddInt("d", int64(h.DefaultTopicQueueNums))
	e.AddInt("e", int64(h.QueueID))
	e.AddInt("f", int64(h.SysFlag))
	e.AddInt("g", h.BornTimestamp)
	e.AddInt("h", int64(h.Flag))
	if len(h.Properties) > 0 {
		e.AddBytes("i", h.Properties)
	}
	e.AddInt("j", int64(h.ReconsumeTimes))
	e.AddBool("k", h.UnitMode)
	if h.MaxReconsumeTimes != Absent {
		e.AddInt("l", int64(h.MaxReconsumeTimes))
	}
	e.AddBool("m", h.Batch)
	if len(h.BrokerName) > 0 {
		e.AddBytes("n", h.BrokerName)
	}
}

// SendResponseHeader is the response to a send. Slices alias the command.
type SendResponseHeader struct {
	MsgID         []byte // mandatory: the offset message id; of a batch, all of them with commas between
	QueueID       int32  // mandatory
	QueueOffset   int64  // mandatory: of a batch, the first
	TransactionID []byte // of a half message, its UNIQ_KEY
	BatchUniqID   []byte
	RecallHandle  []byte
	MsgRegion     []byte // MSG_REGION
	TraceOn       bool   // TRACE_ON; absent means false, but Java clients want it
}

var sendResponseMandatory = [...]string{"msgId", "queueId", "queueOffset"}

// Decode reads the ext fields of c. It returns a *FieldError for the first
// absent or malformed one.
func (h *SendResponseHeader) Decode(c *Command) error {
	*h = SendResponseHeader{}
	r := fieldReader{}
	for _, f := range c.Ext.fields {
		v := f.Value
		switch string(f.Key) {
		case "msgId":
			h.MsgID = r.bytes(0, v)
		case "queueId":
			h.QueueID = r.int32(1, "queueId", v)
		case "queueOffset":
			h.QueueOffset = r.int64(2, "queueOffset", v)
		case "transactionId":
			h.TransactionID = v
		case "batchUniqId":
			h.BatchUniqID = v
		case "recallHandle":
			h.RecallHandle = v
		case "MSG_REGION":
			h.MsgRegion = v
		case "TRACE_ON":
			h.TraceOn = parseBool(v)
		}
	}
	return r.done(sendResponseMandatory[:])
}

// AppendExt adds the fields to c. MSG_REGION and TRACE_ON are always added.
func (h *SendResponseHeader) AppendExt(c *Command) {
	e := &c.Ext
	e.AddBytes("msgId", h.MsgID)
	e.AddInt("queueId", int64(h.QueueID))
	e.AddInt("queueOffset", h.QueueOffset)
	if len(h.TransactionID) > 0 {
		e.AddBytes("transactionId", h.TransactionID)
	}
	if len(h.BatchUniqID) > 0 {
		e.AddBytes("batchUniqId", h.BatchUniqID)
	}
	if len(h.RecallHandle) > 0 {
		e.AddBytes("recallHandle", h.RecallHandle)
	}
	e.AddBytes("MSG_REGION", h.MsgRegion)
	e.AddBool("TRACE_ON", h.TraceOn)
}
