package crashtest

import (
	"context"
	"encoding/binary"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/varvemq/varve/client"
)

// TestOrder has 64 producers send to one queue, which a reader reads as it grows: it gets each offset once, in order, with
// the message that was acknowledged there, and the messages of each producer in the order in which they were sent.
func TestOrder(t *testing.T) {
	t.Parallel()
	const producers = 64
	total := number(t, envOrder, 50_000)
	each := (total + producers - 1) / producers
	total = each * producers
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute+time.Duration(total)*time.Millisecond)
	defer cancel()
	h := newHost(t, "varve", "--flush", "sync")
	p := h.Start()
	createTopic(t, p, "order", 1)

	acked := make([]atomic.Int64, total) // message → offset + 1
	began := time.Now()
	var wg sync.WaitGroup
	for i := range producers {
		producer := producerOf(t, p)
		t.Cleanup(func() { _ = producer.Close() })
		wg.Go(func() {
			for n := i * each; n < (i+1)*each; n++ {
				r, err := producer.Send(ctx, &client.Message{Topic: "order", Queue: &client.Queue{}, Body: orderBody(n)})
				if err != nil || r.Status != client.SendOK {
					t.Errorf("message %d: status %d, %v", n, r.Status, err)
					cancel()
					return
				}
				acked[n].Store(r.Offset + 1)
			}
		})
	}
	reader := readerOf(t, p)
	defer func() { _ = reader.Close() }()
	s, err := reader.Open(ctx, "order", client.First(), client.OnQueue(client.Queue{}))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	read := make([]int, 0, total) // offset → message
	last := make([]int, producers)
	for i := range last {
		last[i] = i*each - 1
	}
	for len(read) < total && !t.Failed() {
		m, err := s.Next(ctx)
		if err != nil {
			t.Fatalf("after %d messages: %v", len(read), err)
		}
		n := int(binary.BigEndian.Uint64(m.Body))
		switch {
		case m.Offset != int64(len(read)):
			t.Fatalf("offset %d follows %d", m.Offset, len(read)-1)
		case len(m.Body) != 100 || n < 0 || n >= total:
			t.Fatalf("offset %d: body %q", m.Offset, m.Body)
		case last[n/each] != n-1:
			t.Fatalf("offset %d: message %d of producer %d follows its message %d", m.Offset, n, n/each, last[n/each])
		}
		last[n/each] = n
		read = append(read, n)
	}
	wg.Wait()
	if t.Failed() {
		return
	}
	took := time.Since(began)
	for offset, n := range read {
		if got := acked[n].Load() - 1; got != int64(offset) {
			t.Fatalf("message %d was acknowledged at offset %d and read at %d", n, got, offset)
		}
	}
	t.Logf("%d messages of %d producers, each synced and read in order, in %v: %.0f/s", total, producers, took.Round(time.Millisecond), float64(total)/took.Seconds())
	h.Kill()
}

func orderBody(n int) []byte {
	b := make([]byte, 100)
	binary.BigEndian.PutUint64(b, uint64(n))
	return b
}
