package broker_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/varvemq/varve/broker"
	"github.com/varvemq/varve/broker/brokertest"
	"github.com/varvemq/varve/client"
)

// TestWALLimit: object storage is away, and the log fills up. At its limit sends get the flow-control answer, with the reason and soon; reads go on, retries find
// room in the part that is kept for them. A restart is refused while the store is away; when it is back, with the same log, all goes on by itself, and nothing is lost.
func TestWALLimit(t *testing.T) {
	t.Parallel()
	var logs logBuffer
	cfg := broker.Config{DataDir: t.TempDir(), WALLimit: 16 << 20, MaxMessageSize: 1 << 20, Logger: logs.logger()}
	b := brokertest.Start(t, cfg)
	createTopic(t, b.Addrs, "big", 1)
	createTopic(t, b.Addrs, "small", 1)
	send := func(topic string, size int) error {
		_, err := newProducer(t, b.Addrs, client.WithRetries(0)).Send(t.Context(), &client.Message{Topic: topic, Body: make([]byte, size)})
		return err
	}
	// Object storage is away from here on, so that nothing can be sealed.
	objects := filepath.Join(cfg.DataDir, "objects")
	must(t, os.Rename(objects, objects+".away"))
	must(t, os.WriteFile(objects, nil, 0o600))
	for _, body := range []string{"first", "second"} {
		_, err := newProducer(t, b.Addrs).Send(t.Context(), &client.Message{Topic: "small", Body: []byte(body)})
		must(t, err)
	}
	n := 0
	for ; n < 100; n++ {
		if err := send("big", 1<<20); err != nil { // the largest there may be
			break
		}
	}
	if n < 5 {
		t.Errorf("only %d messages of 1 MiB in 16 MiB", n)
	}
	for range 1000 { // and what is left, in small pieces
		if send("big", 30<<10) != nil {
			break
		}
	}
	full := func() {
		t.Helper()
		best := time.Hour
		for range 3 {
			began := time.Now()
			err := send("big", 100<<10)
			best = min(best, time.Since(began))
			var refusal *client.Error
			if !errors.As(err, &refusal) || refusal.Code != client.CodeSystemBusy || !strings.Contains(refusal.Remark, "--wal-limit") || !strings.Contains(refusal.Remark, "object storage has taken nothing") || client.OutcomeUnknown(err) {
				t.Errorf("a send at the limit: %v", err)
			}
		}
		if best > 400*time.Millisecond {
			t.Errorf("the refusal took %v", best)
		}
		t.Logf("%d messages of 1 MiB; the refusal took %v", n, best)
		if got := readAll(t, b.Addrs, "big"); got[string(make([]byte, 1<<20))] != n {
			t.Errorf("%d messages of 1 MiB are read, want %d", got[string(make([]byte, 1<<20))], n)
		}
	}
	full()

	var again counter
	retry := func(group string) {
		t.Helper()
		stop := consume(t, b.Addrs, group, "small", func(_ context.Context, m *client.MessageExt) error {
			if m.Attempt == 1 {
				return client.RetryLater(1)
			}
			again.add(group + string(m.Body))
			return nil
		})
		defer stop()
		eventually(t, 30*time.Second, "messages are delivered again", func() bool { return again.has(group+"first") == 1 && again.has(group+"second") == 1 })
	}
	retry("before")
	must(t, b.Stop()) // what cannot be sealed stays in the log
	if _, err := brokertest.TryStart(t, cfg); err == nil || !strings.Contains(err.Error(), "object store") {
		t.Errorf("a start without object storage: %v", err)
	}
	must(t, os.Remove(objects))
	must(t, os.Rename(objects+".away", objects))
	b = brokertest.Start(t, cfg)
	eventually(t, 30*time.Second, "sends go on", func() bool { return send("big", 1<<20) == nil })
	if got := readAll(t, b.Addrs, "big"); got[string(make([]byte, 1<<20))] != n+1 {
		t.Errorf("%d messages of 1 MiB are read, want %d", got[string(make([]byte, 1<<20))], n+1)
	}
	retry("after")
	must(t, b.Stop())
	if bad := logs.lines("level=ERROR"); len(bad) > 0 {
		t.Errorf("errors: %s", strings.Join(bad, "\n"))
	}
}
