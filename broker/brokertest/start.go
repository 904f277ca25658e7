package brokertest

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/varvemq/varve/broker"
)

// startTimeout bounds how long a broker may take to be ready.
const startTimeout = 60 * time.Second

// Broker is a running broker.
type Broker struct {
	Addrs broker.Addrs
	Dir   string

	cancel context.CancelFunc
	ended  chan struct{}
	err    error
}

// Start runs a broker on free ports of the loopback interface until the test ends. Fields of cfg that are set are kept.
func Start(t testing.TB, cfg broker.Config) *Broker {
	t.Helper()
	b, err := TryStart(t, cfg)
	if err != nil {
		t.Fatalf("start a broker: %v", err)
	}
	return b
}

// TryStart is [Start] for a broker that may refuse.
func TryStart(t testing.TB, cfg broker.Config) (*Broker, error) {
	t.Helper()
	if cfg.DataDir == "" {
		cfg.DataDir = t.TempDir()
	}
	for _, addr := range []*string{&cfg.NamesrvListen, &cfg.BrokerListen, &cfg.HTTPListen} {
		if *addr == "" {
			*addr = "127.0.0.1:0"
		}
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn}))
	}
	if cfg.WALLimit == 0 {
		cfg.WALLimit = 256 << 20
	}
	if cfg.BootID == "" {
		cfg.BootID = "brokertest" // one machine, however often the broker ends
	}
	ready := make(chan broker.Addrs, 1)
	cfg.OnReady = func(a broker.Addrs) { ready <- a }
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	b := &Broker{Dir: cfg.DataDir, cancel: cancel, ended: make(chan struct{})}
	go func() {
		defer close(b.ended)
		b.err = broker.Run(ctx, cfg)
	}()
	t.Cleanup(func() { _ = b.Stop() })
	select {
	case b.Addrs = <-ready:
		return b, nil
	case <-b.ended:
		return nil, b.err
	case <-time.After(startTimeout):
		cancel()
		<-b.ended
		return nil, context.DeadlineExceeded
	}
}

// Ended is closed when the broker has ended, be it by itself.
func (b *Broker) Ended() <-chan struct{} { return b.ended }

// Stop shuts the broker down in order and returns what Run returned. It may be called again.
func (b *Broker) Stop() error {
	b.cancel()
	<-b.ended
	return b.err
}
