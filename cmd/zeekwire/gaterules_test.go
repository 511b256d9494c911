package main

import (
	"crypto/tls"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/rs/zerolog"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/broker/membus"
	"github.com/zeekwire/zeekwire/broker/security/certtest"
	"github.com/zeekwire/zeekwire/broker/websocket"
	"github.com/zeekwire/zeekwire/zeekapi/access"
	"github.com/zeekwire/zeekwire/zeekapi/controller"
)

// Each setting alone restricts access.
func TestGateRules(t *testing.T) {
	clients, _, err := access.Load(writtenFile(t, "boss full token:"+bossToken))
	if err != nil {
		t.Fatal(err)
	}
	stranger := broker.Peer{}
	for _, tt := range []struct {
		name        string
		gate        gate
		agents      []string
		certified   bool
		native, web access.Role // of a client without proof of identity
	}{
		{"agents", gate{agents: newAgentNames([]string{"sensor-*"})}, []string{"sensor-*"}, false, access.Full, access.Full},
		{"mutual TLS", gate{mutual: true}, []string{"*"}, true, access.None, access.Full},
		{"clients", gate{clients: clients}, []string{"*"}, false, access.None, access.None},
	} {
		t.Run(tt.name, func(t *testing.T) {
			native, web := membus.New().Endpoint(), membus.New().Endpoint()
			rules := tt.gate.access(native, web)
			if rules == nil {
				t.Fatal("no rules")
			}
			role := func(b broker.Bus) access.Role {
				if rules[b].Clients == nil {
					return access.None
				}
				return rules[b].Clients.Role(stranger)
			}
			if n := rules[native]; n.Permits(stranger, "hq") != slices.Contains(tt.agents, "*") || !n.Permits(stranger, "sensor-1") || broadcasts(n) || n.Certified != tt.certified || role(native) != tt.native {
				t.Errorf("rules of native peers: %+v, role %s", n, role(native))
			}
			if w := rules[web]; len(w.Agents) > 0 || w.Permits != nil && w.Permits(stranger, "sensor-1") || broadcasts(w) || role(web) != tt.web {
				t.Errorf("rules of WebSocket clients: %+v, role %s", w, role(web))
			}
		})
	}
	native := membus.New().Endpoint()
	open := new(gate)
	rules := open.access(native, nil)
	if r := rules[native]; len(rules) != 1 || !broadcasts(r) || !r.Permits(stranger, "any") || r.Clients.Role(stranger) != access.Full {
		t.Errorf("rules without settings: %+v", r)
	}
	open.agents.change([]string{"sensor-*"})
	if r := rules[native]; r.Permits(stranger, "any") || !r.Permits(stranger, "sensor-1") || broadcasts(r) {
		t.Error("the rules do not change with the names of agents")
	}
}

func broadcasts(a *controller.Access) bool { return a.Broadcast != nil && a.Broadcast() }

// A server that demands certificates knows the names of its clients from them.
func TestGateDemandsCertificates(t *testing.T) {
	var c websocket.ServerConfig
	(&gate{demand: true}).guard(&c)
	if c.Authorize == nil {
		t.Fatal("clients are not identified")
	}
	if _, err := c.Authorize(&http.Request{TLS: new(tls.ConnectionState)}); err == nil {
		t.Error("a client without a certificate is accepted")
	}
}

// A reload reads certificates and clients again, and reports what is wrong.
func TestGateReload(t *testing.T) {
	zerolog.SetGlobalLevel(zerolog.TraceLevel) // commands that other tests ran may have set it
	ca := certtest.New(t)
	set := gateSettings{agents: []string{"*"}, clients: writtenFile(t, "boss full token:"+bossToken)}
	set.web.CertFile, set.web.KeyFile = ca.Issue(t, "first", localhost)
	var log strings.Builder
	g, err := set.gate(false, zerolog.New(&log))
	if err != nil {
		t.Fatal(err)
	}
	shown := func() string {
		t.Helper()
		var c websocket.ServerConfig
		g.guard(&c)
		near, far := net.Pipe()
		defer near.Close()
		go func() {
			defer far.Close()
			_ = tls.Server(far, c.TLS).Handshake()
		}()
		conn := tls.Client(near, &tls.Config{InsecureSkipVerify: true})
		if err := conn.Handshake(); err != nil {
			t.Fatal(err)
		}
		return conn.ConnectionState().PeerCertificates[0].Subject.CommonName
	}
	replace := func(name, by string) {
		t.Helper()
		text, err := os.ReadFile(by)
		if err != nil {
			t.Fatal(err)
		}
		writeFile(t, name, string(text))
	}
	if got := shown(); got != "first" {
		t.Errorf("the certificate is that of %s", got)
	}
	cert, key := ca.Issue(t, "second", localhost)
	replace(set.web.CertFile, cert)
	replace(set.web.KeyFile, key)
	if err := g.reload(); err != nil || shown() != "second" {
		t.Errorf("after the reload, the certificate is that of %s: %v", shown(), err)
	}

	writeFile(t, set.web.CertFile, "no certificate")
	if err := g.reload(); err == nil || shown() != "second" {
		t.Errorf("an invalid certificate: %v, and the certificate is that of %s", err, shown())
	}
	replace(set.web.CertFile, cert)
	writeFile(t, set.clients, "nonsense")
	if err := g.reload(); err == nil || !strings.Contains(err.Error(), "access: clients") {
		t.Errorf("an invalid file of clients: %v", err)
	}
	writeFile(t, set.clients, "boss full token:"+bossToken)
	if err := os.Chmod(set.clients, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := g.reload(); err != nil || !strings.Contains(log.String(), "other users can read the file of clients") {
		t.Errorf("a readable file of clients: %v, log %s", err, &log)
	}
}

// writtenFile returns the name of a new file with the text.
func writtenFile(t *testing.T, text string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "clients")
	writeFile(t, name, text)
	return name
}
