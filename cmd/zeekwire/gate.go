package main

import (
	"errors"
	"net"
	"slices"

	"github.com/rs/zerolog"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/broker/security"
	"github.com/zeekwire/zeekwire/broker/websocket"
	"github.com/zeekwire/zeekwire/zeekapi/access"
	"github.com/zeekwire/zeekwire/zeekapi/controller"
)

// gate controls access to a controller. The zero gate accepts every peer, as
// Zeek's controller does.
type gate struct {
	mutual  bool            // native peers must have certificates
	agents  *agentNames     // of accepted agents; nil accepts all: see names
	web     *security.Web   // nil if WebSockets do not use certificates
	demand  bool            // require a certificate from every client
	clients *access.Clients // accepted clients; nil accepts all

	anonymous *security.Layer // TLS without certificates for WebSockets; nil if not used
	log       zerolog.Logger
}

// names returns the names of accepted agents.
func (g *gate) names() *agentNames {
	if g.agents == nil {
		g.agents = newAgentNames(nil)
	}
	return g.agents
}

// reload reads all files again. If a file cannot be read, its previous content
// stays in use.
func (g *gate) reload() error {
	var errs []error
	if g.web != nil {
		errs = append(errs, g.web.Reload())
	}
	if g.clients != nil {
		warning, err := g.clients.Reload()
		g.warn(warning)
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

func (g *gate) warn(warning error) {
	if warning != nil {
		g.log.Warn().Err(warning).Msg("other users can read the file of clients")
	}
}

// guard configures the authentication of WebSocket clients.
func (g *gate) guard(c *websocket.ServerConfig) {
	if g.web != nil {
		c.TLS = g.web.TLS()
		if more := c.Hosts.More; more != nil {
			c.Hosts.More = func() []string { return slices.Concat(more(), g.web.Names()) }
		} else {
			c.Hosts.More = g.web.Names
		}
	}
	switch {
	case g.clients != nil:
		c.Authorize = g.clients.Authorize
		c.Admits = func(p broker.Peer) bool { return g.clients.Role(p) != access.None } // also after a reload
	case g.demand:
		c.Authorize = access.Certificate
	}
}

// listener wraps the WebSocket server's listener with TLS if needed.
func (g *gate) listener(l net.Listener) net.Listener {
	switch {
	case g.anonymous != nil:
		return g.anonymous.Listener(l)
	case g.web != nil:
		return g.web.Listener(l)
	}
	return l
}

// tls describes the TLS mode of client connections, for the log.
func (g *gate) tls() string {
	switch {
	case g.anonymous != nil:
		return "anonymous"
	case g.web != nil:
		return "on"
	}
	return "off"
}

// admits describes the accepted WebSocket clients, for the log.
func (g *gate) admits() string {
	switch {
	case g.clients != nil:
		return "listed"
	case g.demand:
		return "certified"
	}
	return "any"
}

// access returns the access rules of both buses. Web is nil without a WebSocket server.
func (g *gate) access(native, web broker.Bus) map[broker.Bus]*controller.Access {
	names := g.names()
	if !g.mutual && g.clients == nil {
		return openAccess(names, native, web)
	}
	var roles access.Roles = access.Everybody(access.Full)
	if g.clients != nil {
		roles = g.clients
	}
	rules := map[broker.Bus]*controller.Access{
		native: {Permits: names.permits, Certified: g.mutual, Clients: roles},
	}
	if g.mutual && g.clients == nil {
		// The certificate of an agent must not grant control of the cluster.
		rules[native].Clients = nil
	}
	if web != nil {
		// The WebSocket bus accepts no agents. Certificates of native peers do not
		// apply to it.
		rules[web] = &controller.Access{Clients: roles}
	}
	return rules
}

// openAccess returns the access rules of a controller that knows neither its agents nor
// its clients. As long as no names of agents are given, which a reload can change, they
// permit everything, as Zeek's controller does.
func openAccess(names *agentNames, native, web broker.Bus) map[broker.Bus]*controller.Access {
	open := func() bool { return !names.restricts() }
	everybody := access.Everybody(access.Full)
	rules := map[broker.Bus]*controller.Access{native: {Permits: names.permits, Clients: everybody, Broadcast: open}}
	if web != nil {
		anyAgent := func(p broker.Peer, name string) bool { return names.permits(p, name) && open() }
		rules[web] = &controller.Access{Permits: anyAgent, Clients: everybody, Broadcast: open}
	}
	return rules
}
