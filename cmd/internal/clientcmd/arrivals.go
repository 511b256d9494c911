package clientcmd

import (
	"context"
	"time"

	"github.com/zeekwire/zeekwire/broker/peering"
	"github.com/zeekwire/zeekwire/cmd/internal/terminal"
	"github.com/zeekwire/zeekwire/zeekapi"
)

const (
	// arrivalTime limits the time that agents need to connect after the controller has
	// started, or after their connection has ended: the longest pause between two attempts,
	// and a handshake.
	arrivalTime = peering.DefaultRetryMax + 2*time.Second

	// arrivalPause is the time between two requests for the connected agents.
	arrivalPause = 250 * time.Millisecond
)

// awaitAgents returns the connected agents, and the instances for which a deployment of
// config would wait in vain. If the controller has just started, or has just lost an agent,
// it first waits until all agents are there, or had the time to connect.
func (d *deployer) awaitAgents(ctx context.Context, config zeekapi.Configuration) (connected []zeekapi.Instance, missing []string, err error) {
	live := terminal.NewLive(d.progress, d.progressScreen)
	defer live.Clear()
	for until := (time.Time{}); ; {
		if connected, err = d.requestInstances(ctx, d.client); err != nil {
			return nil, nil, err
		}
		var changed time.Time
		if missing, changed, err = d.missing(ctx, config, connected); err != nil || len(missing) == 0 {
			return connected, missing, err
		}
		now := time.Now()
		first := until.IsZero()
		if first {
			until = arrival(changed, now)
		}
		if !now.Before(until) {
			return connected, missing, nil
		}
		if first {
			d.log(showWarnings, "info", "waiting for agents to connect: %s", someOf(missing))
		}
		live.Update(terminal.Text("Waiting for agents to connect: %s", someOf(missing)))
		if !sleep(ctx, arrivalPause) {
			return nil, nil, context.Cause(ctx)
		}
	}
}

// arrival returns the time at which agents are there that will connect after a change. It
// is now if the change is too old, or if the clocks differ by too much to tell.
func arrival(changed, now time.Time) time.Time {
	age := now.Sub(changed)
	if age.Abs() > arrivalTime {
		return now
	}
	return now.Add(arrivalTime - max(age, 0))
}

// began returns the time since which a controller has been there for agents: its start, or
// the beginning of its term.
func began(s zeekapi.Status) time.Time {
	at := s.Controller.Started
	for _, m := range s.Controllers {
		if m.Leads {
			at = latest(at, m.Since)
		}
	}
	return at
}

func latest(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}
