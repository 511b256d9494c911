package alerts

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/zeekwire/zeekwire/zeekapi"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var epoch = time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)

func standard() Settings {
	return Settings{
		Rules: Rules, Wait: 30 * time.Second, Interval: 5 * time.Minute,
		Drops: 0.05, Idle: 5 * time.Minute, Expiry: 14 * 24 * time.Hour,
	}
}

// bench runs a Machine with a simulated clock.
type bench struct {
	*testing.T
	*Machine
	now  time.Time
	sent []Notification
}

func newBench(t *testing.T, s Settings, stored ...zeekapi.ClusterEvent) *bench {
	return &bench{T: t, Machine: New(s, stored, nil), now: epoch}
}

func (b *bench) do(in Input) {
	b.Helper()
	if n := b.Step(b.now, in); n != nil {
		b.sent = append(b.sent, *n)
	}
	if err := b.Check(); err != nil {
		b.Fatalf("after %T: %v", in, err)
	}
}

// pass lets time pass.
func (b *bench) pass(d time.Duration) {
	b.Helper()
	end := b.now.Add(d)
	for {
		at, ok := b.Machine.Deadline()
		if !ok || at.After(end) {
			b.now = end
			return
		}
		if at.After(b.now) {
			b.now = at
		}
		b.do(Tick{})
	}
}

func (b *bench) event(kind, instance, node, text, subject string) {
	b.Helper()
	b.do(Event{zeekapi.ClusterEvent{Kind: kind, Instance: instance, Node: node, Text: text, Subject: subject}})
}

func (b *bench) state(node string, s zeekapi.State) {
	b.Helper()
	b.event(zeekapi.EventState, "i", node, string(s), "")
}

// expect compares the notifications since the last call: each is a list of rules with the
// node, instance or subject; those that have ended begin with a minus.
func (b *bench) expect(what string, want ...string) {
	b.Helper()
	var got []string
	for _, n := range b.sent {
		var words []string
		for _, a := range n.Firing {
			words = append(words, strings.TrimSpace(a.Rule+" "+about(a)))
		}
		for _, a := range n.Resolved {
			words = append(words, "-"+strings.TrimSpace(a.Rule+" "+about(a)))
		}
		got = append(got, strings.Join(words, ", "))
	}
	b.sent = nil
	if !slices.Equal(got, want) {
		b.Errorf("%s: notifications are %q, want %q", what, got, want)
	}
}

func about(a zeekapi.Alert) string {
	for _, s := range []string{a.Node, a.Instance, a.Subject} {
		if s != "" {
			return s
		}
	}
	return ""
}

func TestNodes(t *testing.T) {
	b := newBench(t, standard())
	b.state("w", zeekapi.StateRunning)
	b.state("w", zeekapi.StateCrashed)
	b.state("x", zeekapi.StateFailed)
	b.expect("at once")
	b.pass(29 * time.Second)
	b.expect("before the wait is over")
	b.pass(time.Second)
	b.expect("two alerts are one notification", "node-died w, node-failed x")
	b.state("w", zeekapi.StatePending)
	b.state("w", zeekapi.StateFailed)
	b.state("x", zeekapi.StateRunning)
	b.pass(time.Minute)
	b.expect("within the interval")
	b.pass(5 * time.Minute)
	b.expect("after the interval", "node-failed w, -node-failed x")
	b.state("w", zeekapi.StateCrashed)
	b.state("w", zeekapi.StateFailed)
	b.pass(time.Hour)
	b.expect("it is known that it has failed")
	b.state("w", zeekapi.StateRunning)
	b.pass(time.Hour)
	b.expect("the end", "-node-failed w")
}

// A node that died and is back before the notification is reported once, as resolved. One
// that keeps dying causes one notification in each interval, and then only what is new.
func TestFlapping(t *testing.T) {
	b := newBench(t, standard())
	b.state("w", zeekapi.StateCrashed)
	b.pass(time.Second)
	b.state("w", zeekapi.StateRunning)
	b.pass(time.Minute)
	b.expect("back before the notification", "-node-died w")
	b.pass(time.Hour)
	for range 30 {
		b.state("w", zeekapi.StateCrashed)
		b.pass(time.Second)
		b.state("w", zeekapi.StateRunning)
		b.pass(time.Second)
	}
	if times := b.sent[0].Resolved[0].Times; times != 15 {
		t.Errorf("it died %d times, want 15", times)
	}
	b.pass(time.Hour)
	b.expect("30 deaths in a minute", "-node-died w", "-node-died w")
	b.state("w", zeekapi.StateCrashed)
	b.pass(time.Minute)
	b.state("w", zeekapi.StateRunning)
	b.pass(time.Second)
	b.state("w", zeekapi.StateCrashed)
	b.pass(time.Hour)
	b.expect("back for a second within the interval", "node-died w")
}

func TestInstances(t *testing.T) {
	b := newBench(t, standard())
	b.do(Members{map[string][]string{"i": {"w"}, "j": nil}})
	b.event(zeekapi.EventConnected, "i", "", "", "")
	b.event(zeekapi.EventConnected, "j", "", "", "")
	b.pass(time.Hour)
	b.expect("all connected")
	b.event(zeekapi.EventLost, "i", "", "agent disconnected", "")
	b.pass(20 * time.Second)
	b.event(zeekapi.EventConnected, "i", "", "", "")
	b.pass(time.Hour)
	b.expect("the agent was restarted")
	b.event(zeekapi.EventLost, "i", "", "agent disconnected", "")
	b.pass(time.Hour)
	b.expect("lost", "instance-lost i")
	b.event(zeekapi.EventConnected, "i", "", "", "")
	b.pass(time.Hour)
	b.expect("back", "-instance-lost i")
	b.event(zeekapi.EventDrained, "j", "", "", "")
	b.event(zeekapi.EventLost, "j", "", "", "")
	b.pass(time.Hour)
	b.expect("a drained instance may be lost")
	b.event(zeekapi.EventLost, "i", "", "", "")
	b.pass(time.Hour)
	b.expect("lost", "instance-lost i")
	b.do(Members{map[string][]string{"j": nil}})
	b.pass(time.Hour)
	b.expect("removed from the cluster", "-instance-lost i")
	b.event(zeekapi.EventLost, "i", "", "", "")
	b.pass(time.Hour)
	b.expect("not a member")
}

// An instance that does not connect to a controller that has just started is lost.
func TestInstancesAfterStart(t *testing.T) {
	b := &bench{T: t, Machine: New(standard(), nil, []string{"drained"}), now: epoch}
	b.do(Members{map[string][]string{"i": nil, "j": nil, "drained": nil}})
	b.pass(time.Minute)
	b.event(zeekapi.EventConnected, "j", "", "", "")
	b.pass(time.Hour)
	b.expect("after the start", "instance-lost i")
}

func TestDeployments(t *testing.T) {
	b := newBench(t, standard())
	end := func(o zeekapi.Outcome) {
		b.event(zeekapi.EventDeployed, "", "", "configuration c: "+string(o), string(o))
		b.pass(time.Hour)
	}
	end(zeekapi.OutcomeDeployed)
	end(zeekapi.OutcomeSuperseded)
	b.expect("no problem")
	end(zeekapi.OutcomeRefused)
	b.expect("refused", "deployment")
	end(zeekapi.OutcomeRolledBack)
	b.expect("another failure is the same problem")
	end(zeekapi.OutcomeDeployed)
	b.expect("deployed", "-deployment")
}

func TestProblems(t *testing.T) {
	b := newBench(t, standard())
	for _, p := range []struct{ node, subject string }{{"", "disk /var"}, {"", "disk /"}, {"w", "hung"}, {"w", "traffic"}, {"", "unknown x"}} {
		b.event(zeekapi.EventProblem, "i", p.node, "text", p.subject)
	}
	b.pass(time.Hour)
	b.expect("problems", "disk i, disk i, node-hung w, node-hung w")
	b.event(zeekapi.EventSolved, "i", "", "text", "disk /")
	b.event(zeekapi.EventSolved, "i", "w", "text", "hung")
	b.pass(time.Hour)
	b.expect("solved", "-disk i, -node-hung w")
	var subjects []string
	for _, a := range b.Present() {
		subjects = append(subjects, a.Subject)
	}
	if !slices.Equal(subjects, []string{"/var", "traffic"}) {
		t.Errorf("present are %q", subjects)
	}
}

func TestTraffic(t *testing.T) {
	b := newBench(t, standard())
	report := func(received, dropped float64) {
		b.do(Traffic{"i", "w", received, dropped})
		b.pass(30 * time.Second)
	}
	report(90, 10)
	report(95, 1)
	report(90, 10)
	b.pass(time.Hour)
	b.expect("drops in single reports")
	report(90, 10)
	report(80, 20)
	b.pass(time.Hour)
	b.expect("drops", "drops w")
	if text := b.Present()[0].Text; text != "node w on i drops 20.0% of the packets" {
		t.Errorf("text is %q", text)
	}
	report(100, 0)
	b.pass(time.Hour)
	b.expect("a report without drops")
	report(100, 0)
	b.pass(time.Hour)
	b.expect("no drops", "-drops w")
	report(0, 0)
	for range 9 {
		report(0, 0)
	}
	b.expect("no packets for less than 5 minutes")
	report(0, 0)
	b.pass(time.Hour)
	b.expect("no packets", "no-traffic w")
	b.state("w", zeekapi.StateStopped)
	b.pass(time.Hour)
	b.expect("a node that does not run receives nothing", "-no-traffic w")
}

func TestCertificates(t *testing.T) {
	b := newBench(t, standard())
	const day = 24 * time.Hour
	certs := func(a, c time.Duration) {
		b.do(Certificates{[]Cert{{"a.pem", epoch.Add(a)}, {"b.pem", epoch.Add(c)}}})
		b.pass(time.Hour)
	}
	certs(15*day, 100*day)
	b.expect("valid")
	certs(13*day, 100*day)
	b.expect("about to expire", "certificate a.pem")
	if text := b.Present()[0].Text; text != "the certificate a.pem expires at 2026-12-11T12:00:00Z" {
		t.Errorf("text is %q", text)
	}
	certs(13*day, -day)
	b.expect("expired", "certificate b.pem")
	certs(100*day, -day)
	b.expect("replaced", "-certificate a.pem")
}

func TestStorage(t *testing.T) {
	b := newBench(t, standard())
	b.do(Storable{"disk full"})
	b.do(Storable{"disk full"})
	b.pass(time.Hour)
	b.expect("full", "storage")
	b.do(Storable{})
	b.pass(time.Hour)
	b.expect("not full", "-storage")
}

// Only the rules that are set apply.
func TestRules(t *testing.T) {
	s := standard()
	s.Rules = []string{NodeFailed}
	b := newBench(t, s)
	b.state("w", zeekapi.StateCrashed)
	b.do(Storable{"disk full"})
	b.pass(time.Hour)
	b.expect("other rules")
	b.state("w", zeekapi.StateFailed)
	b.pass(time.Hour)
	b.expect("the rule", "node-failed w")
}

// Present alerts are repeated if that is set.
func TestRepeat(t *testing.T) {
	s := standard()
	s.Repeat = 4 * time.Hour
	b := newBench(t, s)
	b.state("w", zeekapi.StateFailed)
	b.pass(time.Minute)
	b.expect("the alert", "node-failed w")
	b.pass(8 * time.Hour)
	if n := len(b.sent); n != 2 || !b.sent[0].Repeated || len(b.sent[0].Events) > 0 {
		t.Errorf("%d notifications in 8 hours: %+v", n, b.sent)
	}
	b.sent = nil
	b.state("w", zeekapi.StateRunning)
	b.pass(24 * time.Hour)
	b.expect("the end", "-node-failed w")
}

// A controller that continues from stored events does not tell what operators know, and tells
// the end of it.
func TestRestored(t *testing.T) {
	b := newBench(t, standard())
	b.state("w", zeekapi.StateFailed)
	b.state("x", zeekapi.StateFailed)
	b.event(zeekapi.EventProblem, "i", "", "full", "disk /a b")
	b.event(zeekapi.EventProblem, "i", "", "full", "disk /c")
	b.pass(time.Minute)
	b.event(zeekapi.EventSolved, "i", "", "full", "disk /c")
	b.pass(time.Hour)
	var stored []zeekapi.ClusterEvent
	for _, n := range b.sent {
		stored = append(stored, n.Events...)
	}
	b = newBench(t, standard(), stored...)
	if n := len(b.Present()); n != 3 {
		t.Errorf("%d alerts are restored, want 3: %+v", n, b.Present())
	}
	b.do(States{"i", map[string]zeekapi.State{"w": zeekapi.StateFailed, "x": zeekapi.StateRunning}})
	b.event(zeekapi.EventProblem, "i", "", "full", "disk /a b")
	b.pass(time.Hour)
	b.expect("after the restart", "-node-failed x")
	b.event(zeekapi.EventSolved, "i", "", "full", "disk /a b")
	b.pass(time.Hour)
	b.expect("the end", "-disk i")
}

// A new leader does not repeat the alerts of the former one, and reports their end. One that stands
// by is silent, except about its own certificates.
func TestTurns(t *testing.T) {
	former := newBench(t, standard())
	former.state("w", zeekapi.StateFailed)
	former.state("x", zeekapi.StateFailed)
	former.pass(time.Hour)
	var stored []zeekapi.ClusterEvent
	for _, n := range former.sent {
		stored = append(stored, n.Events...)
	}
	former.sent = nil
	former.state("w", zeekapi.StateRunning)
	former.state("y", zeekapi.StateFailed)
	former.do(Turn{})
	former.pass(24 * time.Hour)
	former.expect("the former leader")
	if n := len(former.Present()); n != 0 {
		t.Errorf("%d alerts at the former leader", n)
	}

	b := newBench(t, standard())
	expiring := Certificates{[]Cert{{"a.pem", epoch.Add(time.Hour)}}}
	b.do(expiring)
	b.pass(time.Hour)
	b.expect("standing by", "certificate a.pem")
	b.do(Turn{Stored: stored, Drained: []string{"j"}})
	b.do(Members{map[string][]string{"i": {"w", "x", "y"}, "j": nil}})
	b.do(States{"i", map[string]zeekapi.State{"w": zeekapi.StateRunning, "x": zeekapi.StateFailed, "y": zeekapi.StateFailed}})
	b.event(zeekapi.EventConnected, "i", "", "", "")
	b.do(expiring)
	b.pass(time.Hour)
	b.expect("the new leader", "node-failed y, -node-failed w")
	if n := len(b.Present()); n != 3 {
		t.Errorf("%d alerts, want 3: %+v", n, b.Present())
	}
}

// The list in a notification is limited, the events are not.
func TestManyAlerts(t *testing.T) {
	b := newBench(t, standard())
	for i := range 250 {
		b.state(fmt.Sprint("w", i), zeekapi.StateFailed)
	}
	b.pass(time.Minute)
	if n := b.sent[0]; len(n.Firing) != MaxListed || n.More != 150 || len(n.Events) != 250 {
		t.Errorf("%d listed, %d more, %d events", len(n.Firing), n.More, len(n.Events))
	}
	for i := range MaxAlerts + 10 {
		b.Step(b.now, failedNode(fmt.Sprint("x", i)))
	}
	if err := b.Check(); err != nil {
		t.Error(err)
	}
	if n := len(b.Present()); n != MaxAlerts {
		t.Errorf("%d alerts", n)
	}
}

func identity(a zeekapi.Alert) string {
	return fmt.Sprint(key{conditionOf(a.Rule), a.Instance, a.Node, a.Subject})
}

// model is what an operator knows who reads all notifications.
type model struct {
	firing map[string]bool
	last   time.Time
}

func (m *model) read(n Notification, s Settings) error {
	if !m.last.IsZero() && n.Time.Sub(m.last) < s.Interval {
		return fmt.Errorf("notifications at %s and %s", m.last, n.Time)
	}
	m.last = n.Time
	if n.Repeated {
		return nil
	}
	for _, a := range n.Resolved {
		delete(m.firing, identity(a))
	}
	for _, a := range n.Firing {
		name := identity(a)
		if m.firing[name] && a.Rule != NodeFailed && a.Rule != NodeDied {
			return fmt.Errorf("%s is told twice", name)
		}
		m.firing[name] = true
	}
	return nil
}

// With any inputs: notifications keep their distance, nothing is told twice, and when the
// cluster has been quiet for a while, the operator who has read all notifications, also those
// of an earlier controller, knows exactly the present alerts.
func TestSimulation(t *testing.T) {
	for seed := range uint64(300) {
		if err := simulate(t, rand.New(rand.NewPCG(seed, 1))); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
	}
}

func simulate(t *testing.T, r *rand.Rand) error {
	s := standard()
	s.Wait, s.Interval = time.Duration(r.IntN(60))*time.Second, time.Duration(r.IntN(600))*time.Second
	if r.IntN(2) == 0 {
		s.Repeat = s.Interval + time.Duration(1+r.IntN(1000))*time.Second
	}
	b := newBench(t, s)
	operator := &model{firing: make(map[string]bool)}
	var stored []zeekapi.ClusterEvent
	read := func() (err error) {
		for _, n := range b.sent {
			err = errors.Join(err, operator.read(n, s))
			stored = append(stored, n.Events...)
		}
		b.sent = nil
		return err
	}
	for range 200 {
		b.do(randomInput(r, b.now))
		b.pass(time.Duration(r.IntN(100)) * time.Second)
		if err := read(); err != nil {
			return err
		}
		switch r.IntN(100) {
		case 0: // a turn, which loses the alerts that were not sent yet
			b.do(Turn{})
			b.do(Turn{Stored: stored})
			if err := read(); err != nil {
				return err
			}
		case 1: // another controller, without the alerts that were not sent yet
			now := b.now
			b = newBench(t, s, stored...)
			b.now, operator.last = now, time.Time{}
		}
	}
	b.pass(2*time.Hour + s.Interval)
	if err := read(); err != nil {
		return err
	}
	present := b.Present()
	if len(present) != len(operator.firing) {
		return fmt.Errorf("present are %v, the operator knows %v", present, operator.firing)
	}
	for _, a := range present {
		if !operator.firing[identity(a)] {
			return fmt.Errorf("the operator does not know %v", a)
		}
	}
	return nil
}

func randomInput(r *rand.Rand, now time.Time) Input {
	pick := func(words ...string) string { return words[r.IntN(len(words))] }
	instance, node := pick("i", "j"), pick("w", "x", "y")
	states := []zeekapi.State{zeekapi.StatePending, zeekapi.StateRunning, zeekapi.StateStopped, zeekapi.StateFailed, zeekapi.StateCrashed, zeekapi.StateUnknown}
	switch r.IntN(9) {
	case 0:
		return Event{zeekapi.ClusterEvent{Kind: pick(zeekapi.EventLost, zeekapi.EventConnected, zeekapi.EventDrained, zeekapi.EventUndrained), Instance: instance}}
	case 1:
		return Event{zeekapi.ClusterEvent{Kind: zeekapi.EventDeployed, Subject: pick("deployed", "refused", "failed", "lost")}}
	case 2:
		return Event{zeekapi.ClusterEvent{Kind: pick(zeekapi.EventProblem, zeekapi.EventSolved), Instance: instance, Node: node, Subject: pick("disk /a", "disk /b", "hung", "traffic")}}
	case 3:
		return States{instance, map[string]zeekapi.State{"w": states[r.IntN(6)], "x": states[r.IntN(6)]}}
	case 4:
		return Traffic{instance, node, float64(r.IntN(3)), float64(r.IntN(2))}
	case 5:
		all := map[string][]string{"i": {"w", "x", "y"}, "j": {"w", "x", "y"}}
		if r.IntN(3) == 0 {
			delete(all, pick("i", "j"))
		}
		return Members{all}
	case 6:
		return Storable{pick("", "full")}
	case 7:
		return Certificates{[]Cert{{"a", now.Add(time.Duration(r.IntN(30)) * 24 * time.Hour)}}}
	}
	return Event{zeekapi.ClusterEvent{Kind: zeekapi.EventState, Instance: instance, Node: node, Text: string(states[r.IntN(6)])}}
}
