package wal

import (
	"errors"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
)

// counters are what the metrics and Stats show. Nothing else reads them.
type counters struct {
	syncs, groups, records, bytes atomic.Uint64
}

type metrics struct {
	write, sync prometheus.Histogram
	reg         prometheus.Registerer
	all         []prometheus.Collector
}

func newMetrics(w *WAL, reg prometheus.Registerer) (*metrics, error) {
	buckets := prometheus.ExponentialBuckets(20e-6, 2, 18) // 20 µs … 2.6 s
	m := &metrics{
		reg: reg,
		write: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "varve_wal_write_seconds", Help: "Time of a write of the log.", Buckets: buckets,
		}),
		sync: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "varve_wal_sync_seconds", Help: "Time of an fdatasync of the log.", Buckets: buckets,
		}),
	}
	m.all = []prometheus.Collector{m.write, m.sync}
	counter := func(name, help string, v func() float64) {
		m.all = append(m.all, prometheus.NewCounterFunc(prometheus.CounterOpts{Name: name, Help: help}, v))
	}
	gauge := func(name, help string, v func() float64) {
		m.all = append(m.all, prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, v))
	}
	counter("varve_wal_records_total", "Records written.", func() float64 { return float64(w.stats.records.Load()) })
	counter("varve_wal_groups_total", "Groups of records written at once.", func() float64 { return float64(w.stats.groups.Load()) })
	counter("varve_wal_written_bytes_total", "Bytes written.", func() float64 { return float64(w.stats.bytes.Load()) })
	gauge("varve_wal_used_bytes", "Bytes that count against the limit.", func() float64 { return float64(w.used.Load()) })
	gauge("varve_wal_limit_bytes", "The size limit.", func() float64 { return float64(w.cfg.Limit) })
	gauge("varve_wal_tail_bytes", "Memory held by the newest records.", func() float64 { return float64(w.tail.size()) })
	gauge("varve_wal_unsynced_bytes", "Bytes written and not yet durable.", func() float64 {
		return float64(w.written.Load() - min(w.durable.Load(), w.written.Load()))
	})
	gauge("varve_wal_pending_bytes", "Bytes reserved, or appended and not yet delivered.", func() float64 {
		reserved, pending := w.room.usage()
		return float64(reserved + pending)
	})
	gauge("varve_wal_failed_info", "1 after a failure that has stopped the log.", func() float64 {
		if w.failed() != nil {
			return 1
		}
		return 0
	})
	return m, m.register()
}

func (m *metrics) register() error {
	if m.reg == nil {
		return nil
	}
	var errs []error
	for i, c := range m.all {
		if err := m.reg.Register(c); err != nil {
			errs = append(errs, err)
			m.all = m.all[:i]
			m.unregister()
			break
		}
	}
	return errors.Join(errs...)
}

func (m *metrics) unregister() {
	if m.reg == nil {
		return
	}
	for _, c := range m.all {
		m.reg.Unregister(c)
	}
}
