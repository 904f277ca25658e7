package seal

import (
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/varvemq/varve/metadata"
)

// metrics are what a sealer counts.
type metrics struct {
	segments, messages, raw, stored prometheus.Counter
	seconds                         *prometheus.HistogramVec
	failures                        *prometheus.CounterVec
}

func newMetrics(reg prometheus.Registerer, s *Sealer) (*metrics, error) {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
	}
	m := &metrics{
		segments: counter("varve_seal_segments_total", "Segments of level 0 committed."),
		messages: counter("varve_seal_messages_total", "Messages in them."),
		raw:      counter("varve_seal_raw_bytes_total", "Bytes of these messages."),
		stored:   counter("varve_seal_stored_bytes_total", "Bytes of the segments."),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "varve_seal_step_seconds", Help: "Time of a step, with its repetitions.", Buckets: prometheus.ExponentialBuckets(1e-3, 2, 20), // 1 ms … 9 min
		}, []string{"step"}),
		failures: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "varve_seal_failures_total", Help: "Attempts at a step that failed and were repeated, by the class of the fault.",
		}, []string{"class"}),
	}
	for _, c := range []class{classThrottled, classTransient, classRefused, classMetadata, classDisk} {
		m.failures.WithLabelValues(string(c)) // there from the start, so that the first failure is an increase
	}
	if reg == nil {
		return m, nil
	}
	for _, c := range []prometheus.Collector{
		m.segments, m.messages, m.raw, m.stored, m.seconds, m.failures,
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "varve_seal_backlog_bytes", Help: "Bytes of the log that are durable and in no segment.",
		}, func() float64 { return float64(s.Status().Backlog) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "varve_seal_oldest_unsealed_seconds", Help: "Age of the oldest of these bytes.",
		}, func() float64 { return s.Status().Oldest.Seconds() }),
	} {
		if err := reg.Register(c); err != nil {
			return nil, fmt.Errorf("metrics of sealing: %w", err)
		}
	}
	return m, nil
}

func (m *metrics) took(what step, d time.Duration) {
	m.seconds.WithLabelValues(string(what)).Observe(d.Seconds())
}

func (m *metrics) failed(c class) { m.failures.WithLabelValues(string(c)).Inc() }

func (m *metrics) sealed(seg *metadata.Segment) {
	m.segments.Inc()
	m.messages.Add(float64(seg.Messages))
	m.raw.Add(float64(seg.RawBytes))
	m.stored.Add(float64(seg.Size))
}
