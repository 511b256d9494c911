package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/broker/security"
	"github.com/zeekwire/zeekwire/broker/security/certtest"
	"github.com/zeekwire/zeekwire/broker/websocket"
	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/client"
	"github.com/zeekwire/zeekwire/zeekapi/peertest"
)

func TestGateClients(t *testing.T) {
	const list = "boss full token:" + bossToken + "\nreader read-only token:" + readerToken + "\n" +
		"ops-* full certificate\nauditor read-only certificate\n"
	g := startGated(t, security.Off, gateSettings{web: security.WebConfig{CAFile: "ours"}}, list)
	other := certtest.New(t)
	for _, tt := range []struct {
		name           string
		caller         caller
		asked, changed string // parts of the outcomes
	}{
		{"token", caller{token: bossToken}, "ok", "ok"},
		{"token of a reader", caller{token: readerToken}, "ok", "controller: client 'reader' may only read"},
		{"wrong token", caller{token: "no-such-token-here"}, "unknown token", "unknown token"},
		{"no token or certificate", caller{}, "a client certificate is required", "a client certificate is required"},
		{"certificate", caller{ca: g.ca, name: "ops-1"}, "ok", "ok"},
		{"certificate of a reader", caller{ca: g.ca, name: "auditor"}, "ok", "controller: client 'auditor' may only read"},
		{"certificate of an unknown client", caller{ca: g.ca, name: "mallory"}, "unknown certificate for", "unknown certificate for"},
		{"certificate with a name that has a token", caller{ca: g.ca, name: "boss"}, "unknown certificate for", "unknown certificate for"},
		{"expired certificate", caller{ca: g.ca, name: "ops-1", expired: true}, "expired certificate", "expired certificate"},
		{"certificate of another authority", caller{ca: other, name: "ops-1"}, "unknown certificate authority", "unknown certificate authority"},
		{"without TLS", caller{token: bossToken, plain: true}, "met TLS", "met TLS"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			asked, changed := g.try(tt.caller)
			if !strings.Contains(asked, tt.asked) || !strings.Contains(changed, tt.changed) {
				t.Errorf("query: %s\nchange: %s\nwant %s and %s", asked, changed, tt.asked, tt.changed)
			}
		})
	}

	// A reload takes effect at once, also for clients that are connected.
	conn, err := g.dial(caller{token: bossToken})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	writeFile(t, g.file, strings.Replace(list, "boss full", "boss read-only", 1))
	if err := g.gate.reload(); err != nil {
		t.Fatal(err)
	}
	if asked, changed := attempt(t, conn); asked != "ok" || !strings.Contains(changed, "client 'boss' may only read") {
		t.Errorf("after the reload: %s, %s", asked, changed)
	}
	writeFile(t, g.file, strings.Replace(list, bossToken, "another-token-of-the-boss", 1))
	if err := g.gate.reload(); err != nil {
		t.Fatal(err)
	}
	if asked, changed := attempt(t, conn); !strings.Contains(asked, "No longer admitted") || changed == "ok" {
		t.Errorf("with a removed token: %s, %s", asked, changed)
	}
}

// An agent can only register under a name that is in its certificate and
// allowed by --allow-agents.
func TestGateAgents(t *testing.T) {
	g := startGated(t, security.Mutual, gateSettings{agents: []string{"sensor-*", "hq"}}, "")
	for _, tt := range []struct {
		name, certificate string
		change            func(*x509.Certificate)
		says, want        string
	}{
		{"common name", "hq", nil, "hq", "hq"},
		{"alternative name", "host.example", func(c *x509.Certificate) { c.DNSNames = []string{"sensor-1"} }, "sensor-1", "sensor-1"},
		{"name of another", "sensor-1", nil, "sensor-2", ""},
		{"not allowed", "lab", nil, "lab", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var change []func(*x509.Certificate)
			if tt.change != nil {
				change = append(change, tt.change)
			}
			agent := g.peer(tt.certificate, change...)
			if err := connect(t, agent, g.native); err != nil {
				t.Fatal(err)
			}
			g.introduce(agent, tt.says, tt.want)
		})
	}
	t.Run("certificate of another authority", func(t *testing.T) {
		conn, err := net.Dial("tcp", g.native.String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		secured, err := g.mutual(certtest.New(t), "hq").Secure(t.Context(), conn, true)
		if err == nil { // the dialing side may complete the handshake first
			_, err = secured.Read(make([]byte, 1))
		}
		if err == nil || !strings.Contains(err.Error(), "certificate") {
			t.Errorf("the controller's answer to a certificate of another authority: %v", err)
		}
	})
	t.Run("over WebSocket", func(t *testing.T) {
		bus, err := websocket.Dial(t.Context(), websocket.ClientConfig{
			Address: g.clients.String(), TLS: &tls.Config{RootCAs: pool(t, g.ca)}, ApplicationName: "hq",
		})
		if err != nil {
			t.Fatal(err)
		}
		defer bus.Close()
		sayHello(t, bus, "hq")
		if got := g.instances(); got != "" {
			t.Errorf("instances with agents are %q", got)
		}
	})
}

// If a reload restricts the names of agents, only the client that asks gets the response,
// and agents must be native peers, as after a restart. If it lifts the restriction, too.
func TestGateReloadedAgents(t *testing.T) {
	g := startGated(t, security.Anonymous, gateSettings{}, "")
	asker, err := g.dial(caller{})
	if err != nil {
		t.Fatal(err)
	}
	defer asker.Close()
	config := websocket.ClientConfig{Address: g.clients.String(), Subscriptions: []string{modern.Topics.Controller}, TLS: &tls.Config{RootCAs: pool(t, g.ca)}}
	listener, err := websocket.Dial(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	for i, patterns := range [][]string{{"*"}, {"sensor-*"}, {"*"}} {
		g.gate.agents.change(patterns)
		responsesBefore(t, listener, fmt.Sprint("before-", i)) // those of the former round
		if _, err := asker.GetInstances(t.Context()); err != nil {
			t.Fatal(err)
		}
		if heard := responsesBefore(t, listener, fmt.Sprint("after-", i)) > 0; heard != (patterns[0] == "*") {
			t.Errorf("with agents %q, another client gets the response: %v", patterns, heard)
		}
		agent, err := websocket.Dial(t.Context(), config)
		if err != nil {
			t.Fatal(err)
		}
		sayHello(t, agent, "sensor-1")
		conn := client.New(agent, modern)
		attempt(t, conn) // the responses prove that the controller has received the hello
		if got := g.instances() == "sensor-1"; got != (patterns[0] == "*") {
			t.Errorf("with agents %q, a WebSocket client is an agent: %v", patterns, got)
		}
		conn.Close()
		for g.instances() != "" {
			time.Sleep(time.Millisecond)
		}
	}
}

// responsesBefore sends a request with an ID and returns the number of messages that the
// client gets before the response.
func responsesBefore(t *testing.T, bus broker.Bus, id string) (n int) {
	t.Helper()
	peertest.Say(t.Context(), t, bus, modern, modern.Topics.Controller, zeekapi.GetInstancesRequest{ReqID: zeekapi.ReqID{ID: id}})
	for {
		next, err := bus.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		r, ok := next.(broker.Received)
		if !ok {
			continue
		}
		ev, err := broker.ParseEvent(r.Message.Value)
		if err != nil {
			t.Fatal(err)
		}
		msg, err := modern.Decode(ev)
		switch {
		case err != nil: // of another dialect
		case msg.RequestID() == id:
			return n
		default:
			n++
		}
	}
}

// The same holds for agents that the controller connects to.
func TestGateListeningAgents(t *testing.T) {
	for _, certificate := range []string{"sensor-1", "sensor-2"} {
		t.Run(certificate, func(t *testing.T) {
			g := startGated(t, security.Mutual, gateSettings{}, "")
			agent := g.peer(certificate)
			at, err := agent.Listen(t.Context(), "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			conn, err := g.dial(caller{})
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			address := netip.MustParseAddrPort(at.String())
			_, err = conn.Stage(t.Context(), zeekapi.Configuration{ID: "c", Instances: []zeekapi.Instance{
				{Name: "sensor-1", Host: address.Addr(), Port: broker.TCP(address.Port())},
			}})
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			deployed := make(chan struct{})
			go func() {
				defer close(deployed)
				conn.Deploy(ctx) // the agent does not respond
			}()
			if _, err := agent.Next(t.Context()); err != nil { // the controller has connected
				t.Fatal(err)
			}
			want := "sensor-1"
			if certificate != want {
				want = ""
			}
			g.introduce(agent, "sensor-1", want)
			cancel()
			<-deployed
		})
	}
}

// With an authority and no list of clients, every client with a certificate of
// the authority is accepted.
func TestGateAcceptsClientsOfAuthority(t *testing.T) {
	g := startGated(t, security.Off, gateSettings{web: security.WebConfig{CAFile: "ours"}}, "")
	if asked, changed := g.try(caller{ca: g.ca, name: "any-client"}); asked != "ok" || changed != "ok" {
		t.Errorf("with a certificate: %s, %s", asked, changed)
	}
	if asked, _ := g.try(caller{token: bossToken}); !strings.Contains(asked, "certificate required") {
		t.Errorf("without: %s", asked)
	}
}

// Native peers are identified as clients by their certificates.
func TestGateNativeClients(t *testing.T) {
	g := startGated(t, security.Mutual, gateSettings{}, "ops full certificate\nboss full token:"+bossToken)
	for name, want := range map[string]string{"ops": "ok", "boss": "client 'boss' may not ask anything"} {
		peer := g.peer(name)
		if err := connect(t, peer, g.native); err != nil {
			t.Fatal(err)
		}
		conn := client.New(peer, modern)
		if asked, changed := attempt(t, conn); !strings.Contains(asked, want) || !strings.Contains(changed, want) {
			t.Errorf("%s: %s, %s, want %s", name, asked, changed, want)
		}
		conn.Close()
	}
}

// Clients of Zeek 5.2 to 8.0.2 use anonymous TLS by default.
func TestGateAnonymous(t *testing.T) {
	g := startGated(t, security.Anonymous, gateSettings{anonymous: true}, "")
	layer, err := security.New(security.Config{Mode: security.Anonymous})
	if err != nil {
		t.Fatal(err)
	}
	bus, err := websocket.Dial(t.Context(), websocket.ClientConfig{
		Address: g.clients.String(), Subscriptions: []string{modern.Topics.Controller},
		DialContext: layer.DialContext,
	})
	if err != nil {
		t.Fatal(err)
	}
	conn := client.New(bus, modern)
	defer conn.Close()
	if asked, changed := attempt(t, conn); asked != "ok" || changed != "ok" {
		t.Errorf("asked: %s, changed: %s", asked, changed)
	}
}

// Clients of a controller do not hear each other, with and without access rules: a client
// could flood the others, or respond in place of the controller.
func TestClientsDoNotHearEachOther(t *testing.T) {
	for name, g := range map[string]*gated{
		"any client":     startGated(t, security.Off, gateSettings{}, ""),
		"listed clients": startGated(t, security.Off, gateSettings{}, "boss full token:"+bossToken),
	} {
		t.Run(name, func(t *testing.T) {
			listener, speaker := g.connectRaw("/", modern.Topics.Controller), g.connectRaw()
			if err := speaker.Publish(t.Context(), "/chat", broker.String("flood")); err != nil {
				t.Fatal(err)
			}
			peertest.Say(t.Context(), t, speaker, modern, modern.Topics.Controller, zeekapi.GetInstancesRequest{ReqID: zeekapi.ReqID{ID: "speaker"}})
			// The controller receives what clients send in order, and so has the above when
			// it responds to the following.
			conn := client.New(speaker, modern)
			if _, err := conn.GetInstances(t.Context()); err != nil {
				t.Fatal(err)
			}
			peertest.Say(t.Context(), t, listener, modern, modern.Topics.Controller, zeekapi.GetInstancesRequest{ReqID: zeekapi.ReqID{ID: "listener"}})
			for {
				notification, err := listener.Next(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				received, ok := notification.(broker.Received)
				if !ok {
					continue
				}
				ev, err := broker.ParseEvent(received.Message.Value)
				if err != nil {
					t.Fatalf("a client heard %s on %s", received.Message.Value, received.Message.Topic)
				}
				m, err := modern.Decode(ev)
				if err != nil {
					t.Fatal(err)
				}
				if _, ok := m.(zeekapi.GetInstancesResponse); !ok {
					t.Fatalf("a client heard %s of another", ev.Name)
				}
				if m.RequestID() == "listener" {
					return
				}
			}
		})
	}
}

// connectRaw connects a client that has the token of the boss.
func (g *gated) connectRaw(subscriptions ...string) *websocket.Client {
	g.t.Helper()
	bus, err := websocket.Dial(g.t.Context(), websocket.ClientConfig{
		Address: g.clients.String(), Subscriptions: append(subscriptions, modern.Topics.Controller),
		TLS: &tls.Config{RootCAs: pool(g.t, g.ca)}, Header: http.Header{"Authorization": {"Bearer " + bossToken}},
	})
	if err != nil {
		g.t.Fatal(err)
	}
	g.t.Cleanup(func() { bus.Close() })
	return bus
}

func TestGateSettings(t *testing.T) {
	for _, tt := range []struct {
		args string
		want string
	}{
		{"--allow-agents a,,b", "--allow-agents \"a,,b\": empty name"},
		{"--allow-agents [", "--allow-agents \"[\": syntax error in pattern"},
		{"--clients nowhere", "access: clients: open nowhere"},
		{"--websocket-tls-cert x", "TLS of clients: set --websocket-tls-key as well"},
		{"--websocket-tls-ca x", "TLS of clients: set --websocket-tls-cert, --websocket-tls-key as well"},
		{"--tls-options-websocket-ciphers HIGH", "want AECDH-AES256-SHA or nothing"},
		{"--tls-options-websocket-ciphers AECDH-AES256-SHA@SECLEVEL=0:P-384 --websocket-tls-ca x", "client certificates require a certificate"},
	} {
		var stderr strings.Builder
		args := append([]string{"controller", "--state-dir", t.TempDir()}, strings.Fields(tt.args)...)
		if code := run(t.Context(), args, nil, &stderr, &stderr); code == 0 || !strings.Contains(stderr.String(), tt.want) {
			t.Errorf("%s: %d, %s", tt.args, code, &stderr)
		}
	}
}
