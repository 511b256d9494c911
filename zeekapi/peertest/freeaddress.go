package peertest

import (
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"sync/atomic"
	"testing"
)

// FreeAddress returns a loopback address with a TCP port at which nothing listens.
// It is for servers that cannot listen at port 0, because their address must be
// known before they start.
//
// Concurrent tests take ports of 127.0.0.1 all the time, so a port there may be
// in use again before the test listens at it. Also, a test that repeatedly dials
// a free port of 127.0.0.1 can be given that port as its own, and connect to
// itself. Therefore the address is a random one of 127.0.0.0/8 where all of that
// network is local, as on Linux.
func FreeAddress(t testing.TB) string {
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

// lastPort counts the ports that FreePort has tried, so that each call tries
// new ones.
var lastPort atomic.Int64

// FreePort returns a TCP port of 127.0.0.1 that was free a moment ago. It is for Zeek,
// which cannot listen at every address of FreeAddress. The ports are below those that
// systems use for outgoing connections, so that no connection takes a port before a slow
// Zeek listens at it. They are above those of Zeek's nodes.
func FreePort(t testing.TB) int {
	t.Helper()
	const first, number = 10000, 20000
	for range number {
		port := first + (os.Getpid()*100+int(lastPort.Add(1)))%number
		if l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port)); err == nil {
			l.Close()
			return port
		}
	}
	t.Fatal("no free port")
	return 0
}
