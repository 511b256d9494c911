package metrics

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/zeekwire/zeekwire/broker/gateway"
	"github.com/zeekwire/zeekwire/broker/gateway/bridge"
)

// maxReaderLabels limits the names of readers in metrics. The others are one, "other".
const maxReaderLabels = 100

// gatewayMetrics collects the metrics of a gateway.
type gatewayMetrics struct {
	gateway *gateway.Gateway
	nats    *bridge.Bridge // nil for none

	messages, delivered, lost, published, refused, kept, keptBytes, zeeks, connections, readers, behind *prometheus.Desc

	natsConnected, natsPublished, natsRepeated, natsDropped, natsReceived, natsRemoved, natsWaiting, natsBytes *prometheus.Desc
}

// WatchGateway registers the metrics of a gateway, and of its bridge to NATS unless that is
// nil, with r.
func WatchGateway(r prometheus.Registerer, g *gateway.Gateway, nats *bridge.Bridge) {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("zeekwire_gateway_"+name, help, labels, nil)
	}
	r.MustRegister(&gatewayMetrics{
		gateway:     g,
		nats:        nats,
		messages:    desc("messages_total", "Messages that were passed on."),
		delivered:   desc("delivered_total", "Messages that were sent to readers of Server-Sent Events."),
		lost:        desc("lost_total", "Messages that slow readers of Server-Sent Events missed."),
		published:   desc("published_total", "Messages that readers published."),
		refused:     desc("refused_total", "Messages of readers that may not publish."),
		kept:        desc("kept_messages", "Messages that are kept for readers that connect again."),
		keptBytes:   desc("kept_bytes", "Memory of the messages that are kept."),
		zeeks:       desc("zeeks", "Zeeks whose messages are passed on."),
		connections: desc("connections", "Connections of readers of all kinds, by state.", "state"),
		readers:     desc("readers", "Readers of Server-Sent Events, by name: that of a client, anonymous, or other for those beyond the first 100 names.", "reader"),
		behind:      desc("behind_messages", "Messages of all topics that the slowest reader of a name has not received yet.", "reader"),

		natsConnected: desc("nats_connected", "1 if the gateway is connected to NATS."),
		natsPublished: desc("nats_published_total", "Messages whose storage NATS has confirmed."),
		natsRepeated:  desc("nats_repeated_total", "Messages that were sent to NATS again because it had not confirmed them, for example because the stream was full."),
		natsDropped:   desc("nats_dropped_total", "Messages that were not published in NATS, by reason: full (the queue) or large (the message).", "reason"),
		natsReceived:  desc("nats_received_total", "Messages of other gateways from NATS."),
		natsRemoved:   desc("nats_removed_total", "Messages that the stream in NATS removed before the gateway had read them. There may be more."),
		natsWaiting:   desc("nats_waiting_messages", "Messages that NATS has not confirmed yet."),
		natsBytes:     desc("nats_waiting_bytes", "Memory of the messages that NATS has not confirmed yet."),
	})
}

// Describe implements prometheus.Collector.
func (g *gatewayMetrics) Describe(d chan<- *prometheus.Desc) {
	for _, desc := range []*prometheus.Desc{
		g.messages, g.delivered, g.lost, g.published, g.refused, g.kept, g.keptBytes, g.zeeks, g.connections, g.readers, g.behind,
	} {
		d <- desc
	}
	if g.nats == nil {
		return
	}
	for _, desc := range []*prometheus.Desc{
		g.natsConnected, g.natsPublished, g.natsRepeated, g.natsDropped, g.natsReceived, g.natsRemoved, g.natsWaiting, g.natsBytes,
	} {
		d <- desc
	}
}

// Collect implements prometheus.Collector.
func (g *gatewayMetrics) Collect(m chan<- prometheus.Metric) {
	s := g.gateway.Stats()
	count := func(d *prometheus.Desc, n uint64, labels ...string) {
		m <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(n), labels...)
	}
	gauge := func(d *prometheus.Desc, n float64, labels ...string) {
		m <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, n, labels...)
	}
	count(g.messages, s.Messages)
	count(g.delivered, s.Delivered)
	count(g.lost, s.Lost)
	count(g.published, s.Published)
	count(g.refused, s.Refused)
	gauge(g.kept, float64(s.Kept))
	gauge(g.keptBytes, float64(s.KeptBytes))
	gauge(g.zeeks, float64(s.Zeeks))
	gauge(g.connections, float64(s.Places.Arriving), "arriving")
	gauge(g.connections, float64(s.Places.Anonymous), "anonymous")
	gauge(g.connections, float64(s.Places.Known), "known")
	readers, behind := byReader(g.gateway.Readers())
	for name, n := range readers {
		gauge(g.readers, n, name)
		gauge(g.behind, behind[name], name)
	}
	if g.nats != nil {
		g.collectNATS(count, gauge)
	}
}

// collectNATS collects the metrics of the bridge to NATS.
func (g *gatewayMetrics) collectNATS(count func(*prometheus.Desc, uint64, ...string), gauge func(*prometheus.Desc, float64, ...string)) {
	s := g.nats.Stats()
	connected := 0.0
	if s.Connected {
		connected = 1
	}
	gauge(g.natsConnected, connected)
	count(g.natsPublished, s.Published)
	count(g.natsRepeated, s.Repeated)
	count(g.natsDropped, s.Full, "full")
	count(g.natsDropped, s.TooLarge, "large")
	count(g.natsReceived, s.Received)
	count(g.natsRemoved, s.Removed)
	gauge(g.natsWaiting, float64(s.Waiting))
	gauge(g.natsBytes, float64(s.WaitingBytes))
}

// byReader returns the number of readers of each name, and how far the slowest one is behind.
func byReader(all []gateway.Reader) (readers, behind map[string]float64) {
	readers, behind = make(map[string]float64), make(map[string]float64)
	for _, r := range all {
		name := r.Peer.Identity.Name()
		if name == "" {
			name = "anonymous"
		}
		if _, known := readers[name]; !known && len(readers) >= maxReaderLabels {
			name = "other"
		}
		readers[name]++
		behind[name] = max(behind[name], float64(r.Behind))
	}
	return readers, behind
}
