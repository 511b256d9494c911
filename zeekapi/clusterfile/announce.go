package clusterfile

import (
	"fmt"
	"net/netip"

	"github.com/zeekwire/zeekwire/zeekapi"
)

// Announcements returns an error for each instance whose nodes would be announced to
// another machine at an address that does not lead there: a loopback address, or a
// link-local one. It considers only the instances of c whose address is known. With
// the addresses from which the agents connect, it is what a deployment of c announces.
// It also returns an error for each agent that listens at an IPv6 address to which the
// controller cannot connect without a zone.
func Announcements(c zeekapi.Configuration) []Advice {
	var found []Advice
	nodes := c.NodesByInstance()
	for _, i := range c.Instances {
		if host := i.Host.Unmap(); !i.Connects() && host.Is6() && host.IsLinkLocalUnicast() {
			found = append(found, Advice{Instance: i.Name, Text: fmt.Sprintf(
				"the controller cannot connect to instance %s at %s: an IPv6 address of this kind needs a zone, and addresses in Zeek have none; use another address, or let the agent connect to the controller",
				quote(i.Name), i.Host)})
			continue
		}
		first, count := "", 0
		for _, n := range nodes[i.Name] {
			if n.Role == zeekapi.RoleManager || n.Role == zeekapi.RoleLogger || n.Role == zeekapi.RoleProxy {
				if count++; count == 1 || n.Role == zeekapi.RoleManager {
					first = n.Name
				}
			}
		}
		if count == 0 {
			continue
		}
		other := misled(c, nodes, i)
		if other == "" {
			continue
		}
		which := "node " + quote(first)
		if count > 1 {
			which = fmt.Sprintf("node %s and %d more of instance %s", quote(first), count-1, quote(i.Name))
		}
		port := "PORT"
		if !i.Connects() {
			port = fmt.Sprint(i.Port.Number)
		}
		found = append(found, Advice{Instance: i.Name, Text: fmt.Sprintf(
			"%s would be announced to %s as %s, which does not lead there; write \"%s = ADDRESS:%s\" under [instances], with an address and the port of that agent",
			which, quote(other), i.Host, i.Name, port)})
	}
	return found
}

// misled returns an instance with nodes that cannot reach the address of i, or "".
func misled(c zeekapi.Configuration, nodes map[string][]zeekapi.Node, i zeekapi.Instance) string {
	host := i.Host.Unmap()
	if !known(host) || !host.IsLoopback() && !host.IsLinkLocalUnicast() {
		return ""
	}
	for _, other := range c.Instances {
		at := other.Host.Unmap()
		near := at == host || host.IsLoopback() && at.IsLoopback() ||
			// Zeek has no zones, without which an IPv6 address of this kind is useless.
			host.Is4() && at.Is4() && host.IsLinkLocalUnicast() && at.IsLinkLocalUnicast()
		if other.Name != i.Name && known(at) && !near && len(nodes[other.Name]) > 0 {
			return other.Name
		}
	}
	return ""
}

func known(a netip.Addr) bool { return a.IsValid() && !a.IsUnspecified() }
