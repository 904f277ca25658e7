package client_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/varvemq/varve/broker"
	"github.com/varvemq/varve/broker/brokertest"
	"github.com/varvemq/varve/client"
)

// TestRestart stops and starts a broker while a producer, a consumer and a
// reader are at work: what was acknowledged comes out, and everybody goes on
// without being told.
func TestRestart(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("starts brokers")
	}
	b := brokertest.Start(t, broker.Config{})
	cfg := broker.Config{DataDir: b.Dir, NamesrvListen: b.Addrs.Namesrv, BrokerListen: b.Addrs.Broker}
	e := newEnv(t, b.Addrs.Namesrv)
	e.create(2)
	var mu sync.Mutex
	acked, consumed, read := make(map[string]bool), make(map[string]int), make(map[string]int)
	e.consume(name("G"), func(_ context.Context, m *client.MessageExt) error {
		mu.Lock()
		defer mu.Unlock()
		consumed[string(m.Body)]++
		return nil
	}, client.WithConsumeFrom(client.First()))
	r, err := client.NewReader(e.opts...)
	if err != nil {
		t.Fatal(err)
	}
	s, err := r.Open(t.Context(), e.topic, client.First())
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			m, err := s.Next(t.Context())
			if err != nil {
				return
			}
			mu.Lock()
			read[string(m.Body)]++
			mu.Unlock()
		}
	})
	p := e.producer()
	stop := make(chan struct{})
	unknown := 0
	wg.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			body := fmt.Sprint(i)
			_, err := p.Send(t.Context(), &client.Message{Topic: e.topic, Body: []byte(body)})
			mu.Lock()
			if err == nil {
				acked[body] = true
			} else if client.OutcomeUnknown(err) {
				unknown++
			}
			mu.Unlock()
			time.Sleep(time.Millisecond)
		}
	})
	for range 2 {
		time.Sleep(300 * time.Millisecond)
		if err := b.Stop(); err != nil {
			t.Error(err)
		}
		b = brokertest.Start(t, cfg)
	}
	time.Sleep(300 * time.Millisecond)
	close(stop)
	e.eventually(30*time.Second, "what was acknowledged is consumed and read", func() bool {
		mu.Lock()
		defer mu.Unlock()
		for body := range acked {
			if consumed[body] == 0 || read[body] == 0 {
				return false
			}
		}
		return true
	})
	_ = r.Close()
	wg.Wait()
	mu.Lock()
	defer mu.Unlock()
	for body, n := range read {
		if n != 1 {
			t.Errorf("message %s was read %d times", body, n)
		}
	}
	t.Logf("%d acknowledged, %d unknown, %d consumed", len(acked), unknown, len(consumed))
}
