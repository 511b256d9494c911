package alerts

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/zeekwire/zeekwire/zeekapi"
)

// Settings are the settings of a Machine. The zero Settings have no rules.
type Settings struct {
	// Rules are the rules that apply.
	Rules []string

	// Wait is the time for which an alert waits for others, so that one notification
	// has all of them. Interval is the shortest time between two notifications. If
	// Repeat is not zero, present alerts are repeated after that time.
	Wait, Interval, Repeat time.Duration

	// Drops is the share of dropped packets, from 0 to 1, above which there is an alert;
	// 0 for none. Idle is the time without packets after which there is one; 0 for none.
	Drops float64
	Idle  time.Duration

	// Expiry is the time before the end of a certificate from which on there is an alert.
	Expiry time.Duration
}

// The rules.
const (
	NodeDied     = "node-died"     // a node died and is started again
	NodeFailed   = "node-failed"   // a node died repeatedly, or cannot run
	NodeHung     = "node-hung"     // a node does not answer, or processes no packets
	InstanceLost = "instance-lost" // an agent is not connected
	Deployment   = "deployment"    // a deployment was refused or rolled back, or has failed
	Disk         = "disk"          // a disk has little space
	Drops        = "drops"         // a node drops packets
	NoTraffic    = "no-traffic"    // a node receives no packets
	Certificate  = "certificate"   // a certificate is about to expire
	Storage      = "storage"       // the controller cannot store changes
)

// Rules are all rules.
var Rules = []string{NodeDied, NodeFailed, NodeHung, InstanceLost, Deployment, Disk, Drops, NoTraffic, Certificate, Storage}

// Times and limits.
const (
	// lostPatience is the time after which a lost instance is a problem: agents are
	// restarted, and connections break. After its own start, a controller waits
	// startPatience for agents to connect.
	lostPatience  = 30 * time.Second
	startPatience = 2 * time.Minute

	// highReports is the number of reports in a row, about one each 30 s, with too many
	// drops that make a problem, or without that end it.
	highReports = 2

	// MaxAlerts limits the alerts that are kept, and MaxListed those in a notification.
	MaxAlerts = 10_000
	MaxListed = 100
)

// Input is one of Event, Traffic, Members, Storable, Certificates and Tick.
type Input interface{ input() }

// The inputs.
type (
	// Event is an event of the cluster.
	Event struct{ zeekapi.ClusterEvent }

	// States are the states of the nodes of an instance.
	States struct {
		Instance string
		Nodes    map[string]zeekapi.State
	}

	// Traffic is what a running node with a packet source has received in a period.
	Traffic struct {
		Instance, Node    string
		Received, Dropped float64 // packets per second
	}

	// Members are the instances, and the nodes on each, that belong to the cluster. Alerts
	// about others end.
	Members struct{ Nodes map[string][]string }

	// Storable reports why the controller cannot store changes, "" if it can.
	Storable struct{ Why string }

	// Certificates are all certificates of the controller.
	Certificates struct{ All []Cert }

	// Tick reports that time has passed.
	Tick struct{}
)

// Cert is a certificate.
type Cert struct {
	Name     string // such as its file
	NotAfter time.Time
}

func (Event) input()        {}
func (States) input()       {}
func (Traffic) input()      {}
func (Members) input()      {}
func (Storable) input()     {}
func (Certificates) input() {}
func (Tick) input()         {}

// Notification tells operators which alerts have begun and ended since the previous one.
type Notification struct {
	Time     time.Time
	Test     bool            // there is no alert, operators test their channels
	Repeated bool            // Firing are all present alerts, without news
	Firing   []zeekapi.Alert // the oldest first
	Resolved []zeekapi.Alert
	More     int // further alerts that are not listed

	// Events are for the history of the cluster. They include alerts that are not listed.
	Events []zeekapi.ClusterEvent
}

// Machine decides when to notify operators, and of what. It has no I/O and no clock, and must
// not be used concurrently.
type Machine struct {
	settings Settings
	alerts   map[key]*alert
	traffic  map[[2]string]*traffic // by instance and node
	members  map[string][]string    // nodes by instance; nil: unknown
	drained  map[string]bool        // instances
	heard    map[string]bool        // instances that have been connected
	due      time.Time              // time of the next notification; zero: none
	young    time.Time              // not after the time at which the first alert counts that does not yet; zero: all count
	last     time.Time              // time of the last one; zero: none
}

// key identifies an alert. The rules node-died and node-failed have the same condition: an
// alert of the first can become one of the second.
type key struct{ condition, instance, node, subject string }

// alert is the state of a condition that is or was true.
type alert struct {
	zeekapi.Alert
	present bool
	after   time.Time // it counts when it has been present until then; zero: it counts

	told    bool   // operators were told last that it is present
	text    string // that they were told, or the rule
	changed bool   // there is something to tell
}

// traffic is what is known of a node's packets.
type traffic struct {
	high, low int       // reports in a row with too many drops, and without
	idle      time.Time // since when there are no packets; zero: there are some
}

// New returns a machine. The stored events are those of an earlier controller: alerts that
// operators know are not told again, and their end is. Drained are the drained instances.
func New(s Settings, stored []zeekapi.ClusterEvent, drained []string) *Machine {
	m := &Machine{settings: s, alerts: make(map[key]*alert), traffic: make(map[[2]string]*traffic), drained: make(map[string]bool), heard: make(map[string]bool)}
	for _, name := range drained {
		m.drained[name] = true
	}
	for _, e := range stored {
		rule, subject, _ := strings.Cut(e.Subject, " ")
		k := key{conditionOf(rule), e.Instance, e.Node, subject}
		switch e.Kind {
		case zeekapi.EventAlert:
			m.alerts[k] = &alert{present: true, told: true, text: rule, Alert: zeekapi.Alert{
				Rule: rule, Instance: e.Instance, Node: e.Node, Subject: subject, Text: e.Text, Since: e.Time,
			}}
		case zeekapi.EventResolved:
			delete(m.alerts, k)
		}
	}
	return m
}

// conditionOf returns the condition of a rule.
func conditionOf(rule string) string {
	if rule == NodeDied || rule == NodeFailed {
		return "node"
	}
	return rule
}

// Step takes an input, and returns a notification if it is time for one.
func (m *Machine) Step(now time.Time, in Input) *Notification {
	switch in := in.(type) {
	case Event:
		m.event(now, in.ClusterEvent)
	case States:
		m.states(now, in)
	case Traffic:
		m.packets(now, in)
	case Members:
		m.leave(now, in.Nodes)
	case Storable:
		m.set(now, Storage, "", "", "", in.Why != "", "the controller cannot store changes: "+in.Why)
	case Certificates:
		m.certificates(now, in.All)
	}
	m.mature(now)
	return m.notify(now)
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
	rule := map[string]string{zeekapi.ProblemDisk: Disk, zeekapi.ProblemHung: NodeHung, zeekapi.ProblemTraffic: NodeHung}[kind]
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
	share := 0.0
	if all := in.Received + in.Dropped; all > 0 {
		share = in.Dropped / all
	}
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

// clear says that a condition is not true.
func (m *Machine) clear(now time.Time, rule, instance, node, subject string) {
	m.set(now, rule, instance, node, subject, false, "")
}

// set says whether a condition is true. It does nothing for rules that do not apply, and for
// instances and nodes that do not belong to the cluster.
func (m *Machine) set(now time.Time, rule, instance, node, subject string, present bool, text string) {
	if present {
		m.setAfter(now, 0, rule, instance, node, subject, text)
		return
	}
	k := key{conditionOf(rule), instance, node, subject}
	if a := m.alerts[k]; a != nil && a.present {
		m.end(now, k, a)
	}
}

// setAfter says that a condition is true. It counts after some time.
func (m *Machine) setAfter(now time.Time, patience time.Duration, rule, instance, node, subject, text string) {
	if !slices.Contains(m.settings.Rules, rule) || !m.member(instance, node) {
		return
	}
	k := key{conditionOf(rule), instance, node, subject}
	a := m.alerts[k]
	if a == nil {
		if len(m.alerts) >= MaxAlerts {
			return
		}
		a = &alert{Alert: zeekapi.Alert{Instance: instance, Node: node, Subject: subject, Since: now}}
		m.alerts[k] = a
	}
	again := a.present && a.Rule == rule
	a.Text = text // a detail may have changed, such as the share of drops
	if again {
		return
	}
	if !a.present {
		a.Times++
	}
	fresh := !a.present && !a.told && !a.changed
	a.Rule, a.Ended, a.present = rule, time.Time{}, true
	switch {
	case fresh && patience > 0:
		a.after = now.Add(patience)
		m.young = sooner(m.young, a.after)
	case a.told && a.text == rule:
		a.changed = false // it ended and began again, between two notifications
	default:
		a.changed = true
		m.plan(now)
	}
}

// member reports whether an instance, and a node if it is not "", belong to the cluster, or
// may.
func (m *Machine) member(instance, node string) bool {
	if m.members == nil || instance == "" {
		return true
	}
	nodes, ok := m.members[instance]
	return ok && (node == "" || slices.Contains(nodes, node))
}

// end ends an alert. One that did not count yet is forgotten.
func (m *Machine) end(now time.Time, k key, a *alert) {
	if !a.after.IsZero() {
		delete(m.alerts, k)
		return
	}
	a.present, a.Ended, a.changed = false, now, true
	m.plan(now)
}

// mature makes alerts count that have been present for long enough.
func (m *Machine) mature(now time.Time) {
	if m.young.IsZero() || now.Before(m.young) {
		return
	}
	m.young = time.Time{}
	for _, a := range m.alerts {
		switch {
		case !a.present || a.after.IsZero():
		case now.Before(a.after):
			m.young = sooner(m.young, a.after)
		default:
			a.after, a.changed = time.Time{}, true
			m.plan(now)
		}
	}
}

// sooner returns the earlier of two times, of which the zero time is none.
func sooner(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// plan plans the next notification.
func (m *Machine) plan(now time.Time) {
	if !m.due.IsZero() {
		return
	}
	m.due = now.Add(m.settings.Wait)
	if earliest := m.last.Add(m.settings.Interval); !m.last.IsZero() && earliest.After(m.due) {
		m.due = earliest
	}
}

// notify returns the notification that is due, nil if there is none.
func (m *Machine) notify(now time.Time) *Notification {
	n := &Notification{Time: now}
	switch {
	case !m.due.IsZero() && !now.Before(m.due):
		m.due = time.Time{}
		m.collect(n)
	case m.repeats() && !now.Before(m.last.Add(m.settings.Repeat)):
		n.Repeated = true
		n.Firing = m.Present()
	}
	if len(n.Firing)+len(n.Resolved) == 0 {
		return nil
	}
	m.last = now
	n.limit()
	return n
}

// repeats reports whether present alerts are repeated at some time.
func (m *Machine) repeats() bool {
	return m.settings.Repeat > 0 && !m.last.IsZero() && m.due.IsZero() && m.anyTold()
}

func (m *Machine) anyTold() bool {
	for _, a := range m.alerts {
		if a.present && a.told {
			return true
		}
	}
	return false
}

// collect moves what has changed into a notification. What has ended after it was told, and
// what began and ended since the last notification, is resolved.
func (m *Machine) collect(n *Notification) {
	for k, a := range m.alerts {
		if !a.changed {
			continue
		}
		a.changed = false
		switch {
		case !a.present:
			n.Resolved = append(n.Resolved, a.Alert)
			delete(m.alerts, k)
			continue
		case !a.told || a.text != a.Rule:
			n.Firing = append(n.Firing, a.Alert)
		}
		a.told, a.text, a.Times = true, a.Rule, 0
	}
	sortAlerts(n.Firing)
	sortAlerts(n.Resolved)
	n.Events = append(eventsOf(zeekapi.EventAlert, n.Firing), eventsOf(zeekapi.EventResolved, n.Resolved)...)
}

// eventsOf returns the events about alerts, from which New restores them.
func eventsOf(kind string, all []zeekapi.Alert) (events []zeekapi.ClusterEvent) {
	for _, a := range all {
		events = append(events, zeekapi.ClusterEvent{
			Kind: kind, Instance: a.Instance, Node: a.Node, Text: a.Text, Subject: strings.TrimSpace(a.Rule + " " + a.Subject),
		})
	}
	return events
}

func sortAlerts(all []zeekapi.Alert) {
	slices.SortFunc(all, func(a, b zeekapi.Alert) int {
		return cmp.Or(a.Since.Compare(b.Since), cmp.Compare(a.Rule, b.Rule), cmp.Compare(a.Instance, b.Instance),
			cmp.Compare(a.Node, b.Node), cmp.Compare(a.Subject, b.Subject))
	})
}

// limit limits the listed alerts.
func (n *Notification) limit() {
	for _, list := range []*[]zeekapi.Alert{&n.Firing, &n.Resolved} {
		if more := len(*list) - MaxListed; more > 0 {
			n.More += more
			*list = (*list)[:MaxListed]
		}
	}
}

// Present returns the present alerts that count, the oldest first.
func (m *Machine) Present() []zeekapi.Alert {
	all := []zeekapi.Alert{}
	for _, a := range m.alerts {
		if a.present && a.after.IsZero() {
			all = append(all, a.Alert)
		}
	}
	sortAlerts(all)
	return all
}

// Deadline returns the time of the next Tick that the machine needs. The result is false if
// it needs none.
func (m *Machine) Deadline() (time.Time, bool) {
	next := sooner(m.due, m.young)
	if m.repeats() {
		next = sooner(next, m.last.Add(m.settings.Repeat))
	}
	return next, !next.IsZero()
}

// Check returns an error if the state contradicts itself, which is a bug. Tests call it after
// every step.
func (m *Machine) Check() error {
	changed := false
	for k, a := range m.alerts {
		changed = changed || a.changed
		switch {
		case !a.present && !a.changed:
			return fmt.Errorf("%v has ended, and is kept", k)
		case a.present && !a.after.IsZero() && (m.young.IsZero() || m.young.After(a.after)):
			return fmt.Errorf("%v counts at %s, the machine looks at %s", k, a.after, m.young)
		case !a.after.IsZero() && (a.changed || a.told):
			return fmt.Errorf("%v does not count yet, but is told", k)
		case k != key{conditionOf(a.Rule), a.Instance, a.Node, a.Subject}:
			return fmt.Errorf("%v is kept as %v", a.Alert, k)
		}
	}
	if changed && m.due.IsZero() {
		return errors.New("there is something to tell, but no notification is planned")
	}
	if len(m.alerts) > MaxAlerts {
		return fmt.Errorf("%d alerts", len(m.alerts))
	}
	return nil
}
