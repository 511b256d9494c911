package attack

import (
	"fmt"
	"strings"
	"sync/atomic"

	"github.com/google/uuid"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/broker/bin"
	"github.com/zeekwire/zeekwire/broker/record"
	"github.com/zeekwire/zeekwire/broker/wire"
	"github.com/zeekwire/zeekwire/zeekapi"
)

// strangers attacks controllers at their native ports, by agents of instances that the
// cluster does not have.
var strangers = []Attack{
	{"strangers", "40 agents of unknown instances that are silent, or respond with too much or nonsense", func(a *attacker) {
		var n atomic.Int64
		a.peers(40, everything, func(p *peer) {
			number := int(n.Add(1))
			s := a.stranger(p, fmt.Sprint("stranger-", number))
			s.tell(zeekapi.AgentError{Instance: s.name, Text: "nonsense"})
			s.respond(number)
		})
	}},
	{"strangers that come and go", "peers that say hello with a name of their own, and leave", func(a *attacker) {
		a.peers(16, everything, func(p *peer) {
			a.stranger(p, "stranger-"+uuid.NewString())
			a.wait(pause)
		})
	}},
}

// strangeAgent is an agent of an unknown instance.
type strangeAgent struct {
	*peer
	attacker *attacker
	name     string
	err      error
}

// stranger makes a peer an agent, which says hello.
func (a *attacker) stranger(p *peer, name string) *strangeAgent {
	s := &strangeAgent{peer: p, attacker: a, name: name}
	s.tell(zeekapi.AgentHello{Instance: name, EndpointID: p.id.String(), APIVersion: zeekapi.APIVersion, Connecting: true})
	return s
}

// tell sends a message of an agent.
func (s *strangeAgent) tell(m zeekapi.Message) {
	if s.err != nil {
		return
	}
	ev, err := stock.Encode(m)
	check(err)
	if s.err = s.publish(stock.Topics.Agent(s.name), bin.Append(nil, ev.Value())); s.err == nil {
		s.attacker.did()
	}
}

// respond responds to requests for nodes until the connection ends, in a way that depends
// on the number.
func (s *strangeAgent) respond(number int) {
	nodes, err := record.Marshal([]zeekapi.NodeStatus{{
		Node: strings.Repeat("x", 3<<20), State: zeekapi.StateFailed, ManagementRole: zeekapi.ManagementNone, ClusterRole: zeekapi.RoleWorker,
	}})
	check(err)
	answers := []zeekapi.Result{
		{}, {Success: true, Data: broker.String("nonsense")}, zeekapi.Failure("", "nonsense"), {Success: true, Data: nodes},
	}
	for s.err == nil {
		var frame []byte
		if frame, s.err = wire.ReadFrame(s.peer, giant, nil); s.err != nil || number%len(answers) == 0 {
			continue
		}
		if id, ok := nodesRequest(frame); ok {
			s.tell(zeekapi.AgentGetNodesResponse{ReqID: zeekapi.ReqID{ID: id}, Result: answers[number%len(answers)]})
		}
	}
}

// nodesRequest returns the ID of the request for nodes in a frame.
func nodesRequest(frame []byte) (id string, ok bool) {
	envelope, err := wire.DecodeEnvelope(frame)
	if err != nil || envelope.Type != wire.TypeData {
		return "", false
	}
	v, err := bin.Decode(envelope.Payload)
	if err != nil {
		return "", false
	}
	ev, err := broker.ParseEvent(v)
	if err != nil {
		return "", false
	}
	m, err := stock.Decode(ev)
	if err != nil {
		return "", false
	}
	_, ok = m.(zeekapi.AgentGetNodesRequest)
	return m.RequestID(), ok
}
