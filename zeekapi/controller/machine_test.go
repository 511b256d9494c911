package controller_test

import (
	"fmt"
	"maps"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"github.com/rs/zerolog"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/broker/record"
	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/controller"
)

// testStart is the time at which all tests begin.
var testStart = time.Unix(0, 0)

// bench holds a machine and checks its outputs, in the notation of describe.
type bench struct {
	t       *testing.T
	machine *controller.Machine
	now     time.Time
	ids     int
	saved   map[controller.Slot]zeekapi.Configuration
	state   controller.State
	events  []string // since the last call of expectEvents
	log     *lines
	nodes   bool // describes also the nodes that agents are to run

	layouts map[uuid.UUID][]string // IDs of the layouts that each peer got or has
	sent    []uuid.UUID            // peers that got layouts
}

func newBench(t *testing.T, saved map[controller.Slot]zeekapi.Configuration) *bench {
	return newBenchOf(t, controller.State{Configs: saved})
}

// newBenchOf returns a bench with a machine that starts with a stored state.
func newBenchOf(t *testing.T, state controller.State) *bench {
	b := &bench{t: t, now: testStart, log: new(lines), state: state.Clone(), saved: make(map[controller.Slot]zeekapi.Configuration),
		layouts: make(map[uuid.UUID][]string)}
	maps.Copy(b.saved, state.Configs)
	b.machine = newMachine(controller.DefaultSettings(), state.Clone(), func() string {
		b.ids++
		return fmt.Sprintf("#%d", b.ids)
	}, zerolog.New(b.log).Level(zerolog.InfoLevel))
	return b
}

// newMachine returns a machine. It panics if the settings are invalid.
func newMachine(s controller.Settings, state controller.State, newID func() string, log zerolog.Logger) *controller.Machine {
	m, err := controller.NewMachine(s, state, newID, log)
	if err != nil {
		panic(err)
	}
	return m
}

func (b *bench) start(want ...string) {
	b.t.Helper()
	b.check(b.machine.Start(b.now), want)
}

func (b *bench) do(in controller.Input, want ...string) {
	b.t.Helper()
	b.check(b.machine.Step(b.now, in), want)
}

// client passes the request of a client to the machine.
func (b *bench) client(msg zeekapi.Message, want ...string) {
	b.t.Helper()
	b.do(controller.FromClient{Message: msg}, want...)
}

// agent passes the message of an agent to the machine.
func (b *bench) agent(p broker.Peer, msg zeekapi.Message, want ...string) {
	b.t.Helper()
	if d, ok := msg.(zeekapi.AgentDescription); ok && d.Layout != "" {
		b.layouts[p.ID] = append(b.layouts[p.ID], d.Layout)
	}
	b.do(controller.FromAgent{Peer: p, Message: msg}, want...)
}

// tick advances the time to the deadline of the machine.
func (b *bench) tick(want ...string) {
	b.t.Helper()
	deadline, ok := b.machine.Deadline()
	if !ok {
		b.t.Fatal("the machine has no deadline")
	}
	b.now = deadline
	b.do(controller.Tick{}, want...)
}

func (b *bench) idle() {
	b.t.Helper()
	if d, ok := b.machine.Deadline(); ok {
		b.t.Errorf("the machine has the deadline %v, want none", d)
	}
}

func (b *bench) check(outputs []controller.Output, want []string) {
	b.t.Helper()
	if diff := cmp.Diff(want, b.take(outputs)); diff != "" {
		b.t.Errorf("outputs (-want +got)\n%s", diff)
	}
	if err := b.machine.Check(); err != nil {
		b.t.Error(err)
	}
}

// take stores the changes and describes the outputs, except events and changes of
// the history.
func (b *bench) take(outputs []controller.Output) (described []string) {
	for _, o := range outputs {
		if c, ok := o.(controller.Change); ok {
			b.state.Apply(c)
		}
		switch o := o.(type) {
		case controller.ToAgents:
			b.supplied(o)
			continue
		case controller.ToAgent:
			if id := layoutIn(o.Message); id != "" && !slices.Contains(b.layouts[o.Peer], id) {
				b.t.Errorf("%s is to use a layout that it does not have", o.Instance)
			}
		case controller.Save:
			b.saved[o.Slot] = o.Config
		case controller.Announce:
			b.events = append(b.events, strings.TrimSpace(fmt.Sprintf("%s %s %s: %s", o.Event.Kind, o.Event.Instance, o.Event.Node, o.Event.Text)))
			continue
		case controller.SaveDeployment, controller.SaveNames, controller.SaveStopped, controller.SaveJob, controller.SaveSent, controller.KeepSites:
			continue
		}
		text := describe(o)
		if b.nodes {
			text += nodesIn(o)
		}
		described = append(described, text)
	}
	return described
}

// supplied takes a layout that is sent to agents.
func (b *bench) supplied(to controller.ToAgents) {
	for _, peer := range to.Peers {
		b.layouts[peer] = append(b.layouts[peer], to.Message.(zeekapi.AgentLayout).ID)
	}
	b.sent = append(b.sent, to.Peers...)
}

// layoutIn returns the ID of the layout that a request names.
func layoutIn(msg zeekapi.Message) string {
	switch msg := msg.(type) {
	case zeekapi.AgentDeployNodesRequest:
		return msg.LayoutID
	case zeekapi.AgentCheckRequest:
		return msg.LayoutID
	}
	return ""
}

// nodesIn describes the nodes that an agent is to run, or to check.
func nodesIn(o controller.Output) string {
	to, _ := o.(controller.ToAgent)
	var nodes []zeekapi.Node
	switch msg := to.Message.(type) {
	case zeekapi.AgentDeployNodesRequest:
		nodes = msg.Nodes
	case zeekapi.AgentCheckRequest:
		nodes = msg.Nodes
	}
	text := ""
	for _, n := range nodes {
		text += " " + n.Name
	}
	return text
}

// expectEvents checks the events since the last call.
func (b *bench) expectEvents(want ...string) {
	b.t.Helper()
	if diff := cmp.Diff(want, b.events); diff != "" {
		b.t.Errorf("events (-want +got)\n%s", diff)
	}
	b.events = nil
}

// again returns a bench with a restarted controller that has the same state.
func (b *bench) again() *bench {
	c := newBenchOf(b.t, b.state)
	c.now, c.nodes = b.now, b.nodes
	return c
}

// deployedBench returns a bench with a deployed configuration, and its agents. The
// agents connect from 10.0.0.1, 10.0.0.2 and so on.
func deployedBench(t *testing.T, c zeekapi.Configuration) (*bench, map[string]broker.Peer) {
	b := newBench(t, nil)
	peers := make(map[string]broker.Peer)
	b.machine.Start(b.now)
	for i, inst := range c.Instances {
		peers[inst.Name] = peer(i + 1)
		b.take(b.machine.Step(b.now, controller.FromAgent{Peer: peers[inst.Name], Message: hello(inst.Name)}))
	}
	outputs := b.machine.Step(b.now, controller.FromClient{Message: stage("stage", c)})
	outputs = append(outputs, b.machine.Step(b.now, controller.FromClient{Message: deploy("deploy")})...)
	for len(outputs) > 0 {
		o := outputs[0]
		outputs = outputs[1:]
		b.take([]controller.Output{o})
		to, ok := o.(controller.ToAgent)
		if !ok {
			continue
		}
		if answer := answerTo(to); answer != nil {
			outputs = append(outputs, b.machine.Step(b.now, controller.FromAgent{Peer: peers[to.Instance], Message: answer})...)
		}
	}
	if b.saved[controller.Deployed].ID != c.ID {
		t.Fatalf("configuration %s is not deployed", c.ID)
	}
	b.now = b.now.Add(time.Minute)
	b.machine.Step(b.now, controller.Tick{})
	b.ids, b.events = 0, nil
	b.idle()
	return b, peers
}

// answerTo returns the response of an agent that performs every request.
func answerTo(to controller.ToAgent) zeekapi.Message {
	id := zeekapi.ReqID{ID: to.Message.RequestID()}
	ok := zeekapi.Result{ReqID: id.ID, Success: true, Instance: to.Instance}
	switch to.Message.(type) {
	case zeekapi.AgentWelcomeRequest:
		return zeekapi.AgentWelcomeResponse{ReqID: id, Result: ok}
	case zeekapi.AgentStandbyRequest:
		return zeekapi.AgentStandbyResponse{ReqID: id, Result: ok}
	case zeekapi.AgentDeployRequest, zeekapi.AgentDeployNodesRequest:
		return zeekapi.AgentDeployResponse{ReqID: id, Results: []zeekapi.Result{ok}}
	case zeekapi.AgentGetNodesRequest:
		ok.Data = broker.Vector()
		return zeekapi.AgentGetNodesResponse{ReqID: id, Result: ok}
	case zeekapi.AgentDispatchRequest:
		return zeekapi.AgentDispatchResponse{ReqID: id}
	case zeekapi.AgentRestartRequest:
		return zeekapi.AgentRestartResponse{ReqID: id}
	}
	return nil
}

func describe(o controller.Output) string {
	switch o := o.(type) {
	case controller.ToAgent:
		text := "to " + o.Instance + ": " + messageName(o.Message) + " " + o.Message.RequestID()
		switch msg := o.Message.(type) {
		case zeekapi.AgentDeployRequest:
			text += " " + msg.Config.ID
			if msg.Force {
				text += " by force"
			}
		case zeekapi.AgentDeployNodesRequest:
			text += " " + msg.Config
			if msg.Force {
				text += " by force"
			}
		case zeekapi.AgentCheckRequest:
			text += " " + msg.Config
		case zeekapi.AgentCheckRestartRequest:
			text += " of " + strings.Join(msg.Nodes, " ")
		case zeekapi.AgentSiteRequest:
			text += fmt.Sprintf(" from %d", msg.Offset)
			if o.Part {
				text += " with the part"
			}
		case zeekapi.AgentDispatchRequest:
			text += " " + strings.Join(msg.Action, " ") + " of " + strings.Join(msg.Nodes, " ")
		case zeekapi.AgentRestartRequest:
			text += " of " + strings.Join(msg.Nodes, " ")
		}
		return strings.TrimSpace(text)
	case controller.ToClients:
		return "answer " + messageName(o.Message) + " " + o.Message.RequestID() + describeResults(o.Message)
	case controller.Dial:
		return "dial " + o.Address
	case controller.Hangup:
		return "hang up " + o.Address
	case controller.Save:
		return "save " + string(o.Slot) + " " + o.Config.ID
	}
	return fmt.Sprintf("%#v", o)
}

func messageName(msg zeekapi.Message) string { return reflect.TypeOf(msg).Name() }

// resultsOf returns the results of a response.
func resultsOf(msg zeekapi.Message) []zeekapi.Result {
	v := reflect.ValueOf(msg)
	if f := v.FieldByName("Results"); f.IsValid() {
		return f.Interface().([]zeekapi.Result)
	}
	if f := v.FieldByName("Result"); f.IsValid() {
		return []zeekapi.Result{f.Interface().(zeekapi.Result)}
	}
	return nil
}

func describeResults(msg zeekapi.Message) string {
	var b strings.Builder
	for _, r := range resultsOf(msg) {
		b.WriteString(" [")
		if !r.Success {
			b.WriteString("F")
		} else {
			b.WriteString("T")
		}
		for _, part := range []string{r.Instance, r.Node, r.Error} {
			if part != "" {
				b.WriteString(" " + part)
			}
		}
		if text, ok := r.Data.Text(); ok {
			b.WriteString(" = " + text)
		} else if !r.Data.IsNone() {
			b.WriteString(" = " + r.Data.String())
		}
		b.WriteString("]")
	}
	return b.String()
}

func mustMarshal(v any) broker.Value {
	out, err := record.Marshal(v)
	if err != nil {
		panic(err)
	}
	return out
}

func reqID(id string) zeekapi.ReqID { return zeekapi.ReqID{ID: id} }

// alice is a named client on the machine of the agent of peer 1.
var alice = broker.Peer{ID: uuid.New(), Name: "alice", Addr: netip.MustParseAddrPort("10.0.0.1:50000")}

// ask sends a request of alice. It returns the only result of the response and the
// description of the other outputs, and unmarshals the data of the result into
// data unless that is nil.
func (b *bench) ask(msg zeekapi.Message, data any) (result zeekapi.Result, described []string) {
	b.t.Helper()
	return b.answered(b.machine.Step(b.now, controller.FromClient{Peer: alice, Message: msg}), msg.RequestID(), data)
}

// answered removes the response to a request from outputs. See ask.
func (b *bench) answered(outputs []controller.Output, id string, data any) (result zeekapi.Result, described []string) {
	b.t.Helper()
	var others []controller.Output
	found := false
	for _, o := range outputs {
		to, ok := o.(controller.ToClients)
		if !ok || to.Message.RequestID() != id {
			others = append(others, o)
			continue
		}
		found = true
		result = resultsOf(to.Message)[0]
	}
	described = b.take(others)
	if !found {
		b.t.Fatalf("request %s has no response; other outputs: %q", id, described)
	}
	if data != nil {
		if !result.Success {
			b.t.Fatalf("request %s: %s", id, result.Error)
		}
		if err := record.Unmarshal(result.Data, data); err != nil {
			b.t.Fatal(err)
		}
	}
	if err := b.machine.Check(); err != nil {
		b.t.Error(err)
	}
	return result, described
}

func want[T any](t *testing.T, what string, want, got T) {
	t.Helper()
	if diff := cmp.Diff(want, got, cmpState); diff != "" {
		t.Errorf("%s (-want +got)\n%s", what, diff)
	}
}

// Messages of the tests.

func peer(n int) broker.Peer {
	return broker.Peer{
		ID:   uuid.NewSHA1(uuid.Nil, []byte{byte(n >> 8), byte(n)}),
		Addr: netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, byte(n >> 8), byte(n)}), 40000),
	}
}

func dialedPeer(n int, address string) broker.Peer {
	p := peer(n)
	p.Addr, p.Dialed, p.Address = netip.MustParseAddrPort(address), true, address
	return p
}

func hello(instance string) zeekapi.Message {
	return zeekapi.AgentHello{Instance: instance, Connecting: true, APIVersion: 1}
}

func welcomed(id, instance string) zeekapi.Message {
	return zeekapi.AgentWelcomeResponse{ReqID: zeekapi.ReqID{ID: id}, Result: zeekapi.Result{ReqID: id, Success: true, Instance: instance}}
}

func agentDeployed(id string, results ...zeekapi.Result) zeekapi.Message {
	return zeekapi.AgentDeployResponse{ReqID: zeekapi.ReqID{ID: id}, Results: results}
}

func success(instance, node string) zeekapi.Result {
	return zeekapi.Result{Success: true, Instance: instance, Node: node}
}

func stage(id string, c zeekapi.Configuration) zeekapi.Message {
	return zeekapi.StageConfigurationRequest{ReqID: zeekapi.ReqID{ID: id}, Config: c}
}

func deploy(id string) zeekapi.Message { return zeekapi.DeployRequest{ReqID: zeekapi.ReqID{ID: id}} }

func set(id string, c zeekapi.Configuration) zeekapi.Message {
	return zeekapi.SetConfigurationRequest{ReqID: zeekapi.ReqID{ID: id}, Config: c}
}

func getNodes(id string) zeekapi.Message {
	return zeekapi.GetNodesRequest{ReqID: zeekapi.ReqID{ID: id}}
}

func getID(id, name string, nodes ...string) zeekapi.Message {
	return zeekapi.GetIDValueRequest{ReqID: zeekapi.ReqID{ID: id}, Identifier: name, Nodes: nodes}
}

func restart(id string, nodes ...string) zeekapi.Message {
	return zeekapi.RestartRequest{ReqID: zeekapi.ReqID{ID: id}, Nodes: nodes}
}

// config returns a configuration of instances whose agents connect. Each instance
// has a worker, named like the instance with the prefix "w".
func config(id string, instances ...string) zeekapi.Configuration {
	c := zeekapi.Configuration{ID: id}
	for _, name := range instances {
		c.Instances = append(c.Instances, zeekapi.Instance{Name: name, Host: netip.IPv4Unspecified()})
		c.Nodes = append(c.Nodes, zeekapi.Node{Name: "w" + name, Instance: name, Role: zeekapi.RoleWorker, State: zeekapi.StateRunning})
	}
	return c
}

// listening returns c with an agent of instance that listens on address.
func listening(c zeekapi.Configuration, instance, address string) zeekapi.Configuration {
	a := netip.MustParseAddrPort(address)
	for i := range c.Instances {
		if c.Instances[i].Name == instance {
			c.Instances[i].Host, c.Instances[i].Port = a.Addr(), broker.TCP(a.Port())
		}
	}
	return c
}
