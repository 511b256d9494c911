package controller

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/zeekapi"
)

// maxText is the longest text of a peer, in bytes, that the controller keeps.
const maxText = 1000

// clip shortens a text of a peer to maxText.
func clip(text string) string {
	if len(text) <= maxText {
		return text
	}
	return strings.ToValidUTF8(text[:maxText], "") + "..."
}

// nameOf returns the name of a client as the log and the history show it.
func nameOf(p broker.Peer) string {
	switch {
	case p.Name != "" && p.Addr.IsValid():
		return clip(p.Name) + " at " + peerHost(p)
	case p.Name != "":
		return clip(p.Name)
	case p.Addr.IsValid():
		return peerHost(p)
	}
	return "unknown"
}

// peerHost returns the network address of a peer without the port.
func peerHost(p broker.Peer) string { return p.Addr.Addr().Unmap().String() }

// addressText returns the network address of a peer: the one that the controller
// connected to, or the one from which the peer connected.
func addressText(p broker.Peer) string {
	if p.Dialed && p.Address != "" {
		return p.Address
	}
	if p.Addr.IsValid() {
		return netip.AddrPortFrom(p.Addr.Addr().Unmap(), p.Addr.Port()).String()
	}
	return "an unknown address"
}

// listed joins names with commas. It names only the first of many.
func listed(names []string) string {
	const most = 10
	if len(names) > most+1 {
		names = append(slices.Clone(names[:most]), strconv.Itoa(len(names)-most)+" more")
	}
	return strings.Join(names, ", ")
}

// sortedKeys returns the keys of m in order, which makes the order of outputs
// reproducible.
func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

func setOf(names []string) map[string]bool {
	set := make(map[string]bool, len(names))
	for _, name := range names {
		set[name] = true
	}
	return set
}

func unspecified(a netip.Addr) bool { return !a.IsValid() || a.IsUnspecified() }

func addressOf(i zeekapi.Instance) string {
	return netip.AddrPortFrom(i.Host, i.Port.Number).String()
}
