// Package freeaddr finds addresses for tests of servers that cannot listen at
// port 0, as somebody else has to know the address first.
package freeaddr

import (
	"fmt"
	"math/rand/v2"
	"net"
	"testing"
)

// TCP returns an address of this machine that nobody listens at.
//
// Other tests at the same time open many connections and listeners at
// 127.0.0.1, each of which takes a port, and sooner or later one that was free a
// moment ago. And who dials a free port of 127.0.0.1 again and again one day has
// that port itself, and so meets itself. Where all of 127.0.0.0/8 is this
// machine, as on Linux, the address is another at random, which nobody else
// uses.
func TCP(t testing.TB) string {
	t.Helper()
	n := rand.Uint32()
	l, err := net.Listen("tcp", fmt.Sprintf("127.%d.%d.%d:0", 1+n%254, n>>8%256, 1+n>>16%254))
	if err != nil {
		l, err = net.Listen("tcp", "127.0.0.1:0")
	}
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}
