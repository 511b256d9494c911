package metrics

import (
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/broker/admission"
)

// Transports holds the metrics of all transports of a service.
type Transports struct {
	peers, lost              *prometheus.CounterVec
	messages, bytes, dropped *prometheus.CounterVec
	connected, queued        *prometheus.Desc
	stages, evicted, refused *prometheus.Desc

	mu         sync.Mutex
	queues     []queues
	admissions []admissions
}

// queues is a transport whose sizes are read when metrics are collected.
type queues struct {
	transport string
	sizes     func() (peers, queued int)
}

// admissions is a transport whose admission is read when metrics are collected.
type admissions struct {
	transport string
	stats     func() admission.Stats
}

// NewTransports returns the metrics of transports, registered with r.
func NewTransports(r prometheus.Registerer) *Transports {
	t := &Transports{
		peers:     counter("zeekwire_peerings_total", "Established peerings, or connected WebSocket clients.", "transport"),
		lost:      counter("zeekwire_peerings_lost_total", "Peerings that ended.", "transport"),
		messages:  counter("zeekwire_messages_total", "Messages sent to peers or received from them, including those of the protocol itself.", "transport", "direction"),
		bytes:     counter("zeekwire_message_bytes_total", "Bytes of the messages sent to peers or received from them.", "transport", "direction"),
		dropped:   counter("zeekwire_messages_dropped_total", "Messages dropped because a queue was full.", "transport", "direction"),
		connected: prometheus.NewDesc("zeekwire_peers", "Connected peers.", []string{"transport"}, nil),
		queued:    prometheus.NewDesc("zeekwire_send_queue_messages", "Messages queued for sending, to all peers.", []string{"transport"}, nil),
		stages: prometheus.NewDesc("zeekwire_connections",
			"Connections by stage: arriving before the end of their handshake, anonymous, or known, whose peer has proved its identity or was connected to.", []string{"transport", "stage"}, nil),
		evicted: prometheus.NewDesc("zeekwire_connections_evicted_total", "Connections closed in favor of others because there were too many.", []string{"transport"}, nil),
		refused: prometheus.NewDesc("zeekwire_connections_refused_total", "Connections refused because there were too many.", []string{"transport"}, nil),
	}
	r.MustRegister(t.peers, t.lost, t.messages, t.bytes, t.dropped, t)
	return t
}

// Transport returns the hooks of the named transport. They implement HookPeers,
// HookTraffic and HookDrops of package peering.
func (t *Transports) Transport(name string) *Transport {
	return &Transport{
		peers: t.peers.WithLabelValues(name), lost: t.lost.WithLabelValues(name),
		sent: t.messages.WithLabelValues(name, "sent"), sentBytes: t.bytes.WithLabelValues(name, "sent"),
		received: t.messages.WithLabelValues(name, "received"), receivedBytes: t.bytes.WithLabelValues(name, "received"),
		droppedSending: t.dropped.WithLabelValues(name, "sent"), droppedReceived: t.dropped.WithLabelValues(name, "received"),
	}
}

// Watch adds a transport. Sizes returns its number of peers and the number of
// messages queued for them; it may be called from any goroutine.
func (t *Transports) Watch(name string, sizes func() (peers, queued int)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.queues = append(t.queues, queues{name, sizes})
}

// WatchAdmission adds the admission of a transport. Stats may be called from any
// goroutine.
func (t *Transports) WatchAdmission(name string, stats func() admission.Stats) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.admissions = append(t.admissions, admissions{name, stats})
}

// Describe implements prometheus.Collector.
func (t *Transports) Describe(c chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{t.connected, t.queued, t.stages, t.evicted, t.refused} {
		c <- d
	}
}

// Collect implements prometheus.Collector.
func (t *Transports) Collect(c chan<- prometheus.Metric) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, q := range t.queues {
		peers, queued := q.sizes()
		c <- prometheus.MustNewConstMetric(t.connected, prometheus.GaugeValue, float64(peers), q.transport)
		c <- prometheus.MustNewConstMetric(t.queued, prometheus.GaugeValue, float64(queued), q.transport)
	}
	for _, a := range t.admissions {
		s := a.stats()
		for stage, n := range map[string]int{"arriving": s.Arriving, "anonymous": s.Anonymous, "known": s.Known} {
			c <- prometheus.MustNewConstMetric(t.stages, prometheus.GaugeValue, float64(n), a.transport, stage)
		}
		c <- prometheus.MustNewConstMetric(t.evicted, prometheus.CounterValue, float64(s.Evicted), a.transport)
		c <- prometheus.MustNewConstMetric(t.refused, prometheus.CounterValue, float64(s.Refused), a.transport)
	}
}

// Transport holds the metrics of one transport. Its methods may be called
// concurrently.
type Transport struct {
	peers, lost                     prometheus.Counter
	sent, sentBytes                 prometheus.Counter
	received, receivedBytes         prometheus.Counter
	droppedSending, droppedReceived prometheus.Counter
}

// PeerAdded counts a peering.
func (t *Transport) PeerAdded(broker.Peer) { t.peers.Inc() }

// PeerLost counts the end of a peering.
func (t *Transport) PeerLost(broker.Peer, error) { t.lost.Inc() }

// Sent counts sent messages and their bytes.
func (t *Transport) Sent(_ broker.Peer, frames, bytes int) {
	t.sent.Add(float64(frames))
	t.sentBytes.Add(float64(bytes))
}

// Received counts received messages and their bytes.
func (t *Transport) Received(_ broker.Peer, frames, bytes int) {
	t.received.Add(float64(frames))
	t.receivedBytes.Add(float64(bytes))
}

// DroppedSending counts messages that were dropped before they were sent.
func (t *Transport) DroppedSending(_ broker.Peer, messages int) {
	t.droppedSending.Add(float64(messages))
}

// DroppedReceived counts received messages that were dropped.
func (t *Transport) DroppedReceived(_ broker.Peer, messages int) {
	t.droppedReceived.Add(float64(messages))
}
