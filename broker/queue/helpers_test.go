package queue

import (
	"context"
	"encoding/binary"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/varvemq/varve/broker/wal"
	"github.com/varvemq/varve/internal/message"
	"github.com/varvemq/varve/internal/vfs"
)

var testHost = netip.MustParseAddrPort("10.0.0.1:10911")

// msg builds a stored message. Its body holds id.
func msg(topic string, id uint64, size int, props ...string) []byte {
	body := make([]byte, max(8, size))
	binary.BigEndian.PutUint64(body, id)
	var raw []byte
	for i := 0; i+1 < len(props); i += 2 {
		raw = message.AppendProperty(raw, props[i], props[i+1])
	}
	return message.Append(nil, &message.Fields{
		Topic: topic, Body: body, Properties: raw, BornHost: testHost, StoreHost: testHost, BornTimestamp: 1,
	})
}

func idOf(v message.View) uint64 { return binary.BigEndian.Uint64(v.Body()) }

// views splits concatenated messages.
func views(tb testing.TB, b []byte) []message.View {
	tb.Helper()
	var vs []message.View
	if err := eachMessage(b, func(v message.View) { vs = append(vs, v) }); err != nil {
		tb.Fatal(err)
	}
	return vs
}

func testConfig(fs vfs.FS) Config {
	return Config{
		WAL: wal.Config{
			Dir: "/data/wal", FS: fs, FileSize: 64 << 10, Limit: 1 << 30, MaxRecord: 16 << 10, TailBytes: 256 << 10,
			SyncInterval: 5 * time.Millisecond, BootID: "boot",
		},
		Shard: wal.Shard{ID: 1, Epoch: 1},
	}
}

func openLog(tb testing.TB, cfg Config) *Log {
	tb.Helper()
	l, err := Open(context.Background(), cfg)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { l.Close() })
	return l
}

// put appends messages to a queue, in one batch.
func put(tb testing.TB, l *Log, q *Queue, sync bool, msgs ...[]byte) Batch {
	tb.Helper()
	op := &Op{Sync: sync, Batches: []Batch{{Queue: q, Count: len(msgs)}}}
	for _, m := range msgs {
		op.Batches[0].Messages = append(op.Batches[0].Messages, m...)
	}
	if err := l.AppendWait(context.Background(), op); err != nil {
		tb.Fatal(err)
	}
	return op.Batches[0]
}

// readAll reads a queue from an offset to its end, and checks that offsets are dense.
func readAll(tb testing.TB, l *Log, q *Queue, from uint64) []message.View {
	tb.Helper()
	var all []message.View
	for {
		b, res, err := l.Read(context.Background(), q, ReadRequest{Offset: from, MaxMessages: 100}, nil)
		if err != nil {
			tb.Fatal(err)
		}
		switch res.Status {
		case NoMessage:
			return all
		case Found:
		default:
			tb.Fatalf("read at %d: %+v", from, res)
		}
		for _, v := range views(tb, b) {
			if uint64(v.QueueOffset()) != from {
				tb.Fatalf("offset %d, want %d", v.QueueOffset(), from)
			}
			if p, _ := message.PhysicalOffset(q.Ordinal(), from); v.PhysicalOffset() != p {
				tb.Fatalf("physical offset %d, want %d", v.PhysicalOffset(), p)
			}
			from++
			all = append(all, v)
		}
		if from != res.Next {
			tb.Fatalf("next %d, want %d", res.Next, from)
		}
	}
}

// fillFiles appends to a queue until at least n files are closed.
func fillFiles(tb testing.TB, l *Log, q *Queue, n int) {
	tb.Helper()
	for i := 0; closedFiles(l) < n; i++ {
		put(tb, l, q, false, msg("fill", uint64(i), 2000))
		if i > 10000 {
			tb.Fatal("files do not close")
		}
	}
}

func closedFiles(l *Log) int {
	n := 0
	for _, f := range l.WAL().Files() {
		if f.Closed {
			n++
		}
	}
	return n
}

func eventually(tb testing.TB, what string, cond func() bool) {
	tb.Helper()
	for end := time.Now().Add(10 * time.Second); !cond(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			tb.Fatalf("never: %s", what)
		}
	}
}

type tagFilter map[string]bool

func (f tagFilter) MatchTag(tag []byte) bool { return f[string(tag)] }

func props(i int) []string {
	return []string{message.PropertyUniqKey, fmt.Sprintf("ID%05d", i), message.PropertyKeys, fmt.Sprintf("k%d all", i)}
}
