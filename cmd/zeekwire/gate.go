package main

import (
	"errors"
	"net"

	"github.com/rs/zerolog"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/broker/security"
	"github.com/zeekwire/zeekwire/broker/websocket"
	"github.com/zeekwire/zeekwire/zeekapi/access"
	"github.com/zeekwire/zeekwire/zeekapi/controller"
)

// gate decides who gets in at a controller. The zero gate is open to all, as
// Zeek's controller is.
type gate struct {
	mutual  bool            // native peers have certificates
	agents  []string        // patterns; nil for all
	web     *security.Web   // nil without certificates for WebSockets
	demand  bool            // and clients must have one
	clients *access.Clients // nil for all

	anonymous *security.Layer // for WebSockets without certificates; nil for none
	log       zerolog.Logger
}

// reload reads all files again. What cannot be read stays as it was.
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
		g.log.Warn().Err(warning).Msg("the file of clients tells too much")
	}
}

// guard makes a WebSocket server ask its clients who they are.
func (g *gate) guard(c *websocket.ServerConfig) {
	if g.web != nil {
		c.TLS = g.web.TLS()
	}
	switch {
	case g.clients != nil:
		c.Authorize = g.clients.Authorize
		c.Admits = func(p broker.Peer) bool { return g.clients.Role(p) != access.None } // also after a reload
	case g.demand:
		c.Authorize = access.Certificate
	}
	// Where clients do not all have the same rights, one must not answer in the
	// controller's place.
	c.Private = c.Authorize != nil
}

// listener is where the WebSocket server is to accept clients of l.
func (g *gate) listener(l net.Listener) net.Listener {
	if g.clients != nil && g.web == nil && !isLoopback(l.Addr()) {
		g.log.Warn().Stringer("addr", l.Addr()).
			Msg("without TLS, tokens of clients count only on this machine: set --websocket-tls-cert")
	}
	if g.anonymous != nil {
		return g.anonymous.Listener(l)
	}
	return l
}

// tls says how connections of clients are protected, for the log.
func (g *gate) tls() string {
	switch {
	case g.anonymous != nil:
		return "anonymous"
	case g.web != nil:
		return "on"
	}
	return "off"
}

// admits says who may be a client over WebSockets, for the log.
func (g *gate) admits() string {
	switch {
	case g.clients != nil:
		return "listed"
	case g.demand:
		return "certified"
	}
	return "anybody"
}

func isLoopback(a net.Addr) bool {
	tcp, ok := a.(*net.TCPAddr)
	return ok && tcp.IP.IsLoopback()
}

// access returns the rules for both doors.
func (g *gate) access(native, web broker.Bus) map[broker.Bus]*controller.Access {
	if !g.mutual && g.agents == nil && g.clients == nil {
		return nil
	}
	agents := g.agents
	if agents == nil {
		agents = []string{"*"}
	}
	var roles access.Roles = access.Everybody(access.Full)
	if g.clients != nil {
		roles = g.clients
	}
	rules := map[broker.Bus]*controller.Access{
		native: {Agents: agents, Certified: g.mutual, Clients: roles},
	}
	if g.mutual && g.clients == nil {
		// A certificate for an agent must not be one for the whole cluster.
		rules[native].Clients = nil
	}
	if web != nil {
		// No agent comes here, and no certificate of the native port counts.
		rules[web] = &controller.Access{Clients: roles}
	}
	return rules
}
