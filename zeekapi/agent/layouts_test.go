package agent

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
	"unsafe"

	"github.com/google/uuid"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/operations"
)

// TestLayouts checks that a request may name a layout that a controller sent before.
func TestLayouts(t *testing.T) {
	config := configuration("c1", "l", "m", "w", "other/v")
	packed := ours(deploy("", config)).Layout
	here, there := broker.Peer{ID: uuid.UUID{1}}, broker.Peer{ID: uuid.UUID{2}}
	lacks := func(id string) string {
		return "the agent does not have the layout " + id[:12] + " of the cluster; repeat the request"
	}
	good := zeekapi.AgentLayout{ID: packed.ID(), Layout: packed}
	bad := zeekapi.AgentLayout{ID: good.ID, Layout: "garbage"}
	others := func(n int) []Input {
		var all []Input
		for i := range n {
			other := ours(deploy("", configuration("c1", "l", fmt.Sprintf("m%d", i)))).Layout
			all = append(all, Received{Peer: here, Message: zeekapi.AgentLayout{ID: other.ID(), Layout: other}})
		}
		return all
	}
	sent := Received{Peer: here, Message: good}
	for _, tt := range []struct {
		name  string
		given []Input
		both  bool
		want  string // why the request is refused
	}{
		{"sent before", []Input{sent}, false, ""},
		{"sent after others", append(others(5), sent), false, ""},
		{"sent before a few others", append([]Input{sent}, others(3)...), false, ""},
		{"sent again", slices.Concat([]Input{sent}, others(3), []Input{sent}, others(3)), false, ""},
		{"not sent", nil, false, lacks(good.ID)},
		{"sent before many others", append([]Input{sent}, others(4)...), false, lacks(good.ID)},
		{"sent by another controller", []Input{Received{Peer: there, Message: good}}, false, ""},
		{"sent before the connection was lost", []Input{sent, PeerLost{here}, PeerAdded{here}}, false, ""},
		{"of another ID", []Input{Received{Peer: here, Message: bad}}, false,
			fmt.Sprintf("the layout %.12s was sent as %.12s", bad.Layout.ID(), good.ID)},
		{"mended", []Input{Received{Peer: here, Message: bad}, sent}, false, ""},
		{"also in the request", []Input{sent}, true, "the request has a layout and names one"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := running(t, "l", "m", "w", "other/v")
			for _, in := range append([]Input{PeerAdded{here}, PeerAdded{there}}, tt.given...) {
				f.step(in)
			}
			f.out = nil
			deployment, trial := ours(deploy("r", config)), check("r", config, false)
			deployment.LayoutID, trial.LayoutID = good.ID, good.ID
			if !tt.both {
				deployment.Layout, trial.Layout = "", ""
			}
			f.step(Received{Peer: here, Message: deployment})
			f.step(Received{Peer: here, Message: trial})
			want := ok("r", "")
			if tt.want != "" {
				want = failed("r", "", tt.want)
			}
			compare(t, "deployment", []zeekapi.Result{want}, one[zeekapi.AgentDeployResponse](f).Results)
			compare(t, "check", []zeekapi.Result{want}, one[zeekapi.AgentCheckResponse](f).Results)
		})
	}
}

// sendLayout returns the input of a layout with the named nodes, and its message.
func sendLayout(by broker.Peer, nodes ...string) (Received, zeekapi.AgentLayout) {
	packed := ours(deploy("", configuration("c", nodes...))).Layout
	msg := zeekapi.AgentLayout{ID: packed.ID(), Layout: packed}
	return Received{Peer: by, Message: msg}, msg
}

// The agent keeps few layouts, that of its assignment among them, and none of a controller
// that it does not obey.
func TestLayoutsAreLimited(t *testing.T) {
	leader, follower := broker.Peer{ID: uuid.UUID{20}}, broker.Peer{ID: uuid.UUID{21}}
	f := running(t, "w")
	f.step(PeerAdded{leader})
	same, _ := sendLayout(leader, "w")
	f.step(same)
	// Comparing texts that share memory takes no time.
	if kept := f.machine.layouts[0].text; unsafe.StringData(string(kept)) != unsafe.StringData(string(f.machine.target.assignment.Layout)) {
		t.Error("a layout has not the memory of an equal one")
	}
	f.step(Received{Peer: leader, Message: ours(deploy("r", configuration("c", "w")))})
	for i := range 10 {
		other, _ := sendLayout(leader, fmt.Sprint("w", i))
		f.step(other)
	}
	if n := len(f.machine.layouts); n != maxLayouts || f.machine.layouts.find(f.machine.target.assignment.LayoutID) < 0 {
		t.Errorf("%d layouts, and that of the assignment is at %d", n, f.machine.layouts.find(f.machine.target.assignment.LayoutID))
	}

	f.step(PeerAdded{follower})
	f.claim(leader, 5, true)
	f.claim(follower, 5, false)
	ignored, msg := sendLayout(follower, "x")
	f.step(ignored)
	if f.machine.layouts.find(msg.ID) >= 0 {
		t.Error("the layout of a controller that stands by is kept")
	}
}

// An agent says which layout its nodes run with, also after its restart, and a controller need
// not send that.
func TestLayoutOfAssignment(t *testing.T) {
	leader, follower := broker.Peer{ID: uuid.UUID{20}}, broker.Peer{ID: uuid.UUID{21}}
	f := running(t, "w") // a controller of Zeek's does not name the layout
	described := func(to broker.Peer) string {
		t.Helper()
		f.out = nil
		f.step(PeerAdded{to})
		return one[zeekapi.AgentDescription](f).Layout
	}
	compare(t, "layout of an unnamed one", "", described(leader))
	f.step(PeerAdded{follower})
	f.claim(leader, 5, true)
	f.claim(follower, 5, false)

	config := configuration(f.machine.target.assignment.ID, "w")
	sent, msg := sendLayout(leader, "w")
	f.step(sent)
	f.out = nil
	named := ours(deploy("r", config))
	named.Layout, named.LayoutID = "", msg.ID
	f.step(Received{Peer: leader, Message: named})
	compare(t, "result", []zeekapi.Result{ok("r", "")}, one[zeekapi.AgentDeployResponse](f).Results)
	compare(t, "layout that those who stand by are told", msg.ID, one[zeekapi.AgentDescription](f).Layout)

	f.kill()
	f.pass(time.Second)
	compare(t, "layout after a restart", msg.ID, described(leader))
	f.claim(leader, 5, true)
	f.out = nil
	f.step(Received{Peer: leader, Message: named})
	f.step(Received{Peer: leader, Message: zeekapi.AgentStandbyRequest{ReqID: id("s")}})
	f.pass(time.Second)
	f.step(Received{Peer: leader, Message: named})
	f.pass(time.Second)
	responses := published[zeekapi.AgentDeployResponse](f)
	compare(t, "responses", 2, len(responses))
	for _, r := range responses {
		for _, result := range r.Results {
			compare(t, "error after a restart", "", result.Error)
		}
	}
}

// An agent whose layout was damaged in the file of the state does not say that it has it, and
// takes it again.
func TestDamagedLayout(t *testing.T) {
	leader := broker.Peer{ID: uuid.UUID{20}}
	f := running(t, "w")
	f.step(PeerAdded{leader})
	sent, msg := sendLayout(leader, "m", "w", "other/v")
	f.step(sent)
	named := ours(deploy("r", configuration("c2", "m", "w", "other/v")))
	named.Layout, named.LayoutID = "", msg.ID
	f.step(Received{Peer: leader, Message: named})
	f.pass(time.Second)
	good := f.machine.target.assignment.Layout
	damaged := *f.target
	damaged.Layout = zeekapi.Layout(strings.Replace(string(good), "v ", "u ", 1))
	if damaged.Layout == good {
		t.Fatalf("no damage in %q", good)
	}
	f.target = &damaged

	f.kill()
	f.pass(time.Second)
	f.out = nil
	f.step(PeerAdded{leader})
	compare(t, "layout of which the agent says that it has it", "", one[zeekapi.AgentDescription](f).Layout)
	f.step(sent)
	f.step(Received{Peer: leader, Message: named})
	f.pass(time.Second)
	compare(t, "layout", good, f.machine.target.assignment.Layout)
}

// A controller whose layout is not kept learns that the agent does not obey it. Repeating the
// check would not help.
func TestLayoutOfDisobeyedController(t *testing.T) {
	f := running(t, "w")
	config := configuration("c1", "w")
	packed := ours(deploy("", config)).Layout
	leader, other := broker.Peer{ID: uuid.UUID{20}}, broker.Peer{ID: uuid.UUID{21}}
	f.step(PeerAdded{leader})
	f.step(PeerAdded{other})
	f.claim(leader, 5, true)
	f.out = nil
	f.step(Received{Peer: other, Message: zeekapi.AgentLayout{ID: packed.ID(), Layout: packed}})
	trial := check("r", config, false)
	trial.Layout, trial.LayoutID = "", packed.ID()
	f.step(Received{Peer: other, Message: trial})
	want := failed("r", "", "the controller names no term; the agent obeys "+f.machine.leadership.leader()+", which is connected")
	compare(t, "check", []zeekapi.Result{want}, one[zeekapi.AgentCheckResponse](f).Results)
}

// A layout has the topic that all agents share, and comes from a controller.
func TestLayoutTopic(t *testing.T) {
	own := operations.Dialect(operations.DefaultTopics)
	ev, err := own.Encode(zeekapi.AgentLayout{ID: "x", Layout: "y"})
	if err != nil {
		t.Fatal(err)
	}
	controller := broker.Peer{ID: uuid.UUID{1}}
	r := &receiver{name: "i", dialects: []*zeekapi.Dialect{own}, obey: func(p broker.Peer) bool { return p.ID == controller.ID }}
	for _, tt := range []struct {
		from  broker.Peer
		topic string
		want  bool
	}{
		{controller, own.Topics.Agents, true},
		{controller, own.Topics.Agent("i"), false},
		{broker.Peer{ID: uuid.UUID{2}}, own.Topics.Agents, false},
	} {
		_, got := r.decode(broker.Received{Peer: tt.from, Message: broker.Message{Topic: tt.topic, Value: ev.Value()}})
		if got != tt.want {
			t.Errorf("from %v with topic %s: received %t, want %t", tt.from.ID, tt.topic, got, tt.want)
		}
	}
	if topics := Topics("i", own); !slices.Contains(topics, own.Topics.Agents) {
		t.Errorf("the agent subscribes to %q", topics)
	}
}
