package security

import (
	"context"
	"net"
	"sync"
)

// Listener protects the connections that l accepts, for servers that know
// nothing of Layer. The TLS handshake happens with the first use of a
// connection and observes its deadlines, so Accept waits for nobody.
//
// With the mode Anonymous it is what controllers of Zeek 5.2 to 8.0.2 do for
// their WebSocket clients.
func (l *Layer) Listener(inner net.Listener) net.Listener {
	if l.config.Mode == Off {
		return inner
	}
	return &listener{inner, l}
}

type listener struct {
	net.Listener
	layer *Layer
}

func (l *listener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &lateConn{Conn: conn, layer: l.layer}, nil
}

// lateConn becomes a secure connection when it is first used. All but Read and
// Write goes to the connection itself.
type lateConn struct {
	net.Conn
	layer   *Layer
	once    sync.Once
	secured net.Conn
	err     error
}

func (c *lateConn) secure() error {
	c.once.Do(func() { c.secured, c.err = c.layer.Secure(context.Background(), c.Conn, false) })
	return c.err
}

func (c *lateConn) Read(b []byte) (int, error) {
	if err := c.secure(); err != nil {
		return 0, err
	}
	return c.secured.Read(b)
}

func (c *lateConn) Write(b []byte) (int, error) {
	if err := c.secure(); err != nil {
		return 0, err
	}
	return c.secured.Write(b)
}
