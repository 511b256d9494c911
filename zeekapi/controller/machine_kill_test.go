package controller_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/controller"
)

// TestControllerKilledAtEachStep deploys two configurations, one after the other,
// to two agents. It repeats this with a kill of the controller at each possible
// point: before the changes of a step are stored, and before each output of a
// step. The client repeats requests without a response.
func TestControllerKilledAtEachStep(t *testing.T) {
	kills := 0
	for ; ; kills++ {
		w := &killTest{t: t, left: kills, runs: make(map[string]string), answers: make(map[string]bool), state: controller.State{}.Clone()}
		w.boot()
		for i := range 2 {
			c := config(fmt.Sprint("c", i+1), "a", "b")
			w.request(func(id string) zeekapi.Message { return stage(id, c) })
			w.checkStored(controller.Staged, c.ID)
			w.request(deploy)
			w.checkStored(controller.Deployed, c.ID)
		}
		for _, name := range []string{"a", "b"} {
			if w.runs[name] != "c2" {
				t.Errorf("killed at point %d: %s runs %q, want c2", kills, name, w.runs[name])
			}
		}
		if err := w.machine.Check(); err != nil {
			t.Errorf("killed at point %d: %v", kills, err)
		}
		if w.left >= 0 {
			break // all points are tested
		}
	}
	if t.Logf("killed %d times", kills); kills < 30 {
		t.Error("want 30 points or more")
	}
}

// TestDeploymentKilledAtEachStep kills the controller at each possible point of a
// deployment with a site, of one that is refused, and of one that is rolled back, with
// agents of ours. The client repeats requests without a response. In the end both
// agents run the target, which is one of the two configurations that passed the check.
func TestDeploymentKilledAtEachStep(t *testing.T) {
	kills, outcomes := 0, make(map[string]int)
	for ; ; kills++ {
		w := &killTest{t: t, ours: true, left: kills, runs: make(map[string]string), answers: make(map[string]bool), state: controller.State{}.Clone()}
		w.boot()
		for i, ends := range []string{"T", "F", "F"} {
			c := config(fmt.Sprint("c", i+1), "a", "b")
			c.Site = strings.Repeat(fmt.Sprint(i), 64)
			w.request(func(id string) zeekapi.Message { return stage(id, c) })
			w.attempt(deploy, ends == "T")
			if i == 0 {
				w.checkStored(controller.Deployed, c.ID)
			} else if w.state.Configs[controller.Target].ID == "c2" {
				t.Errorf("killed at point %d: the target is c2, which did not pass the check", kills)
			}
		}
		target := w.state.Configs[controller.Target].ID
		outcomes[target]++
		for _, p := range w.state.History {
			if p.Outcome == zeekapi.OutcomePending || p.Outcome == zeekapi.OutcomeLost && !strings.HasSuffix(p.Errors[0], "nothing has changed") {
				t.Errorf("killed at point %d: deployment %d of %s is %s: %s", kills, p.Number, p.Config, p.Outcome, p.Errors)
			}
		}
		for _, name := range []string{"a", "b"} {
			if w.runs[name] != target {
				t.Errorf("killed at point %d: %s runs %q, the target is %q", kills, name, w.runs[name], target)
			}
		}
		if err := w.machine.Check(); err != nil {
			t.Errorf("killed at point %d: %v", kills, err)
		}
		if w.left >= 0 {
			break // all points are tested
		}
	}
	if t.Logf("killed %d times, targets %v", kills, outcomes); kills < 60 || outcomes["c1"] == 0 {
		t.Error("want 60 points or more, and rollbacks")
	}
}

// TestRollingRestartKilledAtEachStep kills the controller at each possible point of a
// rolling restart of four nodes, one at a time or two. The client repeats its request
// only if it has no response. Each node restarts exactly once, because its process shows
// whether it has, and the job is complete.
func TestRollingRestartKilledAtEachStep(t *testing.T) {
	c := config("c", "a", "b")
	c.Nodes = append(c.Nodes,
		zeekapi.Node{Name: "la", Instance: "a", Role: zeekapi.RoleLogger, State: zeekapi.StateRunning},
		zeekapi.Node{Name: "lb", Instance: "b", Role: zeekapi.RoleLogger, State: zeekapi.StateRunning})
	for atOnce := range uint64(3) {
		kills := 0
		for ; ; kills++ {
			w := &killTest{t: t, ours: true, left: -1, config: c, runs: make(map[string]string), answers: make(map[string]bool),
				state: controller.State{}.Clone(), restarts: make(map[string]int)}
			w.boot()
			w.request(func(id string) zeekapi.Message { return stage(id, c) })
			w.request(deploy)
			w.left = kills
			id := w.newID()
			w.inputs = append(w.inputs, controller.FromClient{Message: zeekapi.RollingRestartRequest{ReqID: reqID(id), AtOnce: atOnce}})
			w.settle()
			if w.state.Job == nil { // the request was lost
				w.request(func(id string) zeekapi.Message {
					return zeekapi.RollingRestartRequest{ReqID: reqID(id), AtOnce: atOnce}
				})
				w.settle()
			}
			if j := w.state.Job; j == nil || j.Ended.IsZero() || j.Error != "" || j.Number != 1 {
				t.Errorf("killed at point %d: job %+v", kills, j)
			}
			if want := map[string]int{"la": 1, "lb": 1, "wa": 1, "wb": 1}; !maps.Equal(want, w.restarts) {
				t.Errorf("killed at point %d: restarts %v", kills, w.restarts)
			}
			if w.left >= 0 {
				break // all points are tested
			}
		}
		if t.Logf("killed %d times", kills); kills < 30 {
			t.Error("want 30 points or more")
		}
	}
}

// TestStopKilledAtEachStep kills the controller at each possible point while a node is
// stopped, another configuration is deployed, and the node is started again. The client
// repeats requests without a response. The node is then as it was acknowledged to be.
func TestStopKilledAtEachStep(t *testing.T) {
	kills := 0
	for ; ; kills++ {
		w := &killTest{t: t, ours: true, left: -1, runs: make(map[string]string), answers: make(map[string]bool),
			state: controller.State{}.Clone(), running: make(map[string]bool)}
		w.boot()
		deployed := func(id string) {
			w.request(func(r string) zeekapi.Message { return stage(r, config(id, "a", "b")) })
			w.request(deploy)
		}
		deployed("c1")
		w.left = kills
		for _, stopped := range []bool{true, false} {
			w.settleAll(func(id string) zeekapi.Message {
				return zeekapi.StopRequest{ReqID: reqID(id), Nodes: []string{"wa"}, Stop: stopped}
			})
			if stopped {
				deployed("c4")
			}
			if len(w.state.Stopped) == 1 != stopped || w.running["a"] == stopped || !w.running["b"] {
				t.Errorf("killed at point %d: the node is to be stopped: %t, stored as stopped: %v, nodes run: %v", kills, stopped, w.state.Stopped, w.running)
			}
		}
		if w.left >= 0 {
			break // all points are tested
		}
	}
	if t.Logf("killed %d times", kills); kills < 30 {
		t.Error("want 30 points or more")
	}
}

// settleAll makes a request until it is successful, and passes the inputs to the machine
// and the time.
func (w *killTest) settleAll(newRequest func(id string) zeekapi.Message) {
	w.t.Helper()
	for range 3 {
		id := w.newID()
		w.inputs = append(w.inputs, controller.FromClient{Message: newRequest(id)})
		for steps := 0; steps < 1000; steps++ {
			if len(w.inputs) == 0 {
				deadline, ok := w.machine.Deadline()
				if _, answered := w.answers[id]; answered || !ok {
					break
				}
				w.now = deadline
				w.inputs = append(w.inputs, controller.Tick{})
			}
			in := w.inputs[0]
			w.inputs = w.inputs[1:]
			w.do(w.machine.Step(w.now, in))
			if err := w.machine.Check(); err != nil {
				w.t.Error(err)
			}
		}
		if w.answers[id] {
			return
		}
	}
	w.t.Fatal("no successful response")
}

// settle passes the inputs to the machine, and the time, until the job has ended.
func (w *killTest) settle() {
	for range 1000 {
		if len(w.inputs) == 0 {
			deadline, ok := w.machine.Deadline()
			if !ok || w.state.Job == nil || !w.state.Job.Ended.IsZero() {
				return
			}
			w.now = deadline
			w.inputs = append(w.inputs, controller.Tick{})
		}
		in := w.inputs[0]
		w.inputs = w.inputs[1:]
		w.do(w.machine.Step(w.now, in))
		if err := w.machine.Check(); err != nil {
			w.t.Error(err)
		}
	}
	w.t.Error("the job never ends")
}

// killTest runs a controller that is killed once, with two agents that keep
// running.
type killTest struct {
	t       *testing.T
	machine *controller.Machine
	state   controller.State // as stored
	left    int              // points until the kill, negative after it
	inputs  []controller.Input
	runs    map[string]string // IDs of configurations, by agent
	answers map[string]bool   // whether requests were successful, by ID
	ids     int
	now     time.Time

	config   zeekapi.Configuration // with the nodes that restart
	restarts map[string]int        // by node

	running map[string]bool // whether agents were told to run their node

	ours  bool              // the agents are ours: b refuses c2, and its node dies in c3
	sites map[string]uint64 // parts that agents have, by agent and site
}

func (w *killTest) newID() string {
	w.ids++
	return fmt.Sprint("#", w.ids)
}

// boot starts the controller. Messages in transit are lost.
func (w *killTest) boot() {
	if w.now.IsZero() {
		w.now = testStart
	}
	w.machine = newMachine(controller.DefaultSettings(), w.state.Clone(), w.newID, zerolog.Nop())
	w.inputs = nil
	for i, name := range []string{"a", "b"} {
		w.inputs = append(w.inputs, controller.FromAgent{Peer: peer(i + 1), Message: hello(name)})
		if w.ours {
			w.inputs = append(w.inputs, controller.FromAgent{Peer: peer(i + 1), Message: zeekapi.AgentDescription{
				Instance: name, LayoutForm: zeekapi.LayoutForm, Revision: zeekapi.AgentRevision,
			}})
		}
	}
	w.do(w.machine.Start(w.now))
}

// request is attempt for a request that must be successful.
func (w *killTest) request(newRequest func(id string) zeekapi.Message) {
	w.t.Helper()
	w.attempt(newRequest, true)
}

// attempt sends a request, each time with a new ID, until a response arrives.
func (w *killTest) attempt(newRequest func(id string) zeekapi.Message, want bool) {
	w.t.Helper()
	for range 3 {
		id := w.newID()
		w.inputs = append(w.inputs, controller.FromClient{Message: newRequest(id)})
		for len(w.inputs) > 0 {
			in := w.inputs[0]
			w.inputs = w.inputs[1:]
			w.do(w.machine.Step(w.now, in))
			if err := w.machine.Check(); err != nil {
				w.t.Error(err)
			}
		}
		if success, ok := w.answers[id]; ok {
			if success != want {
				w.t.Errorf("request %s: success %t", id, success)
			}
			return
		}
	}
	w.t.Fatal("no response")
}

func (w *killTest) checkStored(slot controller.Slot, id string) {
	if got := w.state.Configs[slot].ID; got != id {
		w.t.Errorf("the %s configuration is %q, but %s was acknowledged", slot, got, id)
	}
}

// do performs outputs of the controller until the kill.
func (w *killTest) do(outputs []controller.Output) {
	var changes []controller.Change
	for _, o := range outputs {
		if c, ok := o.(controller.Change); ok {
			changes = append(changes, c)
		}
	}
	if len(changes) > 0 && w.killed() {
		return
	}
	for _, c := range changes {
		w.state.Apply(c)
	}
	for _, o := range outputs {
		if w.killed() {
			return
		}
		switch o := o.(type) {
		case controller.ToClients:
			results := resultsOf(o.Message)
			w.answers[o.Message.RequestID()] = !slices.ContainsFunc(results, func(res zeekapi.Result) bool { return !res.Success })
		case controller.ToAgent:
			w.toAgent(o)
		}
	}
}

// killed reports whether the controller is killed at this point. If so, it has
// been started again.
func (w *killTest) killed() bool {
	if w.left--; w.left != -1 {
		return false
	}
	w.boot()
	return true
}

func (w *killTest) toAgent(o controller.ToAgent) {
	if msg, ok := o.Message.(zeekapi.AgentDeployRequest); ok {
		if numberOf(msg.Config.ID) < numberOf(w.runs[o.Instance]) {
			w.t.Errorf("%s runs %s and got the earlier %s", o.Instance, w.runs[o.Instance], msg.Config.ID)
		}
		w.runs[o.Instance] = msg.Config.ID
	}
	answer := answerTo(o)
	switch msg := o.Message.(type) {
	case zeekapi.AgentDeployNodesRequest:
		w.runs[o.Instance] = msg.Config
		if w.running != nil {
			w.running[o.Instance] = len(msg.Nodes) > 0
		}
		if o.Instance == "b" && msg.Config == "c3" {
			answer = agentDeployed(msg.ID, problem("wb", "died"))
		} else {
			answer = agentDeployed(msg.ID, success(o.Instance, "w"+o.Instance))
		}
	case zeekapi.AgentCheckRequest:
		answer = checked(msg.ID)
		if o.Instance == "b" && msg.Config == "c2" {
			answer = checked(msg.ID, problem("wb", "bad"))
		}
	case zeekapi.AgentRestartRequest:
		for _, name := range msg.Nodes {
			w.restarts[name]++
		}
	case zeekapi.AgentGetNodesRequest:
		answer = w.nodes(o.Instance, msg.ID)
	case zeekapi.AgentCheckRestartRequest:
		answer = zeekapi.AgentCheckRestartResponse{ReqID: msg.ReqID}
	case zeekapi.AgentStatusRequest:
		var details []zeekapi.NodeDetail
		if w.running[o.Instance] {
			details = append(details, detail("w"+o.Instance, zeekapi.StateRunning))
		}
		answer = detailsAre(msg.ID, details...)
	case zeekapi.AgentSiteRequest:
		answer = w.storePart(o.Instance, msg, o.Part)
	}
	if answer != nil {
		number := map[string]int{"a": 1, "b": 2}[o.Instance]
		w.inputs = append(w.inputs, controller.FromAgent{Peer: peer(number), Message: answer})
	}
}

// nodes returns the nodes of an agent. Each restart makes another process.
func (w *killTest) nodes(instance, id string) zeekapi.Message {
	var list []zeekapi.NodeStatus
	for _, n := range w.config.Nodes {
		if n.Instance == instance {
			list = append(list, process(n.Name, zeekapi.StateRunning, int64(10+w.restarts[n.Name])))
		}
	}
	return nodesAre(id, list...)
}

// storePart stores one of two parts of a site on an agent.
func (w *killTest) storePart(instance string, msg zeekapi.AgentSiteRequest, part bool) zeekapi.Message {
	if w.sites == nil {
		w.sites = make(map[string]uint64)
	}
	key := instance + msg.Site
	if part && msg.Offset == w.sites[key] {
		w.sites[key]++
	}
	return progress(msg.ID, w.sites[key], w.sites[key] == 2)
}
