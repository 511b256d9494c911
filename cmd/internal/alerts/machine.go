package alerts

import (
	"cmp"
	"errors"
	"fmt"
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

// Limits.
const (
	// MaxAlerts limits the alerts that are kept, and MaxListed those in a notification.
	MaxAlerts = 10_000
	MaxListed = 100
)

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
	young    time.Time              // not later than the earliest alert.after; zero: all alerts count
	last     time.Time              // time of the latest notification; zero: none
}

// key identifies an alert. The rules node-died and node-failed have the same condition: an
// alert of the first can become one of the second.
type key struct{ condition, instance, node, subject string }

// alert is the state of a condition that is or was true.
type alert struct {
	zeekapi.Alert
	present bool
	after   time.Time // it counts from this time on, if it is still present; zero: it counts

	told    string // rule of the last notification that it is present; "" if there was none
	changed bool   // the next notification reports it
}

// New returns a machine. The stored events are those of an earlier controller: the machine
// does not report its alerts again, but reports their end. Drained are the drained instances.
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
			m.alerts[k] = &alert{present: true, told: rule, Alert: zeekapi.Alert{
				Rule: rule, Instance: e.Instance, Node: e.Node, Subject: subject, Text: e.Text, Since: e.Time,
			}}
		case zeekapi.EventResolved:
			delete(m.alerts, k)
		}
	}
	return m
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
	case Turn:
		m.turn(now, in)
	}
	m.mature(now)
	return m.notify(now)
}

// turn makes m the machine of a new leader, or of a controller that stands by. Its alerts about
// certificates remain.
func (m *Machine) turn(now time.Time, in Turn) {
	next := New(m.settings, in.Stored, in.Drained)
	for k, a := range m.alerts {
		if k.condition == Certificate {
			next.alerts[k] = a
		}
	}
	next.last = m.last
	*m = *next
	m.plan(now)
}

// clear records that a condition is not true.
func (m *Machine) clear(now time.Time, rule, instance, node, subject string) {
	m.set(now, rule, instance, node, subject, false, "")
}

// set records whether a condition is true. It does nothing for rules that do not apply, and for
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

// setAfter records that a condition is true. A new alert counts after the given time.
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
	fresh := !a.present && a.told == "" && !a.changed
	a.Rule, a.Ended, a.present = rule, time.Time{}, true
	switch {
	case fresh && patience > 0:
		a.after = now.Add(patience)
		m.young = sooner(m.young, a.after)
	case a.told == rule:
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
		if a.present && a.told != "" {
			return true
		}
	}
	return false
}

// collect moves the changed alerts into a notification. Alerts that have ended are resolved,
// even if they began after the previous notification.
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
		case a.told != a.Rule:
			n.Firing = append(n.Firing, a.Alert)
		}
		a.told, a.Times = a.Rule, 0
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
		case !a.after.IsZero() && (a.changed || a.told != ""):
			return fmt.Errorf("%v does not count yet, but was reported", k)
		case k != key{conditionOf(a.Rule), a.Instance, a.Node, a.Subject}:
			return fmt.Errorf("%v is kept as %v", a.Alert, k)
		}
	}
	if changed && m.due.IsZero() {
		return errors.New("alerts have changed, but no notification is planned")
	}
	if len(m.alerts) > MaxAlerts {
		return fmt.Errorf("%d alerts", len(m.alerts))
	}
	return nil
}
