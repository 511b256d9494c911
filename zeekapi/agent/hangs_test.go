package agent

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/agent/launch"
)

// hanging returns the settings of an agent that notices nodes that hang.
func hanging(restart bool) Settings {
	s := connecting("i")
	s.MeasureInterval, s.HungAfter, s.RestartHung = 10*time.Second, time.Minute, restart
	return s
}

// receive lets time pass with so many packets a second at the interface, and the given ones
// that each worker processes.
func (f *fleet) receive(reports map[string]string, d time.Duration, link, w1, w2 uint64) {
	f.t.Helper()
	for range int(d / time.Second) {
		f.linked += link
		f.processed[0] += w1
		f.processed[1] += w2
		f.traffic = map[string]zeekapi.Traffic{"eth0": {Received: f.linked}}
		for i, name := range []string{"w1", "w2"} {
			if reports[name] != "" {
				reports[name] = counts(f.processed[i], 0)
			}
		}
		f.pass(time.Second)
	}
}

// kinds returns the present problems.
func (f *fleet) kinds() string {
	var all []string
	for _, p := range f.machine.Problems() {
		all = append(all, p.Kind+" "+p.Node)
	}
	return strings.Join(all, ", ")
}

// A node that does not answer is a problem after a while, until it answers. It is not restarted
// unless that is set.
func TestSilentNode(t *testing.T) {
	f, reports := sensing(t, hanging(false))
	reports["m"], reports["w1"], reports["w2"] = counts(0, 0), counts(1, 0), counts(1, 0)
	f.receive(reports, 5*time.Minute, 100, 100, 100)
	compare(t, "with answers", "", f.kinds())
	reports["w1"] = ""
	f.receive(reports, 50*time.Second, 100, 100, 100)
	compare(t, "without answers for a while", "", f.kinds())
	f.receive(reports, time.Minute, 100, 100, 100)
	compare(t, "without answers", "hung w1", f.kinds())
	if text := f.machine.Problems()[0].Text; text != "node w1 hangs: it has not answered its agent for 1m0s" {
		t.Errorf("text is %q", text)
	}
	reports["w1"] = counts(1, 0)
	f.receive(reports, 20*time.Second, 100, 100, 100)
	compare(t, "with answers again", "", f.kinds())
	compare(t, "stopped nodes", 0, len(take[Stop](f)))
}

// Requests to indirect nodes pass through the manager. If none of them answers, only the manager
// hangs; if others do, the silent one does.
func TestSilentIndirectNodes(t *testing.T) {
	for _, tt := range []struct{ silent, want string }{
		{"w1", "hung w1"},
		{"w1 w2", "hung w1, hung w2"},
		{"m w1 w2", "hung m"},
	} {
		f, reports := sensing(t, hanging(false))
		for _, name := range []string{"m", "w1", "w2"} {
			f.at(f.now, Launched{launch.Up{Node: name, Indirect: true}})
			if !slices.Contains(strings.Fields(tt.silent), name) {
				reports[name] = counts(1, 0)
			}
		}
		f.pass(5 * time.Minute)
		compare(t, "silent are "+tt.silent, tt.want, f.kinds())
	}
}

// A node that answers late does not hang.
func TestLateAnswers(t *testing.T) {
	f, reports := sensing(t, hanging(false))
	reports["m"], reports["w2"] = counts(0, 0), counts(1, 0)
	answers := f.answers
	f.answers = func(req zeekapi.NodeDispatchRequest) []zeekapi.NodeDispatchResponse {
		f.at(f.now.Add(MeasureTimeout+time.Second), Received{Message: report(req.ID, "w1", counts(1, 0))})
		return answers(req)
	}
	f.receive(reports, 5*time.Minute, 100, 100, 100)
	compare(t, "problems", "", f.kinds())
}

// A node that processes no packets although its interface receives some is a problem; one
// without packets at the interface, or that never got any, is not.
func TestIdleNode(t *testing.T) {
	f, reports := sensing(t, hanging(false))
	reports["m"], reports["w1"], reports["w2"] = counts(0, 0), counts(1, 0), counts(1, 0)
	f.receive(reports, time.Minute, 100, 100, 0)
	f.receive(reports, 5*time.Minute, 0, 0, 0)
	compare(t, "no packets at the interface", "", f.kinds())
	f.receive(reports, 2*time.Minute, 100, 0, 0)
	compare(t, "packets that w1 does not process", "traffic w1", f.kinds())
	f.receive(reports, time.Minute, 100, 100, 0)
	compare(t, "packets that w1 processes", "", f.kinds())
}

// If that is set, a node that hangs is restarted, with the reason.
func TestHungNodeIsRestarted(t *testing.T) {
	f, reports := sensing(t, hanging(true))
	reports["m"], reports["w1"], reports["w2"] = counts(0, 0), counts(1, 0), counts(1, 0)
	f.receive(reports, time.Minute, 100, 100, 100)
	reports["w1"] = ""
	f.receive(reports, 100*time.Second, 100, 100, 100)
	compare(t, "stopped nodes", []Stop{{"w1"}}, take[Stop](f))
	reports["w1"] = counts(1, 0)
	f.receive(reports, time.Minute, 100, 100, 100)
	compare(t, "afterwards", "", f.kinds())
	for _, n := range f.machine.Nodes() {
		if n.Status.Node == "w1" && (n.Status.State != zeekapi.StateRunning || n.Restarts != 1 || !strings.Contains(n.LastError, "it was hanging")) {
			t.Errorf("w1 is %+v", n)
		}
	}
}
