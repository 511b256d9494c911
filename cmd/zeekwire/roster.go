package main

import (
	"fmt"
	"path"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/google/uuid"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/broker/peering"
)

// roster records the peers of an endpoint that rules have accepted, so that a reload can
// disconnect the peers that the new rules do not accept. It may be used concurrently. The
// zero roster is ready to use.
type roster struct {
	mu       sync.Mutex
	endpoint *peering.Endpoint // nil: no peers are connected yet
	accepted map[uuid.UUID]accepted
	limit    int // of the map, from which on lost peers are forgotten
}

// accepted is a peer with the name that it was accepted for, if any.
type accepted struct {
	peer broker.Peer
	name string
}

// leastRoster is the number of peers up to which lost ones are not forgotten.
const leastRoster = 1024

// use sets the endpoint of the peers.
func (r *roster) use(e *peering.Endpoint) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.endpoint = e
}

// admit reports whether rules accept a peer with a name, and then adds it.
func (r *roster) admit(p broker.Peer, name string, accepts func(p broker.Peer, name string) bool) bool {
	if !accepts(p, name) {
		return false
	}
	r.add(p, name)
	return accepts(p, name) // the rules may have changed before the peer was added
}

// add notes that a peer was accepted.
func (r *roster) add(p broker.Peer, name string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.accepted == nil {
		r.accepted, r.limit = make(map[uuid.UUID]accepted), leastRoster
	}
	r.accepted[p.ID] = accepted{p, name}
	if len(r.accepted) > r.limit {
		r.forget()
		r.limit = leastRoster + 2*len(r.accepted)
	}
}

// forget removes the peers that are no longer connected.
func (r *roster) forget() {
	connected := make(map[uuid.UUID]bool)
	if r.endpoint != nil {
		for _, p := range r.endpoint.Peers() {
			connected[p.Peer.ID] = true
		}
	}
	for id := range r.accepted {
		if !connected[id] {
			delete(r.accepted, id)
		}
	}
}

// dismiss disconnects the peers for which refuse returns an error, with that as the reason.
func (r *roster) dismiss(refuse func(p broker.Peer, name string) error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for id, a := range r.accepted {
		if why := refuse(a.peer, a.name); why != nil {
			delete(r.accepted, id)
			if r.endpoint != nil {
				r.endpoint.Dismiss(id, why)
			}
		}
	}
}

// agentNames are the names of accepted agents. They may be used and changed concurrently.
type agentNames struct {
	patterns atomic.Pointer[[]string] // nil accepts all
	roster   roster
}

func newAgentNames(patterns []string) *agentNames {
	n := new(agentNames)
	n.set(patterns)
	return n
}

func (n *agentNames) set(patterns []string) {
	if len(patterns) == 0 || slices.Contains(patterns, "*") {
		n.patterns.Store(nil)
	} else {
		n.patterns.Store(&patterns)
	}
}

// change replaces the names, and disconnects agents that are no longer accepted.
func (n *agentNames) change(patterns []string) {
	n.set(patterns)
	n.roster.dismiss(func(_ broker.Peer, name string) error {
		if n.accepts(name) {
			return nil
		}
		return fmt.Errorf("allow-agents no longer has agent %.80q", name)
	})
}

// current returns the patterns of accepted names, nil if all are.
func (n *agentNames) current() []string {
	if patterns := n.patterns.Load(); patterns != nil {
		return *patterns
	}
	return nil
}

// restricts reports whether some names are not accepted. It may be called on nil.
func (n *agentNames) restricts() bool { return n != nil && n.current() != nil }

func (n *agentNames) accepts(name string) bool {
	patterns := n.current()
	return patterns == nil || slices.ContainsFunc(patterns, func(pattern string) bool {
		ok, _ := path.Match(pattern, name)
		return ok
	})
}

// permits reports whether a peer may be the agent with a name.
func (n *agentNames) permits(p broker.Peer, name string) bool {
	return n.roster.admit(p, name, func(_ broker.Peer, name string) bool { return n.accepts(name) })
}

// obeyed are the controllers that an agent obeys. They may be used and changed
// concurrently.
type obeyed struct {
	connecting bool // the agent connects to controllers
	rule       atomic.Pointer[func(broker.Peer) bool]
	roster     roster
}

func newObeyed(s *agentSettings) *obeyed {
	o := &obeyed{connecting: len(s.controllers) > 0}
	o.set(s.callers)
	return o
}

func (o *obeyed) set(c callers) {
	if rule := c.obey(o.connecting); rule != nil {
		o.rule.Store(&rule)
	} else {
		o.rule.Store(nil)
	}
}

// change replaces the controllers. It disconnects controllers that have sent requests and
// are no longer accepted.
func (o *obeyed) change(c callers) {
	o.set(c)
	o.roster.dismiss(func(p broker.Peer, _ string) error {
		if o.allows(p) {
			return nil
		}
		return fmt.Errorf("obey no longer has the controller at %s", p.Addr)
	})
}

func (o *obeyed) allows(p broker.Peer) bool {
	rule := o.rule.Load()
	return rule == nil || (*rule)(p)
}

// accepts reports whether the agent obeys a peer.
func (o *obeyed) accepts(p broker.Peer) bool {
	return o.roster.admit(p, "", func(p broker.Peer, _ string) bool { return o.allows(p) })
}
