package queue

import (
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics counts per operation; nothing else depends on it.
type metrics struct {
	appended, appendedBytes atomic.Uint64
	read, readBytes         atomic.Uint64
	sealed, damaged         atomic.Uint64
	waiters                 atomic.Int64
	collectors              []prometheus.Collector
}

func (m *metrics) register(l *Log, r prometheus.Registerer) error {
	if r == nil {
		return nil
	}
	counter := func(name, help string, v *atomic.Uint64) {
		m.collectors = append(m.collectors, prometheus.NewCounterFunc(prometheus.CounterOpts{
			Namespace: "varve", Subsystem: "queue", Name: name, Help: help,
		}, func() float64 { return float64(v.Load()) }))
	}
	gauge := func(name, help string, v func() float64) {
		m.collectors = append(m.collectors, prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Namespace: "varve", Subsystem: "queue", Name: name, Help: help,
		}, v))
	}
	counter("appended_messages_total", "Messages put into the log.", &m.appended)
	counter("appended_bytes_total", "Bytes of the records put into the log.", &m.appendedBytes)
	counter("read_messages_total", "Messages returned by reads.", &m.read)
	counter("read_bytes_total", "Bytes of the messages returned by reads.", &m.readBytes)
	counter("sealed_files_total", "WAL files whose index was built.", &m.sealed)
	counter("damaged_sections_total", "Damaged sections found in WAL files.", &m.damaged)
	gauge("waiters", "Waiting pulls.", func() float64 { return float64(m.waiters.Load()) })
	gauge("index_cache_bytes", "Sections of closed files in memory.", func() float64 { return float64(l.cache.bytes()) })
	gauge("queues", "Queues in memory.", func() float64 {
		l.mu.RLock()
		defer l.mu.RUnlock()
		return float64(len(l.queues))
	})
	var errs []error
	for _, c := range m.collectors {
		errs = append(errs, r.Register(c))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("queue: metrics: %w", err)
	}
	return nil
}

func (m *metrics) unregister(r prometheus.Registerer) {
	for _, c := range m.collectors {
		r.Unregister(c)
	}
}
