package remoting

import (
	"bytes"
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/varvemq/varve/broker/queue"
	"github.com/varvemq/varve/broker/wal"
	"github.com/varvemq/varve/internal/message"
	wire "github.com/varvemq/varve/internal/remoting"
)

const (
	// holdFor is how long a send waits for room in the write-ahead log before it is refused.
	holdFor      = 200 * time.Millisecond
	holdStep     = 20 * time.Millisecond
	maxHeldSends = 1024
	// sendBufferKeep: a larger message buffer is not pooled.
	sendBufferKeep = 4 << 20
)

var regionDefault = []byte("DefaultRegion")

// sendOp is a send on its way to the disk and back. It is pooled: a send allocates nothing.
type sendOp struct {
	queue.Op
	batch [1]queue.Batch

	srv     *Server
	c       *conn
	r       reply
	header  wire.SendMessageHeader
	props   sendProperties
	queueID int32
	isBatch bool

	buf      []byte // the stored messages
	propsBuf []byte
	uniq     []byte
	ids      []byte
	resp     wire.Command
	respHead wire.SendResponseHeader
}

func (s *Server) newSendOp(c *conn, req *wire.Command) *sendOp {
	o, ok := s.sendOps.Get().(*sendOp)
	if !ok {
		o = &sendOp{srv: s}
		o.Done = func(_ *queue.Op, err error) { o.finished(err) }
	}
	o.c, o.r = c, replyTo(req)
	c.inFlight.Add(1)
	o.isBatch = false
	return o
}

// release gives the operation back. Nothing of a request's frame stays referenced.
func (o *sendOp) release() {
	o.header = wire.SendMessageHeader{}
	o.props = sendProperties{}
	o.c.inFlight.Add(-1)
	o.c = nil
	o.batch[0] = queue.Batch{}
	if cap(o.buf) > sendBufferKeep {
		o.buf = nil
	}
	o.srv.sendOps.Put(o)
}

// fail answers with an error and releases the operation.
func (o *sendOp) fail(err error) {
	code, remark := statusOf(err)
	if why := o.srv.deps.WhyFull; why != nil && errors.Is(err, wal.ErrFull) {
		remark += why()
	}
	o.respHead = wire.SendResponseHeader{}
	o.answer(code, remark)
	o.release()
}

// answer sends the response. Java clients want MSG_REGION and TRACE_ON in every one.
func (o *sendOp) answer(code int32, remark string) {
	if o.r.oneway {
		return
	}
	o.r.init(&o.resp, code, remark)
	if code == wire.RespSuccess {
		o.respHead.MsgRegion, o.respHead.TraceOn = regionDefault, true
		o.respHead.AppendExt(&o.resp)
		o.c.sendAck(&o.resp)
		return
	}
	o.resp.Ext.AddBytes("MSG_REGION", regionDefault)
	o.resp.Ext.AddBool("TRACE_ON", true)
	o.c.send(&o.resp)
}

// sendMessage serves SEND_MESSAGE and SEND_MESSAGE_V2. (AbstractSendMessageProcessor and SendMessageProcessor in RocketMQ's broker.)
func (s *Server) sendMessage(ctx context.Context, c *conn, req *wire.Command) {
	o := s.newSendOp(c, req)
	if err := o.header.Decode(req); err != nil {
		o.fail(err)
		return
	}
	if o.header.Batch {
		o.release()
		s.sendBatch(ctx, c, req)
		return
	}
	info, ok := s.topics.lookup(o.header.Topic)
	if !ok {
		o.release()
		c.runSlow(ctx, handler{slow: s.createAndSend}, req)
		return
	}
	if err := o.prepare(info, req.Body); err != nil {
		if errors.Is(err, errNeedsSlowPath) {
			o.release()
			c.runSlow(ctx, handler{slow: s.createAndSend}, req)
			return
		}
		o.fail(err)
		return
	}
	o.append(ctx)
}

// createAndSend is the slow path of a send: it makes the topic that is missing and then sends. It answers by itself.
func (s *Server) createAndSend(ctx context.Context, c *conn, req *wire.Command) (*wire.Command, error) {
	var h wire.SendMessageHeader
	if err := h.Decode(req); err != nil {
		return nil, err
	}
	info, ok := s.topics.lookup(h.Topic)
	if !ok {
		var err error
		if info, err = s.autoCreate(ctx, string(h.Topic), string(h.DefaultTopic), h.DefaultTopicQueueNums); err != nil {
			return failedSend(err), nil
		}
	}
	if group, retry := message.GroupOfRetryTopic(info.meta.Name); retry {
		if _, err := s.autoCreate(ctx, message.DLQTopic(group), "", 1); err != nil {
			return failedSend(err), nil
		}
	}
	o := s.newSendOp(c, req)
	var err error
	if err = o.header.Decode(req); err == nil {
		if req.Code == wire.ReqSendBatchMessage || h.Batch {
			err = o.prepareBatch(info, req.Body)
		} else {
			err = o.prepare(info, req.Body)
		}
	}
	if err != nil {
		o.fail(err)
	} else {
		o.append(ctx)
	}
	return answered, nil
}

// answered tells runSlow that the handler has answered, or will.
var answered = &wire.Command{}

func failedSend(err error) *wire.Command {
	code, remark := statusOf(err)
	resp := &wire.Command{Code: code, Remark: remark}
	resp.Ext.AddBytes("MSG_REGION", regionDefault)
	resp.Ext.AddBool("TRACE_ON", true)
	return resp
}

var errNeedsSlowPath = errors.New("needs etcd")

// prepare validates a single send and encodes the stored message.
func (o *sendOp) prepare(info *topicInfo, body []byte) error {
	s, h := o.srv, &o.header
	if err := s.checkSend(info, len(body)); err != nil {
		return err
	}
	if err := o.props.scan(h.Properties); err != nil {
		return err
	}
	if len(h.Properties) > message.MaxProperties {
		return status(wire.RespMessageIllegal, "the properties are %d bytes, over %d", len(h.Properties), message.MaxProperties)
	}
	if dlq, err := o.divertToDLQ(info); err != nil {
		return err
	} else if dlq != nil {
		info, h.QueueID = dlq, 0
	}
	id, q, err := s.writeQueue(info, h.QueueID)
	if err != nil {
		return err
	}
	o.queueID = id
	o.buildProperties(h.Properties)
	fields := message.Fields{
		Topic: info.meta.Name, QueueID: id, Flag: h.Flag, SysFlag: h.SysFlag &^ (message.SysFlagBornHostV6 | message.SysFlagStoreHostV6),
		BornTimestamp: h.BornTimestamp, BornHost: o.c.remote, StoreHost: s.cfg.Advertise, ReconsumeTimes: h.ReconsumeTimes,
		Body: body, Properties: o.propsBuf,
	}
	o.Object = info.object // also while it is delayed
	if o.props.delay > 0 {
		if info, q, err = s.delayed(&fields, &o.propsBuf, o.props.delay); err != nil {
			return err
		}
	}
	if err := fields.Validate(); err != nil {
		return status(wire.RespMessageIllegal, "%v", err)
	}
	o.buf = message.Append(o.buf[:0], &fields)
	o.fill(info, q, 1)
	return nil
}

// fill makes the operation ready for the log; Object is set.
func (o *sendOp) fill(info *topicInfo, q *queue.Queue, count int) {
	o.batch[0] = queue.Batch{Queue: q, Messages: o.buf, Count: count}
	o.Batches = o.batch[:]
	o.Sync = info.sync
	o.AckWritten = (info.sync || o.Object) && o.props.noWait
	o.Internal = false
}

// checkSend refuses what no send may do.
func (s *Server) checkSend(info *topicInfo, body int) error {
	switch {
	case message.IsForbiddenSendTopic(info.meta.Name):
		return status(wire.RespNoPermission, "sending message to topic[%s] is forbidden", info.meta.Name)
	case body > s.cfg.MaxMessage:
		return status(wire.RespMessageIllegal, "the body is %d bytes, over the limit of %d (--max-message-size)", body, s.cfg.MaxMessage)
	default:
		return s.deps.Ready()
	}
}

// divertToDLQ returns the dead-letter topic if a client's own retry has been tried too often.
func (o *sendOp) divertToDLQ(info *topicInfo) (*topicInfo, error) {
	group, ok := message.GroupOfRetryTopic(info.meta.Name)
	if !ok {
		return nil, nil //nolint:nilnil // no diversion and no error
	}
	limit := o.header.MaxReconsumeTimes
	if limit == wire.Absent {
		limit = o.srv.retryMax(group)
	}
	if o.header.ReconsumeTimes <= limit {
		return nil, nil //nolint:nilnil // no diversion and no error
	}
	dlq, ok := o.srv.topics.lookup([]byte(message.DLQTopic(group)))
	if !ok {
		return nil, errNeedsSlowPath
	}
	o.props.delay = 0
	return dlq, nil
}

// retryMax returns how often a group's messages are tried again.
func (s *Server) retryMax(group string) int32 {
	if g, ok := s.deps.Metadata.Group(group); ok {
		return g.RetryMaxTimes
	}
	return defaultRetryMax
}

const defaultRetryMax = 16

// buildProperties adds what the broker adds to every message: region, trace switch, cluster and, where it is missing, a unique id.
func (o *sendOp) buildProperties(raw []byte) {
	p := append(o.propsBuf[:0], raw...)
	if !o.props.region {
		p = message.AppendProperty(p, message.PropertyMsgRegion, regionDefault)
		p = message.AppendProperty(p, message.PropertyTraceOn, "true")
	}
	if !o.props.cluster {
		p = message.AppendProperty(p, message.PropertyCluster, o.srv.cfg.Cluster)
	}
	if len(o.props.uniq) == 0 {
		o.uniq = o.srv.ids.Append(o.uniq[:0], time.Now())
		p = message.AppendProperty(p, message.PropertyUniqKey, o.uniq)
	} else {
		o.uniq = append(o.uniq[:0], o.props.uniq...)
	}
	o.propsBuf = p
}

// delayed turns a message into one of the delay topic, which package timer delivers when it is due.
func (s *Server) delayed(m *message.Fields, buf *[]byte, level int) (*topicInfo, *queue.Queue, error) {
	level = min(level, s.cfg.Delays.Max())
	info, ok := s.topics.lookup([]byte(message.TopicSchedule))
	if !ok {
		return nil, nil, status(wire.RespServiceNotAvailable, "the delay topic is not there yet")
	}
	q := s.queue(info, int32(level-1))
	if q == nil {
		return nil, nil, status(wire.RespServiceNotAvailable, "the delay topic has no level %d", level)
	}
	p := message.AppendProperty(m.Properties, message.PropertyRealTopic, m.Topic)
	p = message.AppendProperty(p, message.PropertyRealQueueID, strconv.Itoa(int(m.QueueID)))
	*buf = p
	m.Properties, m.Topic, m.QueueID = p, info.meta.Name, int32(level-1)
	return info, q, nil
}

// append hands the operation to the log; the answer follows from [sendOp.finished].
func (o *sendOp) append(ctx context.Context) {
	err := o.srv.deps.Log.Append(ctx, &o.Op)
	switch {
	case err == nil:
	case errors.Is(err, wal.ErrFull), errors.Is(err, wal.ErrNoSpace):
		o.hold(ctx)
	default:
		o.fail(err)
	}
}

// hold keeps a send for a moment that finds the log full: room may be made just now. Then it is refused, so that the client backs off.
func (o *sendOp) hold(ctx context.Context) {
	select {
	case o.srv.sendSlots <- struct{}{}:
	default:
		o.fail(wal.ErrFull)
		return
	}
	o.c.wg.Go(func() {
		defer func() { <-o.srv.sendSlots }()
		for waited := time.Duration(0); ; waited += holdStep {
			select {
			case <-time.After(holdStep):
			case <-ctx.Done():
			}
			err := o.srv.deps.Log.Append(ctx, &o.Op)
			full := errors.Is(err, wal.ErrFull) || errors.Is(err, wal.ErrNoSpace)
			if full && waited < holdFor && ctx.Err() == nil {
				continue
			}
			if err != nil {
				o.fail(err)
			}
			return
		}
	})
}

// finished is called by the log when the messages are as durable as their topic asks, and visible.
func (o *sendOp) finished(err error) {
	if err != nil {
		o.fail(err)
		return
	}
	b := &o.batch[0]
	o.srv.m.sent.Add(float64(b.Count))
	o.srv.stats.put(b.Count, len(b.Messages))
	if !o.r.oneway {
		o.respHead = wire.SendResponseHeader{QueueID: o.queueID, QueueOffset: int64(b.BaseOffset), TransactionID: o.uniq}
		o.ids = o.ids[:0]
		for i := range b.Count {
			if i > 0 {
				o.ids = append(o.ids, ',')
			}
			o.ids = message.AppendOffsetID(o.ids, o.srv.cfg.Advertise, b.PhysicalOffset+int64(i))
		}
		o.respHead.MsgID = o.ids
		if o.isBatch {
			o.respHead.TransactionID = nil
		}
		o.answer(wire.RespSuccess, "")
	}
	o.release()
}

// sendProperties is what the broker looks at in a message's properties. Slices alias the request.
type sendProperties struct {
	delay   int
	noWait  bool
	uniq    []byte
	region  bool
	cluster bool
}

// scan reads the properties once.
func (p *sendProperties) scan(raw []byte) error {
	*p = sendProperties{}
	for name, value := range message.EachProperty(raw) {
		switch string(name) {
		case message.PropertyUniqKey:
			p.uniq = value
		case message.PropertyMsgRegion:
			p.region = true
		case message.PropertyCluster:
			p.cluster = true
		case message.PropertyWait:
			p.noWait = bytes.EqualFold(value, []byte("false"))
		case message.PropertyDelay:
			level, err := strconv.Atoi(string(value))
			if err != nil {
				return status(wire.RespMessageIllegal, "property %s is no number: %q", message.PropertyDelay, value)
			}
			p.delay = level
		case message.PropertyTimerDelaySec, message.PropertyTimerDelayMS, message.PropertyTimerDeliverMS:
			return status(wire.RespMessageIllegal, "timer messages (property %s) are not supported yet; use one of the 18 delay levels", name)
		case message.PropertyTransactionPrepared:
			if bytes.EqualFold(value, []byte("true")) {
				return status(wire.RespNoPermission, "the broker[%s] sending transaction message is forbidden: transactions are not supported yet", "varve")
			}
		}
	}
	return nil
}
