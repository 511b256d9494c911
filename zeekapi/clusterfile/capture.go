package clusterfile

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/zeekwire/zeekwire/zeekapi"
)

// capture describes how a worker captures packets, as far as its configuration shows.
type capture struct {
	node   string
	method string // "af_packet" of "af_packet::eth0"; "" for pcap
	device string
	group  string // differs if the fan-out IDs may differ
	fanout string // the fan-out ID, "" if it is not visible
}

const (
	afPacket = "af_packet"

	// FanoutOption is the option of Zeek with the fan-out ID of AF_PACKET. Parse assigns
	// it to workers of several interfaces.
	FanoutOption = "AF_Packet::fanout_id"
)

// clusterVariables begin the names of variables that make capture libraries share
// out packets between the processes of an interface.
var clusterVariables = []string{"PCAP_PF_RING_", "SNF_"}

func captureOf(n zeekapi.Node) capture {
	c := capture{node: n.Name, device: n.Interface}
	if method, device, ok := strings.Cut(n.Interface, "::"); ok {
		c.method, c.device = strings.ToLower(method), device
		if c.method == "pcap" {
			c.method = ""
		}
	}
	for name := range n.Env {
		for _, prefix := range clusterVariables {
			if c.method == "" && strings.HasPrefix(name, prefix) {
				c.method = prefix
			}
		}
	}
	for _, script := range n.Scripts {
		if value, ok := strings.CutPrefix(script, FanoutOption+"="); ok {
			c.fanout = value
		}
	}
	// Scripts and variables can set the option, too.
	c.group = c.fanout
	if c.group == "" {
		variables := slices.Sorted(maps.Keys(n.Env))
		for i, name := range variables {
			variables[i] = name + "=" + n.Env[name]
		}
		c.group = strings.Join(append(slices.Sorted(slices.Values(n.Scripts)), variables...), "\x00")
	}
	return c
}

// captures warns about workers of one instance that get the same packets, or that
// cannot capture beside each other. It names a worker once.
func (a *adviser) captures() {
	seen := map[string]*captures{} // by instance
	for _, n := range a.config.Nodes {
		if n.Role != zeekapi.RoleWorker || n.Interface == "" {
			continue
		}
		if seen[n.Instance] == nil {
			seen[n.Instance] = &captures{groups: map[capture]bool{}, devices: map[capture]bool{}, byDevice: map[string][]capture{}, byGroup: map[string][]capture{}}
		}
		c := captureOf(n)
		for _, other := range seen[n.Instance].similar(c) {
			if text := c.conflict(other); text != "" {
				a.found = append(a.found, Advice{Node: n.Name, Key: "interface", Text: text})
				break
			}
		}
		seen[n.Instance].add(c)
	}
}

// captures are the captures of an instance. Of equal ones it has the first, because there
// may be thousands.
type captures struct {
	groups   map[capture]bool // those in byGroup, without names
	devices  map[capture]bool // those in byDevice, without names and groups
	byDevice map[string][]capture
	byGroup  map[string][]capture // by method and group: at most two, with different devices
}

// similar returns the captures that may conflict with another one.
func (cs *captures) similar(c capture) []capture {
	return slices.Concat(cs.byDevice[c.device], cs.byGroup[c.method+c.group])
}

func (cs *captures) add(c capture) {
	kind := c
	kind.node = ""
	if cs.groups[kind] {
		return
	}
	cs.groups[kind] = true
	same := cs.byGroup[c.method+c.group]
	if len(same) == 0 || len(same) == 1 && same[0].device != c.device {
		cs.byGroup[c.method+c.group] = append(same, c)
	}
	if kind.group = ""; !cs.devices[kind] {
		cs.devices[kind] = true
		cs.byDevice[c.device] = append(cs.byDevice[c.device], c)
	}
}

// conflict returns what is wrong if both workers capture on one machine, or "".
func (c capture) conflict(other capture) string {
	both := fmt.Sprintf("workers %s and %s of one instance", quote(other.node), quote(c.node))
	switch {
	case c.device == other.device && (c.method == "" || other.method == ""):
		return fmt.Sprintf("%s both read all packets of %s, so everything is logged twice; %s::%s shares them out", both, c.device, afPacket, c.device)
	case c.method != afPacket || other.method != afPacket:
		return ""
	case c.device == other.device && c.fanout != other.fanout && c.fanout != "" && other.fanout != "":
		return fmt.Sprintf("%s read %s with different values of %s, so everything is logged twice", both, c.device, FanoutOption)
	case c.device != other.device && c.group == other.group:
		return fmt.Sprintf("%s read different interfaces, %s and %s, with the same %s, which Linux refuses; give each interface another one",
			both, other.device, c.device, FanoutOption)
	}
	return ""
}
