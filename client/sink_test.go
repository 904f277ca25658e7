package client

import (
	"bufio"
	"net"
	"strconv"
	"testing"

	"github.com/varvemq/varve/internal/remoting"
)

// benchSink answers sends at once and keeps nothing.
type benchSink struct{ ln net.Listener }

func newBenchSink(b *testing.B) *benchSink {
	b.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = ln.Close() })
	s := &benchSink{ln: ln}
	go func() {
		for {
			nc, err := ln.Accept()
			if err != nil {
				return
			}
			go s.serve(nc)
		}
	}()
	return s
}

func (s *benchSink) addr() string { return s.ln.Addr().String() }

func (s *benchSink) serve(nc net.Conn) {
	defer nc.Close()
	br := bufio.NewReaderSize(nc, 64<<10)
	for {
		req, err := readCommand(br)
		if err != nil {
			return
		}
		var r remoting.Command
		r.InitResponse(req, 0, "")
		if req.Code == remoting.ReqGetRouteInfoByTopic {
			r.Body, err = remoting.EncodeBody(remoting.TopicRouteData{
				BrokerDatas: []remoting.BrokerData{{BrokerName: "b", BrokerAddrs: map[int64]string{0: s.addr()}}},
				QueueDatas:  []remoting.QueueData{{BrokerName: "b", Perm: 6, ReadQueueNums: 8, WriteQueueNums: 8}},
			})
			if err != nil {
				return
			}
		} else {
			r.Ext.Add("msgId", "")
			r.Ext.Add("queueId", strconv.Itoa(0))
			r.Ext.Add("queueOffset", strconv.Itoa(0))
		}
		if _, err := nc.Write(remoting.AppendFrame(nil, &r)); err != nil {
			return
		}
	}
}
