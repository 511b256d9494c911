package main

import (
	"cmp"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"

	"github.com/zeekwire/zeekwire/broker/security"
	"github.com/zeekwire/zeekwire/cmd/internal/terminal"
	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/access"
)

// What peers may do.
const (
	mayAll     = "read and change everything, and so run programs on the machines of the cluster"
	mayRead    = "read everything"
	mayNothing = "send no requests"
	mayReport  = "read metrics and health"
	mayBeNode  = "report as one of the agent's nodes"
	mayControl = "command the agent, and so run programs on its machine"
)

// noPeer is ExposedPeers.Who for a permission that no peer of a port has.
const noPeer = "nobody"

// The TLS of ports.
const (
	tlsOff       = "off: all can be read and changed on the way"
	tlsAnonymous = "anonymous: encrypted, but neither side proves who it is"
	tlsMutual    = "mutual: both sides have certificates"
	tlsServer    = "the controller has a certificate"
	tlsBoth      = "the controller has a certificate, clients may have one"
	tlsDemand    = "the controller and all clients have certificates"
)

// exposure computes who can reach a controller, and what they may do there, from its
// settings and access rules. It does no I/O.
func (s *controllerSettings) exposure(g *gate) zeekapi.Exposure {
	c := controllerExposure{
		gate: g, tls: s.tls.Mode(), authority: s.tls.Authority(), webAuthority: s.gate.web.CAFile,
		native: s.native.at(s.defaultAddress), web: s.websocket.at(s.defaultAddress), http: s.http.at(s.defaultAddress),
	}
	var e zeekapi.Exposure
	if c.native != "" {
		e.Ports = append(e.Ports, zeekapi.ExposedPort{
			Purpose: "agents and native clients", Address: c.native, TLS: nativeTLS(c.tls),
			Peers: append([]zeekapi.ExposedPeers{c.agents()}, c.nativeClients()...),
		})
	}
	if c.web != "" {
		e.Ports = append(e.Ports, zeekapi.ExposedPort{
			Purpose: "clients (WebSocket)", Address: c.web, TLS: c.webTLS(), Peers: c.webClients(),
		})
	}
	if c.http != "" {
		e.Ports = append(e.Ports, zeekapi.ExposedPort{
			Purpose: "API and console (HTTP)", Address: c.http, TLS: c.httpTLS(), Peers: c.httpClients(),
		})
	}
	if address := s.joinAddress(); address != "" {
		e.Ports = append(e.Ports, zeekapi.ExposedPort{
			Purpose: "join files and renewal of certificates (HTTPS)", Address: address, TLS: tlsBoth,
			Peers: []zeekapi.ExposedPeers{
				{Who: "holders of a join file that is valid", May: "get the certificate for the name in it, once"},
				{Who: "holders of a certificate of " + c.authority, May: "renew it"},
			},
		})
	}
	e.Ports = append(e.Ports, s.metricsPort()...)
	e.Warnings = c.warnings(e)
	return e
}

// metricsPort returns the port for metrics and health, if there is one.
func (s *serviceSettings) metricsPort() []zeekapi.ExposedPort {
	address := s.metrics.at(s.defaultAddress)
	if address == "" {
		return nil
	}
	return []zeekapi.ExposedPort{{
		Purpose: "metrics and health (HTTP)", Address: address, TLS: tlsOff,
		Peers: []zeekapi.ExposedPeers{{Who: zeekapi.Anybody, May: mayReport}},
	}}
}

func nativeTLS(mode string) string {
	switch mode {
	case security.Mutual.String():
		return tlsMutual
	case security.Anonymous.String():
		return tlsAnonymous
	}
	return tlsOff
}

// controllerExposure has the facts that decide who may command a controller.
type controllerExposure struct {
	*gate
	tls                     string // mode of native connections
	authority, webAuthority string // files
	native, web, http       string // addresses, "" if turned off
}

func (c *controllerExposure) agents() zeekapi.ExposedPeers {
	names := "any name that no connected agent has"
	if c.gate.agents.restricts() {
		names = "a name that matches " + joinPatterns(c.gate.agents.current())
	}
	p := zeekapi.ExposedPeers{Who: zeekapi.Anybody, May: "be an agent with " + names + ", and get its configuration with scripts and environment variables"}
	if c.mutual {
		p.Who = "holders of a certificate of " + c.authority + " for the name"
	}
	return p
}

func (c *controllerExposure) nativeClients() []zeekapi.ExposedPeers {
	switch {
	case c.clients == nil && !c.mutual:
		return []zeekapi.ExposedPeers{{Who: zeekapi.Anybody, May: mayAll, Commands: true}}
	case c.clients == nil || !c.mutual:
		return []zeekapi.ExposedPeers{{Who: noPeer, May: clientsMay(access.Full), Commands: true}}
	}
	return listedClients(c.clients.List(), func(l access.Client) string {
		if !l.Certificate {
			return "" // native connections have no tokens
		}
		return fmt.Sprintf("client %s with a certificate of %s", l.Name, c.authority)
	})
}

func (c *controllerExposure) webClients() []zeekapi.ExposedPeers {
	switch {
	case c.clients == nil && !c.demand:
		return []zeekapi.ExposedPeers{{Who: zeekapi.Anybody, May: mayAll, Commands: true}}
	case c.clients == nil:
		return []zeekapi.ExposedPeers{{Who: "holders of any certificate of " + c.webAuthority, May: mayAll, Commands: true}}
	}
	return listedClients(c.clients.List(), func(l access.Client) string {
		switch {
		case l.Certificate && !c.webCertificates():
			return ""
		case l.Certificate:
			return fmt.Sprintf("client %s with a certificate of %s", l.Name, c.webAuthority)
		case c.demand:
			return fmt.Sprintf("client %s with its token and any certificate of %s", l.Name, c.webAuthority)
		case c.gate.web == nil:
			return fmt.Sprintf("client %s with its token, from this machine", l.Name)
		}
		return fmt.Sprintf("client %s with its token", l.Name)
	})
}

// httpClients returns the clients of the HTTP API. Without a file of clients and without
// certificates, those of other machines may only read.
func (c *controllerExposure) httpClients() []zeekapi.ExposedPeers {
	if c.clients != nil || c.demand {
		return c.webClients()
	}
	return []zeekapi.ExposedPeers{
		{Who: "clients on this machine", May: mayAll, Commands: true},
		{Who: zeekapi.Anybody, May: mayRead},
	}
}

// httpTLS returns the TLS of the HTTP API, which has none without a certificate.
func (c *controllerExposure) httpTLS() string {
	if c.anonymous != nil {
		return tlsOff
	}
	return c.webTLS()
}

// webCertificates reports whether clients can show certificates to the WebSocket
// server.
func (c *controllerExposure) webCertificates() bool { return c.gate.web != nil && c.webAuthority != "" }

// listedClients returns the clients of a list that can prove who they are. Who
// returns the proof, "" for those that cannot.
func listedClients(list []access.Client, who func(access.Client) string) []zeekapi.ExposedPeers {
	var peers []zeekapi.ExposedPeers
	for _, l := range list {
		if w := who(l); w != "" {
			peers = append(peers, zeekapi.ExposedPeers{Who: w, May: clientsMay(l.Role), Commands: l.Role == access.Full})
		}
	}
	if peers == nil {
		peers = []zeekapi.ExposedPeers{{Who: noPeer, May: mayAll, Commands: true}}
	}
	return peers
}

func clientsMay(r access.Role) string {
	switch r {
	case access.Full:
		return mayAll
	case access.ReadOnly:
		return mayRead
	}
	return mayNothing
}

func (c *controllerExposure) webTLS() string {
	switch {
	case c.anonymous != nil:
		return tlsAnonymous
	case c.gate.web == nil:
		return tlsOff
	case c.demand:
		return tlsDemand
	case c.webAuthority != "":
		return tlsBoth
	}
	return tlsServer
}

// warnings returns what is dangerous, and what closes it. What can only be reached
// from this machine is not.
func (c *controllerExposure) warnings(e zeekapi.Exposure) []string {
	var warnings []string
	warn := func(format string, args ...any) { warnings = append(warnings, fmt.Sprintf(format, args...)) }
	var open []string
	for _, address := range e.Open() {
		if !onLoopback(address) {
			open = append(open, address)
		}
	}
	listed := strings.Join(open, " or ")
	switch {
	case len(open) > 0 && c.mutual:
		warn("--tls mutual does not protect the port for clients: anybody who reaches %s may command the cluster; set --clients or --websocket-tls-ca, or listen with --websocket-listen at a loopback address", listed)
	case len(open) > 0 && c.demand:
		warn("--websocket-tls-ca does not protect the port for agents: anybody who reaches %s may command the cluster; set --clients or --tls mutual", listed)
	case len(open) > 0:
		warn("anybody who reaches %s may command the cluster; set --clients, or listen at loopback addresses", listed)
	}
	if c.native != "" && !onLoopback(c.native) && !c.mutual && c.closes() {
		warn("anybody who reaches %s may be an agent, and get the configuration of its nodes; set --tls mutual", c.native)
	}
	if c.http != "" && !onLoopback(c.http) && c.clients == nil && !c.demand {
		warn("anybody who reaches %s may read the configuration of the cluster and the output of its nodes; set --clients, or listen with --http-listen at a loopback address", c.http)
	}
	if c.clients == nil {
		return warnings
	}
	for _, l := range c.clients.List() {
		switch {
		case l.Certificate && !(c.mutual && c.native != "") && !(c.webCertificates() && (c.web != "" || c.http != "")):
			warn("client %s cannot prove its name: no port accepts certificates; set --websocket-tls-ca", l.Name)
		case !l.Certificate && c.web == "" && c.http == "":
			warn("client %s cannot prove its name: only the ports for WebSockets and HTTP accept tokens, and they are turned off", l.Name)
		case !l.Certificate && c.gate.web == nil && (c.web != "" && !onLoopback(c.web) || c.http != "" && !onLoopback(c.http)):
			warn("client %s can send its token only from this machine; set --websocket-tls-cert", l.Name)
		}
	}
	return warnings
}

// closes reports whether some setting protects the controller, so that its other
// gaps are hardly meant.
func (c *controllerExposure) closes() bool {
	return c.clients != nil || c.demand || c.gate.agents.restricts()
}

// onLoopback reports whether only this machine can reach an address, HOST:PORT.
func onLoopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return false
	}
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.Unmap().IsLoopback()
}

// exposure computes who can reach an agent, and what they may do there, from its
// settings. It does no I/O.
func (s *agentSettings) exposure() zeekapi.Exposure {
	address := s.native.at(s.defaultAddress)
	who := zeekapi.Anybody
	if s.tls.Mutual() {
		who = "holders of any certificate of " + s.tls.Authority()
	}
	e := zeekapi.Exposure{Ports: []zeekapi.ExposedPort{{
		Purpose: "controllers and nodes", Address: address, TLS: nativeTLS(s.tls.Mode()),
		Peers: append(s.callingControllers(who), zeekapi.ExposedPeers{Who: who, May: mayBeNode}),
	}}}
	for _, c := range s.controllers {
		e.Ports = append(e.Ports, zeekapi.ExposedPort{
			Purpose: "the agent connects to a controller", Address: c, TLS: nativeTLS(s.tls.Mode()),
			Peers: []zeekapi.ExposedPeers{{Who: dialedController(s), May: mayControl, Commands: true}},
		})
	}
	e.Ports = append(e.Ports, s.metricsPort()...)
	if !onLoopback(address) {
		for _, p := range e.Ports[0].Peers {
			if p.Commands && p.Who == zeekapi.Anybody {
				e.Warnings = append(e.Warnings, fmt.Sprintf("anybody who reaches %s may command this agent; set --obey, best with --tls mutual", address))
			}
		}
	}
	if len(s.callers.names) > 0 && !s.tls.Mutual() {
		e.Warnings = append(e.Warnings, fmt.Sprintf("no controller can prove the name %s of --obey without certificates; set --tls mutual", s.callers.names[0]))
	}
	return e
}

func dialedController(s *agentSettings) string {
	if s.tls.Mutual() {
		return "whoever answers there with a certificate of " + s.tls.Authority()
	}
	return "whoever answers there"
}

// callingControllers returns the controllers that may connect to the agent. Who are
// all that can.
func (s *agentSettings) callingControllers(who string) []zeekapi.ExposedPeers {
	if s.callers.obey(len(s.controllers) > 0) == nil {
		return []zeekapi.ExposedPeers{{Who: who, May: mayControl, Commands: true}}
	}
	var peers []zeekapi.ExposedPeers
	add := func(who string) {
		peers = append(peers, zeekapi.ExposedPeers{Who: who, May: mayControl, Commands: true})
	}
	for _, n := range s.callers.networks {
		add("peers with an address of " + n.String())
	}
	for _, name := range s.callers.names {
		if s.tls.Mutual() {
			add(fmt.Sprintf("%s with a certificate of %s", name, s.tls.Authority()))
		}
	}
	if peers == nil {
		add(noPeer)
	}
	return peers
}

// printExposure writes an exposure for people.
func printExposure(w io.Writer, e zeekapi.Exposure) error {
	var text strings.Builder
	for _, port := range e.Ports {
		fmt.Fprintf(&text, "%s: %s\n  TLS %s\n", port.Purpose, cmp.Or(port.Address, "none"), port.TLS)
		for _, p := range port.Peers {
			fmt.Fprintf(&text, "  %s may %s\n", p.Who, p.May)
		}
		text.WriteString("\n")
	}
	for _, warning := range e.Warnings {
		fmt.Fprintf(&text, "warning: %s\n", warning)
	}
	if len(e.Warnings) == 0 {
		text.WriteString("No dangerous or contradictory settings were found.\n")
	}
	_, err := io.WriteString(w, terminal.SafeLines(text.String()))
	return err
}
