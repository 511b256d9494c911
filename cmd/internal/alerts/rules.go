package alerts

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/zeekwire/zeekwire/zeekapi"
)

// The rules.
const (
	NodeDied     = "node-died"     // a node died and is started again
	NodeFailed   = "node-failed"   // a node died repeatedly, or cannot run
	NodeHung     = "node-hung"     // a node does not answer, or processes no packets
	InstanceLost = "instance-lost" // an agent is not connected
	Deployment   = "deployment"    // a deployment was refused or rolled back, or has failed
	Disk         = "disk"          // a disk has little space
	Archive      = "archive"       // finished logs cannot be archived
	Drops        = "drops"         // a node drops packets
	NoTraffic    = "no-traffic"    // a node receives no packets
	Certificate  = "certificate"   // a certificate is about to expire
	Storage      = "storage"       // the controller cannot store changes
)

// Rules are all rules.
var Rules = []string{NodeDied, NodeFailed, NodeHung, InstanceLost, Deployment, Disk, Archive, Drops, NoTraffic, Certificate, Storage}

// Times and numbers after which something counts as a problem.
const (
	// lostPatience is the time after which a lost instance is a problem: agents are
	// restarted, and connections break. After its own start, a controller waits
	// startPatience for agents to connect.
	lostPatience  = 30 * time.Second
	startPatience = 2 * time.Minute

	// highReports is the number of successive reports with too many drops that make a
	// problem, and of those without that end it. There is about one report in 30 s.
	highReports = 2
)

// conditionOf returns the condition of a rule.
func conditionOf(rule string) string {
	if rule == NodeDied || rule == NodeFailed {
		return "node"
	}
	return rule
}

// traffic has the recent drops and pauses of a node's packets.
type traffic struct {
	high, low int       // reports in a row with too many drops, and without
	idle      time.Time // time of the first report without packets; zero: there are packets
}

// event takes an event of the cluster.
func (m *Machine) event(now time.Time, e zeekapi.ClusterEvent) {
	switch e.Kind {
	case zeekapi.EventLost:
		if !m.drained[e.Instance] {
			m.setAfter(now, lostPatience, InstanceLost, e.Instance, "", "", fmt.Sprintf("instance %s is lost: %s", e.Instance, e.Text))
		}
	case zeekapi.EventConnected:
		m.heard[e.Instance] = true
		m.clear(now, InstanceLost, e.Instance, "", "")
	case zeekapi.EventDrained:
		m.drained[e.Instance] = true
		m.clear(now, InstanceLost, e.Instance, "", "")
	case zeekapi.EventUndrained:
		delete(m.drained, e.Instance)
	case zeekapi.EventState:
		m.state(now, e.Instance, e.Node, zeekapi.State(e.Text))
	case zeekapi.EventDeployed:
		m.deployed(now, e)
	case zeekapi.EventProblem, zeekapi.EventSolved:
		m.problem(now, e)
	}
}

// deployed takes the end of a deployment.
func (m *Machine) deployed(now time.Time, e zeekapi.ClusterEvent) {
	switch zeekapi.Outcome(e.Subject) {
	case zeekapi.OutcomeDeployed:
		m.clear(now, Deployment, "", "", "")
	case zeekapi.OutcomeRefused, zeekapi.OutcomeRolledBack, zeekapi.OutcomeFailed, zeekapi.OutcomeTimeout:
		m.set(now, Deployment, "", "", "", true, "deployment of "+e.Text)
	}
}

// problem takes a problem that an agent reports, or its end.
func (m *Machine) problem(now time.Time, e zeekapi.ClusterEvent) {
	kind, subject, _ := strings.Cut(e.Subject, " ")
	rule := map[string]string{zeekapi.ProblemDisk: Disk, zeekapi.ProblemArchive: Archive, zeekapi.ProblemHung: NodeHung, zeekapi.ProblemTraffic: NodeHung}[kind]
	if rule == "" {
		return
	}
	if rule == NodeHung {
		subject = kind
	}
	m.set(now, rule, e.Instance, e.Node, subject, e.Kind == zeekapi.EventProblem, e.Instance+": "+e.Text)
}

// states takes the states of the nodes of an instance.
func (m *Machine) states(now time.Time, in States) {
	for _, node := range slices.Sorted(maps.Keys(in.Nodes)) {
		m.state(now, in.Instance, node, in.Nodes[node])
	}
}

// state takes the state of a node.
func (m *Machine) state(now time.Time, instance, node string, state zeekapi.State) {
	switch state {
	case zeekapi.StateCrashed:
		if a := m.alerts[key{"node", instance, node, ""}]; a != nil && a.present && a.Rule == NodeFailed {
			break // it has not run since
		}
		m.set(now, NodeDied, instance, node, "", true, fmt.Sprintf("node %s on %s died, and is started again", node, instance))
	case zeekapi.StateFailed:
		m.set(now, NodeFailed, instance, node, "", true, fmt.Sprintf("node %s on %s has failed", node, instance))
	case zeekapi.StateRunning, zeekapi.StateStopped:
		m.clear(now, NodeFailed, instance, node, "")
	}
	if state != zeekapi.StateRunning {
		m.forget(now, instance, node)
	}
}

// packets takes what a node has received.
func (m *Machine) packets(now time.Time, in Traffic) {
	t := m.traffic[[2]string{in.Instance, in.Node}]
	if t == nil {
		t = &traffic{}
		m.traffic[[2]string{in.Instance, in.Node}] = t
	}
	share := zeekapi.TrafficRates{Received: in.Received, Dropped: in.Dropped}.DropShare()
	if m.settings.Drops > 0 && share > m.settings.Drops {
		t.high, t.low = t.high+1, 0
	} else {
		t.high, t.low = 0, t.low+1
	}
	switch {
	case t.high >= highReports:
		m.set(now, Drops, in.Instance, in.Node, "", true, fmt.Sprintf("node %s on %s drops %.1f%% of the packets", in.Node, in.Instance, 100*share))
	case t.low >= highReports:
		m.clear(now, Drops, in.Instance, in.Node, "")
	}
	switch {
	case in.Received+in.Dropped > 0:
		t.idle = time.Time{}
		m.clear(now, NoTraffic, in.Instance, in.Node, "")
	case t.idle.IsZero():
		t.idle = now
	case m.settings.Idle > 0 && now.Sub(t.idle) >= m.settings.Idle:
		m.set(now, NoTraffic, in.Instance, in.Node, "", true,
			fmt.Sprintf("node %s on %s has received no packets since %s", in.Node, in.Instance, t.idle.UTC().Format(time.RFC3339)))
	}
}

// forget forgets the packets of a node that does not run.
func (m *Machine) forget(now time.Time, instance, node string) {
	delete(m.traffic, [2]string{instance, node})
	m.clear(now, Drops, instance, node, "")
	m.clear(now, NoTraffic, instance, node, "")
}

// leave ends the alerts about instances and nodes that do not belong to the cluster.
func (m *Machine) leave(now time.Time, members map[string][]string) {
	m.members = members
	for k, a := range m.alerts {
		nodes, member := members[k.instance]
		if k.instance != "" && (!member || k.node != "" && !slices.Contains(nodes, k.node)) {
			m.clear(now, a.Rule, k.instance, k.node, k.subject)
		}
	}
	maps.DeleteFunc(m.traffic, func(k [2]string, _ *traffic) bool { return !slices.Contains(members[k[0]], k[1]) })
	maps.DeleteFunc(m.heard, func(instance string, _ bool) bool { return members[instance] == nil })
	for instance := range members {
		if !m.heard[instance] && !m.drained[instance] {
			m.setAfter(now, startPatience, InstanceLost, instance, "", "", fmt.Sprintf("instance %s is not connected", instance))
		}
	}
}

// certificates takes all certificates of the controller.
func (m *Machine) certificates(now time.Time, all []Cert) {
	ending := make(map[string]bool)
	for _, c := range all {
		if c.NotAfter.Sub(now) >= m.settings.Expiry {
			continue
		}
		ending[c.Name] = true
		verb := "expires"
		if c.NotAfter.Before(now) {
			verb = "has expired"
		}
		m.set(now, Certificate, "", "", c.Name, true, fmt.Sprintf("the certificate %s %s at %s", c.Name, verb, c.NotAfter.UTC().Format(time.RFC3339)))
	}
	for k := range m.alerts {
		if k.condition == Certificate && !ending[k.subject] {
			m.clear(now, Certificate, "", "", k.subject)
		}
	}
}
