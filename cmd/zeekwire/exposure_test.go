package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/rs/zerolog"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/broker/membus"
	"github.com/zeekwire/zeekwire/broker/security"
	"github.com/zeekwire/zeekwire/broker/security/certtest"
	"github.com/zeekwire/zeekwire/broker/websocket"
	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/access"
	"github.com/zeekwire/zeekwire/zeekapi/client"
	"github.com/zeekwire/zeekwire/zeekapi/operations"
)

// set parses settings as a service does. A value may name a file of the directory.
func set(t *testing.T, s declared, dir string, items ...string) {
	t.Helper()
	values := make(map[string]string)
	for _, item := range items {
		name, value, _ := strings.Cut(item, "=")
		values["ZEEKWIRE_"+strings.ToUpper(s.shared().kind+"_"+strings.ReplaceAll(name, "-", "_"))] = strings.ReplaceAll(value, "@", dir+"/")
	}
	if err := s.table().Load("", func(name string) string { return values[name] }, nil); err != nil {
		t.Fatal(err)
	}
	if err := s.check(); err != nil {
		t.Fatal(err)
	}
}

// files writes certificates and lists of clients to a directory.
func files(t *testing.T) (dir string) {
	t.Helper()
	ca := certtest.New(t)
	cert, key := ca.Issue(t, "controller", localhost)
	dir = t.TempDir()
	for name, of := range map[string]string{"ca.pem": ca.File, "cert.pem": cert, "key.pem": key} {
		text, err := os.ReadFile(of)
		if err != nil {
			t.Fatal(err)
		}
		writeFile(t, filepath.Join(dir, name), string(text))
	}
	token := "sha256:" + strings.Repeat("0", 64)
	writeFile(t, filepath.Join(dir, "clients"), "alice full certificate\naudit read-only certificate\nci full "+token+"\n")
	writeFile(t, filepath.Join(dir, "tokens"), "ci full "+token+"\n")
	writeFile(t, filepath.Join(dir, "people"), "alice full certificate\n")
	return dir
}

// Sets of settings.
var (
	mutualTLS = []string{"tls=mutual", "tls-cert=@cert.pem", "tls-key=@key.pem", "tls-ca=@ca.pem"}
	webTLS    = []string{"tls-options-websocket-cert-file=@cert.pem", "tls-options-websocket-key-file=@key.pem"}
	webCA     = []string{"tls-options-websocket-ca-file=@ca.pem"}
)

func TestControllerExposure(t *testing.T) {
	const agent = "be an agent with any name that no connected agent has, and get its configuration with scripts and environment variables"
	dir := files(t)
	for _, tt := range []struct {
		name   string
		set    []string
		native []string // "WHO: MAY", agents first
		web    []string
		warn   []string // parts
	}{
		{
			"defaults", nil,
			[]string{"anybody: " + agent, "anybody: " + mayAll}, []string{"anybody: " + mayAll},
			[]string{"anybody who reaches 0.0.0.0:2150 or 0.0.0.0:2149 may command the cluster; set --clients"},
		},
		{
			"loopback", []string{"default-address=127.0.0.1"},
			[]string{"anybody: " + agent, "anybody: " + mayAll}, []string{"anybody: " + mayAll}, nil,
		},
		{
			"mutual TLS alone", mutualTLS,
			[]string{"holders of a certificate of ca.pem for the name: " + agent, "nobody: " + mayAll}, []string{"anybody: " + mayAll},
			[]string{"--tls mutual does not protect the port for clients: anybody who reaches 0.0.0.0:2149 may command"},
		},
		{
			"mutual TLS, clients on loopback", append([]string{"listen-address-websocket=::1"}, mutualTLS...),
			[]string{"holders of a certificate of ca.pem for the name: " + agent, "nobody: " + mayAll}, []string{"anybody: " + mayAll}, nil,
		},
		{
			"certificates of clients alone", slices.Concat(webTLS, webCA),
			[]string{"anybody: " + agent, "anybody: " + mayAll}, []string{"holders of any certificate of ca.pem: " + mayAll},
			[]string{
				"--websocket-tls-ca does not protect the port for agents: anybody who reaches 0.0.0.0:2150 may command",
				"anybody who reaches 0.0.0.0:2150 may be an agent",
			},
		},
		{
			"TLS for clients without certificates", webTLS,
			[]string{"anybody: " + agent, "anybody: " + mayAll}, []string{"anybody: " + mayAll}, []string{"0.0.0.0:2150 or 0.0.0.0:2149"},
		},
		{
			"listed clients without TLS", []string{"clients=@clients"},
			[]string{"anybody: " + agent, "nobody: " + mayAll}, []string{"client ci with its token, from this machine: " + mayAll},
			[]string{
				"anybody who reaches 0.0.0.0:2150 may be an agent", "client ci can send its token only from this machine; set --websocket-tls-cert",
				"client alice cannot prove its name", "client audit cannot prove its name",
			},
		},
		{
			"listed tokens with anonymous TLS", []string{"clients=@tokens", "tls-options-websocket-ciphers=AECDH-AES256-SHA"},
			[]string{"anybody: " + agent, "nobody: " + mayAll}, []string{"client ci with its token, from this machine: " + mayAll},
			[]string{"anybody who reaches 0.0.0.0:2150 may be an agent", "client ci can send its token only from this machine"},
		},
		{
			"listed people without a port for certificates", append([]string{"clients=@people"}, webTLS...),
			[]string{"anybody: " + agent, "nobody: " + mayAll}, []string{"nobody: " + mayAll},
			[]string{"may be an agent", "client alice cannot prove its name"},
		},
		{
			"hardened", slices.Concat([]string{"clients=@clients", "allow-agents=sensor-*"}, mutualTLS, webTLS, webCA),
			[]string{
				"holders of a certificate of ca.pem for the name: " + strings.Replace(agent, "any name that no connected agent has", "a name that matches sensor-*", 1),
				"client alice with a certificate of ca.pem: " + mayAll, "client audit with a certificate of ca.pem: " + mayRead,
			},
			[]string{"client ci with its token: " + mayAll, "client alice with a certificate of ca.pem: " + mayAll, "client audit with a certificate of ca.pem: " + mayRead},
			nil,
		},
		{
			"token and certificate", slices.Concat([]string{"clients=@tokens", "tls-options-websocket-enable-peer-verification=yes"}, mutualTLS, webTLS, webCA),
			[]string{"holders of a certificate of ca.pem for the name: " + agent, "nobody: " + mayAll},
			[]string{"client ci with its token and any certificate of ca.pem: " + mayAll}, nil,
		},
		{
			"names of agents alone", []string{"allow-agents=a, b", "tls=off"},
			[]string{"anybody: " + strings.Replace(agent, "any name that no connected agent has", "a name that matches a, b", 1), "anybody: " + mayAll},
			[]string{"anybody: " + mayAll},
			[]string{"may command the cluster", "anybody who reaches 0.0.0.0:2150 may be an agent"},
		},
		{
			"no WebSockets", append([]string{"listen-port-websocket=none", "clients=@tokens"}, mutualTLS...),
			[]string{"holders of a certificate of ca.pem for the name: " + agent, "nobody: " + mayAll}, nil,
			[]string{"client ci cannot prove its name: only the ports for WebSockets and HTTP accept tokens"},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newControllerSettings()
			set(t, s, dir, tt.set...)
			g, err := s.gate.gate(s.tls.Mutual(), zerolog.Nop())
			if err != nil {
				t.Fatal(err)
			}
			e := s.exposure(&g)
			checkPeers(t, e, "agents and native clients", dir, tt.native)
			checkPeers(t, e, "clients (WebSocket)", dir, tt.web)
			checkWarnings(t, e, tt.warn)
			checkRules(t, &g, e)
		})
	}
}

func checkPeers(t *testing.T, e zeekapi.Exposure, purpose, dir string, want []string) {
	t.Helper()
	var got []string
	for _, port := range e.Ports {
		if port.Purpose != purpose {
			continue
		}
		for _, p := range port.Peers {
			got = append(got, strings.ReplaceAll(p.Who, dir+"/", "")+": "+p.May)
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("%s:\n%s\nwant\n%s", purpose, strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func checkWarnings(t *testing.T, e zeekapi.Exposure, want []string) {
	t.Helper()
	ok := len(e.Warnings) == len(want)
	for _, part := range want {
		ok = ok && slices.ContainsFunc(e.Warnings, func(w string) bool { return strings.Contains(w, part) })
	}
	if !ok {
		t.Errorf("warnings\n%s\nwant\n%s", strings.Join(e.Warnings, "\n"), strings.Join(want, "\n"))
	}
}

// checkRules compares an exposure with the rules by which the controller decides.
func checkRules(t *testing.T, g *gate, e zeekapi.Exposure) {
	t.Helper()
	native, web := membus.New().Endpoint(), membus.New().Endpoint()
	defer native.Close()
	defer web.Close()
	rules := g.access(native, web)
	var config websocket.ServerConfig
	g.guard(&config)
	for purpose, bus := range map[string]broker.Bus{"agents and native clients": native, "clients (WebSocket)": web} {
		role := access.Full
		if r := rules[bus]; r != nil {
			role = access.None
			if r.Clients != nil {
				role = r.Clients.Role(broker.Peer{})
			}
		}
		commands := role == access.Full && (bus == native || config.Authorize == nil)
		for _, port := range e.Ports {
			if port.Purpose != purpose {
				continue
			}
			said := slices.ContainsFunc(port.Peers, func(p zeekapi.ExposedPeers) bool { return p.Commands && p.Who == zeekapi.Anybody })
			if said != commands {
				t.Errorf("%s: the exposure says that anybody may command: %t, the rules say %t", purpose, said, commands)
			}
		}
	}
}

func TestAgentExposure(t *testing.T) {
	dir := files(t)
	for _, tt := range []struct {
		name string
		set  []string
		want []string
		warn []string
	}{
		{"defaults", nil, []string{"nobody: " + mayControl, "anybody: " + mayBeNode}, nil},
		{"waiting", []string{"controller=none"}, []string{"anybody: " + mayControl, "anybody: " + mayBeNode}, []string{"anybody who reaches 0.0.0.0:2151 may command this agent; set --obey"}},
		{"waiting on loopback", []string{"controller=none", "listen-address=127.0.0.1"}, []string{"anybody: " + mayControl, "anybody: " + mayBeNode}, nil},
		{
			"waiting, mutual TLS", append([]string{"controller=none"}, mutualTLS...),
			[]string{"holders of any certificate of ca.pem: " + mayControl, "holders of any certificate of ca.pem: " + mayBeNode}, nil,
		},
		{
			"addresses and names", []string{"controller=none", "obey=10.0.0.0/8, controller"},
			[]string{"peers with an address of 10.0.0.0/8: " + mayControl, "anybody: " + mayBeNode},
			[]string{"no controller can prove the name controller of --obey without certificates"},
		},
		{
			"names, mutual TLS", append([]string{"controller=none", "obey=controller"}, mutualTLS...),
			[]string{"controller with a certificate of ca.pem: " + mayControl, "holders of any certificate of ca.pem: " + mayBeNode}, nil,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newAgentSettings()
			set(t, s, dir, tt.set...)
			e := s.exposure()
			checkPeers(t, e, "controllers and nodes", dir, tt.want)
			checkWarnings(t, e, tt.warn)
		})
	}
}

// The flag --print-exposure prints what the settings say, and exits.
func TestPrintExposure(t *testing.T) {
	for _, tt := range []struct{ service, want string }{
		{"controller", "clients (WebSocket): 0.0.0.0:4000\n  TLS off: all can be read and changed on the way\n  anybody may read and change everything"},
		{"agent", "the agent connects to a controller: 10.0.0.1:2150\n  TLS anonymous: encrypted, but neither side proves who it is\n  whoever answers there may command the agent"},
	} {
		args := map[string][]string{"controller": {"--websocket-listen", "0.0.0.0:4000"}, "agent": {"--controller", "10.0.0.1:2150"}}
		var out, errs bytes.Buffer
		code := run(context.Background(), append([]string{tt.service, "--print-exposure", "--metrics-listen", "127.0.0.1:9"}, args[tt.service]...), nil, &out, &errs)
		if code != exitOK || !strings.Contains(out.String(), tt.want) || !strings.Contains(out.String(), "metrics and health (HTTP): 127.0.0.1:9\n") || errs.Len() > 0 {
			t.Errorf("exit code %d, output\n%s\n%s", code, out.String(), errs.String())
		}
	}
}

// The status of a controller has the same exposure, also after a reload of the list
// of clients.
func TestStatusHasExposure(t *testing.T) {
	const list = "boss full token:" + bossToken + "\nreader read-only token:" + readerToken + "\n"
	g := startGated(t, security.Off, gateSettings{web: security.WebConfig{CAFile: "ours"}}, list)
	dialect := operations.Dialect(operations.DefaultTopics)
	bus, err := websocket.Dial(t.Context(), websocket.ClientConfig{
		Address: g.clients.String(), Subscriptions: []string{dialect.Topics.Controller},
		Header: http.Header{"Authorization": {"Bearer " + readerToken}}, TLS: &tls.Config{RootCAs: pool(t, g.ca)},
	})
	if err != nil {
		t.Fatal(err)
	}
	conn := client.New(bus, dialect)
	defer conn.Close()
	check := func(want string) {
		t.Helper()
		status, err := conn.Status(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if status.Exposure == nil || !slices.ContainsFunc(status.Exposure.Ports, func(p zeekapi.ExposedPort) bool {
			return slices.Contains(p.Peers, zeekapi.ExposedPeers{Who: "client boss with its token", May: want, Commands: want == mayAll})
		}) {
			t.Errorf("the exposure is %+v", status.Exposure)
		}
	}
	check(mayAll)
	writeFile(t, g.file, strings.Replace(list, "boss full", "boss read-only", 1))
	if err := g.gate.reload(); err != nil {
		t.Fatal(err)
	}
	check(mayRead)
}
