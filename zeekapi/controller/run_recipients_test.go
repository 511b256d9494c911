package controller_test

import (
	"fmt"
	"testing"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/broker/peering"
	"github.com/zeekwire/zeekwire/zeekapi"
)

// With access rules, only the client that sent a request hears the response. Without
// them, all clients do, as with Zeek's controller.
func TestResponseRecipients(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		guarded bool
		want    string // request of the first response that the other client hears
	}{{true, "own"}, {false, "other"}} {
		t.Run(fmt.Sprint("access rules: ", tt.guarded), func(t *testing.T) {
			s := newSite(t, siteConfig{guarded: tt.guarded})
			client := s.client()
			for name, other := range map[string]*party{"WebSocket": s.client(), "native": s.nativeClient()} {
				other.answerTo(getInstances(name + " before")) // the controller knows its subscriptions
				client.answerTo(getInstances(name + " other"))
				other.send(modern.Topics.Controller, getInstances(name+" own"))
				heard, ok := other.receive()
				for ok && heard.RequestID() == name+" before" {
					heard, ok = other.receive()
				}
				if !ok || heard.RequestID() != name+" "+tt.want {
					t.Errorf("the %s client first hears %+v, want the response to %q", name, heard, tt.want)
				}
				for ok && heard.RequestID() != name+" own" {
					heard, ok = other.receive()
				}
			}
		})
	}
}

// nativeClient connects a client with Zeek's native protocol.
func (s *site) nativeClient() *party {
	s.t.Helper()
	endpoint, err := peering.New(s.peering(modern.Topics.Controller))
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { endpoint.Close() })
	if err := endpoint.AddPeer(s.address); err != nil {
		s.t.Fatal(err)
	}
	if _, err := endpoint.AwaitPeer(s.t.Context(), s.address); err != nil {
		s.t.Fatal(err)
	}
	return &party{endpoint, s.t, modern}
}

// The controller sends the configuration of an instance only to its agent, even if
// other peers subscribe to the topic of the agent.
func TestAgentRecipients(t *testing.T) {
	t.Parallel()
	s := newSite(t, siteConfig{})
	eavesdropper, err := peering.New(s.peering(modern.Topics.AgentPrefix))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { eavesdropper.Close() })
	if err := eavesdropper.AddPeer(s.address); err != nil {
		t.Fatal(err)
	}
	if _, err := eavesdropper.AwaitPeer(t.Context(), s.address); err != nil {
		t.Fatal(err)
	}
	b := &party{eavesdropper, t, modern}
	client := s.client()
	b.send(modern.Topics.Agent("b"), hello("b"))
	client.until(func(id string) zeekapi.Message { return getInstances(id) }, ` [T = [["b", 127.0.0.1, nil]]]`)
	s.agent("a", s.address)
	client.until(func(id string) zeekapi.Message { return getInstances(id) }, ` [T = [["a", 127.0.0.1, nil], ["b", 127.0.0.1, nil]]]`)
	client.ask(set2(client, "r1", config("c1", "a")), "answer DeployResponse r1 [T a] [T = c1]")

	// The message to b comes after those to a.
	client.send(modern.Topics.Controller, stage("r2", config("c2", "b")))
	client.send(modern.Topics.Controller, deploy("r3"))
	for {
		notification, err := eavesdropper.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		received, ok := notification.(broker.Received)
		if !ok {
			continue
		}
		if received.Message.Topic == modern.Topics.Agent("b") {
			return
		}
		t.Errorf("another agent hears %s on %s", received.Message.Value, received.Message.Topic)
	}
}
