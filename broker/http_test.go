package broker_test

import (
	"strconv"
	"strings"
	"testing"

	"github.com/varvemq/varve/broker"
	"github.com/varvemq/varve/broker/brokertest"
	"github.com/varvemq/varve/client"
)

// TestHTTP: metrics of every layer, health, and profiles only when asked for.
func TestHTTP(t *testing.T) {
	t.Parallel()
	plain := brokertest.Start(t, broker.Config{})
	createTopic(t, plain.Addrs, "t", 1)
	_, err := newProducer(t, plain.Addrs).Send(t.Context(), &client.Message{Topic: "t", Body: []byte("x")})
	must(t, err)
	code, metrics := get(t, plain.Addrs, "/metrics")
	if code != 200 {
		t.Errorf("/metrics: %d", code)
	}
	for _, name := range []string{
		"varve_wal_limit_bytes", "varve_wal_used_bytes", "varve_wal_sync_seconds_count", "varve_queue_queues", "varve_queue_waiters",
		"varve_queue_appended_messages_total 1", "varve_remoting_connections", "varve_remoting_messages_received_total 1", "go_goroutines", "process_resident_memory_bytes",
	} {
		if !strings.Contains(metrics, "\n"+name) {
			t.Errorf("no metric %s", name)
		}
	}
	status, err := newAdmin(t, plain.Addrs).BrokerStatus(t.Context(), plain.Addrs.Broker)
	must(t, err)
	for _, name := range []string{"walLimitBytes", "walUsedBytes", "walHotBytes", "tailCacheBytes", "tailCacheUsedBytes"} {
		if n, err := strconv.ParseInt(status[name], 10, 64); err != nil || n <= 0 {
			t.Errorf("status %s is %q", name, status[name])
		}
	}
	for path, want := range map[string]int{"/healthz": 200, "/readyz": 200, "/debug/pprof/": 404, "/debug/pprof/goroutine": 404, "/": 404} {
		if code, _ := get(t, plain.Addrs, path); code != want {
			t.Errorf("%s: %d, want %d", path, code, want)
		}
	}
	profiled := brokertest.Start(t, broker.Config{Pprof: true})
	for _, path := range []string{"/debug/pprof/", "/debug/pprof/goroutine?debug=1"} {
		if code, _ := get(t, profiled.Addrs, path); code != 200 {
			t.Errorf("%s with profiles: %d", path, code)
		}
	}
}
