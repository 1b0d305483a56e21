package relay

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"passerelle/outbox"
)

// Metrics are what an operator watches. They name contracts, sides, kinds and
// classes only, never a ticket or a person.
type Metrics struct {
	events     *prometheus.CounterVec
	hints      *prometheus.CounterVec
	deliveries *prometheus.CounterVec
	seconds    *prometheus.HistogramVec
	swept      *prometheus.GaugeVec
	lost       *prometheus.CounterVec
	purged     *prometheus.CounterVec
	purgedSize *prometheus.CounterVec
}

// NewMetrics returns metrics that count but are not yet collected: see
// Register.
func NewMetrics() *Metrics {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "passerelle", Name: name, Help: help}, labels)
	}
	return &Metrics{
		events:     counter("events_total", "Events judged, by result: accepted or refused.", "contract", "side", "kind", "result"),
		hints:      counter("hints_total", "Hints that a ticket changed.", "contract", "side"),
		deliveries: counter("deliveries_total", "Tries to deliver a message, by class of outcome.", "contract", "side", "kind", "class"),
		swept: prometheus.NewGaugeVec(prometheus.GaugeOpts{Namespace: "passerelle", Name: "swept_timestamp_seconds",
			Help: "When a sweep of the tool last came to its end, in seconds since 1970."}, []string{"contract", "side"}),
		lost:       counter("overwritten_total", "Journal entries that a tool lost, by whose they were: ours (written again) or a person's.", "contract", "side", "whose"),
		purged:     counter("purged_tickets_total", "Tickets whose words were purged, by why: retention or request.", "contract", "why"),
		purgedSize: counter("purged_bytes_total", "Bytes of words that were purged, by why: retention or request.", "contract", "why"),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{Namespace: "passerelle", Name: "delivery_seconds",
			Help: "Seconds that one try to deliver took.", Buckets: prometheus.ExponentialBuckets(0.005, 2.5, 10)}, []string{"contract", "side"}),
	}
}

// Register has the metrics collected by reg, with those that are read from the
// relay's store at each collection.
func (r *Relay) Register(reg prometheus.Registerer) error {
	for _, c := range []prometheus.Collector{r.Metrics.events, r.Metrics.hints, r.Metrics.deliveries, r.Metrics.seconds, r.Metrics.swept, r.Metrics.lost, r.Metrics.purged, r.Metrics.purgedSize, &gauges{r: r}} {
		if err := reg.Register(c); err != nil {
			return err
		}
	}
	return nil
}

var (
	descEntries = prometheus.NewDesc("passerelle_outbox_entries", "Entries that are not final, by status.", []string{"contract", "side", "status"}, nil)
	descOldest  = prometheus.NewDesc("passerelle_oldest_waiting_seconds", "Age of the oldest entry that is not final, in seconds.", []string{"contract", "side"}, nil)
	descBlocked = prometheus.NewDesc("passerelle_lanes_blocked", "Lanes whose first entry is parked: a person must decide.", []string{"contract", "side"}, nil)
	descLooks   = prometheus.NewDesc("passerelle_looks_waiting", "Tickets that are to be read again.", nil, nil)
	descUp      = prometheus.NewDesc("passerelle_destination_up", "1 if the destination answers, 0 if it is down or refuses our account.", []string{"contract", "side"}, nil)
	descStuck   = prometheus.NewDesc("passerelle_stuck", "Things that do not move though they should: /readyz names them.", nil, nil)
	descLeads   = prometheus.NewDesc("passerelle_leads", "1 if this gateway works for the contract, 0 if another one of those that share the store does.", []string{"contract"}, nil)
	descAgain   = prometheus.NewDesc("passerelle_commits_again_total", "Commits decided again because another gateway's came first.", nil, nil)
	descSize    = prometheus.NewDesc("passerelle_database_bytes", "Length of the database file, or of this gateway's replica.", nil, nil)
	descUnused  = prometheus.NewDesc("passerelle_database_unused_bytes", "What of the database file holds nothing.", nil, nil)
	descDenied  = prometheus.NewDesc("passerelle_destination_denied", "1 if the destination refuses our account: all traffic there is stopped.", []string{"contract", "side"}, nil)
)

// gauges reads the store when it is asked.
type gauges struct{ r *Relay }

// Describe lists what Collect gives.
func (g *gauges) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{descEntries, descOldest, descBlocked, descLooks, descUp, descDenied, descStuck, descLeads, descAgain, descSize, descUnused} {
		ch <- d
	}
}

// Collect gives the figures of this moment.
func (g *gauges) Collect(ch chan<- prometheus.Metric) {
	give := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	for dest, gate := range g.r.gates {
		state := gate.state()
		give(descUp, truth(state == "up"), dest.Contract, string(dest.Side))
		give(descDenied, truth(state == "denied"), dest.Contract, string(dest.Side))
	}
	s, err := g.r.Store.Stats(context.Background())
	if err != nil {
		ch <- prometheus.NewInvalidMetric(descEntries, err)
		return
	}
	give(descLooks, float64(s.Looks))
	for name := range g.r.Contracts {
		give(descLeads, truth(s.Led == nil || s.Led[name]), name)
	}
	ch <- prometheus.MustNewConstMetric(descAgain, prometheus.CounterValue, float64(s.Rejected))
	give(descSize, float64(s.Size))
	give(descUnused, float64(s.Unused))
	give(descStuck, float64(len(g.r.Stuck(context.Background()))))
	for dest := range g.r.Tools {
		c, side := dest.Contract, string(dest.Side)
		for _, status := range []outbox.Status{outbox.Waiting, outbox.Lent, outbox.Parked} {
			give(descEntries, float64(s.ByStatus[dest][status]), c, side, string(status))
		}
		give(descBlocked, float64(s.Blocked[dest]), c, side)
		age := 0.0
		if oldest, ok := s.OldestWaiting[dest]; ok && !oldest.IsZero() {
			age = time.Since(oldest).Seconds()
		}
		give(descOldest, age, c, side)
	}
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
