package main

import (
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/zeekwire/zeekwire/broker/record"
	"github.com/zeekwire/zeekwire/cmd/internal/alerts"
	"github.com/zeekwire/zeekwire/cmd/internal/authority"
	"github.com/zeekwire/zeekwire/cmd/internal/enrol"
	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/controller"
)

// nodeStarts knows since when the nodes of each instance run. A node uses the certificate
// that its agent had at that time, until it ends. The zero value is ready for use.
type nodeStarts struct {
	mu     sync.Mutex
	oldest map[string]nodeStart // by instance
}

// nodeStart is the start of the oldest node of an instance.
type nodeStart struct{ started, reported time.Time }

// startsForgotten is the time after which a report of an agent that is gone does not
// count any more.
const startsForgotten = 10 * statusInterval

// observe observes a controller, whose loop calls it.
func (n *nodeStarts) observe(s controller.Snapshot, in controller.Input, _ []controller.Output) {
	from, ok := in.(controller.FromAgent)
	if !ok || s.Speaker == "" {
		return
	}
	var details []zeekapi.NodeDetail
	msg, ok := from.Message.(zeekapi.AgentStatusResponse)
	if !ok || !msg.Result.Success || record.Unmarshal(msg.Result.Data, &details) != nil {
		return
	}
	n.take(time.Now(), s.Speaker, details)
}

// take takes the nodes of an instance.
func (n *nodeStarts) take(now time.Time, instance string, details []zeekapi.NodeDetail) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.oldest, instance)
	for _, d := range details {
		at := d.Started
		if at.IsZero() || d.Status.State != zeekapi.StateRunning {
			continue
		}
		if before, ok := n.oldest[instance]; ok && before.started.Before(at) {
			continue
		}
		if n.oldest == nil {
			n.oldest = make(map[string]nodeStart)
		}
		n.oldest[instance] = nodeStart{at, now}
	}
}

// earlier returns when the certificates of nodes expire, by instance, where the agent has
// a later one.
func (n *nodeStarts) earlier(now time.Time, a *authority.Authority) (map[string]authority.Held, error) {
	if a == nil {
		return nil, nil
	}
	n.mu.Lock()
	maps.DeleteFunc(n.oldest, func(_ string, s nodeStart) bool { return now.Sub(s.reported) > startsForgotten })
	starts := make(map[string]time.Time, len(n.oldest))
	for instance, s := range n.oldest {
		starts[instance] = s.started
	}
	n.mu.Unlock()
	held, err := a.At(starts)
	maps.DeleteFunc(held, func(_ string, h authority.Held) bool { return h.Newest })
	return held, err
}

// expiring returns a warning if certificates of nodes are about to expire, "" otherwise.
func (n *nodeStarts) expiring(now time.Time, a *authority.Authority) string {
	held, err := n.earlier(now, a)
	if err != nil {
		return ""
	}
	maps.DeleteFunc(held, func(_ string, h authority.Held) bool { return !enrol.EndsSoon(now, h.Expires, h.Lifetime) })
	if len(held) == 0 {
		return ""
	}
	instances := slices.Sorted(maps.Keys(held))
	first := slices.MinFunc(instances, func(x, y string) int { return held[x].Expires.Compare(held[y].Expires) })
	return fmt.Sprintf("nodes of %d instances, such as %s, started with an earlier certificate of their agent, which expires at %s: restart them, or they cannot connect again",
		len(instances), first, held[first].Expires.UTC().Format(time.RFC3339))
}

// certificates returns the certificates of nodes for alerts.
func (n *nodeStarts) certificates(now time.Time, a *authority.Authority) ([]alerts.Cert, error) {
	held, err := n.earlier(now, a)
	var all []alerts.Cert
	for _, instance := range slices.Sorted(maps.Keys(held)) {
		all = append(all, alerts.Cert{Name: "of nodes of " + instance, NotAfter: held[instance].Expires})
	}
	return all, err
}
