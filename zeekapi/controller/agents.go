package controller

import (
	"net/netip"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/zeekapi"
)

// agent is a peer that said hello.
type agent struct {
	zeekapi.Instance
	peer     uuid.UUID
	dialects []string // in which it said hello
	calls    map[*call]bool

	// What only our agents tell.
	described  bool
	process    zeekapi.Process
	zeek       string // version
	layoutForm uint64
}

// contact is what we know of an instance's agent beyond a peering with it.
type contact struct {
	since     time.Time // when it came or went; zero: it never came
	lastError string
	events    allowance
}

// member is an instance that the cluster needs.
type member struct {
	zeekapi.Instance
	welcome string     // ID of our welcome that its agent has not answered, or ""
	ready   bool       // its agent answered our welcome
	host    netip.Addr // where its agent was last seen, or deployed before that
	asked   *call      // by which its agent was last told what to run
	told    content    // what that is
	runs    content    // what the agent that is there now said it runs

	// undrain is the client's request that waits for the agent to run what it
	// should, nil if there is none.
	undrain *request
}

// update changes a member, or what it depends on, and keeps count of those
// that a deployment waits for.
func (m *Machine) update(w *member, change func()) {
	if m.blocks(w) {
		m.unready--
	}
	change()
	if m.blocks(w) {
		m.unready++
	}
}

// blocks reports whether a deployment has to wait for a member.
func (m *Machine) blocks(w *member) bool {
	return m.wanted[w.Name] == w && !w.ready && !m.drained[w.Name]
}

func (m *Machine) allReady() bool { return m.unready == 0 }

func (m *Machine) contact(instance string) *contact {
	c := m.contacts[instance]
	if c == nil {
		c = &contact{events: newAllowance(eventBurst, eventPerSecond)}
		m.contacts[instance] = c
	}
	return c
}

// release forgets an instance that nobody asks about.
func (m *Machine) release(instance string) {
	if m.wanted[instance] == nil && m.agents[instance] == nil {
		delete(m.contacts, instance)
	}
}

// recall learns from the events of an earlier life since when agents that are
// not there yet are gone.
func (m *Machine) recall() {
	last := make(map[string]zeekapi.ClusterEvent)
	for _, n := range m.events {
		if n.Kind == zeekapi.EventConnected || n.Kind == zeekapi.EventLost {
			last[n.Instance] = n
		}
	}
	for _, i := range m.configs[Target].Instances {
		switch n := last[i.Name]; n.Kind {
		case zeekapi.EventLost:
			m.contact(i.Name).since = n.Time
		case zeekapi.EventConnected:
			m.contact(i.Name).since = m.now // it was there when we were last
		}
	}
}

func (m *Machine) fromAgent(peer broker.Peer, dialect string, msg zeekapi.Message) {
	switch msg := msg.(type) {
	case zeekapi.AgentHello:
		m.hello(peer, dialect, msg)
	case zeekapi.AgentDescription:
		if a := m.peers[peer.ID]; a != nil {
			a.described, a.process, a.zeek, a.layoutForm = true, msg.Agent, msg.Zeek, msg.LayoutForm
		}
	case zeekapi.AgentWelcomeResponse:
		m.welcomed(peer, msg)
	case zeekapi.AgentStandbyResponse:
		m.stoodBy(peer, msg)
	case zeekapi.AgentDeployResponse, zeekapi.AgentGetNodesResponse,
		zeekapi.AgentDispatchResponse, zeekapi.AgentRestartResponse,
		zeekapi.AgentStatusResponse, zeekapi.AgentLogsResponse:
		m.answered(peer, msg)
	case zeekapi.AgentError, zeekapi.AgentLog, zeekapi.AgentChange:
		m.reported(peer, msg)
	}
	// The rest are our own requests, which we hear when another controller
	// speaks.
}

// apiVersion is the only version of the agent API there ever was, in either
// dialect.
const apiVersion = 1

// hello takes note of an agent. An instance has one agent: of several peers
// with the same name, the one that came last, for it may be the first one's
// successor before we notice that the first is gone. Later hellos change
// nothing in that, or two agents with the same name would take turns.
func (m *Machine) hello(peer broker.Peer, dialect string, msg zeekapi.AgentHello) {
	if n := len(msg.Instance); n > maxText {
		m.complain(peer).Int("bytes", n).Msg("ignoring an agent with such a long name")
		return
	}
	log := m.log.With().Str("instance", msg.Instance).Str("peer", peer.ID.String()).Stringer("address", peer.Addr).Logger()
	a := m.peers[peer.ID]
	if msg.APIVersion != apiVersion {
		m.complain(peer).Str("instance", msg.Instance).Uint64("version", msg.APIVersion).Msg("agent has an API version that we do not speak")
		if a != nil {
			m.forget(a, "it speaks another version of the API")
		}
		return
	}
	if msg.EndpointID != "" && msg.EndpointID != peer.ID.String() {
		log.Debug().Str("claimed", msg.EndpointID).Msg("agent claims another endpoint ID than its peering has")
	}
	before := m.agents[msg.Instance]
	switch {
	case a == nil:
		a = &agent{
			Instance: zeekapi.Instance{Name: msg.Instance, Host: peer.Addr.Addr().Unmap().WithZone("")},
			peer:     peer.ID, calls: make(map[*call]bool),
		}
		if peer.Dialed {
			a.Port = broker.TCP(peer.Addr.Port())
		}
		m.peers[peer.ID] = a
		m.rivals[a.Name] = append(m.rivals[a.Name], a)
		if before != nil {
			log.Warn().Str("before", before.peer.String()).Msg("another agent takes over the instance")
			m.vacate(before, "another agent takes over the instance")
		}
		log.Info().Bool("connecting", msg.Connecting).Bool("wanted", m.wanted[msg.Instance] != nil).Msg("agent said hello")
		m.occupy(a)
	case a.Name != msg.Instance:
		// This also keeps a peer from filling our memory with names.
		m.complain(peer).Str("instance", msg.Instance).Str("before", a.Name).Msg("ignoring the hello of an agent that had another name before")
		return
	case before != a:
		m.complain(peer).Str("instance", msg.Instance).Str("current", before.peer.String()).Msg("ignoring the hello of an agent whose instance another took over")
		return
	}
	if dialect != "" && !slices.Contains(a.dialects, dialect) {
		a.dialects = append(a.dialects, dialect)
	}
	m.greet(a)
}

// occupy makes a the agent of its instance.
func (m *Machine) occupy(a *agent) {
	m.agents[a.Name] = a
	m.contact(a.Name).since = m.now
	if w := m.wanted[a.Name]; w != nil {
		w.host = a.Host
	}
	if m.drained[a.Name] {
		m.keep(Owed, a.Name, true) // it may be a new one that knows nothing
	}
	m.event(zeekapi.EventConnected, a.Name, "", "agent connected from "+a.Host.String())
}

// greet welcomes an agent that the cluster wants, and tells one to stand by
// that is to run nothing and may not know it.
func (m *Machine) greet(a *agent) {
	w := m.wanted[a.Name]
	switch {
	case m.owed[a.Name]:
		m.toAgent(a.Name, zeekapi.AgentStandbyRequest{})
	case w != nil && !w.ready && !m.drained[a.Name]:
		m.welcome(w)
	}
}

func (m *Machine) peerLost(peer broker.Peer) {
	if a := m.peers[peer.ID]; a != nil {
		m.log.Warn().Str("instance", a.Name).Str("peer", peer.ID.String()).Msg("lost the agent")
		m.forget(a, "agent disconnected")
	}
}

// forget removes an agent. If there is another of that name, it gets the
// instance.
func (m *Machine) forget(a *agent, why string) {
	delete(m.peers, a.peer)
	m.rivals[a.Name] = slices.DeleteFunc(m.rivals[a.Name], func(r *agent) bool { return r == a })
	rivals := m.rivals[a.Name]
	if len(rivals) == 0 {
		delete(m.rivals, a.Name)
	}
	if m.agents[a.Name] != a {
		return
	}
	m.vacate(a, why)
	if len(rivals) > 0 {
		successor := rivals[len(rivals)-1]
		m.occupy(successor)
		m.greet(successor)
	}
	m.release(a.Name)
}

// vacate takes its instance from an agent, and answers for it what it cannot
// answer any more. A deployment waits: the next agent gets it.
func (m *Machine) vacate(a *agent, why string) {
	delete(m.agents, a.Name)
	m.contact(a.Name).since = m.now
	if w := m.wanted[a.Name]; w != nil {
		m.update(w, func() { w.ready, w.welcome, w.runs = false, "", content{} })
	}
	m.event(zeekapi.EventLost, a.Name, "", why)
	for _, c := range sortedCalls(a.calls) {
		switch {
		case m.calls[c.id] != c: // ended by one of those before it
		case c.request.deployment != nil:
			c.agent = nil
		default:
			m.close(c, c.request.unanswered(c.instance, errNotConnected))
		}
	}
	clear(a.calls)
}

// welcome asks the agent of an instance whether it is with us. Until it
// answers, it is asked again with the same ID.
func (m *Machine) welcome(w *member) {
	if w.welcome == "" {
		w.welcome = m.newID()
	}
	if m.rewelcome.IsZero() {
		m.rewelcome = m.now.Add(m.settings.RequestTimeout)
	}
	m.toAgent(w.Name, zeekapi.AgentWelcomeRequest{ReqID: zeekapi.ReqID{ID: w.welcome}})
}

func (m *Machine) welcomed(peer broker.Peer, msg zeekapi.AgentWelcomeResponse) {
	a := m.peers[peer.ID]
	if a == nil || m.agents[a.Name] != a {
		m.complain(peer).Msg("ignoring the answer to a welcome by another peer than the agent")
		return
	}
	w := m.wanted[a.Name]
	if w == nil || w.welcome == "" || w.welcome != msg.ID {
		m.log.Debug().Str("instance", a.Name).Msg("ignoring the answer to no welcome")
		return
	}
	w.welcome = ""
	if !msg.Result.Success {
		m.log.Warn().Str("instance", a.Name).Str("error", msg.Result.Error).Msg("agent refuses our welcome")
		m.contact(a.Name).lastError = clip("refuses our welcome: " + msg.Result.Error)
		m.toAgent(a.Name, zeekapi.AgentStandbyRequest{})
		return
	}
	m.update(w, func() { w.ready = true })
	switch {
	case m.deployment == nil && m.allReady():
		m.redeploy()
	case m.allReady():
		m.distribute()
	default:
		m.restore(w)
	}
}

// standBy tells the agent of an instance to run nothing, now or when it comes
// back, and until it answers.
func (m *Machine) standBy(instance string) {
	m.keep(Owed, instance, true)
	m.toAgent(instance, zeekapi.AgentStandbyRequest{})
}

// stoodBy takes the answer to a standby. If it came in answer to an earlier one
// than the last makes no difference: messages arrive in order.
func (m *Machine) stoodBy(peer broker.Peer, msg zeekapi.AgentStandbyResponse) {
	a := m.peers[peer.ID]
	if a == nil || m.agents[a.Name] != a || msg.Result.Instance != "" && msg.Result.Instance != a.Name {
		return
	}
	m.keep(Owed, a.Name, false)
	if msg.ID != "" {
		m.answered(peer, msg)
	}
}

// keep puts an instance into a set of names, or removes it.
func (m *Machine) keep(set NameSet, instance string, in bool) {
	names := m.drained
	if set == Owed {
		names = m.owed
	}
	switch {
	case names[instance] == in:
		return
	case !in:
		delete(names, instance)
	case len(names) >= maxNames:
		m.log.Error().Str("instance", instance).Str("set", string(set)).Msg("cannot remember another instance")
		return
	default:
		names[instance] = true
	}
	m.emit(SaveNames{Set: set, Name: instance, In: in})
}

// maxNames is how many instances each set can hold. They are those that
// clients named, not agents.
const maxNames = 1 << 16
