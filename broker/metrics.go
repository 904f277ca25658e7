package broker

import "github.com/prometheus/client_golang/prometheus"

// readyGauge says in /metrics what /readyz answers, for those who have the one and cannot probe the other.
func readyGauge(ready func() error) prometheus.Collector {
	return prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "varve_broker_ready", Help: "1 when sends and pulls are served, as /readyz says, else 0.",
	}, func() float64 {
		if ready() != nil {
			return 0
		}
		return 1
	})
}
