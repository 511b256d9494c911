package controller

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/zeekwire/zeekwire/zeekapi"
)

// InstanceState is the state of an instance in a Snapshot.
type InstanceState string

// The states of instances.
const (
	InstanceReady     InstanceState = "ready"     // the agent accepts deployments
	InstanceConnected InstanceState = "connected" // the agent is not ready yet
	InstanceMissing   InstanceState = "missing"   // no agent is connected
	InstanceDrained   InstanceState = "drained"   // the agent is connected and runs no nodes
	InstanceUnwanted  InstanceState = "unwanted"  // the cluster does not need the agent
)

// InstanceStates are all of them.
var InstanceStates = []InstanceState{InstanceReady, InstanceConnected, InstanceMissing, InstanceDrained, InstanceUnwanted}

// member is an instance of the target.
type member struct {
	zeekapi.Instance
	welcome string     // ID of the welcome that the agent has not answered, or ""
	ready   bool       // the agent answered a welcome
	host    netip.Addr // last address of the agent, or the one in the deployed configuration
}

// contact is the record of an instance that is a member or has
// an agent.
type contact struct {
	since     alarm // when the agent connected or was lost; not set if it never connected
	lastError string
	reports   allowance
	problems  []zeekapi.Problem // as the agent last reported them, sorted by key
}

// Limits for the reports of one agent.
const (
	reportBurst      = 200
	reportsPerSecond = 5
)

// Limits for the events about all strangers together. They must not replace those of the
// cluster.
const (
	strangerEventBurst      = 200
	strangerEventsPerSecond = 0.1
)

// members keeps the instances of the target, and whether their agents are ready.
type members struct {
	*outbox
	agents *agents
	names  *nameSets
	newID  func() string
	retry  time.Duration // between welcomes

	byName   map[string]*member
	dialed   map[string]bool   // addresses of agents that listen
	expected map[string]string // addresses of agents that a trial needs, by instance
	contacts map[string]*contact
	unready  int // members that a deployment has to wait for
	counts   tally[InstanceState]
	again    alarm // for the welcomes without an answer

	strangerNews allowance // for events
}

func newMembers(out *outbox, a *agents, names *nameSets, newID func() string, retry time.Duration) *members {
	return &members{
		outbox: out, agents: a, names: names, newID: newID, retry: retry,
		byName: make(map[string]*member), dialed: make(map[string]bool), expected: make(map[string]string), contacts: make(map[string]*contact), counts: newTally[InstanceState](),
		strangerNews: newAllowance(strangerEventBurst, strangerEventsPerSecond),
	}
}

// of returns the member with that name, nil if there is none.
func (s *members) of(instance string) *member { return s.byName[instance] }

// sorted returns the names of all members.
func (s *members) sorted() []string { return sortedKeys(s.byName) }

// stranger reports whether an instance is none of the cluster's, while there is a
// cluster.
func (s *members) stranger(instance string) bool {
	return len(s.byName) > 0 && s.byName[instance] == nil
}

// newsworthy reports whether to keep an event about an instance.
func (s *members) newsworthy(instance string) bool {
	return !s.stranger(instance) || s.strangerNews.take(s.now)
}

// blocks reports whether a deployment has to wait for an instance.
func (s *members) blocks(instance string) bool {
	w := s.byName[instance]
	return w != nil && !w.ready && !s.names.drained(instance)
}

// allReady reports whether a deployment need not wait.
func (s *members) allReady() bool { return s.unready == 0 }

// state returns the state of an instance, "" if it is neither a member nor has
// an agent.
func (s *members) state(instance string) InstanceState {
	w, connected := s.byName[instance], s.agents.of(instance) != nil
	switch {
	case w == nil && !connected:
		return ""
	case !connected:
		return InstanceMissing
	case s.names.drained(instance):
		return InstanceDrained
	case w == nil:
		return InstanceUnwanted
	case !w.ready:
		return InstanceConnected
	}
	return InstanceReady
}

// change runs do, which changes an instance, and keeps the counts.
func (s *members) change(instance string, do func()) {
	s.count(instance, -1)
	do()
	s.count(instance, 1)
}

func (s *members) count(instance string, n int) {
	if state := s.state(instance); state != "" {
		s.counts.add(state, n)
	}
	if s.blocks(instance) {
		s.unready += n
	}
}

// contact returns the contact with an instance.
func (s *members) contact(instance string) *contact {
	c := s.contacts[instance]
	if c == nil {
		c = &contact{reports: newAllowance(reportBurst, reportsPerSecond)}
		s.contacts[instance] = c
	}
	return c
}

// release forgets the contact with an instance that needs none.
func (s *members) release(instance string) {
	if s.byName[instance] == nil && s.agents.of(instance) == nil {
		delete(s.contacts, instance)
	}
}

// recall learns from the events of an earlier life since when the agents of
// instances are lost.
func (s *members) recall(instances []zeekapi.Instance, last map[string]zeekapi.ClusterEvent) {
	for _, i := range instances {
		switch e := last[i.Name]; e.Kind {
		case zeekapi.EventLost:
			s.contact(i.Name).since = alarmAt(e.Time)
		case zeekapi.EventConnected:
			s.contact(i.Name).since = alarmAt(s.now) // it was connected when the controller ended
		}
	}
}

// add makes an instance a member.
func (s *members) add(i zeekapi.Instance, host netip.Addr) {
	s.change(i.Name, func() { s.byName[i.Name] = &member{Instance: i, host: host} })
	s.contact(i.Name)
	if !s.names.drained(i.Name) {
		s.names.keep(Owed, i.Name, false)
	}
	s.dial(i)
	if a := s.agents.of(i.Name); a != nil {
		s.byName[i.Name].host = a.Host
		s.greet(a)
	}
}

// dial connects to the agent of an instance, if it listens.
func (s *members) dial(i zeekapi.Instance) {
	if address := addressOf(i); !i.Connects() && !s.dialed[address] {
		s.dialed[address] = true
		s.emit(Dial{Address: address})
	}
}

// hangUp ends what dial began.
func (s *members) hangUp(i zeekapi.Instance) {
	if address := addressOf(i); s.dialed[address] {
		delete(s.dialed, address)
		s.emit(Hangup{Address: address})
	}
}

// The claims of peers to a name, by where they are. A greater one is better.
const (
	elsewhere  = iota - 1 // dialed at another address than the agent's
	anywhere              // connected to the controller
	configured            // dialed at the address in the target
	onTrial               // dialed at the address in a configuration on trial
)

// place returns the claim of a peer to its name.
func (s *members) place(a *agent) int {
	w := s.byName[a.Name]
	switch expected, trial := s.expected[a.Name]; {
	case !a.from.Dialed || a.from.Address == "":
		return anywhere
	case trial && expected == a.from.Address:
		return onTrial
	case w != nil && !misplaced(w.Instance, a):
		return configured
	case w != nil || trial:
		return elsewhere
	}
	return anywhere
}

// misplaced reports whether an agent was dialed at another address than that of
// the instance that it claims to be.
func misplaced(i zeekapi.Instance, a *agent) bool {
	return !i.Connects() && a.from.Dialed && a.from.Address != "" && a.from.Address != addressOf(i)
}

func misplacedText(i zeekapi.Instance, a *agent) string {
	return fmt.Sprintf("the agent at %s says that it is %s, which is at %s in the configuration", a.from.Address, i.Name, addressOf(i))
}

// remove makes an instance a member no longer.
func (s *members) remove(instance string) {
	s.change(instance, func() { delete(s.byName, instance) })
}

// greet welcomes the agent of a member, and tells one to stand by that must run
// no nodes and may not know it.
func (s *members) greet(a *agent) {
	w := s.byName[a.Name]
	switch {
	case s.names.has(Owed, a.Name):
		s.agents.tell(a.Name, zeekapi.AgentStandbyRequest{})
	case w != nil && misplaced(w.Instance, a): // it must not get the nodes of another machine
	case w != nil && !w.ready && !s.names.drained(a.Name):
		s.welcome(w)
	}
}

// welcome asks the agent of a member whether it is ready. Until the agent
// answers, it is asked again with the same ID.
func (s *members) welcome(w *member) {
	if w.welcome == "" {
		w.welcome = s.newID()
	}
	if !s.again.set {
		s.again = alarmAt(s.now.Add(s.retry))
	}
	s.agents.tell(w.Name, zeekapi.AgentWelcomeRequest{ReqID: zeekapi.ReqID{ID: w.welcome}})
}

// repeat sends the welcomes without an answer again.
func (s *members) repeat() {
	if !s.again.due(s.now) {
		return
	}
	s.again = alarm{}
	for _, name := range s.sorted() {
		if w := s.byName[name]; w.welcome != "" {
			s.welcome(w)
		}
	}
}

// lose takes back that the agent of an instance is ready.
func (s *members) lose(instance string) {
	if w := s.byName[instance]; w != nil {
		s.change(instance, func() { w.ready, w.welcome = false, "" })
	}
}

// standBy tells the agent of an instance to run no nodes, now or when it
// connects, and until it answers. Without an agent nothing is sent: a Zeek agent
// whose name is the beginning of this one would obey.
func (s *members) standBy(instance string) {
	s.names.keep(Owed, instance, true)
	if s.agents.of(instance) != nil {
		s.agents.tell(instance, zeekapi.AgentStandbyRequest{})
	}
}

// fillHosts gives the instances of c that connect to the controller the address
// from which they do.
func (s *members) fillHosts(c zeekapi.Configuration) zeekapi.Configuration {
	c.Instances = slices.Clone(c.Instances)
	for i := range c.Instances {
		inst := &c.Instances[i]
		if !unspecified(inst.Host) {
			continue
		}
		if a := s.agents.of(inst.Name); a != nil && !unspecified(a.Host) {
			inst.Host = a.Host
		} else if w := s.byName[inst.Name]; a == nil && w != nil && !unspecified(w.host) {
			inst.Host = w.host
		}
	}
	return c
}
