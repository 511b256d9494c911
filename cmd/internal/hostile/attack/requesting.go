package attack

import (
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"sync/atomic"

	"github.com/google/uuid"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/broker/bin"
	"github.com/zeekwire/zeekwire/broker/jsonv1"
	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/management"
	"github.com/zeekwire/zeekwire/zeekapi/operations"
)

var (
	stock = management.Dialect(management.DefaultTopics)
	own   = operations.Dialect(operations.DefaultTopics)
)

// requesting attacks native and WebSocket ports, by valid messages.
var requesting = []Attack{
	{"requests", "20 clients that ask as fast as they can", func(a *attacker) {
		a.speakers(20, true, func(s *speaker) { s.ask(zeekapi.GetNodesRequest{ReqID: newID()}) })
	}},
	{"requests without reading", "20 clients that ask as fast as they can and read no response", func(a *attacker) {
		a.speakers(20, false, func(s *speaker) { s.ask(zeekapi.StatusRequest{ReqID: newID()}) })
	}},
	{"unread responses", "60 clients that ask for large responses and read none", func(a *attacker) {
		var unknown []string
		for i := range 900 {
			unknown = append(unknown, fmt.Sprint(i)+strings.Repeat("n", 900))
		}
		a.speakers(60, false, func(s *speaker) { s.ask(zeekapi.RestartRequest{ReqID: newID(), Nodes: unknown}) })
	}},
	{"dry runs", "20 clients that ask for differences to large configurations", func(a *attacker) {
		config := largeConfiguration(5000)
		a.speakers(20, true, func(s *speaker) { s.ask(zeekapi.DryRunRequest{ReqID: newID(), Config: config}) })
	}},
	{"checks", "20 clients that have large configurations checked", func(a *attacker) {
		config := largeConfiguration(5000)
		a.speakers(20, true, func(s *speaker) { s.ask(zeekapi.CheckRequest{ReqID: newID(), Config: &config}) })
	}},
	{"large invalid configurations", "20 clients that stage configurations of 50000 nodes with errors", func(a *attacker) {
		config := largeConfiguration(50_000)
		for i := range config.Nodes {
			config.Nodes[i].Instance = "nowhere"
		}
		a.speakers(20, true, func(s *speaker) { s.ask(zeekapi.StageConfigurationRequest{ReqID: newID(), Config: config}) })
	}},
	{"long texts", "clients that send IDs and names of megabytes", func(a *attacker) {
		long := strings.Repeat("x", 4<<20)
		a.speakers(8, true, func(s *speaker) {
			s.ask(zeekapi.GetNodesRequest{ReqID: zeekapi.ReqID{ID: long}})
			s.ask(zeekapi.GetIDValueRequest{ReqID: newID(), Identifier: long, Nodes: []string{long}})
			s.ask(zeekapi.StageConfigurationRequest{ReqID: newID(), Config: zeekapi.Configuration{ID: long, Nodes: []zeekapi.Node{strange(long)}}})
		})
	}},
	{"control characters", "clients that send names with control characters", func(a *attacker) {
		a.speakers(8, true, func(s *speaker) {
			s.ask(zeekapi.GetIDValueRequest{ReqID: zeekapi.ReqID{ID: Forgery + uuid.NewString()}, Identifier: Forgery, Nodes: []string{Forgery}})
			s.ask(zeekapi.StageConfigurationRequest{ReqID: zeekapi.ReqID{ID: Forgery}, Config: zeekapi.Configuration{ID: Forgery, Nodes: []zeekapi.Node{strange(Forgery)}}})
			s.publish(Forgery, broker.String(Forgery))
		})
	}},
	{"publishes", "20 clients that publish unrequested messages on all topics", func(a *attacker) {
		event := broker.NewEvent("Some::event", broker.String(strings.Repeat("x", 10_000))).Value()
		a.speakers(20, false, func(s *speaker) {
			for _, topic := range []string{stock.Topics.Controller, own.Topics.Events, own.Topics.Controller, "/", stock.Topics.Agent(a.target.Instance)} {
				s.publish(topic, event)
			}
		})
	}},
	{"forged responses", "clients that respond in place of the controller and of agents", func(a *attacker) {
		forged := zeekapi.Result{Instance: a.target.Instance, Node: a.target.Node, Success: false, Error: ForgedError}
		a.speakers(8, true, func(s *speaker) {
			for _, topic := range []string{stock.Topics.Controller, stock.Topics.Agent(a.target.Instance)} {
				s.tell(topic, stock, zeekapi.GetNodesResponse{ReqID: newID(), Results: []zeekapi.Result{forged}})
				s.tell(topic, stock, zeekapi.AgentDeployResponse{ReqID: newID(), Results: []zeekapi.Result{forged}})
				s.tell(topic, stock, zeekapi.AgentGetNodesResponse{ReqID: newID(), Result: forged})
			}
			s.tell(own.Topics.Events, own, zeekapi.EventReport{Event: zeekapi.ClusterEvent{Text: ForgedError}})
		})
	}},
	{"strange values", "clients that send events whose arguments have other types", func(a *attacker) {
		a.speakers(8, true, func(s *speaker) { s.publish(stock.Topics.Controller, strangeEvent()) })
	}},
	{"timeouts", "20 clients with requests that time out", func(a *attacker) {
		a.speakers(20, false, func(s *speaker) { s.ask(zeekapi.TestTimeoutRequest{ReqID: newID()}) })
	}},
	{"agent takeover", "peers that say hello with the name of a connected agent", func(a *attacker) {
		a.speakers(4, true, func(s *speaker) {
			for _, d := range []*zeekapi.Dialect{own, stock} {
				s.tell(d.Topics.Agent(a.target.Instance), d, zeekapi.AgentHello{Instance: a.target.Instance, EndpointID: uuid.NewString(), APIVersion: 1, Connecting: true})
			}
			a.wait(pause)
		})
	}},
	{"agents with control characters", "peers that say hello with names that have control characters", func(a *attacker) {
		a.speakers(4, true, func(s *speaker) {
			s.tell(stock.Topics.Agent(Forgery), stock, zeekapi.AgentHello{Instance: Forgery, EndpointID: Forgery, APIVersion: 1, Connecting: true})
			s.tell(stock.Topics.Agent(a.target.Instance), stock, zeekapi.AgentHello{Instance: Forgery, EndpointID: Forgery, APIVersion: 1, Connecting: true})
		})
	}},
	{"many agents", "peers that say hello with ever new names", func(a *attacker) {
		var n atomic.Int64
		a.speakers(8, true, func(s *speaker) {
			name := fmt.Sprint("agent-", n.Add(1)) + strings.Repeat("n", 200)
			s.tell(stock.Topics.Agent(name), stock, zeekapi.AgentHello{Instance: name, EndpointID: uuid.NewString(), APIVersion: 1, Connecting: true})
		})
	}},
}

// Forgery is a name with control characters, that forges a line of a log. What
// services write must not contain it.
const Forgery = "x\x1b[2J\x1b]0;title\x07\r\n2026-01-01T00:00:00Z ERR forged line\u202e"

// ForgedError is the error in forged responses. No client must see it.
const ForgedError = "forged by a client"

func newID() zeekapi.ReqID { return zeekapi.ReqID{ID: uuid.NewString()} }

// sampleConfiguration returns the event that stages a configuration with n nodes.
func sampleConfiguration(n int) broker.Event {
	ev, err := stock.Encode(zeekapi.StageConfigurationRequest{ReqID: newID(), Config: largeConfiguration(n)})
	if err != nil {
		panic(err) // it is valid
	}
	return ev
}

// topic returns the topic on which the target receives requests of a dialect.
func (a *attacker) topic(d *zeekapi.Dialect) string {
	if a.target.Agent {
		return d.Topics.Agent(a.target.Instance)
	}
	return d.Topics.Controller
}

// question returns a request about a configuration, which changes nothing in the target,
// whatever is damaged in it.
func (a *attacker) question() broker.Event {
	c := largeConfiguration(3)
	var m zeekapi.Message = zeekapi.DryRunRequest{ReqID: newID(), Config: c}
	if a.target.Agent {
		m = zeekapi.AgentCheckRequest{ReqID: newID(), Config: c.ID, Nodes: c.Nodes}
	}
	ev, err := own.Encode(m)
	if err != nil {
		panic(err) // it is valid
	}
	return ev
}

// largeConfiguration returns a configuration with n nodes of an instance that does
// not exist.
func largeConfiguration(n int) zeekapi.Configuration {
	c := zeekapi.Configuration{ID: uuid.NewString(), Instances: []zeekapi.Instance{{Name: "absent"}}}
	for i := range n {
		c.Nodes = append(c.Nodes, zeekapi.Node{
			Name: fmt.Sprintf("node-%d", i), Instance: "absent", Role: zeekapi.RoleWorker, State: zeekapi.StateRunning,
			Scripts: []string{"some/script"}, Env: map[string]string{"A": strings.Repeat("b", 100)},
		})
	}
	return c
}

// strange returns a node that has text as its texts.
func strange(text string) zeekapi.Node {
	return zeekapi.Node{Name: text, Instance: text, Role: zeekapi.RoleWorker, State: zeekapi.StateRunning, Interface: text, Scripts: []string{text}}
}

// strangeEvent returns an event of a request with random arguments.
func strangeEvent() broker.Value {
	ev := sampleConfiguration(1)
	values := []broker.Value{
		broker.None(), broker.Boolean(true), broker.Count(1 << 63), broker.Integer(-1), broker.String("\xff\x00"), broker.Vector(),
		broker.Vector(broker.Vector(broker.Vector())), broker.Set(broker.Count(1), broker.String("x")), broker.Real(1e308),
	}
	pick := func() broker.Value { return values[rand.IntN(len(values))] }
	args := make([]broker.Value, rand.IntN(4))
	for i := range args {
		args[i] = pick()
	}
	names := []string{ev.Name, strings.Replace(ev.Name, "stage_configuration", "restart", 1), strings.Replace(ev.Name, "stage_configuration", "get_id_value", 1)}
	return broker.NewEvent(names[rand.IntN(len(names))], args...).Value()
}

// speaker is a client or peer that sends messages.
type speaker struct {
	attacker *attacker
	send     func(topic string, v broker.Value) error
	close    func() error
	err      error // of the first message that could not be sent
}

// speakers keeps n speakers connected, over WebSockets or natively, and calls act
// for each again and again. The speakers read what they receive if reads is true.
func (a *attacker) speakers(n int, reads bool, act func(*speaker)) {
	a.crowd(n, func(int) {
		s := a.speaker(reads)
		for s != nil && s.err == nil && a.ctx.Err() == nil {
			act(s)
		}
	})
}

// speaker connects a speaker, or returns nil. Its connection ends with the attack.
func (a *attacker) speaker(reads bool) *speaker {
	s := &speaker{attacker: a}
	var read io.Reader
	if a.target.WebSocket {
		c := a.client(jsonv1.Subscriptions{stock.Topics.Controller, own.Topics.Controller, own.Topics.Events})
		if c == nil {
			return nil
		}
		read, s.close = c, c.Close
		s.send = func(topic string, v broker.Value) error {
			return c.text(jsonv1.Append(nil, jsonv1.Data{Topic: topic, Value: v}))
		}
	} else {
		p := a.peer(uuid.New(), everything)
		if p == nil {
			return nil
		}
		read, s.close = p, p.Close
		s.send = func(topic string, v broker.Value) error { return p.publish(topic, bin.Append(nil, v)) }
	}
	if reads {
		go io.Copy(io.Discard, read)
	}
	return s
}

// publish sends a message.
func (s *speaker) publish(topic string, v broker.Value) {
	if s.err != nil {
		return
	}
	if s.err = s.send(topic, v); s.err == nil {
		s.attacker.did()
	}
}

// tell sends a message of a dialect.
func (s *speaker) tell(topic string, d *zeekapi.Dialect, m zeekapi.Message) {
	ev, err := d.Encode(m)
	if err != nil {
		panic(err) // a mistake in the attack
	}
	s.publish(topic, ev.Value())
}

// ask sends a request to the controller.
func (s *speaker) ask(m zeekapi.Message) {
	d := stock
	if !d.Has(m) {
		d = own
	}
	s.tell(d.Topics.Controller, d, m)
}
