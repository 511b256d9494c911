package controller

import (
	"slices"

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
	r, ok := m.begin(m.newID(), nil)
	if !ok {
		return
	}
	r.internal = true
	m.deploy(r, m.configs[Target])
}

// deploy begins a deployment of c. It goes on when all instances are ready,
// which is now or when the last of them has answered our welcome.
func (m *Machine) deploy(r *request, c zeekapi.Configuration) {
	c = m.fillHosts(c)
	r.config = &c
	r.expire = func() { m.deployment = nil }
	m.deployment = r
	m.save(Target, c)

	for _, name := range sortedKeys(m.wanted) {
		w := m.wanted[name]
		inst, ok := c.Instance(name)
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
		m.deployed(r)
		m.finish(r)
		return
	}
	m.distribute()
}

// moved reports whether an instance is to be reached in another way than
// before. (Zeek: is_instance_connectivity_change)
func moved(before, after zeekapi.Instance) bool {
	return !unspecified(after.Host) && !unspecified(before.Host) && after.Host != before.Host ||
		after.Port.Number != before.Port.Number
}

func (m *Machine) add(inst zeekapi.Instance) {
	m.wanted[inst.Name] = &member{Instance: inst}
	if !inst.Connects() {
		m.emit(Dial{Address: address(inst)})
	}
	if m.agents[inst.Name] != nil {
		m.welcome(inst.Name)
	}
}

// drop tells an instance that the cluster no longer needs it. Its agent stays
// known.
func (m *Machine) drop(w *member) {
	m.log.Info().Str("instance", w.Name).Msg("dropping the instance")
	m.toAgent(w.Name, zeekapi.AgentStandbyRequest{})
	if !w.Connects() {
		m.emit(Hangup{Address: address(w.Instance)})
	}
	delete(m.wanted, w.Name)
}

func (m *Machine) welcome(instance string) {
	c := &call{id: m.newID(), instance: instance, deadline: m.now.Add(m.settings.RequestTimeout)}
	c.answer = func(results []zeekapi.Result) []zeekapi.Result {
		m.welcomed(instance, results[0])
		return nil
	}
	m.calls[c.id] = c
	m.toAgent(instance, zeekapi.AgentWelcomeRequest{ReqID: zeekapi.ReqID{ID: c.id}})
}

func (m *Machine) welcomed(instance string, result zeekapi.Result) {
	w := m.wanted[instance]
	if !result.Success || w == nil {
		m.toAgent(instance, zeekapi.AgentStandbyRequest{})
		return
	}
	if result.Instance != "" && result.Instance != instance {
		m.log.Warn().Str("instance", instance).Str("answered", result.Instance).
			Msg("another agent answered the welcome; is one agent's name the beginning of the other's?")
		return
	}
	w.ready = true
	if m.deployment == nil && m.allReady() {
		if _, ok := m.configs[Target]; ok {
			m.redeploy()
		}
		return
	}
	m.distribute()
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
	if r == nil || !m.allReady() {
		return
	}
	c := m.fillHosts(*r.config)
	r.config = &c
	r.done = func() { m.deployed(r) }
	for _, inst := range c.Instances {
		m.deployTo(r, inst.Name)
	}
}

func (m *Machine) deployTo(r *request, instance string) {
	a := m.agents[instance]
	if a == nil || r.reached[instance] == a.peer {
		return
	}
	for _, c := range r.open {
		if c.instance != instance {
			continue
		}
		if c.peer == a.peer {
			return
		}
		// The process that we asked is gone and will not answer.
		delete(r.open, c.id)
		delete(m.calls, c.id)
	}
	c := m.call(r, instance, func(id zeekapi.ReqID) zeekapi.Message {
		return zeekapi.AgentDeployRequest{ReqID: id, Config: *r.config}
	})
	c.answer = func(results []zeekapi.Result) []zeekapi.Result {
		r.reached[instance] = c.peer
		return m.deployResults(r, instance, results)
	}
}

// deployResults mends the answer of a Zeek agent without nodes of its own,
// which always says that it timed out.
func (m *Machine) deployResults(r *request, instance string, results []zeekapi.Result) []zeekapi.Result {
	if len(r.config.NodesOn(instance)) > 0 {
		return results
	}
	mended := slices.Clone(results)
	for i, res := range mended {
		if !res.Success && res.Node == "" && res.Error == zeekapi.ErrorTimeout {
			mended[i] = zeekapi.Result{ReqID: res.ReqID, Success: true, Instance: instance}
		}
	}
	return mended
}

// deployed ends a deployment that all agents have answered, for better or
// worse: their results tell which nodes run.
func (m *Machine) deployed(r *request) {
	m.deployment = nil
	m.save(Deployed, *r.config)
	m.save(Target, *r.config)
	m.log.Info().Str("config", r.config.ID).Bool("internal", r.internal).Msg("deployed")
	r.results = append(r.results, zeekapi.Result{ReqID: r.id, Success: true, Data: broker.String(r.config.ID)})
}
