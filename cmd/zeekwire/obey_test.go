package main

import (
	"net/netip"
	"testing"

	"github.com/zeekwire/zeekwire/broker"
)

func TestObey(t *testing.T) {
	dialed := broker.Peer{Dialed: true, Addr: netip.MustParseAddrPort("192.0.2.1:2150")}
	from := func(addr, name string) broker.Peer {
		p := broker.Peer{Addr: netip.AddrPortFrom(netip.MustParseAddr(addr), 40000)}
		if name != "" {
			p.Identity = &broker.Identity{Names: []string{"host.example", name}, Certified: true}
		}
		return p
	}
	uncertified := from("10.0.0.1", "")
	uncertified.Name = "boss"
	for _, tt := range []struct {
		setting    string
		connecting bool
		peer       broker.Peer
		want       bool
	}{
		{"", true, dialed, true},
		{"", true, from("10.0.0.1", "boss"), false},
		{"", false, from("10.0.0.1", ""), true},
		{"all", true, from("10.0.0.1", ""), true},
		{"10.0.0.1", false, from("10.0.0.1", ""), true},
		{"10.0.0.1", false, from("::ffff:10.0.0.1", ""), true},
		{"10.0.0.1", false, from("10.0.0.2", ""), false},
		{"10.0.0.0/8, 2001:db8::/32", true, from("10.9.9.9", ""), true},
		{"10.0.0.0/8, 2001:db8::/32", true, from("2001:db8::9", ""), true},
		{"10.0.0.0/8, 2001:db8::/32", true, dialed, true},
		{"fe80::1%eth0", false, from("fe80::1%eth0", ""), true},
		{"fe80::1%eth0", false, from("fe80::1%eth1", ""), false},
		{"fe80::1%eth0", false, from("fe80::2%eth0", ""), false},
		{"fe80::1", false, from("fe80::1%eth0", ""), true},
		{"fe80::/10", false, from("fe80::1%eth0", ""), true},
		{"boss, other", false, from("10.0.0.1", "boss"), true},
		{"boss", false, from("10.0.0.1", "Boss"), false},
		{"boss", false, from("10.0.0.1", ""), false},
		{"boss", false, uncertified, false},
	} {
		c, err := parseCallers(tt.setting)
		if err != nil {
			t.Fatal(err)
		}
		if again, err := parseCallers(c.String()); err != nil || again.String() != c.String() {
			t.Errorf("%q: %q, %v", tt.setting, again, err)
		}
		obey := c.obey(tt.connecting)
		if got := obey == nil || obey(tt.peer); got != tt.want {
			t.Errorf("obey %q, connecting %t: peer %+v is accepted: %t", tt.setting, tt.connecting, tt.peer, got)
		}
	}
	for _, bad := range []string{",", "10.0.0.1/99", "a b", "x,,y"} {
		if _, err := parseCallers(bad); err == nil {
			t.Errorf("%q is accepted", bad)
		}
	}
}
