package controller

import (
	"slices"

	"github.com/google/uuid"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/zeekapi"
)

// stage checks c and keeps it, together with what it becomes when addresses
// and ports are filled in.
func (m *Machine) stage(c zeekapi.Configuration) (errs []string) {
	if errs := m.settings.validate(c); len(errs) > 0 {
		return errs
	}
	ready := m.fillHosts(c)
	ready.Nodes = slices.Clone(c.Nodes)
	if err := m.settings.assignPorts(&ready); err != nil {
		return []string{err.Error()}
	}
	m.save(Staged, c)
	m.save(Ready, ready)
	return nil
}

// fillHosts gives instances that connect to us the address they come from.
func (m *Machine) fillHosts(c zeekapi.Configuration) zeekapi.Configuration {
	c.Instances = slices.Clone(c.Instances)
	for i := range c.Instances {
		inst := &c.Instances[i]
		if a := m.agents[inst.Name]; a != nil && unspecified(inst.Host) && !unspecified(a.Host) {
			inst.Host = a.Host
		}
	}
	return c
}

// redeploy makes the target true again, for nobody in particular.
func (m *Machine) redeploy() {
	r := m.newRequest(m.newID())
	r.internal = true
	m.deploy(r, m.configs[Target])
}

// deploy begins a deployment of c, and ends one of our own that is under way.
// It goes on when all instances are ready, which is now or when the last of
// them has answered our welcome.
func (m *Machine) deploy(r *request, c zeekapi.Configuration) {
	if m.deployment != nil {
		m.finish(m.deployment)
	}
	m.deployment = r
	c = m.fillHosts(c)
	r.config = &c
	r.reached = make(map[string]uuid.UUID)
	r.accept = m.acceptDeployed
	m.save(Target, c)

	after := make(map[string]zeekapi.Instance, len(c.Instances))
	for _, inst := range c.Instances {
		after[inst.Name] = inst
	}
	for _, name := range sortedKeys(m.wanted) {
		w := m.wanted[name]
		inst, ok := after[name]
		if !ok || moved(w.Instance, inst) {
			m.drop(w)
		}
	}
	for _, inst := range c.Instances {
		if m.wanted[inst.Name] == nil {
			m.add(inst)
		}
	}
	if len(c.Instances) == 0 {
		m.settle(r)
		return
	}
	m.distribute()
}

// moved reports whether an instance is to be reached in another way than
// before. Where an agent that connects to us does that from makes no
// difference, unlike in Zeek. (Zeek: is_instance_connectivity_change)
func moved(before, after zeekapi.Instance) bool {
	return after.Port.Number != before.Port.Number ||
		!after.Connects() && after.Host != before.Host && !unspecified(before.Host) && !unspecified(after.Host)
}

func (m *Machine) add(inst zeekapi.Instance) {
	m.wanted[inst.Name] = &member{Instance: inst}
	if !inst.Connects() {
		m.emit(Dial{Address: address(inst)})
	}
	if a := m.agents[inst.Name]; a != nil {
		m.greet(a)
	}
}

// drop tells an instance that the cluster no longer needs it. Its agent stays
// known, unless we have to hang up on it.
func (m *Machine) drop(w *member) {
	m.log.Info().Str("instance", w.Name).Msg("dropping the instance")
	m.toAgent(w.Name, zeekapi.AgentStandbyRequest{})
	delete(m.wanted, w.Name)
	if w.Connects() {
		return
	}
	m.emit(Hangup{Address: address(w.Instance)})
	if a := m.agents[w.Name]; a != nil && !a.Connects() {
		m.forget(a)
	}
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
		m.log.Warn().Str("peer", peer.ID.String()).Msg("ignoring the answer to a welcome by another peer than the agent")
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
		m.toAgent(a.Name, zeekapi.AgentStandbyRequest{})
		return
	}
	w.ready = true
	switch {
	case !m.allReady():
		m.restore(a)
	case m.deployment == nil:
		m.redeploy()
	default:
		m.distribute()
	}
}

// restore gives an agent that came back what it had before, while others are
// still missing. What not all of them had yet waits until all are there.
func (m *Machine) restore(a *agent) {
	target := m.configs[Target]
	if had, ok := m.configs[Deployed]; !ok || had.ID != target.ID {
		return
	}
	// The answer is of no interest: all get the target once more when the last
	// of them is back.
	m.toAgent(a.Name, zeekapi.AgentDeployRequest{ReqID: zeekapi.ReqID{ID: m.newID()}, Config: m.fillHosts(target)})
}

func (m *Machine) allReady() bool {
	for _, w := range m.wanted {
		if !w.ready {
			return false
		}
	}
	return true
}

// distribute sends the configuration of the deployment under way to all
// agents, once all of them are ready. It may be called again when one of them
// came back meanwhile, and then sends to that one only.
func (m *Machine) distribute() {
	r := m.deployment
	if !m.allReady() {
		return
	}
	c := m.fillHosts(*r.config)
	r.config = &c
	for _, inst := range c.Instances {
		m.deployTo(r, inst.Name)
	}
}

func (m *Machine) deployTo(r *request, instance string) {
	peer := m.agents[instance].peer
	if r.reached[instance] == peer {
		return
	}
	if c := r.open[instance]; c != nil {
		if c.peer == peer {
			return
		}
		delete(m.calls, c.id)
	}
	// What another agent answered before does not count any more.
	r.results = slices.DeleteFunc(r.results, func(res zeekapi.Result) bool { return res.Instance == instance })
	m.call(r, instance, func(id zeekapi.ReqID) zeekapi.Message {
		return zeekapi.AgentDeployRequest{ReqID: id, Config: *r.config}
	})
}

// acceptDeployed mends the answer of a Zeek agent without nodes of its own,
// which always says that it timed out.
func (m *Machine) acceptDeployed(c *call, msg zeekapi.Message) ([]zeekapi.Result, bool) {
	resp, ok := msg.(zeekapi.AgentDeployResponse)
	if !ok {
		return nil, false
	}
	r := c.request
	r.reached[c.instance] = c.peer
	nodeless := !slices.ContainsFunc(r.config.Nodes, func(n zeekapi.Node) bool { return n.Instance == c.instance })
	results := slices.Clone(resp.Results)
	for i, res := range results {
		if nodeless && !res.Success && res.Node == "" && res.Error == zeekapi.ErrorTimeout {
			results[i] = zeekapi.Result{ReqID: res.ReqID, Success: true}
		}
		if !isA[zeekapi.NodeOutputs](res.Data) {
			results[i].Data = broker.None()
		}
	}
	return results, true
}

// deployed ends a deployment that all agents have answered, for better or
// worse: their results tell which nodes run.
func (m *Machine) deployed(r *request) {
	m.save(Deployed, *r.config)
	m.save(Target, *r.config)
	m.log.Info().Str("config", r.config.ID).Bool("internal", r.internal).Msg("deployed")
	r.results = append(r.results, zeekapi.Result{ReqID: r.id, Success: true, Data: broker.String(r.config.ID)})
}
