package main

import (
	"fmt"

	"github.com/zeekwire/zeekwire/broker/membus"
	"github.com/zeekwire/zeekwire/cmd/internal/metrics"
	"github.com/zeekwire/zeekwire/zeekapi/client"
	"github.com/zeekwire/zeekwire/zeekapi/controller"
	"github.com/zeekwire/zeekwire/zeekapi/operations"
)

// watchController has an operation follow a controller that is about to run:
// from the controller's own loop, and as a client that asks for the status.
// Stop must be called when the controller has ended.
func watchController(o *operation, cfg *controller.Config) (stop func()) {
	hub := membus.New()
	inside := hub.Endpoint(controller.Topics(cfg.Dialects)...)
	probe := hub.Endpoint(operations.DefaultTopics.Controller)
	cfg.Buses = append(cfg.Buses, inside)
	asking := client.New(probe, operations.Dialect(operations.DefaultTopics))
	metrics.NewCluster(o.registry, asking.Status)

	counts := metrics.NewController(o.registry, probe.ID())
	cfg.Beat = o.service.BeatInterval()
	cfg.Observe = func(m *controller.Machine, in controller.Input, out []controller.Output) {
		counts.Observe(m, in, out)
		o.service.Beat(func() string {
			return fmt.Sprintf("%d agents connected, %d requests under way", counts.Agents(), m.Pending())
		})
	}
	return func() {
		asking.Close()
		inside.Close()
	}
}
