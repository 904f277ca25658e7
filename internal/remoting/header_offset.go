package remoting

// OffsetHeader is the request of all that ask about, or store, an offset of one
// queue: ReqGetMaxOffset, ReqGetMinOffset, ReqGetEarliestMsgStoreTime,
// ReqSearchOffsetByTimestamp, ReqQueryConsumerOffset, ReqUpdateConsumerOffset.
// AppendExt sends only the fields that the code of the command has. Slices
// alias the command.
type OffsetHeader struct {
	Topic             []byte // mandatory
	QueueID           int32  // mandatory
	ConsumerGroup     []byte // mandatory for QueryConsumerOffset and UpdateConsumerOffset
	CommitOffset      int64  // mandatory for UpdateConsumerOffset
	Timestamp         int64  // mandatory for SearchOffsetByTimestamp: ms since 1970
	Upper             bool   // SearchOffsetByTimestamp: boundaryType UPPER instead of LOWER
	Uncommitted       bool   // GetMaxOffset: committed is false; it defaults to true
	SetZeroIfNotFound bool   // QueryConsumerOffset: defaults to true
	BrokerName        []byte
}

var offsetMandatory = [...]string{"topic", "queueId", "consumerGroup", "commitOffset", "timestamp"}

// Decode reads the ext fields of c, whose code says which are mandatory. It
// returns a *FieldError for the first absent or malformed one.
func (h *OffsetHeader) Decode(c *Command) error {
	*h = OffsetHeader{SetZeroIfNotFound: true}
	r := fieldReader{}
	for _, f := range c.Ext.fields {
		v := f.Value
		switch string(f.Key) {
		case "topic":
			h.Topic = r.bytes(0, v)
		case "queueId":
			h.QueueID = r.int32(1, "queueId", v)
		case "consumerGroup":
			h.ConsumerGroup = r.bytes(2, v)
		case "commitOffset":
			h.CommitOffset = r.int64(3, "commitOffset", v)
		case "timestamp":
			h.Timestamp = r.int64(4, "timestamp", v)
		case "boundaryType":
			h.Upper = string(v) == "UPPER" || string(v) == "upper"
		case "committed":
			h.Uncommitted = !parseBool(v)
		case "setZeroIfNotFound":
			h.SetZeroIfNotFound = parseBool(v)
		case "bname":
			h.BrokerName = v
		}
	}
	group, commit, timestamp := offsetFields(c.Code)
	if !group {
		r.mark(2)
	}
	if !commit {
		r.mark(3)
	}
	if !timestamp {
		r.mark(4)
	}
	return r.done(offsetMandatory[:])
}

// offsetFields tells which of the fields a request has.
func offsetFields(code int32) (group, commit, timestamp bool) {
	switch code {
	case ReqQueryConsumerOffset:
		return true, false, false
	case ReqUpdateConsumerOffset:
		return true, true, false
	case ReqSearchOffsetByTimestamp:
		return false, false, true
	default:
		return false, false, false
	}
}

// AppendExt adds the fields that c.Code has to c.
func (h *OffsetHeader) AppendExt(c *Command) {
	e := &c.Ext
	group, commit, timestamp := offsetFields(c.Code)
	if group {
		e.AddBytes("consumerGroup", h.ConsumerGroup)
	}
	e.AddBytes("topic", h.Topic)
	e.AddInt("queueId", int64(h.QueueID))
	if commit {
		e.AddInt("commitOffset", h.CommitOffset)
	}
	if timestamp {
		e.AddInt("timestamp", h.Timestamp)
		if h.Upper {
			e.Add("boundaryType", "UPPER")
		} else {
			e.Add("boundaryType", "LOWER")
		}
	}
	if c.Code == ReqQueryConsumerOffset {
		e.AddBool("setZeroIfNotFound", h.SetZeroIfNotFound)
	}
	if c.Code == ReqGetMaxOffset {
		e.AddBool("committed", !h.Uncommitted)
	}
	if len(h.BrokerName) > 0 {
		e.AddBytes("bname", h.BrokerName)
	}
}
