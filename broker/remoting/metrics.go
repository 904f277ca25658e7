package remoting

import (
	"github.com/prometheus/client_golang/prometheus"
)

type metrics struct {
	requests  *prometheus.CounterVec
	malformed prometheus.Counter
	sent      prometheus.Counter
	pulled    prometheus.Counter
}

func newMetrics(reg prometheus.Registerer, s *Server) *metrics {
	m := &metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "varve_remoting_refused_requests_total", Help: "Requests that were not served, by reason.",
		}, []string{"reason"}),
		malformed: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "varve_remoting_malformed_frames_total", Help: "Connections closed because of a malformed frame.",
		}),
		sent: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "varve_remoting_messages_received_total", Help: "Messages stored for producers.",
		}),
		pulled: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "varve_remoting_messages_delivered_total", Help: "Messages handed to consumers.",
		}),
	}
	if reg != nil {
		connections := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "varve_remoting_connections", Help: "Open connections.",
		}, func() float64 { return float64(s.Connections()) })
		reg.MustRegister(m.requests, m.malformed, m.sent, m.pulled, connections)
	}
	return m
}
