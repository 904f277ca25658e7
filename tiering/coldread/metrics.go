package coldread

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics are counted also when nobody registers them.
type metrics struct {
	hits, misses, skipped           prometheus.Counter
	bytes                           *prometheus.CounterVec // by source
	gets, merged                    prometheus.Counter
	aheadBytes, wasted              prometheus.Counter
	hedges, hedgesWon               prometheus.Counter
	repeats, damaged                prometheus.Counter
	cacheBytes, inFlight            prometheus.GaugeFunc
	fromStore, fromDisk, fromMemory prometheus.Counter // of bytes
}

func counter(name, help string) prometheus.Counter {
	return prometheus.NewCounter(prometheus.CounterOpts{Name: "varve_coldread_" + name, Help: help})
}

func newMetrics(cacheBytes, inFlight func() float64) *metrics {
	m := &metrics{
		hits:    counter("hits_total", "Blocks that were in memory, or on their way into it, when they were asked for."),
		misses:  counter("misses_total", "Blocks that had to be fetched when they were asked for."),
		skipped: counter("skipped_blocks_total", "Blocks that were not fetched because the index says that no tag matches."),
		bytes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "varve_coldread_bytes_total", Help: "Bytes of blocks: as stored from the object store and the disk cache, decoded from memory.",
		}, []string{"source"}),
		gets:       counter("gets_total", "Ranged GETs of blocks, hedges too."),
		merged:     counter("merged_blocks_total", "Blocks that came along in the GET of another block."),
		aheadBytes: counter("ahead_bytes_total", "Bytes of messages that were fetched ahead of a reader."),
		wasted:     counter("ahead_wasted_bytes_total", "Bytes of messages that were fetched ahead and given up unused."),
		hedges:     counter("hedges_total", "Second GETs beside a slow one."),
		hedgesWon:  counter("hedges_won_total", "Second GETs that were answered first."),
		repeats:    counter("repeats_total", "Reads that began anew because an object was gone or damaged on the way."),
		damaged:    counter("damaged_objects_total", "Reads that failed because an object is damaged or gone."),
		cacheBytes: prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "varve_coldread_cache_bytes", Help: "Bytes of decoded blocks in memory."}, cacheBytes),
		inFlight: prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "varve_coldread_in_flight_bytes", Help: "Bytes of ranges that are fetched or wait to be decoded.",
		}, inFlight),
	}
	m.fromStore, m.fromDisk, m.fromMemory = m.bytes.WithLabelValues("store"), m.bytes.WithLabelValues("disk"), m.bytes.WithLabelValues("memory")
	return m
}

// register registers all metrics. Those of another Reader that are registered already stay; these then are seen by nobody.
func (m *metrics) register(reg prometheus.Registerer) error {
	var errs []error
	for _, c := range []prometheus.Collector{
		m.hits, m.misses, m.skipped, m.bytes, m.gets, m.merged, m.aheadBytes, m.wasted, m.hedges, m.hedgesWon, m.repeats, m.damaged, m.cacheBytes, m.inFlight,
	} {
		errs = append(errs, reg.Register(c))
	}
	return errors.Join(errs...)
}
