package client

import (
	"net"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/varvemq/varve/internal/message"
	"github.com/varvemq/varve/internal/remoting"
)

// fakeServer is a name server and broker in one that speaks real frames. It
// keeps messages in memory; a test scripts the rest.
type fakeServer struct {
	t        *testing.T
	ln       net.Listener
	wg       sync.WaitGroup
	queues   int32
	mu       sync.Mutex
	script   func(*fakeConn, *remoting.Command) bool // true: it has answered, or will not
	conns    map[*fakeConn]struct{}
	accepted int
	seen     map[int32]int
	sent     []*remoting.Command // requests 310 and 320
	stored   map[int32][][]byte  // queue to messages, as stored
	members  []string
	offsets  map[string]int64 // committed
	closed   bool
}

type fakeConn struct {
	srv *fakeServer
	nc  net.Conn
	mu  sync.Mutex
}

func newFake(t *testing.T, queues int32) *fakeServer {
	t.Helper()
	return startFake(t, queues, "127.0.0.1:0")
}

func startFake(t *testing.T, queues int32, addr string) *fakeServer {
	t.Helper()
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	s := &fakeServer{
		t: t, ln: ln, queues: queues, conns: make(map[*fakeConn]struct{}), seen: make(map[int32]int),
		stored: make(map[int32][][]byte), offsets: make(map[string]int64),
	}
	s.wg.Go(s.acceptLoop)
	t.Cleanup(s.close)
	return s
}

func (s *fakeServer) addr() string { return s.ln.Addr().String() }

func (s *fakeServer) acceptLoop() {
	for {
		nc, err := s.ln.Accept()
		if err != nil {
			return
		}
		c := &fakeConn{srv: s, nc: nc}
		s.mu.Lock()
		s.conns[c] = struct{}{}
		s.accepted++
		closed := s.closed
		s.mu.Unlock()
		if closed {
			_ = nc.Close()
		}
		s.wg.Go(c.loop)
	}
}

func (s *fakeServer) close() {
	_ = s.ln.Close()
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.dropAll()
	s.wg.Wait()
}

// dropAll closes all connections.
func (s *fakeServer) dropAll() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		_ = c.nc.Close()
	}
}

func (s *fakeServer) count(code int32) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.seen[code]
}

func (s *fakeServer) connections() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.accepted
}

func (s *fakeServer) sends() []*remoting.Command {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]*remoting.Command(nil), s.sent...)
}

func (s *fakeServer) setMembers(ids ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.members = ids
}

// broadcast sends a request to all clients.
func (s *fakeServer) broadcast(cmd *remoting.Command) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		c.write(cmd)
	}
}

func (c *fakeConn) loop() {
	defer func() {
		_ = c.nc.Close()
		c.srv.mu.Lock()
		delete(c.srv.conns, c)
		c.srv.mu.Unlock()
	}()
	for {
		cmd, err := readCommand(c.nc)
		if err != nil {
			return
		}
		s := c.srv
		s.mu.Lock()
		s.seen[cmd.Code]++
		if cmd.Code == remoting.ReqSendMessageV2 || cmd.Code == remoting.ReqSendBatchMessage {
			s.sent = append(s.sent, cmd)
		}
		script := s.script
		s.mu.Unlock()
		if script != nil && script(c, cmd) {
			continue
		}
		c.serve(cmd)
	}
}

func (c *fakeConn) write(cmd *remoting.Command) {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, _ = c.nc.Write(remoting.AppendFrame(nil, cmd))
}

func (c *fakeConn) raw(b []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, _ = c.nc.Write(b)
}

// reply answers with a code, a remark, a body and pairs of ext fields.
func (c *fakeConn) reply(req *remoting.Command, code int32, remark string, body any, ext ...string) {
	if req.IsOneway() || req.IsResponse() {
		return
	}
	var r remoting.Command
	r.InitResponse(req, code, remark)
	for i := 0; i < len(ext); i += 2 {
		r.Ext.Add(ext[i], ext[i+1])
	}
	switch b := body.(type) {
	case nil:
	case []byte:
		r.Body = b
	default:
		enc, err := remoting.EncodeBody(b)
		if err != nil {
			panic(err)
		}
		r.Body = enc
	}
	c.write(&r)
}

func (c *fakeConn) serve(req *remoting.Command) {
	s := c.srv
	switch req.Code {
	case remoting.ReqGetRouteInfoByTopic:
		c.reply(req, 0, "", remoting.TopicRouteData{
			BrokerDatas: []remoting.BrokerData{{BrokerName: "b", Cluster: "c", BrokerAddrs: map[int64]string{0: s.addr()}}},
			QueueDatas:  []remoting.QueueData{{BrokerName: "b", Perm: 6, ReadQueueNums: s.queues, WriteQueueNums: s.queues}},
		})
	case remoting.ReqSendMessageV2, remoting.ReqSendBatchMessage:
		c.store(req)
	case remoting.ReqPullMessage:
		c.pull(req)
	case remoting.ReqGetConsumerListByGroup:
		s.mu.Lock()
		ids := append([]string(nil), s.members...)
		s.mu.Unlock()
		c.reply(req, 0, "", remoting.ConsumerListBody{ConsumerIDList: ids})
	case remoting.ReqLockBatchMQ:
		var b remoting.LockBatchBody
		if err := remoting.DecodeBody(req.Body, &b); err != nil {
			s.t.Error(err)
		}
		c.reply(req, 0, "", remoting.LockBatchResponseBody{LockOKMQSet: b.MQSet})
	case remoting.ReqQueryConsumerOffset, remoting.ReqUpdateConsumerOffset:
		c.offset(req)
	case remoting.ReqGetMinOffset:
		c.reply(req, 0, "", nil, "offset", "0")
	case remoting.ReqGetMaxOffset:
		q, _ := req.Ext.Int32("queueId", 0)
		s.mu.Lock()
		n := len(s.stored[q])
		s.mu.Unlock()
		c.reply(req, 0, "", nil, "offset", strconv.Itoa(n))
	default:
		c.reply(req, 0, "", nil)
	}
}

func (c *fakeConn) offset(req *remoting.Command) {
	s := c.srv
	key := req.Ext.String("topic") + "@" + req.Ext.String("queueId")
	s.mu.Lock()
	defer s.mu.Unlock()
	if req.Code == remoting.ReqUpdateConsumerOffset {
		n, _ := req.Ext.Int64("commitOffset", 0)
		s.offsets[key] = n
		c.reply(req, 0, "", nil)
		return
	}
	if n, ok := s.offsets[key]; ok {
		c.reply(req, 0, "", nil, "offset", strconv.FormatInt(n, 10))
		return
	}
	c.reply(req, remoting.RespQueryNotFound, "none", nil)
}

// store keeps the messages of a send and answers it.
func (c *fakeConn) store(req *remoting.Command) {
	s := c.srv
	var h remoting.SendMessageHeader
	if err := h.Decode(req); err != nil {
		s.t.Error(err)
	}
	f := message.Fields{Topic: string(h.Topic), QueueID: h.QueueID, BornTimestamp: h.BornTimestamp, StoreTimestamp: time.Now().UnixMilli(), ReconsumeTimes: h.ReconsumeTimes}
	s.mu.Lock()
	defer s.mu.Unlock()
	first := len(s.stored[h.QueueID])
	ids := ""
	add := func(body, props []byte, flag int32) {
		f.Body, f.Properties, f.Flag = body, props, flag
		f.QueueOffset = int64(len(s.stored[h.QueueID]))
		f.PhysicalOffset = int64(h.QueueID)<<35 | f.QueueOffset
		s.stored[h.QueueID] = append(s.stored[h.QueueID], message.Append(nil, &f))
		if ids != "" {
			ids += ","
		}
		ids += message.OffsetID(f.StoreHost, f.PhysicalOffset)
	}
	if req.Code == remoting.ReqSendBatchMessage {
		for b := req.Body; len(b) > 0; {
			item, rest, err := message.NextBatchItem(b)
			if err != nil {
				s.t.Error(err)
				return
			}
			add(item.Body, item.Properties, item.Flag)
			b = rest
		}
	} else {
		add(req.Body, h.Properties, h.Flag)
	}
	c.reply(req, 0, "", nil, "msgId", ids, "queueId", strconv.Itoa(int(h.QueueID)), "queueOffset", strconv.Itoa(first))
}

// pull answers with at most 32 messages, or, after 50 ms, with none.
func (c *fakeConn) pull(req *remoting.Command) {
	s := c.srv
	var h remoting.PullMessageHeader
	if err := h.Decode(req); err != nil {
		s.t.Error(err)
	}
	answer := func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		all := s.stored[h.QueueID]
		if message.IsRetryTopic(string(h.Topic)) {
			all = nil
		}
		if s.closed {
			return true
		}
		if h.QueueOffset >= int64(len(all)) {
			return false
		}
		var body []byte
		next := h.QueueOffset
		for _, m := range all[next:min(len(all), int(next)+32)] {
			body = append(body, m...)
			next++
		}
		c.reply(req, 0, "FOUND", body, "suggestWhichBrokerId", "0", "nextBeginOffset", strconv.FormatInt(next, 10),
			"minOffset", "0", "maxOffset", strconv.Itoa(len(all)))
		return true
	}
	if answer() {
		return
	}
	time.AfterFunc(50*time.Millisecond, func() {
		if !answer() {
			c.reply(req, remoting.RespPullNotFound, "NO_NEW_MSG", nil, "suggestWhichBrokerId", "0",
				"nextBeginOffset", strconv.FormatInt(h.QueueOffset, 10), "minOffset", "0", "maxOffset", "0")
		}
	})
}

// on scripts the server's answers to one request code.
func (s *fakeServer) on(code int32, f func(*fakeConn, *remoting.Command) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	before := s.script
	s.script = func(c *fakeConn, cmd *remoting.Command) bool {
		if cmd.Code == code && !cmd.IsResponse() {
			return f(c, cmd)
		}
		return before != nil && before(c, cmd)
	}
}

func (s *fakeServer) producer(opts ...Option) *Producer {
	s.t.Helper()
	p, err := NewProducer(append([]Option{WithNameServers(s.addr())}, opts...)...)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = p.Close() })
	return p
}

func eventually(t *testing.T, what string, f func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if f() {
			return
		}
	}
	t.Fatalf("never: %s", what)
}
