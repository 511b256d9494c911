package main

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
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
	networks []network
	names    []string // names in certificates
}

// network is a network of controllers. A zone limits an IPv6 address to one interface.
type network struct {
	netip.Prefix
	zone string
}

func (n network) contains(a netip.Addr) bool {
	return n.Contains(a.WithZone("")) && (n.zone == "" || n.zone == a.Zone())
}

func (n network) String() string {
	if n.zone != "" {
		return n.Addr().WithZone(n.zone).String()
	}
	return n.Prefix.String()
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
		prefix, networkErr := netip.ParsePrefix(item)
		_, numbered := strconv.Atoi(addr.Zone())
		switch {
		case item == allControllers:
			c.all = true
		case numbered == nil: // peers have the name
			return callers{}, fmt.Errorf("%q: write the name of the interface, not its number", item)
		case addrErr == nil:
			c.networks = append(c.networks, network{netip.PrefixFrom(addr.Unmap(), addr.Unmap().BitLen()), addr.Zone()})
		case networkErr == nil:
			c.networks = append(c.networks, network{prefix.Masked(), ""})
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
		from := p.Addr.Addr().Unmap()
		return p.Dialed ||
			slices.ContainsFunc(c.networks, func(n network) bool { return n.contains(from) }) ||
			p.Identity != nil && p.Identity.Certified &&
				slices.ContainsFunc(p.Identity.Names, func(n string) bool { return slices.Contains(c.names, n) })
	}
}
