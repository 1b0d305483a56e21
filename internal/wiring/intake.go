package wiring

import (
	"github.com/prometheus/client_golang/prometheus"

	"passerelle/internal/intake"
)

// bounds are the metrics of what is taken in at a time.
type bounds struct {
	intake      *intake.Intake
	connections func() (now, turned int) // nil: nobody counts them
}

// Describe implements prometheus.Collector: what Collect gives tells all.
func (b *bounds) Describe(chan<- *prometheus.Desc) {}

// Collect gives the figures of this moment.
func (b *bounds) Collect(ch chan<- prometheus.Metric) {
	give := func(kind prometheus.ValueType, name, help string, v int) {
		ch <- prometheus.MustNewConstMetric(prometheus.NewDesc("passerelle_"+name, help, nil, nil), kind, float64(v))
	}
	f := b.intake.Figures()
	give(prometheus.GaugeValue, "intake_large", "Large bodies that are worked on.", f.Large)
	give(prometheus.GaugeValue, "intake_texts", "Messages with much text that are held.", f.Texts)
	give(prometheus.GaugeValue, "intake_waiting", "Senders of large messages who wait for room.", f.Waiting)
	give(prometheus.CounterValue, "intake_refused_total", "Large messages whose sender was told to come again (503).", f.Refused)
	if b.connections == nil {
		return
	}
	now, turned := b.connections()
	give(prometheus.GaugeValue, "connections", "Connections to the faces.", now)
	give(prometheus.CounterValue, "connections_refused_total", "Connections that were closed because their address had its share.", turned)
}
