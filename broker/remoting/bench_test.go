package remoting

import (
	"bufio"
	"encoding/binary"
	"io"
	"net"
	"testing"
	"time"

	"github.com/varvemq/varve/broker/wal"
	"github.com/varvemq/varve/internal/message"
	wire "github.com/varvemq/varve/internal/remoting"
)

// rawClient writes prepared frames and counts answers, so that what a benchmark measures is the broker.
type rawClient struct {
	b  *testing.B
	nc net.Conn
	r  *bufio.Reader
}

func rawTo(b *testing.B, addr string) *rawClient {
	b.Helper()
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = nc.Close() })
	return &rawClient{b: b, nc: nc, r: bufio.NewReaderSize(nc, 1<<20)}
}

func (c *rawClient) write(frames []byte) {
	if _, err := c.nc.Write(frames); err != nil {
		c.b.Fatal(err)
	}
}

// answers reads n answers.
func (c *rawClient) answers(n int) {
	var head [8]byte
	for range n {
		if _, err := io.ReadFull(c.r, head[:]); err != nil {
			c.b.Fatal(err)
		}
		if _, err := c.r.Discard(int(binary.BigEndian.Uint32(head[:])) - 4); err != nil {
			c.b.Fatal(err)
		}
	}
}

func benchBroker(b *testing.B, flushSync bool) *testBroker {
	b.Helper()
	tb := startBrokerWith(b, wal.Config{Limit: 32 << 30, TailBytes: 256 << 20}, flushSync)
	tb.addTopic("bench", 4)
	tb.addGroup("g")
	return tb
}

func sendFrame(codec wire.Codec, size int) []byte {
	props := message.AppendProperty(nil, message.PropertyUniqKey, "7F00000100002A9F4B2C0E3D5A6B0001")
	h := wire.SendMessageHeader{
		ProducerGroup: []byte("p"), Topic: []byte("bench"), DefaultTopic: []byte(message.TopicAutoCreate), DefaultTopicQueueNums: 4, QueueID: 1,
		BornTimestamp: time.Now().UnixMilli(), Properties: props, MaxReconsumeTimes: wire.Absent,
	}
	cmd := &wire.Command{Code: wire.ReqSendMessageV2, Body: make([]byte, size), Codec: codec}
	h.AppendExt(cmd)
	return wire.AppendFrame(nil, cmd)
}

// BenchmarkSingleSend is single sends, 64 in flight on one connection: allocations are the broker's, from the frame to the written answer.
func BenchmarkSingleSend(b *testing.B) {
	for _, flush := range []string{"sync", "async"} {
		for _, codec := range []struct {
			name string
			wire.Codec
		}{{"json", wire.CodecJSON}, {"binary", wire.CodecBinary}} {
			b.Run(flush+"/"+codec.name, func(b *testing.B) {
				const inFlight = 64
				c := rawTo(b, benchBroker(b, flush == "sync").addr)
				var frames []byte
				for range inFlight {
					frames = append(frames, sendFrame(codec.Codec, 128)...)
				}
				b.ReportAllocs()
				n := 0
				for b.Loop() {
					if n%inFlight == 0 {
						c.write(frames)
					}
					c.answers(1)
					n++
				}
				c.answers((inFlight - n%inFlight) % inFlight)
				b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "msgs/s")
			})
		}
	}
}

// BenchmarkBatchSend is batches of 1,000 messages, four in flight.
func BenchmarkBatchSend(b *testing.B) {
	for _, size := range []struct {
		name  string
		bytes int
	}{{"100B", 100}, {"1KiB", 1 << 10}} {
		b.Run(size.name, func(b *testing.B) {
			const count, inFlight = 1000, 4
			c := rawTo(b, benchBroker(b, false).addr)
			var body []byte
			for range count {
				body = message.AppendBatchItem(body, &message.BatchItem{Body: make([]byte, size.bytes)})
			}
			h := wire.SendMessageHeader{
				ProducerGroup: []byte("p"), Topic: []byte("bench"), DefaultTopic: []byte(message.TopicAutoCreate), DefaultTopicQueueNums: 4,
				BornTimestamp: time.Now().UnixMilli(), Batch: true,
			}
			cmd := &wire.Command{Code: wire.ReqSendBatchMessage, Body: body, Codec: wire.CodecBinary}
			h.AppendExt(cmd)
			frame := wire.AppendFrame(nil, cmd)
			for range inFlight - 1 {
				c.write(frame)
			}
			b.ReportAllocs()
			b.SetBytes(int64(count * size.bytes))
			n := 0
			for b.Loop() {
				c.write(frame)
				c.answers(1)
				n++
			}
			c.answers(inFlight - 1)
			b.ReportMetric(float64(n*count)/b.Elapsed().Seconds(), "msgs/s")
		})
	}
}

// BenchmarkPull is pulls of 32 and of 1,000 messages of 100 bytes from the tail.
func BenchmarkPull(b *testing.B) {
	for _, count := range []int32{32, 1000} {
		b.Run(map[int32]string{32: "32", 1000: "1000"}[count], func(b *testing.B) {
			tb := benchBroker(b, false)
			c := rawTo(b, tb.addr)
			var frames []byte
			for range 1000 {
				frames = append(frames, sendFrame(wire.CodecBinary, 100)...)
			}
			for range 2 {
				c.write(frames)
				c.answers(1000)
			}
			req := pullRequest("bench", 1, 500, count, "*", 0)
			req.Codec = wire.CodecBinary
			frame := wire.AppendFrame(nil, req)
			b.ReportAllocs()
			n := 0
			for b.Loop() {
				c.write(frame)
				c.answers(1)
				n++
			}
			b.ReportMetric(float64(n)*float64(count)/b.Elapsed().Seconds(), "msgs/s")
		})
	}
}
