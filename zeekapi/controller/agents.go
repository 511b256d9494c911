package controller

import (
	"crypto/sha256"
	"slices"

	"github.com/google/uuid"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/zeekapi"
)

// agent is a peer that said hello.
type agent struct {
	zeekapi.Instance
	peer     uuid.UUID
	from     broker.Peer
	dialects []string // in which it said hello

	claims  bool // the instance of another agent, which has yet to answer
	refused bool // because another agent of this name answered
	silent  bool // it did not answer when it was the agent of its instance

	// term is the number of the last time that the peer became the agent of its
	// instance, which tells its terms from those of its rivals.
	term uint64

	// Only agents of zeekwire send the following.
	described  bool
	process    zeekapi.Process
	zeek       string // version
	layoutForm uint64
	revision   uint64

	// layouts has the IDs of two layouts that the agent has. The first one was sent last. The
	// second one was sent before, or the agent has reported it, which it does for the layout
	// of its assignment. "" stands for none.
	layouts [2]string

	claim string // ID of the AgentLeaderRequest to the agent, "" if there was none

	site      string     // that the agent is known to have
	siteError *siteError // why it did not get one
}

// siteError is why an agent did not get a site.
type siteError struct{ site, text string }

func (e *siteError) Error() string { return e.text }

// isOurs reports whether a peer is an agent of zeekwire, which says hello in our
// own dialect. Its description may follow only after that.
func (a *agent) isOurs() bool { return a.described || slices.Contains(a.dialects, zeekapi.Operations) }

// checks reports whether an agent can check what it is to run.
func (a *agent) checks() bool { return a.revision >= 1 && a.layoutForm == zeekapi.LayoutForm }

// keepsLayouts reports whether an agent keeps layouts for the requests that name them.
func (a *agent) keepsLayouts() bool { return a.checks() && a.revision >= 4 }

// answered processes the results of a request with a layout. If the agent refused the request
// as a whole, it may not have the layout. Then the layout is sent again before the next request.
func (a *agent) answered(results []zeekapi.Result) {
	if slices.ContainsFunc(results, func(r zeekapi.Result) bool { return !r.Success && r.Node == "" }) {
		a.layouts = [2]string{}
	}
}

// hasLayout reports whether the agent is known to have a layout.
func (a *agent) hasLayout(id string) bool { return id != "" && slices.Contains(a.layouts[:], id) }

// sentLayout records that a layout was sent to the agent.
func (a *agent) sentLayout(id string) { a.layouts = [2]string{id, a.layouts[0]} }

// reportedLayout records that the agent reports that it has a layout.
func (a *agent) reportedLayout(id string) {
	if len(id) == sha256.Size*2 && !a.hasLayout(id) {
		a.layouts[1] = id
	}
}

// certified reports whether a certificate has the name of the agent.
func (a *agent) certified() bool {
	id := a.from.Identity
	return id != nil && id.Certified && slices.Contains(id.Names, a.Name)
}

// address returns the network address of an agent, as people see it.
func (a *agent) address() string { return addressText(a.from) }

// agents keeps the peers that said hello. An instance has one agent; other peers
// of the same name are its rivals. When the agent is lost, the rival follows that
// said hello last: the connections of machines that lost power say nothing.
type agents struct {
	*outbox
	peers   map[uuid.UUID]*agent
	current map[string]*agent   // by instance
	rivals  map[string][]*agent // all peers in the order of their last hellos, by instance
	refused int                 // number of peers
	terms   uint64
	changed []string // instances whose agents, or their descriptions, have changed in this step
}

func newAgents(out *outbox) *agents {
	return &agents{
		outbox: out, peers: make(map[uuid.UUID]*agent),
		current: make(map[string]*agent), rivals: make(map[string][]*agent),
	}
}

// of returns the agent of an instance, nil if there is none.
func (a *agents) of(instance string) *agent { return a.current[instance] }

// peerOf returns the peer that is the agent of an instance, uuid.Nil if there is none.
func (a *agents) peerOf(instance string) uuid.UUID {
	if agent := a.of(instance); agent != nil {
		return agent.peer
	}
	return uuid.Nil
}

// isZeeks reports whether an instance has an agent, and it is Zeek's own.
func (a *agents) isZeeks(instance string) bool {
	current := a.current[instance]
	return current != nil && !current.described
}

// peer returns the agent that a peer is or was, nil if it did not say hello.
func (a *agents) peer(id uuid.UUID) *agent { return a.peers[id] }

// speaking returns the peer as the agent of its instance, nil if it is none or
// another peer took over the instance.
func (a *agents) speaking(id uuid.UUID) *agent {
	if s := a.peers[id]; s != nil && a.current[s.Name] == s {
		return s
	}
	return nil
}

// names returns the instances that have an agent, sorted.
func (a *agents) names() []string { return sortedKeys(a.current) }

// instances returns the agents as instances, sorted by name.
func (a *agents) instances() []zeekapi.Instance {
	list := make([]zeekapi.Instance, 0, len(a.current))
	for _, name := range a.names() {
		list = append(list, a.current[name].Instance)
	}
	return list
}

// meet adds a peer that says its first hello. It is not the agent of its
// instance yet.
func (a *agents) meet(p broker.Peer, instance string) *agent {
	met := &agent{
		Instance: zeekapi.Instance{Name: instance, Host: p.Addr.Addr().Unmap().WithZone("")},
		peer:     p.ID, from: p,
	}
	if p.Dialed {
		met.Port = broker.TCP(p.Addr.Port())
	}
	a.peers[p.ID] = met
	a.rivals[instance] = append(a.rivals[instance], met)
	return met
}

// occupy makes a peer the agent of its instance, which must have none.
func (a *agents) occupy(peer *agent) {
	a.terms++
	a.changed = append(a.changed, peer.Name)
	peer.term = a.terms
	a.relieve(peer)
	a.current[peer.Name] = peer
}

// vacate leaves an instance without an agent.
func (a *agents) vacate(instance string) { delete(a.current, instance) }

// relieve takes back that a peer claims an instance or is refused.
func (a *agents) relieve(peer *agent) {
	if peer.claims = false; peer.refused {
		peer.refused = false
		a.refused--
	}
}

// claim moves a peer that says hello to the end of the rivals.
func (a *agents) claim(peer *agent) {
	rivals := slices.DeleteFunc(a.rivals[peer.Name], func(r *agent) bool { return r == peer })
	a.rivals[peer.Name] = append(rivals, peer)
}

// successor returns the rival that follows an agent, nil if there is none. One that
// did not answer before follows only if there is no other.
func (a *agents) successor(of *agent) *agent {
	var last *agent
	for _, r := range slices.Backward(a.rivals[of.Name]) {
		switch {
		case r == of:
		case !r.silent:
			return r
		case last == nil:
			last = r
		}
	}
	return last
}

// refusals returns the addresses of the peers that are refused as agents of an
// instance, at most maxRefusals of them.
func (a *agents) refusals(instance string) []string {
	var addresses []string
	for _, r := range a.rivals[instance] {
		if r.refused && len(addresses) < maxRefusals {
			addresses = append(addresses, r.address())
		}
	}
	return addresses
}

// maxRefusals limits the refused peers that a status shows for an instance.
const maxRefusals = 10

// forget removes a peer that is not the agent of its instance any more, and
// returns the rival that follows, nil if there is none.
func (a *agents) forget(peer *agent) (successor *agent) {
	a.relieve(peer)
	delete(a.peers, peer.peer)
	successor = a.successor(peer)
	a.rivals[peer.Name] = slices.DeleteFunc(a.rivals[peer.Name], func(r *agent) bool { return r == peer })
	if len(a.rivals[peer.Name]) == 0 {
		delete(a.rivals, peer.Name)
	}
	return successor
}

// tell sends a message to the agent of an instance.
func (a *agents) tell(instance string, msg zeekapi.Message) {
	a.send(instance, ToAgent{Message: msg})
}

// send is like tell. It fills in to whom the message goes.
func (a *agents) send(instance string, to ToAgent) {
	to.Instance = instance
	if current := a.current[instance]; current != nil {
		to.Peer, to.Dialects = current.peer, current.dialects
	}
	a.emit(to)
}

// describe takes what an agent of zeekwire says of itself.
func (a *agents) describe(peer uuid.UUID, msg zeekapi.AgentDescription) {
	d := a.peers[peer]
	if d == nil {
		return
	}
	if !d.described || d.layoutForm != msg.LayoutForm || d.revision != msg.Revision {
		a.changed = append(a.changed, d.Name) // agents repeat their descriptions
	}
	d.described, d.process, d.zeek = true, msg.Agent, msg.Zeek
	d.layoutForm, d.revision = msg.LayoutForm, msg.Revision
	d.reportedLayout(msg.Layout)
}
