package controller

import (
	"slices"

	"github.com/google/uuid"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/zeekapi"
)

// agent is a peer that said hello.
type agent struct {
	zeekapi.Instance
	peer     uuid.UUID
	dialects []string // in which it said hello

	// term is the number of the last time that the peer became the agent of its
	// instance, which tells its terms from those of its rivals.
	term uint64

	// Only agents of zeekwire send the following.
	described  bool
	process    zeekapi.Process
	zeek       string // version
	layoutForm uint64
	revision   uint64

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

// agents keeps the peers that said hello. An instance has one agent: the peer
// that said hello last. Earlier peers of the same name are its rivals, one of
// which follows when the agent is lost.
type agents struct {
	*outbox
	peers   map[uuid.UUID]*agent
	current map[string]*agent   // by instance
	rivals  map[string][]*agent // all peers, by instance
	terms   uint64
}

func newAgents(out *outbox) *agents {
	return &agents{
		outbox: out, peers: make(map[uuid.UUID]*agent),
		current: make(map[string]*agent), rivals: make(map[string][]*agent),
	}
}

// of returns the agent of an instance, nil if there is none.
func (a *agents) of(instance string) *agent { return a.current[instance] }

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
		peer:     p.ID,
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
	peer.term = a.terms
	a.current[peer.Name] = peer
}

// vacate leaves an instance without an agent.
func (a *agents) vacate(instance string) { delete(a.current, instance) }

// forget removes a peer that is not the agent of its instance any more, and
// returns the rival that follows, nil if there is none.
func (a *agents) forget(peer *agent) (successor *agent) {
	delete(a.peers, peer.peer)
	rivals := slices.DeleteFunc(a.rivals[peer.Name], func(r *agent) bool { return r == peer })
	if len(rivals) == 0 {
		delete(a.rivals, peer.Name)
		return nil
	}
	a.rivals[peer.Name] = rivals
	return rivals[len(rivals)-1]
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
	if d := a.peers[peer]; d != nil {
		d.described, d.process, d.zeek = true, msg.Agent, msg.Zeek
		d.layoutForm, d.revision = msg.LayoutForm, msg.Revision
	}
}
