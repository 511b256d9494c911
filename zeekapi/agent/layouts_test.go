package agent

import (
	"slices"
	"testing"
	"unsafe"

	"github.com/google/uuid"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/operations"
)

// TestLayouts checks that a request may name the layout that its controller sent before,
// as long as that is connected.
func TestLayouts(t *testing.T) {
	config := configuration("c1", "l", "m", "w", "other/v")
	packed := ours(deploy("", config)).Layout
	here, there := broker.Peer{ID: uuid.UUID{1}}, broker.Peer{ID: uuid.UUID{2}}
	lacks := func(id string) string {
		return "the agent does not have the layout " + id[:12] + " of the cluster; repeat the request"
	}
	good := zeekapi.AgentLayout{ID: packed.ID(), Layout: packed}
	bad := zeekapi.AgentLayout{ID: good.ID, Layout: "garbage"}
	other := zeekapi.AgentLayout{ID: "0123456789abcdef", Layout: packed}
	for _, tt := range []struct {
		name  string
		given []Input
		both  bool
		want  string // why the request is refused
	}{
		{"sent before", []Input{Received{Peer: here, Message: good}}, false, ""},
		{"sent twice", []Input{Received{Peer: here, Message: other}, Received{Peer: here, Message: good}}, false, ""},
		{"also by another controller", []Input{Received{Peer: here, Message: good}, Received{Peer: there, Message: other}}, false, ""},
		{"not sent", nil, false, lacks(good.ID)},
		{"replaced", []Input{Received{Peer: here, Message: good}, Received{Peer: here, Message: other}}, false, lacks(good.ID)},
		{"sent by another controller", []Input{Received{Peer: there, Message: good}}, false, lacks(good.ID)},
		{"lost", []Input{Received{Peer: here, Message: good}, PeerLost{here}, PeerAdded{here}}, false, lacks(good.ID)},
		{"garbage", []Input{Received{Peer: here, Message: bad}}, false, "zeekapi: layout: s2: corrupt input"},
		{"also in the request", []Input{Received{Peer: here, Message: good}}, true, "the request has a layout and names one"},
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

// The agent keeps few layouts, and none of a controller that it does not obey.
func TestLayoutsAreLimited(t *testing.T) {
	f := running(t, "w")
	packed := ours(deploy("", configuration("c1", "w"))).Layout
	for i := range byte(10) {
		f.step(Received{Peer: broker.Peer{ID: uuid.UUID{i}}, Message: zeekapi.AgentLayout{ID: packed.ID(), Layout: packed}})
	}
	if n := len(f.machine.layouts); n != maxLayouts || f.machine.layouts[n-1].peer != (uuid.UUID{9}) {
		t.Errorf("%d layouts, the last one of %v", n, f.machine.layouts[n-1].peer)
	}
	// Comparing texts that share memory takes no time.
	if kept := f.machine.layouts[0].text; unsafe.StringData(string(kept)) != unsafe.StringData(string(f.machine.target.assignment.Layout)) {
		t.Error("a layout has not the memory of an equal one")
	}

	leader, follower := broker.Peer{ID: uuid.UUID{20}}, broker.Peer{ID: uuid.UUID{21}}
	f.step(PeerAdded{leader})
	f.step(PeerAdded{follower})
	f.claim(leader, 5, true)
	f.claim(follower, 5, false)
	f.step(Received{Peer: follower, Message: zeekapi.AgentLayout{ID: packed.ID(), Layout: packed}})
	if last := f.machine.layouts[maxLayouts-1].peer; last == follower.ID {
		t.Error("the layout of a controller that stands by is kept")
	}
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
