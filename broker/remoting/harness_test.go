package remoting

import (
	"bufio"
	"context"
	"encoding/binary"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/varvemq/varve/broker/group"
	"github.com/varvemq/varve/broker/queue"
	"github.com/varvemq/varve/broker/wal"
	"github.com/varvemq/varve/internal/message"
	wire "github.com/varvemq/varve/internal/remoting"
	"github.com/varvemq/varve/metadata"
)

const (
	testShard   = "varve-a"
	testCluster = "TestCluster"
)

// testBroker is a Server with a log on a temporary directory and metadata in memory, listening on a loopback port.
type testBroker struct {
	*Server
	t    testing.TB
	addr string

	mu      sync.Mutex
	dropped []metadata.OrdinalRange
	notOK   error // what Ready says
}

func startBroker(t *testing.T) *testBroker {
	t.Helper()
	return startBrokerWith(t, wal.Config{Limit: 64 << 20, FileSize: 16 << 20, TailBytes: 8 << 20}, true)
}

func startBrokerWith(t testing.TB, walConfig wal.Config, flushSync bool) *testBroker {
	t.Helper()
	ctx := t.Context()
	walConfig.Dir = t.TempDir()
	kv := metadata.NewMemory()
	store, err := metadata.NewStore(ctx, kv, metadata.StoreConfig{Cluster: testCluster})
	must(t, err)
	own, err := store.AcquireShard(ctx, metadata.ShardClaim{Shard: testShard, Broker: "b", WALUUID: "w", AdvertisedAddr: "127.0.0.1:1", LeaseExempt: true})
	must(t, err)
	offsets, err := store.OpenOffsets(ctx, own, metadata.OffsetConfig{FlushInterval: 10 * time.Millisecond})
	must(t, err)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	addr, err := netip.ParseAddrPort(l.Addr().String())
	must(t, err)
	log, err := queue.Open(ctx, queue.Config{
		WAL: walConfig, Shard: wal.Shard{ID: 1, Epoch: 1}, StoreHost: addr,
	})
	must(t, err)
	delays, err := message.ParseDelayLevels(message.DefaultDelayLevels)
	must(t, err)

	b := &testBroker{t: t, addr: l.Addr().String()}
	b.Server = New(Config{
		Cluster: testCluster, Shard: testShard, Advertise: addr, MaxMessage: 4 << 20, FlushSync: flushSync, TLSMode: TLSDisabled,
		Delays: delays, Logger: slog.New(slog.DiscardHandler),
	}, Deps{
		Log: log, Metadata: Metadata{Store: store, Own: own}, Offsets: offsets, Groups: group.New(group.Config{}),
		Locks: group.NewLocks(nil, func(string) bool { return false }),
		Ready: func() error {
			b.mu.Lock()
			defer b.mu.Unlock()
			return b.notOK
		},
		DropQueues: func(ranges []metadata.OrdinalRange) {
			b.mu.Lock()
			defer b.mu.Unlock()
			b.dropped = append(b.dropped, ranges...)
		},
	})
	runCtx, stop := context.WithCancel(ctx)
	served := make(chan error, 1)
	go func() { served <- b.Serve(runCtx, l) }()
	t.Cleanup(func() {
		stop()
		if err := <-served; err != nil {
			t.Error(err)
		}
		closeCtx := context.WithoutCancel(ctx)
		for _, err := range []error{log.Close(), offsets.Close(closeCtx), own.Release(closeCtx, true), store.Close(), kv.Close()} {
			if err != nil {
				t.Error(err)
			}
		}
	})
	b.addTopic(message.TopicSchedule, int32(delays.Max()))
	return b
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (b *testBroker) addTopic(name string, queues int32) *metadata.Topic {
	b.t.Helper()
	made, err := b.deps.Metadata.CreateTopic(b.t.Context(), metadata.Topic{
		Name: name, ReadQueues: queues, WriteQueues: queues, Perm: permRead | permWrite, FilterType: wire.SingleTag,
	})
	must(b.t, err)
	return made
}

func (b *testBroker) addGroup(name string) {
	b.t.Helper()
	cfg := wire.DefaultSubscriptionGroup(name)
	_, err := b.deps.Metadata.PutGroup(b.t.Context(), groupOf(&cfg))
	must(b.t, err)
}

// testClient is a client's connection.
type testClient struct {
	t      testing.TB
	nc     net.Conn
	codec  wire.Codec
	opaque int32

	answers chan *wire.Command
	pushed  chan *wire.Command // requests of the broker's
}

func (b *testBroker) dial() *testClient {
	b.t.Helper()
	nc, err := net.Dial("tcp", b.addr)
	must(b.t, err)
	c := &testClient{t: b.t, nc: nc, answers: make(chan *wire.Command, 1024), pushed: make(chan *wire.Command, 1024)}
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer close(c.answers)
		r := bufio.NewReader(nc)
		for {
			var prefix [wire.PrefixSize]byte
			if _, err := io.ReadFull(r, prefix[:]); err != nil {
				return
			}
			frame := make([]byte, binary.BigEndian.Uint32(prefix[:]))
			if _, err := io.ReadFull(r, frame); err != nil {
				return
			}
			cmd := &wire.Command{}
			if err := wire.DecodeFrame(frame, cmd); err != nil {
				c.t.Errorf("the broker sent a frame that cannot be decoded: %v", err)
				return
			}
			if cmd.IsResponse() {
				c.answers <- cmd
			} else {
				c.pushed <- cmd
			}
		}
	}()
	b.t.Cleanup(func() {
		_ = nc.Close()
		<-done
	})
	return c
}

// send writes a request without waiting.
func (c *testClient) send(req *wire.Command) {
	c.t.Helper()
	c.opaque++
	req.Opaque, req.Codec, req.Version, req.Language = c.opaque, c.codec, 477, wire.LanguageJava
	_, err := c.nc.Write(wire.AppendFrame(nil, req))
	must(c.t, err)
}

// call sends a request and returns its answer.
func (c *testClient) call(req *wire.Command) *wire.Command {
	c.t.Helper()
	c.send(req)
	select {
	case resp, ok := <-c.answers:
		if !ok {
			c.t.Fatal("the connection was closed")
		}
		if resp.Opaque != c.opaque {
			c.t.Fatalf("answer to request %d, want %d", resp.Opaque, c.opaque)
		}
		return resp
	case <-time.After(10 * time.Second):
		c.t.Fatalf("no answer to request code %d", req.Code)
		return nil
	}
}

// want is call, and fails the test unless the answer has the code.
func (c *testClient) want(code int32, req *wire.Command) *wire.Command {
	c.t.Helper()
	resp := c.call(req)
	if resp.Code != code {
		c.t.Fatalf("request code %d was answered with %d (%s), want %d", req.Code, resp.Code, resp.Remark, code)
	}
	return resp
}

// request makes a request with ext fields: names and values in turn.
func request(code int32, ext ...string) *wire.Command {
	cmd := &wire.Command{Code: code}
	for i := 0; i < len(ext); i += 2 {
		cmd.Ext.Add(ext[i], ext[i+1])
	}
	return cmd
}

// withBody is request with a JSON body.
func withBody(t testing.TB, code int32, body any) *wire.Command {
	t.Helper()
	cmd := request(code)
	switch v := body.(type) {
	case string:
		cmd.Body = []byte(v)
	default:
		b, err := wire.EncodeBody(body)
		must(t, err)
		cmd.Body = b
	}
	return cmd
}

func decode[T any](t *testing.T, resp *wire.Command) T {
	t.Helper()
	var v T
	if err := wire.DecodeBody(resp.Body, &v); err != nil {
		t.Fatalf("body %s: %v", resp.Body, err)
	}
	return v
}

// extInt returns a number of the answer's ext fields.
func extInt(t *testing.T, resp *wire.Command, field string) int64 {
	t.Helper()
	n, err := resp.Ext.RequireInt64(field)
	must(t, err)
	return n
}

// produce sends a message that must be stored, and returns the answer.
func (c *testClient) produce(topic string, queueID int32, body string, props ...string) *wire.Command {
	c.t.Helper()
	return c.want(wire.RespSuccess, sendRequest(topic, queueID, body, props...))
}

// sendRequest is a send with properties: names and values in turn.
func sendRequest(topic string, queueID int32, body string, props ...string) *wire.Command {
	var raw []byte
	for i := 0; i < len(props); i += 2 {
		raw = message.AppendProperty(raw, props[i], props[i+1])
	}
	h := wire.SendMessageHeader{
		ProducerGroup: []byte("p"), Topic: []byte(topic), DefaultTopic: []byte(message.TopicAutoCreate), DefaultTopicQueueNums: 4, QueueID: queueID,
		BornTimestamp: time.Now().UnixMilli(), Properties: raw, MaxReconsumeTimes: wire.Absent,
	}
	cmd := &wire.Command{Code: wire.ReqSendMessageV2, Body: []byte(body)}
	h.AppendExt(cmd)
	return cmd
}

// heartbeatOf is a consumer's heartbeat for topics with tag expressions: names and expressions in turn.
func heartbeatOf(client, groupName string, subs ...string) wire.HeartbeatData {
	d := wire.ConsumerData{
		GroupName: groupName, ConsumeType: wire.ConsumePassively, MessageModel: wire.Clustering, ConsumeFromWhere: wire.ConsumeFromLastOffset,
	}
	for i := 0; i < len(subs); i += 2 {
		d.SubscriptionDataSet = append(d.SubscriptionDataSet, wire.SubscriptionData{Topic: subs[i], SubString: subs[i+1], SubVersion: 1, ExpressionType: wire.ExpressionTag})
	}
	return wire.HeartbeatData{ClientID: client, ConsumerDataSet: []wire.ConsumerData{d}, ProducerDataSet: []wire.ProducerData{{GroupName: "p"}}}
}

// beat sends a heartbeat.
func (c *testClient) beat(data wire.HeartbeatData) {
	c.t.Helper()
	c.want(wire.RespSuccess, withBody(c.t, wire.ReqHeartbeat, &data))
}

// pull asks for the messages of queue 0 of topic t for group g, without waiting for one.
func (c *testClient) pull(offset int64) *wire.Command {
	c.t.Helper()
	h := wire.PullMessageHeader{
		ConsumerGroup: []byte("g"), Topic: []byte("t"), QueueOffset: offset, MaxMsgNums: 32, SubVersion: 0, MaxMsgBytes: wire.Absent,
	}
	cmd := &wire.Command{Code: wire.ReqPullMessage}
	h.AppendExt(cmd)
	return c.call(cmd)
}

// messages parses concatenated messages.
func messages(t *testing.T, body []byte) []message.View {
	t.Helper()
	var out []message.View
	for len(body) > 0 {
		v, rest, err := message.Next(body)
		must(t, err)
		out = append(out, v)
		body = rest
	}
	return out
}

// eventually waits for a condition.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("never came true: " + what)
		}
	}
}
