package tcp_test

import (
	"net"
	"testing"
	"time"

	"github.com/zeekwire/zeekwire/broker/tcp"
)

// hasIPv6 reports whether the machine has the IPv6 loopback address.
func hasIPv6() bool {
	l, err := net.Listen("tcp6", "[::1]:0")
	if err != nil {
		return false
	}
	l.Close()
	return true
}

// An IPv4 address means IPv4 only.
func TestListenFamilies(t *testing.T) {
	if !hasIPv6() {
		t.Skip("no IPv6 loopback address")
	}
	for _, tt := range []struct {
		address  string
		ip4, ip6 bool
	}{
		{"0.0.0.0:0", true, false},
		{"127.0.0.1:0", true, false},
		{":0", true, true},
		{"[::]:0", true, true},
		{"[::1]:0", false, true},
	} {
		l, err := tcp.Listen(t.Context(), tt.address)
		if err != nil {
			t.Errorf("%s: %v", tt.address, err)
			continue
		}
		defer l.Close()
		_, port, _ := net.SplitHostPort(l.Addr().String())
		if got := reaches(net.JoinHostPort("127.0.0.1", port)); got != tt.ip4 {
			t.Errorf("%s: IPv4 is %t, want %t", tt.address, got, tt.ip4)
		}
		if got := reaches(net.JoinHostPort("::1", port)); got != tt.ip6 {
			t.Errorf("%s: IPv6 is %t, want %t", tt.address, got, tt.ip6)
		}
	}
}

func reaches(address string) bool {
	conn, err := net.DialTimeout("tcp", address, 10*time.Second)
	if err != nil {
		return false
	}
	conn.Close()
	return true
}

// Invalid addresses are errors of package net.
func TestListenErrors(t *testing.T) {
	for _, address := range []string{"127.0.0.1", "127.0.0.1:x", "[::1:1", "[127.0.0.1"} {
		if l, err := tcp.Listen(t.Context(), address); err == nil {
			l.Close()
			t.Errorf("%q: no error", address)
		}
	}
}

func TestWithoutZone(t *testing.T) {
	for host, want := range map[string]string{
		"fe80::1%eth0": "fe80::1", "[fe80::1%eth0]": "[fe80::1]", "fe80::1": "fe80::1", "::1": "::1", "10.0.0.1": "10.0.0.1",
		"a%b": "a%b", "": "",
	} {
		if got := tcp.WithoutZone(host); got != want {
			t.Errorf("%q: %q, want %q", host, got, want)
		}
	}
}
