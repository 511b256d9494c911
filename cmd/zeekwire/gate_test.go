package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/broker/peering"
	"github.com/zeekwire/zeekwire/broker/security"
	"github.com/zeekwire/zeekwire/broker/security/certtest"
	"github.com/zeekwire/zeekwire/broker/websocket"
	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/client"
	"github.com/zeekwire/zeekwire/zeekapi/controller"
	"github.com/zeekwire/zeekwire/zeekapi/management"
	"github.com/zeekwire/zeekwire/zeekapi/peertest"
)

var modern = management.Dialect(management.DefaultTopics)

// gated is a controller with a gate.
type gated struct {
	t               *testing.T
	ca              *certtest.Authority
	gate            *gate
	native, clients net.Addr
	file            string // of clients
}

const (
	bossToken   = "token-of-the-boss"
	readerToken = "token-of-a-reader"
)

// startGated starts a controller with native TLS of that mode. Its clients file
// has that text; "" is for none.
func startGated(t *testing.T, mode security.Mode, s gateSettings, clients string) *gated {
	t.Helper()
	g := &gated{t: t, ca: certtest.New(t)}
	native := security.Config{Mode: mode}
	if mode == security.Mutual {
		native.CertFile, native.KeyFile = g.ca.Issue(t, "controller")
		native.CAFile = g.ca.File
	}
	if !s.anonymous {
		s.web.CertFile, s.web.KeyFile = g.ca.Issue(t, "controller", localhost)
	}
	if s.web.CAFile != "" {
		s.web.CAFile = g.ca.File
	}
	if s.agents == nil {
		s.agents = []string{"*"}
	}
	if clients != "" {
		s.clients = filepath.Join(t.TempDir(), "clients")
		writeFile(t, s.clients, clients)
		g.file = s.clients
	}
	layer, err := security.New(native)
	if err != nil {
		t.Fatal(err)
	}
	opened, err := s.gate(mode, zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	type addresses struct{ native, clients net.Addr }
	started, done := make(chan addresses, 1), make(chan error, 1)
	service := controllerService{
		name: "controller", listen: "127.0.0.1:0", websocketListen: "127.0.0.1:0",
		settings: controller.DefaultSettings(), dialects: defaultTopics.dialects(),
		security: layer, gate: opened, log: zerolog.Nop(),
		started: func(native, clients net.Addr) { started <- addresses{native, clients} },
	}
	g.gate = &service.gate
	ctx, cancel := context.WithCancel(context.Background())
	go func() { done <- service.run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	select {
	case a := <-started:
		g.native, g.clients = a.native, a.clients
	case err := <-done:
		done <- err
		t.Fatal(err)
	}
	return g
}

func localhost(c *x509.Certificate) { c.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1)} }

func writeFile(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// caller is what a client has to show.
type caller struct {
	token   string
	ca      *certtest.Authority // of its certificate; nil for none
	name    string
	expired bool
	plain   bool // does not use TLS
}

func (g *gated) dial(c caller) (*client.Client, error) {
	g.t.Helper()
	config := websocket.ClientConfig{
		Address: g.clients.String(), Subscriptions: []string{modern.Topics.Controller},
		ApplicationName: "boss",
	}
	if c.token != "" {
		config.Header = http.Header{"Authorization": {"Bearer " + c.token}}
	}
	if !c.plain {
		config.TLS = &tls.Config{RootCAs: pool(g.t, g.ca)}
	}
	if c.ca != nil {
		var change []func(*x509.Certificate)
		if c.expired {
			change = append(change, certtest.Expired)
		}
		pair, err := tls.LoadX509KeyPair(c.ca.Issue(g.t, c.name, change...))
		if err != nil {
			g.t.Fatal(err)
		}
		config.TLS.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &pair, nil }
	}
	bus, err := websocket.Dial(g.t.Context(), config)
	if err != nil {
		return nil, err
	}
	return client.New(bus, modern), nil
}

func pool(t *testing.T, ca *certtest.Authority) *x509.CertPool {
	t.Helper()
	text, err := os.ReadFile(ca.File)
	if err != nil {
		t.Fatal(err)
	}
	p := x509.NewCertPool()
	p.AppendCertsFromPEM(text)
	return p
}

// try asks and changes something, and returns what either came to.
func (g *gated) try(c caller) (asked, changed string) {
	g.t.Helper()
	conn, err := g.dial(c)
	if err != nil {
		return err.Error(), err.Error()
	}
	defer conn.Close()
	return attempt(g.t, conn)
}

func attempt(t *testing.T, conn *client.Client) (asked, changed string) {
	t.Helper()
	text := func(err error) string {
		if err == nil {
			return "ok"
		}
		return err.Error()
	}
	_, err := conn.GetInstances(t.Context())
	asked = text(err)
	_, err = conn.Stage(t.Context(), zeekapi.Configuration{ID: "c1"})
	return asked, text(err)
}

func TestGateClients(t *testing.T) {
	const list = "boss full token:" + bossToken + "\nreader read-only token:" + readerToken + "\n" +
		"ops-* full certificate\nauditor read-only certificate\n"
	g := startGated(t, security.Off, gateSettings{web: security.WebConfig{CAFile: "ours"}}, list)
	other := certtest.New(t)
	for _, tt := range []struct {
		name           string
		caller         caller
		asked, changed string // parts of it
	}{
		{"token", caller{token: bossToken}, "ok", "ok"},
		{"token of a reader", caller{token: readerToken}, "ok", "controller: client 'reader' may only read"},
		{"wrong token", caller{token: "no-such-token-here"}, "the token is not known", "the token is not known"},
		{"nothing but a name", caller{}, "a client certificate is needed", "a client certificate is needed"},
		{"certificate", caller{ca: g.ca, name: "ops-1"}, "ok", "ok"},
		{"certificate of a reader", caller{ca: g.ca, name: "auditor"}, "ok", "controller: client 'auditor' may only read"},
		{"certificate of nobody", caller{ca: g.ca, name: "mallory"}, "is not known", "is not known"},
		{"certificate with a name that has a token", caller{ca: g.ca, name: "boss"}, "is not known", "is not known"},
		{"expired certificate", caller{ca: g.ca, name: "ops-1", expired: true}, "expired certificate", "expired certificate"},
		{"certificate of somebody else's authority", caller{ca: other, name: "ops-1"}, "unknown certificate authority", "unknown certificate authority"},
		{"without TLS", caller{token: bossToken, plain: true}, "met TLS", "met TLS"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			asked, changed := g.try(tt.caller)
			if !strings.Contains(asked, tt.asked) || !strings.Contains(changed, tt.changed) {
				t.Errorf("asked: %s\nchanged: %s\nwant %s and %s", asked, changed, tt.asked, tt.changed)
			}
		})
	}

	// What a file says after a reload counts at once, also for who is here.
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
	if asked, changed := attempt(t, conn); asked == "ok" || changed == "ok" {
		t.Errorf("with a token of before: %s, %s", asked, changed)
	}
}

// mutual is the native TLS of who has a certificate.
func (g *gated) mutual(ca *certtest.Authority, name string, change ...func(*x509.Certificate)) *security.Layer {
	g.t.Helper()
	config := security.Config{Mode: security.Mutual, CAFile: g.ca.File}
	config.CertFile, config.KeyFile = ca.Issue(g.t, name, change...)
	layer, err := security.New(config)
	if err != nil {
		g.t.Fatal(err)
	}
	return layer
}

// peer is a native peer with a certificate, which takes no more than one
// peering.
func (g *gated) peer(name string, change ...func(*x509.Certificate)) *peering.Endpoint {
	g.t.Helper()
	endpoint, err := peering.New(peering.Config{
		Secure: g.mutual(g.ca, name, change...).Hook(), Subscriptions: []string{modern.Topics.Controller, modern.Topics.AgentPrefix},
	})
	if err != nil {
		g.t.Fatal(err)
	}
	g.t.Cleanup(func() { endpoint.Close() })
	return endpoint
}

func connect(t *testing.T, e *peering.Endpoint, to net.Addr) error {
	t.Helper()
	if err := e.Dial(to.String()); err != nil {
		t.Fatal(err)
	}
	_, err := e.AwaitPeer(t.Context(), to.String())
	return err
}

func sayHello(t *testing.T, bus broker.Bus, instance string) {
	t.Helper()
	peertest.Say(t.Context(), t, bus, modern, modern.Topics.Agent(instance),
		zeekapi.AgentHello{Instance: instance, APIVersion: 1, Connecting: true})
}

// instances returns the names of those that have an agent.
func (g *gated) instances() string {
	g.t.Helper()
	conn, err := g.dial(caller{})
	if err != nil {
		g.t.Fatal(err)
	}
	defer conn.Close()
	list, err := conn.GetInstances(g.t.Context())
	if err != nil {
		g.t.Fatal(err)
	}
	var names []string
	for _, i := range list {
		names = append(names, i.Name)
	}
	return strings.Join(names, " ")
}

// introduce lets an agent say hello and checks which instances then have agents.
// An agent may give no orders; that it hears so proves that its hello was heard.
func (g *gated) introduce(agent *peering.Endpoint, instance, want string) {
	g.t.Helper()
	sayHello(g.t, agent, instance)
	conn := client.New(agent, modern)
	defer conn.Close()
	if asked, changed := attempt(g.t, conn); !strings.Contains(asked, "may not ask anything") || !strings.Contains(changed, "may not ask anything") {
		g.t.Errorf("the agent asks, and hears %q and %q", asked, changed)
	}
	if got := g.instances(); got != want {
		g.t.Errorf("instances with agents are %q, want %q", got, want)
	}
	conn.Close()
	for g.instances() != "" { // until it is known to be gone
		time.Sleep(time.Millisecond)
	}
}

// Agents have to be who they say.
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
	t.Run("of another authority", func(t *testing.T) {
		conn, err := net.Dial("tcp", g.native.String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		secured, err := g.mutual(certtest.New(t), "hq").Secure(t.Context(), conn, true)
		if err == nil { // a dialer is the first to be done
			_, err = secured.Read(make([]byte, 1))
		}
		if err == nil || !strings.Contains(err.Error(), "certificate") {
			t.Errorf("the controller's answer to a certificate of another authority: %v", err)
		}
	})
	t.Run("by WebSocket", func(t *testing.T) {
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

// So have agents that the controller connects to.
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
				conn.Deploy(ctx) // the agent will not answer
			}()
			if _, err := agent.Next(t.Context()); err != nil { // the controller has come
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

// An authority without a list: all who have a certificate of it are let in.
func TestGateDemand(t *testing.T) {
	g := startGated(t, security.Off, gateSettings{web: security.WebConfig{CAFile: "ours"}}, "")
	if asked, changed := g.try(caller{ca: g.ca, name: "whoever"}); asked != "ok" || changed != "ok" {
		t.Errorf("with a certificate: %s, %s", asked, changed)
	}
	if asked, _ := g.try(caller{token: bossToken}); !strings.Contains(asked, "certificate required") {
		t.Errorf("without: %s", asked)
	}
}

// Native peers are clients by their certificates.
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

// Clients of Zeek 5.2 to 8.0.2 know anonymous TLS by default.
func TestGateAnonymous(t *testing.T) {
	g := startGated(t, security.Anonymous, gateSettings{anonymous: true}, "")
	layer, err := security.New(security.Config{Mode: security.Anonymous})
	if err != nil {
		t.Fatal(err)
	}
	bus, err := websocket.Dial(t.Context(), websocket.ClientConfig{
		Address: g.clients.String(), Subscriptions: []string{modern.Topics.Controller},
		Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
			conn, err := new(net.Dialer).DialContext(ctx, network, address)
			if err != nil {
				return nil, err
			}
			return layer.Secure(ctx, conn, true)
		},
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

func TestGateSettings(t *testing.T) {
	for _, tt := range []struct {
		args string
		want string
	}{
		{"--allow-agents a,,b", "--allow-agents \"a,,b\": an empty name"},
		{"--allow-agents [", "--allow-agents \"[\": syntax error in pattern"},
		{"--clients nowhere", "access: clients: open nowhere"},
		{"--websocket-tls-cert x", "TLS of clients: set --websocket-tls-key as well"},
		{"--websocket-tls-ca x", "TLS of clients: set --websocket-tls-cert, --websocket-tls-key as well"},
		{"--tls-options-websocket-ciphers HIGH", "want AECDH-AES256-SHA or nothing"},
		{"--tls-options-websocket-ciphers AECDH-AES256-SHA@SECLEVEL=0:P-384 --websocket-tls-ca x", "there are none of clients"},
	} {
		var stderr strings.Builder
		args := append([]string{"controller", "--state-dir", t.TempDir()}, strings.Fields(tt.args)...)
		if code := run(t.Context(), args, nil, &stderr, &stderr); code == 0 || !strings.Contains(stderr.String(), tt.want) {
			t.Errorf("%s: %d, %s", tt.args, code, &stderr)
		}
	}
}
