// Package tcp listens for TCP connections at addresses as Zeek understands them.
package tcp

import (
	"context"
	"net"
	"net/netip"
	"strings"
)

// Listen listens at address, which is a host and a port, such as "127.0.0.1:9999",
// "[::]:0" or ":2150". Port 0 means a free port.
//
// A host that is an IPv4 address receives connections over IPv4 only, even if it is
// 0.0.0.0, for which package net would listen for IPv6 as well. An empty host and
// [::] receive connections over IPv4 and IPv6, as in Zeek 8.0.
//
// The context is only for the lookup of a host that is a name.
func Listen(ctx context.Context, address string) (net.Listener, error) {
	var config net.ListenConfig
	config.SetMultipathTCP(false) // Linux does not tell the zone of a Multipath TCP listener
	return config.Listen(ctx, network(address), address)
}

// network returns the network of package net for the address.
func network(address string) string {
	host, _, _ := net.SplitHostPort(address) // an error will be that of Listen
	if ip, err := netip.ParseAddr(host); err == nil && ip.Is4() {
		return "tcp4"
	}
	return "tcp"
}

// WithoutZone returns a host without the zone of an IPv6 address, as in "fe80::1%eth0",
// with or without brackets. A zone is a name of this machine's own, so the names in
// certificates and HTTP have none.
func WithoutZone(host string) string {
	bare := strings.Trim(host, "[]")
	ip, err := netip.ParseAddr(bare)
	if err != nil || ip.Zone() == "" {
		return host
	}
	return strings.Replace(host, bare, bare[:strings.IndexByte(bare, '%')], 1)
}
