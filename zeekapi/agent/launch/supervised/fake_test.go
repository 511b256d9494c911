package supervised

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync/atomic"
	"testing"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/broker/membus"
	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/management"
	control "github.com/zeekwire/zeekwire/zeekapi/supervisor"
)

// fake is a Supervisor without processes. TestFakeMatchesRecordings compares it with
// recordings of Zeek's Supervisor.
type fake struct {
	layout control.Layout
	mute   atomic.Bool // whether it sends no responses

	refused atomic.Int64 // requests with another layout

	nodes map[string]control.NodeStatus
	pids  int64
	log   []string // requests that create or destroy nodes
}

func newFake(l control.Layout) *fake {
	return &fake{layout: l, nodes: make(map[string]control.NodeStatus)}
}

// respond returns the messages that the Supervisor publishes after it receives an event.
func (f *fake) respond(ev broker.Event) []zeekapi.Message {
	msg, err := control.Dialect(control.Topic, f.layout).Decode(ev)
	if err != nil || f.mute.Load() {
		return nil
	}
	switch msg := msg.(type) {
	case control.StatusRequest:
		return []zeekapi.Message{control.StatusResponse{ReqID: msg.ReqID, Nodes: maps.Clone(f.nodes)}}
	case control.CreateRequest:
		if !fits(f.layout, ev.Args[1]) {
			f.refused.Add(1)
			return nil
		}
		r := control.CreateResponse{ReqID: msg.ReqID}
		switch _, there := f.nodes[msg.Node.Name]; {
		case msg.Node.Name == "":
			r.Error = "node names must not be an empty string"
		case there:
			r.Error = fmt.Sprintf("node with name '%s' already exists", msg.Node.Name)
		}
		if r.Error != "" {
			return []zeekapi.Message{r}
		}
		f.log = append(f.log, "create "+msg.Node.Name)
		for name, e := range msg.Node.Cluster {
			if e.Port.Number == 0 && f.layout != control.Layout61 { // until Zeek 7.0
				e.Port.Protocol = broker.ProtocolTCP
				msg.Node.Cluster[name] = e
			}
		}
		f.nodes[msg.Node.Name] = control.NodeStatus{Config: msg.Node, Layout: f.layout}
		return []zeekapi.Message{r, f.spawn(msg.Node.Name)}
	case control.DestroyRequest:
		f.log = append(f.log, "destroy "+msg.Node)
		_, there := f.nodes[msg.Node]
		delete(f.nodes, msg.Node)
		return []zeekapi.Message{control.DestroyResponse{ReqID: msg.ReqID, Known: there}}
	case control.RestartRequest:
		_, there := f.nodes[msg.Node]
		out := []zeekapi.Message{control.RestartResponse{ReqID: msg.ReqID, Known: there}}
		if there {
			out = append(out, f.spawn(msg.Node))
		}
		return out
	}
	return nil
}

// spawn starts or restarts the process of a node.
func (f *fake) spawn(name string) control.NodeStarted {
	f.pids++
	n := f.nodes[name]
	n.PID = f.pids
	f.nodes[name] = n
	return control.NodeStarted{Node: name, PID: uint64(n.PID)}
}

// run adds a node that another client created.
func (f *fake) run(c control.NodeConfig) {
	f.nodes[c.Name] = control.NodeStatus{Config: c, Layout: f.layout}
	f.spawn(c.Name)
}

// fits reports whether the types of a node match a layout. Zeek compares them when it
// receives an event.
func fits(l control.Layout, node broker.Value) bool {
	for i, k := range map[control.Layout][]broker.Kind{
		control.Layout40: kinds("sssssbvtit"),
		control.Layout51: kinds("sssssbvvvtit"),
		control.Layout60: kinds("ssssssbvvvtit"),
		control.Layout61: kinds("ssssssbvvtit"),
	}[l] {
		if i >= node.Len() || !node.At(i).IsNone() && node.At(i).Kind() != k {
			return false
		}
	}
	return l != control.LayoutUnknown
}

func kinds(letters string) []broker.Kind {
	var ks []broker.Kind
	for _, c := range letters {
		ks = append(ks, map[rune]broker.Kind{
			's': broker.KindString, 'b': broker.KindBoolean, 'v': broker.KindVector, 't': broker.KindTable, 'i': broker.KindInteger,
		}[c])
	}
	return ks
}

// serving is a fake that is connected to a bus.
type serving struct {
	*testing.T
	fake *fake
	hub  *membus.Hub
	bus  *membus.Endpoint
}

// connect makes the Supervisor reachable.
func (s *serving) connect() {
	s.bus = s.hub.Endpoint(control.Topic)
	go func(bus *membus.Endpoint) {
		for {
			notification, err := bus.Next(context.Background())
			if err != nil {
				return
			}
			if r, ok := notification.(broker.Received); ok {
				if ev, err := broker.ParseEvent(r.Message.Value); err == nil {
					s.publish(s.fake.respond(ev)...)
				}
			}
		}
	}(s.bus)
}

func (s *serving) disconnect() {
	s.bus.Close()
}

// publish publishes each message on the topic that the Supervisor uses.
func (s *serving) publish(messages ...zeekapi.Message) {
	for _, msg := range messages {
		d, topic := control.Dialect(control.Topic, s.fake.layout), control.Topic+"/node_status"
		if _, ok := msg.(zeekapi.NodeExit); ok {
			d, topic = management.Dialect(management.DefaultTopics), management.DefaultTopics.Supervisor
		} else if id := msg.RequestID(); id != "" {
			topic = control.Topic + "/response/" + id
		}
		ev, err := d.Encode(msg)
		if err == nil {
			err = broker.PublishEvent(s.Context(), s.bus, topic, ev)
		}
		if err != nil {
			s.Error(err)
		}
	}
}

// has returns the names of the Supervisor's nodes.
func (s *serving) has() []string { return slices.Sorted(maps.Keys(s.fake.nodes)) }
