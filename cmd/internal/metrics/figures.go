package metrics

import (
	"math"
	"strings"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/zeekwire/zeekwire/zeekapi"
)

// measurement is a metric whose value is a number of a T, which may be unknown.
type measurement[T any] struct {
	desc  *prometheus.Desc
	kind  prometheus.ValueType
	value func(T) (n float64, known bool)
}

// total returns a counter of the packets of something.
func total[T any](name, help, label string, traffic func(T) *zeekapi.Traffic, of func(*zeekapi.Traffic) uint64) measurement[T] {
	return measurement[T]{prometheus.NewDesc(name, help, []string{label}, nil), prometheus.CounterValue, func(t T) (float64, bool) {
		if m := traffic(t); m != nil {
			return float64(of(m)), true
		}
		return 0, false
	}}
}

// nodeGauge returns a gauge of a node.
func nodeGauge(name, help string, value func(zeekapi.NodeDetail) (n float64, known bool)) measurement[zeekapi.NodeDetail] {
	return measurement[zeekapi.NodeDetail]{prometheus.NewDesc(name, help, []string{"node"}, nil), prometheus.GaugeValue, value}
}

// presentGauge returns a gauge of a node's number for which zero means unknown.
func presentGauge(name, help string, of func(zeekapi.NodeDetail) float64) measurement[zeekapi.NodeDetail] {
	return nodeGauge(name, help, func(n zeekapi.NodeDetail) (float64, bool) { return of(n), of(n) != 0 })
}

func received(t *zeekapi.Traffic) uint64 { return t.Received }
func dropped(t *zeekapi.Traffic) uint64  { return t.Dropped }
func onLink(t *zeekapi.Traffic) uint64   { return t.Link }
func bytes(t *zeekapi.Traffic) uint64    { return t.Bytes }

// nodeMeasurements are the metrics of each node.
func nodeMeasurements() []measurement[zeekapi.NodeDetail] {
	traffic := func(n zeekapi.NodeDetail) *zeekapi.Traffic {
		if n.Interface == "" {
			return nil
		}
		return n.Traffic
	}
	return []measurement[zeekapi.NodeDetail]{
		nodeGauge("zeekwire_agent_node_cpu", "Number of processors that a node uses, such as 1.5.",
			func(n zeekapi.NodeDetail) (float64, bool) { return n.CPU, n.Memory > 0 }),
		presentGauge("zeekwire_agent_node_memory_bytes", "Resident memory of a node.", func(n zeekapi.NodeDetail) float64 { return float64(n.Memory) }),
		nodeGauge("zeekwire_agent_node_restarts", "Restarts of a node by the agent after failures, since the deployment.",
			func(n zeekapi.NodeDetail) (float64, bool) { return float64(n.Restarts), true }),
		total("zeekwire_agent_node_packets_received_total", "Packets that a node with an interface has received since its start.", "node", traffic, received),
		total("zeekwire_agent_node_packets_dropped_total", "Packets that a node with an interface has dropped since its start.", "node", traffic, dropped),
		total("zeekwire_agent_node_packets_link_total", "Packets on the link of a node since its start; 0 if its packet source does not report them.", "node", traffic, onLink),
		total("zeekwire_agent_node_bytes_received_total", "Bytes in the packets that a node has received since its start.", "node", traffic, bytes),
		presentGauge("zeekwire_agent_node_threads", "Threads of a node.", func(n zeekapi.NodeDetail) float64 { return float64(n.Threads) }),
		presentGauge("zeekwire_agent_node_open_files", "Open file descriptors of a node; absent if the agent has no permission to count them.", func(n zeekapi.NodeDetail) float64 { return float64(n.Files) }),
		presentGauge("zeekwire_agent_node_start_time_seconds", "Start of a node's process, in seconds since 1970.", func(n zeekapi.NodeDetail) float64 {
			if n.Started.IsZero() {
				return 0
			}
			return float64(n.Started.UnixNano()) / float64(time.Second)
		}),
		nodeGauge("zeekwire_agent_node_peers_missing", "Nodes that should have said hello to a node, but have not.",
			func(n zeekapi.NodeDetail) (float64, bool) {
				if n.Connections == nil {
					return 0, false
				}
				return float64(len(n.Connections.Missing)) + float64(n.Connections.More), true
			}),
		nodeGauge("zeekwire_agent_node_scripts_changed", "Scripts of a node that have changed since its start.",
			func(n zeekapi.NodeDetail) (float64, bool) { return float64(len(n.Edited)), true }),
	}
}

// interfaceMeasurements are the metrics of each interface that nodes read from.
func interfaceMeasurements() []measurement[zeekapi.InterfaceTraffic] {
	traffic := func(i zeekapi.InterfaceTraffic) *zeekapi.Traffic { return &i.Traffic }
	return []measurement[zeekapi.InterfaceTraffic]{
		total("zeekwire_agent_interface_packets_received_total", "Packets that arrived at an interface that nodes read from.", "interface", traffic, received),
		total("zeekwire_agent_interface_packets_dropped_total", "Packets that the kernel dropped at such an interface.", "interface", traffic, dropped),
		total("zeekwire_agent_interface_bytes_received_total", "Bytes in the packets that arrived at such an interface.", "interface", traffic, bytes),
	}
}

// directoryMeasurements are the metrics of each directory of a service.
func directoryMeasurements(service string) []measurement[zeekapi.DirectorySpace] {
	gauge := func(name, help string, known func(zeekapi.DirectorySpace) bool, of func(zeekapi.DirectorySpace) float64) measurement[zeekapi.DirectorySpace] {
		return measurement[zeekapi.DirectorySpace]{
			prometheus.NewDesc("zeekwire_"+service+"_directory_"+name, help, []string{"directory"}, nil), prometheus.GaugeValue,
			func(d zeekapi.DirectorySpace) (float64, bool) { return of(d), known(d) },
		}
	}
	measured := func(d zeekapi.DirectorySpace) bool { return d.Error == "" }
	return []measurement[zeekapi.DirectorySpace]{
		gauge("size_bytes", "Size of the file system of a directory: state, spool or archive.", measured, func(d zeekapi.DirectorySpace) float64 { return float64(d.Size) }),
		gauge("free_bytes", "Space in it that is free for programs.", measured, func(d zeekapi.DirectorySpace) float64 { return float64(d.Free) }),
		gauge("growth_bytes_per_second", "Growth of the used space in the last 24 hours; absent in the first ten minutes.",
			func(d zeekapi.DirectorySpace) bool { return measured(d) && d.Period > 0 }, func(d zeekapi.DirectorySpace) float64 { return d.Growth }),
		gauge("full_seconds", "Time until the space is used up if the growth stays the same; infinite if that is not foreseeable.",
			func(d zeekapi.DirectorySpace) bool { return measured(d) && d.Period > 0 }, func(d zeekapi.DirectorySpace) float64 {
				if d.FullIn <= 0 {
					return math.Inf(1)
				}
				return d.FullIn.Seconds()
			}),
	}
}

// measurements collects the metrics of all Ts of the latest set.
type measurements[T any] struct {
	all  []measurement[T]
	name func(T) string
	last atomic.Pointer[[]T]
}

// set replaces the set. It may be called while metrics are collected. Of several Ts with
// the same name, the first one counts.
func (m *measurements[T]) set(all []T) {
	known := make(map[string]bool)
	var distinct []T
	for _, t := range all {
		if name := m.label(t); !known[name] {
			known[name] = true
			distinct = append(distinct, t)
		}
	}
	m.last.Store(&distinct)
}

// label returns the label of a T. Text that is not UTF-8 makes Prometheus panic.
func (m *measurements[T]) label(t T) string { return strings.ToValidUTF8(m.name(t), "\ufffd") }

// Describe implements prometheus.Collector.
func (m *measurements[T]) Describe(d chan<- *prometheus.Desc) {
	for _, x := range m.all {
		d <- x.desc
	}
}

// Collect implements prometheus.Collector.
func (m *measurements[T]) Collect(out chan<- prometheus.Metric) {
	last := m.last.Load()
	if last == nil {
		return
	}
	for _, t := range *last {
		for _, x := range m.all {
			if n, known := x.value(t); known {
				out <- prometheus.MustNewConstMetric(x.desc, x.kind, n, m.label(t))
			}
		}
	}
}

func newDirectories(service string) *measurements[zeekapi.DirectorySpace] {
	return &measurements[zeekapi.DirectorySpace]{all: directoryMeasurements(service), name: func(d zeekapi.DirectorySpace) string { return d.Purpose }}
}
