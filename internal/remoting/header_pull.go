package remoting

// Bits of PullMessageHeader.SysFlag.
const (
	// PullFlagCommitOffset says that CommitOffset is to be stored.
	PullFlagCommitOffset int32 = 1 << 0
	// PullFlagSuspend says that the request may be held until a message arrives.
	PullFlagSuspend int32 = 1 << 1
	// PullFlagSubscription says that Subscription holds the expression.
	PullFlagSubscription int32 = 1 << 2
	// PullFlagClassFilter asks for a Java class filter, which is not supported.
	PullFlagClassFilter int32 = 1 << 3
	// PullFlagLitePull marks a pull by a lite pull consumer.
	PullFlagLitePull int32 = 1 << 4
)

// PullMessageHeader is the request of ReqPullMessage and ReqLitePullMessage.
// Slices alias the command.
type PullMessageHeader struct {
	ConsumerGroup        []byte // mandatory
	Topic                []byte // mandatory
	QueueID              int32  // mandatory
	QueueOffset          int64  // mandatory
	MaxMsgNums           int32  // mandatory
	SysFlag              int32  // mandatory: PullFlag bits
	CommitOffset         int64  // mandatory
	SuspendTimeoutMillis int64  // mandatory
	Subscription         []byte
	SubVersion           int64 // mandatory to Java, optional here
	ExpressionType       []byte
	MaxMsgBytes          int32 // Absent if not sent
	BrokerName           []byte
}

var pullMandatory = [...]string{
	"consumerGroup", "topic", "queueId", "queueOffset", "maxMsgNums", "sysFlag",
	"commitOffset", "suspendTimeoutMillis",
}

// Decode reads the ext fields of c. It returns a *FieldError for the first
// absent or malformed one.
func (h *PullMessageHeader) Decode(c *Command) error {
	*h = PullMessageHeader{MaxMsgBytes: Absent}
	r := fieldReader{}
	for _, f := range c.Ext.fields {
		v := f.Value
		switch string(f.Key) {
		case "consumerGroup":
			h.ConsumerGroup = r.bytes(0, v)
		case "topic":
			h.Topic = r.bytes(1, v)
		case "queueId":
			h.QueueID = r.int32(2, "queueId", v)
		case "queueOffset":
			h.QueueOffset = r.int64(3, "queueOffset", v)
		case "maxMsgNums":
			h.MaxMsgNums = r.int32(4, "maxMsgNums", v)
		case "sysFlag":
			h.SysFlag = r.int32(5, "sysFlag", v)
		case "commitOffset":
			h.CommitOffset = r.int64(6, "commitOffset", v)
		case "suspendTimeoutMillis":
			h.SuspendTimeoutMillis = r.int64(7, "suspendTimeoutMillis", v)
		case "subscription":
			h.Subscription = v
		case "subVersion":
			h.SubVersion = r.int64(optional, "subVersion", v)
		case "expressionType":
			h.ExpressionType = v
		case "maxMsgBytes":
			h.MaxMsgBytes = r.int32(optional, "maxMsgBytes", v)
		case "bname":
			h.BrokerName = v
		}
	}
	return r.done(pullMandatory[:])
}

// AppendExt adds the fields to c.
func (h *PullMessageHeader) AppendExt(c *Command) {
	e := &c.Ext
	e.AddBytes("consumerGroup", h.ConsumerGroup)
	e.AddBytes("topic", h.Topic)
	e.AddInt("queueId", int64(h.QueueID))
	e.AddInt("queueOffset", h.QueueOffset)
	e.AddInt("maxMsgNums", int64(h.MaxMsgNums))
	e.AddInt("sysFlag", int64(h.SysFlag))
	e.AddInt("commitOffset", h.CommitOffset)
	e.AddInt("suspendTimeoutMillis", h.SuspendTimeoutMillis)
	if len(h.Subscription) > 0 {
		e.AddBytes("subscription", h.Subscription)
	}
	e.AddInt("subVersion", h.SubVersion)
	if len(h.ExpressionType) > 0 {
		e.AddBytes("expressionType", h.ExpressionType)
	}
	if h.MaxMsgBytes != Absent {
		e.AddInt("maxMsgBytes", int64(h.MaxMsgBytes))
	}
	if len(h.BrokerName) > 0 {
		e.AddBytes("bname", h.BrokerName)
	}
}

// PullResponseHeader is the response to a pull with RespSuccess,
// RespPullNotFound, RespPullRetryImmediately or RespPullOffsetMoved.
type PullResponseHeader struct {
	SuggestWhichBrokerID int64 // mandatory, as all four
	NextBeginOffset      int64
	MinOffset            int64
	MaxOffset            int64
}

var pullResponseMandatory = [...]string{"suggestWhichBrokerId", "nextBeginOffset", "minOffset", "maxOffset"}

// Decode reads the ext fields of c. It returns a *FieldError for the first
// absent or malformed one.
func (h *PullResponseHeader) Decode(c *Command) error {
	*h = PullResponseHeader{}
	r := fieldReader{}
	for _, f := range c.Ext.fields {
		switch string(f.Key) {
		case "suggestWhichBrokerId":
			h.SuggestWhichBrokerID = r.int64(0, "suggestWhichBrokerId", f.Value)
		case "nextBeginOffset":
			h.NextBeginOffset = r.int64(1, "nextBeginOffset", f.Value)
		case "minOffset":
			h.MinOffset = r.int64(2, "minOffset", f.Value)
		case "maxOffset":
			h.MaxOffset = r.int64(3, "maxOffset", f.Value)
		}
	}
	return r.done(pullResponseMandatory[:])
}

// AppendExt adds the fields to c.
func (h *PullResponseHeader) AppendExt(c *Command) {
	c.Ext.AddInt("suggestWhichBrokerId", h.SuggestWhichBrokerID)
	c.Ext.AddInt("nextBeginOffset", h.NextBeginOffset)
	c.Ext.AddInt("minOffset", h.MinOffset)
	c.Ext.AddInt("maxOffset", h.MaxOffset)
}
