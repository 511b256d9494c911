package main

import (
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	gorilla "github.com/gorilla/websocket"
	"github.com/rs/zerolog"

	"github.com/zeekwire/zeekwire/broker/admission"
	"github.com/zeekwire/zeekwire/broker/security"
	"github.com/zeekwire/zeekwire/broker/websocket"
)

// Attackers open more connections to both ports of a controller than it can have.
// An operator and an agent always get in.
func TestControllerUnderAttack(t *testing.T) {
	many := min(1500, admission.Descriptors()/4) // this process has both ends
	for _, tt := range []struct {
		name, begin string
		clients     string
		caller      caller
	}{
		{"silence", "", "", caller{}},
		{"silence, listed clients", "", "boss full token:" + bossToken, caller{token: bossToken}},
		{"TLS handshake stalls", "\x16\x03\x01\x02\x00\x01", "", caller{}},
		{"TLS handshake stalls, listed clients", "\x16\x03\x01\x02\x00\x01", "boss full token:" + bossToken, caller{token: bossToken}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			g := startGated(t, security.Anonymous, gateSettings{}, tt.clients)
			for _, address := range []net.Addr{g.clients, g.native} {
				for range many {
					c, err := net.Dial("tcp", address.String())
					if err != nil {
						t.Fatal(err)
					}
					defer c.Close()
					io.WriteString(c, tt.begin)
				}
			}
			if asked, changed := g.try(tt.caller); asked != "ok" || changed != "ok" {
				t.Errorf("query: %s\nchange: %s", asked, changed)
			}
			if err := connect(t, g.anonymousPeer(), g.native); err != nil {
				t.Error(err)
			}
		})
	}
}

// Idle clients do not keep an operator out.
func TestIdleClientsDoNotLockOut(t *testing.T) {
	g := startGated(t, security.Anonymous, gateSettings{}, "")
	for range websocket.DefaultMaxClients + 50 {
		c, err := websocket.Dial(t.Context(), websocket.ClientConfig{Address: g.clients.String(), TLS: &tls.Config{RootCAs: pool(t, g.ca)}})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
	}
	conn, err := g.dial(caller{})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if asked, changed := attempt(t, conn); asked != "ok" || changed != "ok" {
		t.Errorf("query: %s\nchange: %s", asked, changed)
	}
}

// The controller knows its names: those in its certificate and those of the setting.
func TestControllerChecksHosts(t *testing.T) {
	var settings *serviceSettings
	g := startGated(t, security.Off, gateSettings{}, "", func(s *controllerSettings) {
		s.allowedHosts, settings = []string{"*.allowed.example"}, s.shared()
	})
	expectHosts(t, g, map[string]int{
		"controller":           http.StatusSwitchingProtocols, // in the certificate
		"zeek.allowed.example": http.StatusSwitchingProtocols,
		g.clients.String():     http.StatusSwitchingProtocols,
		"evil.example":         http.StatusForbidden,
	})
	level := zerolog.GlobalLevel()
	t.Cleanup(func() { zerolog.SetGlobalLevel(level) })
	layer, err := security.New(security.Config{Mode: security.Off})
	if err != nil {
		t.Fatal(err)
	}
	fresh := newControllerSettings().shared()
	fresh.allowedHosts = []string{"other.example"}
	if err := (&operation{security: layer}).reload(settings, fresh); err != nil {
		t.Error(err)
	}
	expectHosts(t, g, map[string]int{
		"controller":           http.StatusSwitchingProtocols,
		"other.example":        http.StatusSwitchingProtocols,
		"zeek.allowed.example": http.StatusForbidden,
	})
}

// expectHosts makes a browser connect to a controller by names, and checks the status codes.
func expectHosts(t *testing.T, g *gated, hosts map[string]int) {
	t.Helper()
	for host, want := range hosts {
		d := gorilla.Dialer{TLSClientConfig: &tls.Config{RootCAs: pool(t, g.ca), ServerName: "127.0.0.1"}}
		ws, response, err := d.Dial("wss://"+g.clients.String()+"/v1/messages/json", http.Header{
			"Host": {host}, "Origin": {"https://" + host}, "User-Agent": {"Mozilla/5.0"},
		})
		if err == nil {
			ws.Close()
		}
		if response == nil || response.StatusCode != want {
			t.Errorf("%s: %v", host, err)
		}
	}
}

func TestNativePeers(t *testing.T) {
	for descriptors, want := range map[int]int{64: 24, 1024: 384, 20_000: 17_952, 65_536: maxPeers} {
		if got := nativePeers(descriptors); got != want {
			t.Errorf("%d descriptors: %d peers, want %d", descriptors, got, want)
		}
	}
}

func TestParseHosts(t *testing.T) {
	s := newAgentSettings()
	for text, want := range map[string]string{"": "", "a.example, *.b.example": "", "http://a": "not a host name", "a,,b": "not a host name"} {
		err := s.t.Load("", func(name string) string {
			if name == "ZEEKWIRE_AGENT_ALLOWED_HOSTS" {
				return text
			}
			return ""
		}, nil)
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%q: %v", text, err)
		}
	}
	if got := joinPatterns(s.allowedHosts); got != "a.example, *.b.example" {
		t.Errorf("names are %q", got)
	}
}
