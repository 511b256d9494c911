package fake

import (
	"context"
	"net"
	"net/netip"
	"sync"

	"github.com/zeekwire/zeekwire/broker"
)

// connections are the open network connections of a fake by the address of
// their other end, so that the connection of a peer can be closed.
type connections struct {
	mu   sync.Mutex
	open map[netip.AddrPort]net.Conn
}

// listen listens on a free port of 127.0.0.1.
func (c *connections) listen(ctx context.Context) (net.Listener, error) {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	return listener{l, c}, nil
}

func (c *connections) dial(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := new(net.Dialer).DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	return c.add(conn), nil
}

type listener struct {
	net.Listener
	connections *connections
}

func (l listener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return l.connections.add(conn), nil
}

func (c *connections) add(conn net.Conn) net.Conn {
	added := connection{conn, c}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.open == nil {
		c.open = make(map[netip.AddrPort]net.Conn)
	}
	c.open[remote(conn)] = added
	return added
}

// drop closes the connection of a peer.
func (c *connections) drop(p broker.Peer) {
	c.mu.Lock()
	conn := c.open[unmapped(p.Addr)]
	c.mu.Unlock()
	if conn != nil {
		_ = conn.Close()
	}
}

type connection struct {
	net.Conn
	connections *connections
}

// Close closes the connection and forgets it.
func (c connection) Close() error {
	c.connections.mu.Lock()
	delete(c.connections.open, remote(c.Conn))
	c.connections.mu.Unlock()
	return c.Conn.Close()
}

func remote(conn net.Conn) netip.AddrPort {
	a, _ := netip.ParseAddrPort(conn.RemoteAddr().String())
	return unmapped(a)
}

func unmapped(a netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(a.Addr().Unmap(), a.Port())
}
