package main

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/zeekwire/zeekwire/broker"
)

// anybody is the word for all controllers.
const anybody = "all"

// callers says which of the controllers that connect to an agent it obeys. The
// zero callers leaves that to whether it connects itself.
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
			return callers{}, fmt.Errorf("%q is no address, network or name", item)
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

// obey returns which peers are controllers of an agent: those that it connects
// to, and of those that connect to it the ones named. One that connects to
// none obeys, as Zeek's does, whoever comes, unless some are named.
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
