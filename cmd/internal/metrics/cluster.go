package metrics

import (
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/zeekwire/zeekwire/zeekapi/controller"
)

// Cluster collects the metrics of the cluster as a whole from the controller's
// latest snapshot.
type Cluster struct {
	instances, nodes, up *prometheus.Desc

	last atomic.Pointer[controller.Snapshot] // nil before the first one
}

// NewCluster returns the metrics of a cluster, registered with r.
func NewCluster(r prometheus.Registerer) *Cluster {
	c := &Cluster{
		instances: prometheus.NewDesc("zeekwire_cluster_instances",
			"Instances by state: ready, connected but not ready, missing, drained, or not part of the cluster.", []string{"state"}, nil),
		nodes: prometheus.NewDesc("zeekwire_cluster_nodes", "Nodes by state, as reported by their agents; unknown without a report.", []string{"state"}, nil),
		up:    prometheus.NewDesc("zeekwire_cluster_status_up", "1 if the controller knows the state of the cluster, otherwise 0, and the metrics of instances and nodes are absent.", nil, nil),
	}
	r.MustRegister(c)
	return c
}

// Observe stores a snapshot. It may be called while metrics are collected.
func (c *Cluster) Observe(s controller.Snapshot) { c.last.Store(&s) }

// Describe implements prometheus.Collector.
func (c *Cluster) Describe(d chan<- *prometheus.Desc) {
	d <- c.instances
	d <- c.nodes
	d <- c.up
}

// Collect implements prometheus.Collector.
func (c *Cluster) Collect(m chan<- prometheus.Metric) {
	s := c.last.Load()
	if s == nil {
		m <- prometheus.MustNewConstMetric(c.up, prometheus.GaugeValue, 0)
		return
	}
	m <- prometheus.MustNewConstMetric(c.up, prometheus.GaugeValue, 1)
	for _, state := range controller.InstanceStates {
		m <- prometheus.MustNewConstMetric(c.instances, prometheus.GaugeValue, float64(s.Instances[state]), string(state))
	}
	for _, state := range states {
		m <- prometheus.MustNewConstMetric(c.nodes, prometheus.GaugeValue, float64(s.Nodes[state]), label(state))
	}
}
