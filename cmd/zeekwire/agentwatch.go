package main

import (
	"fmt"
	"strings"

	"github.com/zeekwire/zeekwire/broker/peering"
	"github.com/zeekwire/zeekwire/cmd/internal/metrics"
	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/agent"
)

// watchAgent returns an observer of an agent that updates metrics, health and
// the watchdog of o.
func watchAgent(o *operation, endpoint *peering.Endpoint, controllers []string) func(*agent.Machine, agent.Input, []agent.Output) {
	o.watch(endpoint)
	counts := metrics.NewAgent(o.registry)
	connected := "waiting for a controller to connect"
	return func(m *agent.Machine, in agent.Input, out []agent.Output) {
		counts.Observe(m, in, out)
		o.service.Health.Set("storage", m.Storage())
		o.service.Health.Set("name", m.Refusal())
		switch in.(type) {
		case agent.PeerAdded, agent.PeerLost, agent.Tick:
			if len(controllers) > 0 {
				why := disconnected(endpoint.Targets(), controllers)
				o.service.Health.Set("controller", why)
				connected = "connected to a controller"
				if why != "" {
					connected = why
				}
			}
		}
		o.service.Beat(func() string {
			return fmt.Sprintf("%d of %d nodes running, %s", counts.Nodes(zeekapi.StateRunning), len(m.Nodes()), connected)
		})
	}
}

// disconnected returns the reason why no controller is connected, or "" if one
// is.
func disconnected(targets map[string]peering.PeerInfo, controllers []string) string {
	var why []string
	for _, address := range controllers {
		p := targets[address]
		if p.State == peering.Peered {
			return ""
		}
		if p.Err != nil {
			why = append(why, p.Err.Error())
		}
	}
	if len(why) == 0 {
		return "not connected to " + strings.Join(controllers, ", ")
	}
	return strings.Join(why, "; ")
}
