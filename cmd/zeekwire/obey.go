package main

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/zeekwire/zeekwire/broker"
)

// anybody is the word in the setting that stands for all controllers.
const anybody = "all"

// callers are the controllers whose requests an agent accepts although they
// connect to it. For the zero value, see obey.
type callers struct {
	anybody  bool
	networks []netip.Prefix
	names    []string // in certificates
}

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
		case item == anybody:
			c.anybody = true
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
	if c.anybody {
		items = append(items, anybody)
	}
	for _, n := range c.networks {
		items = append(items, n.String())
	}
	return strings.Join(append(items, c.names...), ", ")
}

// obey returns a function that reports whether a peer may control the agent, or
// nil if every peer may. The agent accepts the controllers it connects to, and
// those named. An agent that connects to no controller accepts every peer unless
// some are named, as Zeek's agent does.
func (c callers) obey(connecting bool) func(broker.Peer) bool {
	named := len(c.networks)+len(c.names) > 0
	if c.anybody || !connecting && !named {
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
