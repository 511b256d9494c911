package controller_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/broker/record"
	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/controller"
	"github.com/zeekwire/zeekwire/zeekapi/operations"
)

var (
	own         = operations.Dialect(operations.DefaultTopics)
	allDialects = []*zeekapi.Dialect{modern, old, own}
)

// ownAgent connects an agent of this module, which uses two dialects.
func (n *network) ownAgent(name string) {
	a := n.party(modern, modern.Topics.Agent(name), own.Topics.Agent(name))
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			notification, err := a.Next(context.Background())
			if err != nil {
				return
			}
			received, ok := notification.(broker.Received)
			if !ok {
				continue
			}
			ev, err := broker.ParseEvent(received.Message.Value)
			if err != nil {
				continue
			}
			if msg, err := own.Decode(ev); err == nil {
				answer := answerTo(controller.ToAgent{Instance: name, Message: msg})
				if req, ok := msg.(zeekapi.AgentStatusRequest); ok {
					answer = zeekapi.AgentStatusResponse{ReqID: req.ReqID, Result: zeekapi.Result{
						Success: true, Data: mustMarshal([]zeekapi.NodeDetail{{Status: nodeStatus("wu"), Restarts: 3}}),
					}}
				}
				if answer != nil {
					a.dialect = own
					a.send(own.Topics.Agent(name), answer)
					a.dialect = modern
				}
				continue
			}
			if msg, err := modern.Decode(ev); err == nil {
				if answer := answerTo(controller.ToAgent{Instance: name, Message: msg}); answer != nil {
					a.send(modern.Topics.Agent(name), answer)
				}
			}
		}
	}()
	n.t.Cleanup(func() {
		a.Close()
		<-done
	})
	both := &party{a.Bus, n.t, own}
	both.send(own.Topics.Agent(name), hello(name))
	both.send(own.Topics.Agent(name), zeekapi.AgentDescription{Instance: name, Agent: zeekapi.Process{Name: "u", Version: "zeekwire"}, Zeek: "8.0.10"})
	both.dialect = modern
	both.send(modern.Topics.Agent(name), hello(name))
}

func nodeStatus(name string) zeekapi.NodeStatus {
	return zeekapi.NodeStatus{Node: name, State: zeekapi.StateRunning, ManagementRole: zeekapi.ManagementNone, ClusterRole: zeekapi.RoleWorker}
}

// data sends a request and unmarshals the data of the first result.
func (p *party) data(msg zeekapi.Message, into any) {
	p.t.Helper()
	p.send(p.dialect.Topics.Controller, msg)
	for {
		answer, ok := p.receive()
		if !ok {
			p.t.Fatalf("no response to %#v", msg)
		}
		if results := resultsOf(answer); answer.RequestID() == msg.RequestID() && results != nil {
			if err := record.Unmarshal(results[0].Data, into); err != nil || !results[0].Success {
				p.t.Fatalf("response%s: %v", describeResults(answer), err)
			}
			return
		}
	}
}

// One cluster can have agents and clients of all dialects. The controller uses the
// dialect of each.
func TestRunServesAllDialects(t *testing.T) {
	n := run(t, controller.Config{Dialects: allDialects})
	watcher := n.party(own, own.Topics.Events)
	defer watcher.Close()
	// elsewhere receives messages on the topics of agents in dialects that the
	// agents do not use. There must be none.
	elsewhere := n.party(own, modern.Topics.Agent("o"), own.Topics.Agent("o"), old.Topics.Agent("m"), own.Topics.Agent("m"), old.Topics.Agent("u"))
	n.agent(modern, "m")
	n.agent(old, "o")
	n.ownAgent("u")
	client, oldClient, operator := n.client(modern), n.client(old), n.client(own)

	client.ask(set2(client, "r1", config("c1", "m", "o", "u")), "answer DeployResponse r1 [T m] [T o] [T u] [T = c1]")
	oldClient.ask(set("r2", config("c2", "m", "o", "u")), "answer SetConfigurationResponse r2 [T m] [T o] [T u]")
	client.ask(getNodes("r3"), "answer GetNodesResponse r3 [T m = []] [T o = []] [T u = []]")

	var s zeekapi.Status
	operator.data(zeekapi.StatusRequest{ReqID: reqID("r4")}, &s)
	got := make(map[string]string)
	for _, i := range s.Instances {
		got[i.Instance.Name] = fmt.Sprint(i.Connected, i.Wanted, i.Ready, i.Dialects, i.Agent.Name, len(i.Nodes), i.LastError)
	}
	want(t, "instances", map[string]string{
		"m": "true true true [Management]0",
		"o": "true true true [ClusterAgent]0",
		"u": "true true true [Management Operations]u1",
	}, got)

	drain := func(id string, drain bool) zeekapi.Message {
		return zeekapi.DrainRequest{ReqID: reqID(id), Instance: "o", Drain: drain}
	}
	operator.ask(drain("r5", true), "answer DrainResponse r5 [T o]")
	operator.ask(zeekapi.DeployStagedRequest{ReqID: reqID("r6"), DeployOptions: zeekapi.DeployOptions{Force: true}}, "answer DeployStagedResponse r6 [T m] [T u] [T = c2]")
	operator.ask(drain("r7", false), "answer DrainResponse r7 [T o]")
	operator.ask(zeekapi.RollbackRequest{ReqID: reqID("r8")}, "answer RollbackResponse r8 [T m] [T o] [T u] [T = c1]")
	client.ask(restart("r9", "wo"), "answer RestartResponse r9 [F wo not supported by the agent]")

	var past []zeekapi.Deployment
	operator.data(zeekapi.HistoryRequest{ReqID: reqID("r10")}, &past)
	var actions []string
	for _, d := range past {
		actions = append(actions, d.Action)
	}
	want(t, "history", []string{"rollback", "force", "set-configuration", "deploy"}, actions)

	// Events are published on their own topic, and equal the stored ones.
	var kept []zeekapi.ClusterEvent
	operator.data(zeekapi.EventsRequest{ReqID: reqID("r11")}, &kept)
	for i := range kept {
		msg, ok := watcher.receive()
		if !ok {
			t.Fatal("an event is missing on the events topic")
		}
		want(t, "event", kept[i], msg.(zeekapi.EventReport).Event)
	}

	elsewhere.Close()
	for {
		notification, err := elsewhere.Next(context.Background())
		if err != nil {
			break
		}
		if received, ok := notification.(broker.Received); ok {
			t.Errorf("unexpected message on %s", received.Message.Topic)
		}
	}
}

// Zeek before 7.0 has no metrics ports: the record of a node has 10 fields instead
// of 11, and its status 6 instead of 7. The controller accepts the shorter records.
// Such agents and clients accept the longer ones.
func TestRunAcceptsShorterRecords(t *testing.T) {
	n := run(t, controller.Config{})
	topic := modern.Topics.Agent("a")
	a := n.party(modern, topic)
	defer a.Close()
	a.send(topic, hello("a"))
	client := n.client(modern)

	ev, err := modern.Encode(stage("r1", config("c1", "a")))
	if err != nil {
		t.Fatal(err)
	}
	ev.Args[1] = broker.Vector(ev.Args[1].At(0), ev.Args[1].At(1), broker.Set(shorter(first(ev.Args[1].At(2)), 10)))
	client.publish(modern.Topics.Controller, ev.Value())
	client.ask(zeekapi.GetConfigurationRequest{ReqID: reqID("r2")},
		`answer GetConfigurationResponse r2 [T = ["c1", {["a", 0.0.0.0, nil]}, {["wa", "a", Supervisor::WORKER, Management::RUNNING, nil, nil, nil, nil, nil, {}, nil]}]]`)

	client.send(modern.Topics.Controller, getNodes("r3"))
	msg, _ := a.receive()
	ev, err = modern.Encode(zeekapi.AgentGetNodesResponse{ReqID: reqID(msg.RequestID()), Result: zeekapi.Result{Success: true, Data: broker.Vector(shorter(mustMarshal(nodeStatus("wa")), 6))}})
	if err != nil {
		t.Fatal(err)
	}
	a.publish(topic, ev.Value())
	for {
		answer, ok := client.receive()
		if !ok {
			t.Fatal("no response")
		}
		if answer.RequestID() == "r3" && resultsOf(answer) != nil {
			want(t, "response", ` [T a = [["wa", Management::RUNNING, Management::NONE, Supervisor::WORKER, nil, nil]]]`, describeResults(answer))
			return
		}
	}
}

func first(v broker.Value) (e broker.Value) {
	for e = range v.Elements() {
		return e
	}
	return e
}

// shorter returns the first fields of a record.
func shorter(record broker.Value, fields int) broker.Value {
	var some []broker.Value
	for i := range fields {
		some = append(some, record.At(i))
	}
	return broker.Vector(some...)
}
