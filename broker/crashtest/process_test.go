package crashtest

import (
	"testing"
	"time"

	"github.com/varvemq/varve/broker/brokertest"
	"github.com/varvemq/varve/client"
)

// newHost makes a host for a broker of a build: varve or varve-powercut.
func newHost(t *testing.T, build string, args ...string) *brokertest.Host {
	t.Helper()
	h := brokertest.NewHost(t, program(t, build), args...)
	h.Patience = 30 * time.Second
	return h
}

func optionOf(p *brokertest.Process) client.Option { return client.WithNameServers(p.Namesrv) }

func adminOf(t *testing.T, p *brokertest.Process) *client.Admin {
	t.Helper()
	a, err := client.NewAdmin(optionOf(p))
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func readerOf(t *testing.T, p *brokertest.Process) *client.Reader {
	t.Helper()
	r, err := client.NewReader(optionOf(p))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// producerOf returns a producer that tries once, so that the outcome of each attempt is known.
func producerOf(t *testing.T, p *brokertest.Process) *client.Producer {
	t.Helper()
	c, err := client.NewProducer(optionOf(p), client.WithRetries(0), client.WithSendTimeout(20*time.Second))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func createTopic(t *testing.T, p *brokertest.Process, name string, queues int) {
	t.Helper()
	a := adminOf(t, p)
	defer func() { _ = a.Close() }()
	if err := a.CreateTopic(t.Context(), client.TopicConfig{Name: name, ReadQueues: queues, WriteQueues: queues}); err != nil {
		t.Fatalf("create topic %s: %v", name, err)
	}
}
