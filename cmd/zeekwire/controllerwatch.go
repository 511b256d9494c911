package main

import (
	"fmt"
	"time"

	"github.com/zeekwire/zeekwire/cmd/internal/metrics"
	"github.com/zeekwire/zeekwire/zeekapi/controller"
)

// statusInterval is the interval at which a controller requests the states of
// all nodes. Zeek's agents do not report changes of state; agents of zeekwire
// do, without a request.
const statusInterval = 30 * time.Second

// watchController adds an observer to the configuration of a controller, for the
// metrics, status and watchdog of o.
func watchController(o *operation, cfg *controller.Config) {
	counts, cluster := metrics.NewController(o.registry), metrics.NewCluster(o.registry)
	cfg.Settings.StatusInterval = statusInterval
	cfg.Beat = o.service.BeatInterval()
	cfg.Observe = func(s controller.Snapshot, in controller.Input, out []controller.Output) {
		counts.Observe(s, in, out)
		cluster.Observe(s)
		o.service.Health.Set("storage", s.Storage)
		if in == nil {
			return // the start: the service is not ready yet
		}
		o.service.Beat(func() string {
			text := fmt.Sprintf("%d agents connected, %d requests pending", s.Agents, s.Pending)
			if s.Storage != "" {
				text = "changes are refused: " + s.Storage + "; " + text
			}
			return text
		})
	}
}
