package main

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/zeekwire/zeekwire/broker"
)

// allControllers is the text in the setting --obey that accepts all
// controllers.
const allControllers = "all"

// callers are the controllers that may connect to an agent and control it. The
// zero value accepts no further controllers, or all of them; see obey.
type callers struct {
	all      bool
	networks []netip.Prefix
	names    []string // names in certificates
}

// parseCallers parses a list of addresses, networks, certificate names and "all".
func parseCallers(text string) (callers, error) {
	var c callers
	if text == "" {
		return c, nil
	}
	for item := range strings.SplitSeq(text, ",") {
		item = strings.TrimSpace(item)
		addr, addrErr := netip.ParseAddr(item)
		network, networkErr := netip.ParsePrefix(item)
		switch {
		case item == allControllers:
			c.all = true
		case addrErr == nil:
			c.networks = append(c.networks, netip.PrefixFrom(addr.Unmap(), addr.Unmap().BitLen()))
		case networkErr == nil:
			c.networks = append(c.networks, network.Masked())
		case item == "" || strings.ContainsAny(item, "/ \t"):
			return callers{}, fmt.Errorf("%q is not an address, network or name", item)
		default:
			c.names = append(c.names, item)
		}
	}
	return c, nil
}

func (c callers) String() string {
	var items []string
	if c.all {
		items = append(items, allControllers)
	}
	for _, n := range c.networks {
		items = append(items, n.String())
	}
	return strings.Join(append(items, c.names...), ", ")
}

// obey returns a function that reports whether the agent accepts requests of a
// peer, or nil if it accepts all peers. Connecting reports whether the agent
// connects to controllers.
//
// The agent accepts the controllers that it connects to, and the callers. An
// agent that connects to no controller and has no callers accepts every peer,
// as Zeek's agent does.
func (c callers) obey(connecting bool) func(broker.Peer) bool {
	named := len(c.networks)+len(c.names) > 0
	if c.all || !connecting && !named {
		return nil
	}
	return func(p broker.Peer) bool {
		from := p.Addr.Addr().Unmap().WithZone("")
		return p.Dialed ||
			slices.ContainsFunc(c.networks, func(n netip.Prefix) bool { return n.Contains(from) }) ||
			p.Identity != nil && p.Identity.Certified &&
				slices.ContainsFunc(p.Identity.Names, func(n string) bool { return slices.Contains(c.names, n) })
	}
}
