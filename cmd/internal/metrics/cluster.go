package metrics

import (
	"context"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/zeekwire/zeekwire/zeekapi"
)

// How long who collects metrics waits for the status of the cluster, and for
// how long it is good enough to be given again.
const (
	statusPatience = 4 * time.Second
	statusLifetime = 10 * time.Second
)

// Cluster is the metrics of the cluster as a whole. It asks for the status when
// somebody collects them.
type Cluster struct {
	status func(context.Context) (zeekapi.Status, error)
	now    func() time.Time

	instances, nodes, up *prometheus.Desc

	mu   sync.Mutex
	last *zeekapi.Status // nil if it could not be had
	at   time.Time
}

// NewCluster registers them.
func NewCluster(r prometheus.Registerer, status func(context.Context) (zeekapi.Status, error)) *Cluster {
	c := &Cluster{
		status: status, now: time.Now,
		instances: prometheus.NewDesc("zeekwire_cluster_instances",
			"Instances by state: ready, connected but not ready, missing, drained, or unwanted by the cluster.", []string{"state"}, nil),
		nodes: prometheus.NewDesc("zeekwire_cluster_nodes", "Nodes by state, as their agents say; unknown while an agent does not.", []string{"state"}, nil),
		up:    prometheus.NewDesc("zeekwire_cluster_status_up", "1 if the controller told its status in time, without which there are no instances and nodes.", nil, nil),
	}
	r.MustRegister(c)
	return c
}

// Describe is of prometheus.Collector.
func (c *Cluster) Describe(d chan<- *prometheus.Desc) {
	d <- c.instances
	d <- c.nodes
	d <- c.up
}

// Collect is of prometheus.Collector.
func (c *Cluster) Collect(m chan<- prometheus.Metric) {
	s := c.current()
	if s == nil {
		m <- prometheus.MustNewConstMetric(c.up, prometheus.GaugeValue, 0)
		return
	}
	m <- prometheus.MustNewConstMetric(c.up, prometheus.GaugeValue, 1)
	instances, nodes := make(map[string]int), make(map[zeekapi.State]int)
	for _, i := range s.Instances {
		instances[instanceState(i)]++
		for _, n := range i.Nodes {
			if n.Status.ManagementRole == zeekapi.ManagementNone {
				nodes[n.Status.State]++
			}
		}
	}
	for _, state := range []string{"ready", "connected", "missing", "drained", "unwanted"} {
		m <- prometheus.MustNewConstMetric(c.instances, prometheus.GaugeValue, float64(instances[state]), state)
	}
	for _, state := range states {
		m <- prometheus.MustNewConstMetric(c.nodes, prometheus.GaugeValue, float64(nodes[state]), label(state))
	}
}

func instanceState(i zeekapi.InstanceStatus) string {
	switch {
	case !i.Connected:
		return "missing"
	case i.Drained:
		return "drained"
	case !i.Wanted:
		return "unwanted"
	case !i.Ready:
		return "connected"
	}
	return "ready"
}

// current returns the status, of which it asks at most once at a time.
func (c *Cluster) current() *zeekapi.Status {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.last != nil && c.now().Sub(c.at) < statusLifetime {
		return c.last
	}
	ctx, cancel := context.WithTimeout(context.Background(), statusPatience)
	defer cancel()
	c.last = nil
	if s, err := c.status(ctx); err == nil {
		c.last, c.at = &s, c.now()
	}
	return c.last
}
