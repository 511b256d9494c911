package agent

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/zeekapi"
)

func controllerAt(address string) broker.Peer {
	return broker.Peer{ID: uuid.NewSHA1(uuid.Nil, []byte(address)), Addr: netip.MustParseAddrPort(address)}
}

// complaints returns what a step logs and reports to controllers.
func complaints(m *Machine, in Input) (logged, reported []string) {
	for _, o := range m.Step(time.Unix(1, 0), in) {
		switch o := o.(type) {
		case Complain:
			logged = append(logged, o.Text)
		case Publish:
			if e, ok := o.Message.(zeekapi.AgentError); ok {
				reported = append(reported, e.Text)
			}
		}
	}
	return logged, reported
}

// A refused agent logs why, and what to do, once until a controller accepts it.
func TestRefusedAgent(t *testing.T) {
	m, err := NewMachine(Settings{Name: "a", EndpointID: "e"}, State{})
	if err != nil {
		t.Fatal(err)
	}
	one, two := controllerAt("10.0.0.1:2150"), controllerAt("10.0.0.2:2150")
	refusal := zeekapi.AgentRefusal{Instance: "a", Reason: "another agent called a is connected"}
	refuse := func() int {
		t.Helper()
		logged, reported := complaints(m, Received{Peer: one, Message: refusal})
		if len(reported) > 0 {
			t.Errorf("reported %q", reported)
		}
		if len(logged) > 0 && (!strings.Contains(logged[0], refusal.Reason) || !strings.Contains(logged[0], "--name")) {
			t.Errorf("logged %q", logged)
		}
		return len(logged)
	}
	if n := refuse() + refuse(); n != 1 || m.Refusal() != refusal.Reason {
		t.Errorf("%d entries in the log, want 1; refusal %q", n, m.Refusal())
	}
	other := refusal
	other.Instance = "a-1" // its topic begins with ours
	complaints(m, Received{Peer: one, Message: other})
	complaints(m, Received{Peer: two, Message: zeekapi.AgentGetNodesRequest{}})
	if n := refuse(); n != 0 {
		t.Errorf("%d entries in the log, though the same controller refuses", n)
	}
	complaints(m, Received{Peer: one, Message: zeekapi.AgentWelcomeRequest{}})
	if m.Refusal() != "" || refuse() != 1 {
		t.Error("a welcome does not end the refusal")
	}
	complaints(m, PeerLost{one})
	if m.Refusal() != "" {
		t.Error("the refusal outlives the connection")
	}
	refusal.Reason = strings.Repeat("x", 10_000)
	complaints(m, Received{Peer: one, Message: refusal})
	if n := len(m.Refusal()); n > 1000 {
		t.Errorf("a reason of %d bytes is kept", n)
	}
}

// When a second controller changes what runs, the log and both controllers say so.
func TestTwoControllers(t *testing.T) {
	m, err := NewMachine(Settings{Name: "a", EndpointID: "e"}, State{})
	if err != nil {
		t.Fatal(err)
	}
	one, two := controllerAt("10.0.0.1:2150"), controllerAt("10.0.0.2:2150")
	command := func(p broker.Peer, msg zeekapi.Message, want bool) {
		t.Helper()
		logged, reported := complaints(m, Received{Peer: p, Message: msg})
		if (len(logged) > 0) != want || (len(reported) > 0) != want {
			t.Errorf("logged %q, reported %q, want %t", logged, reported, want)
		}
		for _, text := range append(logged, reported...) {
			if !strings.Contains(text, one.Addr.String()) || !strings.Contains(text, two.Addr.String()) {
				t.Errorf("complaint %q does not name both", text)
			}
		}
	}
	deploy := zeekapi.AgentDeployRequest{Config: zeekapi.Configuration{ID: "c", Instances: []zeekapi.Instance{{Name: "a"}}}}
	command(one, deploy, false)
	command(one, deploy, false)
	command(two, zeekapi.AgentGetNodesRequest{}, false)
	command(two, zeekapi.AgentStandbyRequest{}, true)
	command(one, deploy, true)
	complaints(m, PeerLost{one})
	command(two, deploy, false) // the successor of a controller that ended
}
