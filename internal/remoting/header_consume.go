package remoting

// SendBackHeader is the request of ReqConsumerSendMsgBack. Strings are copies.
type SendBackHeader struct {
	Offset            int64  // mandatory: the physical offset
	Group             string // mandatory
	DelayLevel        int32  // mandatory: negative: dead letter, zero: by the attempt
	OriginMsgID       string
	OriginTopic       string
	MaxReconsumeTimes int32 // Absent if not sent
	BrokerName        string
}

// Decode reads the ext fields of c. It returns a *FieldError for the first
// absent or malformed one.
func (h *SendBackHeader) Decode(c *Command) error {
	e := &c.Ext
	*h = SendBackHeader{
		OriginMsgID: e.String("originMsgId"), OriginTopic: e.String("originTopic"), BrokerName: e.String("bname"),
	}
	var err error
	if h.Offset, err = e.RequireInt64("offset"); err != nil {
		return err
	}
	if h.Group, err = e.RequireString("group"); err != nil {
		return err
	}
	if h.DelayLevel, err = e.RequireInt32("delayLevel"); err != nil {
		return err
	}
	h.MaxReconsumeTimes, err = e.Int32("maxReconsumeTimes", Absent)
	return err
}

// AppendExt adds the fields to c.
func (h *SendBackHeader) AppendExt(c *Command) {
	e := &c.Ext
	e.AddInt("offset", h.Offset)
	e.Add("group", h.Group)
	e.AddInt("delayLevel", int64(h.DelayLevel))
	addNotEmpty(e, "originMsgId", h.OriginMsgID)
	addNotEmpty(e, "originTopic", h.OriginTopic)
	e.AddBool("unitMode", false)
	if h.MaxReconsumeTimes != Absent {
		e.AddInt("maxReconsumeTimes", int64(h.MaxReconsumeTimes))
	}
	addNotEmpty(e, "bname", h.BrokerName)
}

// TransactionHeader is the request of ReqEndTransaction and, without
// ProducerGroup and the outcome, of ReqCheckTransactionState. Strings are copies.
type TransactionHeader struct {
	Topic                string
	ProducerGroup        string // mandatory for EndTransaction
	TranStateTableOffset int64  // mandatory: the half message's queue offset
	CommitLogOffset      int64  // mandatory: the half message's physical offset
	CommitOrRollback     int32  // mandatory for EndTransaction: 0 unknown, 8 commit, 12 rollback
	FromTransactionCheck bool
	MsgID                string // the UNIQ_KEY
	TransactionID        string
	OffsetMsgID          string // CheckTransactionState only
	BrokerName           string
}

// Decode reads the ext fields of c. It returns a *FieldError for the first
// absent or malformed one.
func (h *TransactionHeader) Decode(c *Command) error {
	e := &c.Ext
	*h = TransactionHeader{
		Topic: e.String("topic"), FromTransactionCheck: e.Bool("fromTransactionCheck", false),
		MsgID: e.String("msgId"), TransactionID: e.String("transactionId"),
		OffsetMsgID: e.String("offsetMsgId"), BrokerName: e.String("bname"),
	}
	var err error
	if h.TranStateTableOffset, err = e.RequireInt64("tranStateTableOffset"); err != nil {
		return err
	}
	if h.CommitLogOffset, err = e.RequireInt64("commitLogOffset"); err != nil || c.Code == ReqCheckTransactionState {
		return err
	}
	if h.ProducerGroup, err = e.RequireString("producerGroup"); err != nil {
		return err
	}
	h.CommitOrRollback, err = e.RequireInt32("commitOrRollback")
	return err
}

// AppendExt adds the fields that c.Code has to c.
func (h *TransactionHeader) AppendExt(c *Command) {
	e := &c.Ext
	addNotEmpty(e, "topic", h.Topic)
	e.AddInt("tranStateTableOffset", h.TranStateTableOffset)
	e.AddInt("commitLogOffset", h.CommitLogOffset)
	addNotEmpty(e, "msgId", h.MsgID)
	addNotEmpty(e, "transactionId", h.TransactionID)
	if c.Code == ReqCheckTransactionState {
		addNotEmpty(e, "offsetMsgId", h.OffsetMsgID)
	} else {
		e.Add("producerGroup", h.ProducerGroup)
		e.AddInt("commitOrRollback", int64(h.CommitOrRollback))
		e.AddBool("fromTransactionCheck", h.FromTransactionCheck)
	}
	addNotEmpty(e, "bname", h.BrokerName)
}

// QueryMessageHeader is the request of ReqQueryMessage. Strings are copies.
type QueryMessageHeader struct {
	Topic          string // mandatory
	Key            string // mandatory
	MaxNum         int32  // mandatory
	BeginTimestamp int64  // mandatory: ms since 1970
	EndTimestamp   int64  // mandatory: ms since 1970
	UniqueKey      bool   // Key is a UNIQ_KEY
}

// uniqueKeyQuery is the ext field of UniqueKey.
const uniqueKeyQuery = "_UNIQUE_KEY_QUERY"

// Decode reads the ext fields of c. It returns a *FieldError for the first
// absent or malformed one.
func (h *QueryMessageHeader) Decode(c *Command) error {
	e := &c.Ext
	*h = QueryMessageHeader{UniqueKey: e.Bool(uniqueKeyQuery, false)}
	var err error
	if h.Topic, err = e.RequireString("topic"); err != nil {
		return err
	}
	if h.Key, err = e.RequireString("key"); err != nil {
		return err
	}
	if h.MaxNum, err = e.RequireInt32("maxNum"); err != nil {
		return err
	}
	if h.BeginTimestamp, err = e.RequireInt64("beginTimestamp"); err != nil {
		return err
	}
	h.EndTimestamp, err = e.RequireInt64("endTimestamp")
	return err
}

// AppendExt adds the fields to c.
func (h *QueryMessageHeader) AppendExt(c *Command) {
	c.Ext.Add("topic", h.Topic)
	c.Ext.Add("key", h.Key)
	c.Ext.AddInt("maxNum", int64(h.MaxNum))
	c.Ext.AddInt("beginTimestamp", h.BeginTimestamp)
	c.Ext.AddInt("endTimestamp", h.EndTimestamp)
	if h.UniqueKey {
		c.Ext.Add(uniqueKeyQuery, "true")
	}
}

func addNotEmpty(e *Ext, key, value string) {
	if value != "" {
		e.Add(key, value)
	}
}
