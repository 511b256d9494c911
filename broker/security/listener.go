package security

import (
	"context"
	"net"
	"sync"
)

// Listener returns a listener that secures the connections that inner accepts, for
// servers that cannot call Secure. The TLS handshake is part of the first Read or
// Write of a connection and observes its deadlines, so Accept does not wait for it.
//
// In mode Anonymous the result behaves like the WebSocket port of controllers of
// Zeek 5.2 to 8.0.2.
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

// lateConn performs the TLS handshake when it is first used. Methods other than
// Read and Write are those of the underlying connection.
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
