package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/http"
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
	"github.com/zeekwire/zeekwire/zeekapi/management"
	"github.com/zeekwire/zeekwire/zeekapi/peertest"
)

var modern = management.Dialect(management.DefaultTopics)

// gated is a controller with access rules.
type gated struct {
	t               *testing.T
	ca              *certtest.Authority
	gate            *gate
	native, clients net.Addr
	file            string // name of the file of clients
}

const (
	bossToken   = "token-of-the-boss"
	readerToken = "token-of-a-reader"
)

// startGated starts a controller with the given mode of native TLS. Its file of
// clients contains the text clients; "" means no file.
func startGated(t *testing.T, mode security.Mode, s gateSettings, clients string, change ...func(*controllerSettings)) *gated {
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
	opened, err := s.gate(mode == security.Mutual, zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	settings := newLoopbackController(t.TempDir())
	for _, f := range change {
		f(settings)
	}
	type addresses struct{ native, clients net.Addr }
	started, done := make(chan addresses, 1), make(chan error, 1)
	service := controllerService{
		settings: settings, security: layer, gate: opened, log: zerolog.Nop(),
		started: func(native, clients, _ net.Addr) { started <- addresses{native, clients} },
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

// caller holds the credentials of a client.
type caller struct {
	token   string
	ca      *certtest.Authority // issuer of its certificate; nil for no certificate
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

// try connects as a client, sends a query and a change, and returns the outcome
// of each: "ok" or an error.
func (g *gated) try(c caller) (asked, changed string) {
	g.t.Helper()
	conn, err := g.dial(c)
	if err != nil {
		return err.Error(), err.Error()
	}
	defer conn.Close()
	return attempt(g.t, conn)
}

// attempt sends a query and a change, and returns the outcome of each.
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

// mutual returns the native TLS of a peer with a certificate.
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

// anonymousPeer returns a native endpoint without a certificate.
func (g *gated) anonymousPeer() *peering.Endpoint {
	g.t.Helper()
	layer, err := security.New(security.Config{Mode: security.Anonymous})
	if err != nil {
		g.t.Fatal(err)
	}
	endpoint, err := peering.New(peering.Config{TLS: layer.Hook()})
	if err != nil {
		g.t.Fatal(err)
	}
	g.t.Cleanup(func() { endpoint.Close() })
	return endpoint
}

// peer returns a native endpoint with a certificate.
func (g *gated) peer(name string, change ...func(*x509.Certificate)) *peering.Endpoint {
	g.t.Helper()
	endpoint, err := peering.New(peering.Config{
		TLS: g.mutual(g.ca, name, change...).Hook(), Subscriptions: []string{modern.Topics.Controller, modern.Topics.AgentPrefix},
	})
	if err != nil {
		g.t.Fatal(err)
	}
	g.t.Cleanup(func() { endpoint.Close() })
	return endpoint
}

func connect(t *testing.T, e *peering.Endpoint, to net.Addr) error {
	t.Helper()
	if err := e.AddPeer(to.String()); err != nil {
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

// instances returns the names of instances that have an agent.
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

// introduce makes an agent say hello and checks the instances that then have
// agents. The refusal of the agent's requests proves that the controller has
// received its hello.
func (g *gated) introduce(agent *peering.Endpoint, instance, want string) {
	g.t.Helper()
	sayHello(g.t, agent, instance)
	conn := client.New(agent, modern)
	defer conn.Close()
	if asked, changed := attempt(g.t, conn); !strings.Contains(asked, "may not ask anything") || !strings.Contains(changed, "may not ask anything") {
		g.t.Errorf("outcomes of the agent's requests: %q and %q", asked, changed)
	}
	if got := g.instances(); got != want {
		g.t.Errorf("instances with agents are %q, want %q", got, want)
	}
	conn.Close()
	for g.instances() != "" { // until the controller has noticed the disconnect
		time.Sleep(time.Millisecond)
	}
}

// newLoopbackController returns the settings of a controller that listens at
// free ports of the loopback interface.
func newLoopbackController(dir string) *controllerSettings {
	s := newControllerSettings()
	s.name, s.stateDir = "controller", dir
	s.native.set("127.0.0.1", 0)
	s.websocket.set("127.0.0.1", 0)
	return s
}
