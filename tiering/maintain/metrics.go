package maintain

import (
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics count what maintenance does. No decision depends on them.
type metrics struct {
	merges, inputs, outputs            prometheus.Counter
	inputBytes, outputBytes            prometheus.Counter
	rolled, unlisted, unlistedBytes    prometheus.Counter
	trimmed, deleted, keptListed, bars prometheus.Counter
	errors                             *prometheus.CounterVec
	seconds                            prometheus.Histogram
	recent, garbage, intents           prometheus.Gauge
}

func newMetrics(reg prometheus.Registerer) (*metrics, error) {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: "varve_maintain_" + name + "_total", Help: help})
	}
	gauge := func(name, help string) prometheus.Gauge {
		return prometheus.NewGauge(prometheus.GaugeOpts{Name: "varve_maintain_" + name, Help: help})
	}
	m := &metrics{
		merges:        counter("compactions", "Merges of segments into level 1."),
		inputs:        counter("compaction_inputs", "Segments that were merged."),
		outputs:       counter("compaction_outputs", "Segments that merges made."),
		inputBytes:    counter("compaction_input_bytes", "Bytes of segments that were merged."),
		outputBytes:   counter("compaction_output_bytes", "Bytes of segments that merges made."),
		rolled:        counter("rolled_segments", "Segments that were moved from etcd into the manifest."),
		unlisted:      counter("unlisted_segments", "Segments with nothing left to read that were unlisted."),
		unlistedBytes: counter("unlisted_bytes", "Bytes of segments with nothing left to read that were unlisted."),
		trimmed:       counter("trimmed_queues", "Times that retention moved a queue's first offset."),
		deleted:       counter("deleted_objects", "Objects that were deleted."),
		keptListed:    counter("kept_listed_objects", "Objects that a record calls garbage and that are listed all the same. They are kept; look at the log."),
		bars:          counter("failed_merges", "Merges that failed for a reason that lies in the segments."),
		errors:        prometheus.NewCounterVec(prometheus.CounterOpts{Name: "varve_maintain_errors_total", Help: "Failed steps of passes."}, []string{"step"}),
		seconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "varve_maintain_pass_seconds", Help: "Time that a pass took.", Buckets: prometheus.ExponentialBuckets(0.001, 4, 9),
		}),
		recent:  gauge("recent_segments", "Segments that etcd lists, not the manifest."),
		garbage: gauge("garbage_objects", "Objects that wait to be deleted."),
		intents: gauge("intents", "Intents of uploads, of this and earlier epochs."),
	}
	for _, step := range []string{"retention", "changes", "tombstones", "sweep"} {
		m.errors.WithLabelValues(step) // there from the start, so that the first failure is an increase
	}
	if reg == nil {
		return m, nil
	}
	for _, c := range []prometheus.Collector{
		m.merges, m.inputs, m.outputs, m.inputBytes, m.outputBytes, m.rolled, m.unlisted, m.unlistedBytes, m.trimmed, m.deleted, m.keptListed, m.bars, m.errors,
		m.seconds, m.recent, m.garbage, m.intents,
	} {
		if err := reg.Register(c); err != nil {
			return nil, fmt.Errorf("metrics of maintenance: %w", err)
		}
	}
	return m, nil
}
