package controller

// delivery records the configuration sent to the agent of a member, and the one that
// it runs.
type delivery struct {
	asked *call   // by which the agent was last told what to run
	told  content // what that is
	runs  content // the configuration that the agent reported to run
	term  uint64  // of the agent that said so
}

// deliveries records the configurations sent to the agents of members.
type deliveries struct {
	*outbox
	agents  *agents
	history *history
	sent    content // what agents were told last, also in an earlier life
	byName  map[string]*delivery
}

func newDeliveries(out *outbox, a *agents, h *history, stored Sent) *deliveries {
	d := &deliveries{outbox: out, agents: a, history: h, byName: make(map[string]*delivery)}
	if stored != (Sent{}) {
		d.sent.id, d.sent.mixed = stored.ID, stored.Mixed
		copy(d.sent.digest[:], stored.Digest)
	}
	return d
}

func (d *deliveries) of(instance string) *delivery {
	known := d.byName[instance]
	if known == nil {
		known = new(delivery)
		d.byName[instance] = known
	}
	return known
}

// forget removes the record of an instance.
func (d *deliveries) forget(instance string) { delete(d.byName, instance) }

// stopped says that the agent of an instance was told to run nothing.
func (d *deliveries) stopped(instance string) { d.of(instance).runs = content{} }

// runs reports whether the agent that an instance has now said that it runs c.
func (d *deliveries) runs(instance string, c content) bool {
	known, a := d.of(instance), d.agents.of(instance)
	return a != nil && known.term == a.term && known.runs == c
}

// tell takes note that the agent of an instance is told to run p. It reports
// whether the agent may run something else with the same ID. It is then not
// known what it runs, until it answers.
func (d *deliveries) tell(instance string, p *plan) (changed bool) {
	known := d.of(instance)
	before := known.told
	if before == (content{}) {
		before = d.sent // in an earlier life
	}
	known.told = p.content
	switch {
	case before == (content{}), before == p.content:
		return false
	case before.id != p.config.ID && !d.history.deployedBefore(p.config.ID):
		return false // no agent can have it yet
	}
	known.told = content{id: p.config.ID, mixed: true}
	return true
}

// took takes note that the agent of an instance answered that it runs p.
func (d *deliveries) took(instance string, p *plan, term uint64) {
	known := d.of(instance)
	known.told, known.runs, known.term = p.content, p.content, term
}

// sending takes note that p is about to be sent to agents.
func (d *deliveries) sending(p *plan) {
	switch {
	case d.sent.id != p.config.ID && !d.history.deployedBefore(p.config.ID):
		d.save(p.content)
	case d.sent != p.content && (d.sent.id != p.config.ID || !d.sent.mixed):
		d.save(content{id: p.config.ID, mixed: true})
	}
}

// complete takes note that no agent can run another configuration than p with the same ID.
func (d *deliveries) complete(p *plan) {
	if d.sent != p.content {
		d.save(p.content)
	}
}

func (d *deliveries) save(c content) {
	d.sent = c
	d.emit(SaveSent{Sent{ID: c.id, Digest: string(c.digest[:]), Mixed: c.mixed}})
}
